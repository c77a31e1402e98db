"""A replica: its rooms, what it writes, and what it tells those who listen."""

import pytest

from megaphone.errors import HistoryError
from megaphone.history.answers import Refusal
from megaphone.history.clock import HybridClock, milliseconds
from megaphone.history.content import Content
from megaphone.history.entry import Kind
from megaphone.history.forks import prove
from megaphone.history.manifest import Manifest
from megaphone.history.memory import MemoryStore
from megaphone.history.replica import Replica
from tests.unit.history.nodes import Node
from tests.unit.history.origins import NOW_MS, ROOM, Writer, key, state, texts, verify

HALL = Manifest("lan", "hall")


def test_what_is_said_is_sealed_by_flush() -> None:
    node = Node("anna")
    node.replica.append(ROOM.id, Kind.MESSAGE, Content("anna", b"one"), NOW_MS)
    node.replica.append(ROOM.id, Kind.MESSAGE, Content("anna", b"two"), NOW_MS)
    assert texts(node.log) == []
    (batch,) = node.replica.flush(NOW_MS)
    assert (batch.room, batch.origin, len(batch.entries)) == (ROOM.id, node.origin, 2)
    assert texts(node.log) == ["one", "two"]
    assert node.replica.flush(NOW_MS) == []
    assert node.entries == []  # only what others say is told
    other = Node("bert")
    other.take(batch)
    assert state(other.log) == state(node.log)


def test_many_entries_are_several_batches() -> None:
    node = Node("anna")
    batches = node.say(*map(str, range(2500)))
    assert [len(batch.entries) for batch in batches] == [1024, 1024, 452]


def test_flush_seals_every_room() -> None:
    node = Node("anna", rooms=[ROOM, HALL])
    for room in (ROOM, HALL):
        node.replica.append(room.id, Kind.MESSAGE, Content("anna", b"x"), NOW_MS)
    assert {batch.room for batch in node.replica.flush(NOW_MS)} == {ROOM.id, HALL.id}


def test_a_room_that_is_not_open() -> None:
    node = Node("anna")
    with pytest.raises(HistoryError) as caught:
        node.say("x", room=HALL.id)
    assert caught.value.reason == "unknown-room"
    assert node.replica.accept(Writer("bert", HALL).say("x"), NOW_MS).refusal is Refusal.UNKNOWN_ROOM
    node.replica.open(HALL)
    node.say("x", room=HALL.id)
    node.replica.close(HALL.id)
    with pytest.raises(HistoryError):
        node.say("x", room=HALL.id)
    assert len(node.replica.open(HALL).page(9)) == 1


def test_opening_again_changes_nothing() -> None:
    node = Node("anna", from_day=7)
    log = node.log
    assert node.replica.open(ROOM) is log
    assert node.replica.from_day(ROOM.id) == 7


def test_entries_of_others_are_told_once() -> None:
    node, writer = Node("anna"), Writer("bert")
    batch = writer.say("one", "two")
    node.take(batch)
    assert node.replica.accept(batch, NOW_MS).refusal is Refusal.DUPLICATE
    assert [node.log.content(placed).stanza for placed in node.entries] == [b"one", b"two"]  # type: ignore[union-attr]
    assert node.refusals == []


def test_refusals_are_told() -> None:
    node, writer = Node("anna"), Writer("bert")
    node.replica.accept(writer.say("one")._replace(seal=bytes(64)), NOW_MS)
    assert node.refusals == [(writer.origin, Refusal.BAD_SEAL)]


def test_a_clock_goes_on_behind_what_was_seen() -> None:
    node, writer = Node("anna"), Writer("bert")
    writer.ms += 50_000
    node.take(writer.say("from a clock that is fast"))
    node.say("answer")
    last = node.log.page(1)[0]
    assert last.origin == node.origin
    assert milliseconds(last.entry.clock) >= NOW_MS + 50_000


def test_a_clock_goes_on_behind_what_is_stored() -> None:
    store = MemoryStore()
    Node("anna", store).say("x", now_ms=NOW_MS + 50_000)
    again = Node("anna", store)
    again.say("y")
    assert texts(again.log) == ["x", "y"]


def test_versions_change_with_the_entries() -> None:
    node, writer = Node("anna"), Writer("bert")
    versions = [node.replica.version(ROOM.id)]
    node.say("x")
    versions.append(node.replica.version(ROOM.id))
    batch = writer.say("y")
    node.take(batch)
    versions.append(node.replica.version(ROOM.id))
    node.replica.accept(batch, NOW_MS)
    assert node.replica.version(ROOM.id) == versions[-1]
    assert versions == sorted(set(versions))


def test_a_proof_excludes_and_is_told() -> None:
    node, writer = Node("anna"), Writer("mallory")
    liar = writer.other()
    one, other = writer.say("one"), liar.say("other")
    node.take(one)
    proof = prove(one, other, verify)
    assert proof is not None
    for is_new in (True, False):
        found, was_new = node.replica.convict(ROOM.id, proof.encode())
        assert (found.encode(), was_new) == (proof.encode(), is_new)
    assert node.refusals == [(writer.origin, Refusal.FORK)]
    assert texts(node.log) == []


def test_ids_of_days() -> None:
    node = Node("anna")
    days = [20_000, 20_001, 20_005]
    for day in days:
        node.say("x", now_ms=day * 86_400_000)
    ids = [placed.id for placed in node.log.page(9)]
    assert sorted(node.replica.ids(ROOM.id)) == sorted(ids)
    assert sorted(node.replica.ids(ROOM.id, 20_001)) == sorted(ids[1:])
    assert node.replica.ids(ROOM.id, 0, [20_000, 20_002]) == ids[:1]


def test_whom_nobody_trusts() -> None:
    replica = Replica(MemoryStore(), HybridClock(), key("anna"), verify, lambda origin: origin == key("anna").origin)
    replica.open(ROOM)
    assert replica.accept(Writer("bert").say("x"), NOW_MS).refusal is Refusal.UNKNOWN_ORIGIN
    assert not replica.trusts(key("bert").origin)
