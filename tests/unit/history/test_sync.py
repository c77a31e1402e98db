"""Dialogues of two replicas: who says what, in how many rounds, and that both have the same in the end."""

import pytest

from megaphone.history import sync_repair
from megaphone.history.batch import Batch, ids, sealed
from megaphone.history.content import Content
from megaphone.history.forks import prove
from megaphone.history.manifest import Manifest
from megaphone.history.memory import MemoryStore
from megaphone.history.messages import KEY_BYTES, Heads, Info, Interested, ManifestOf, Symbols
from megaphone.history.messages_codec import decode, encode
from megaphone.history.sync import HOLD_MS, RECHECK_MS, Conversation
from megaphone.history.sync_exchange import AGAIN_MS, ANSWER_MS
from tests.unit.history.batch_fuzz import Feed, signature
from tests.unit.history.batch_fuzz import verify as verify_hash
from tests.unit.history.messages_fuzz import HashSigner
from tests.unit.history.nodes import Link, Node, assert_same, connected, pair, run_all
from tests.unit.history.origins import NOW_MS, ROOM, Writer, key, state, texts, verify

DAY_MS = 86_400_000
HALL = Manifest("lan", "hall")


def shared(*nodes: Node, count: int = 3) -> Writer:
    """Entries that all have; returns who wrote them."""
    writer = Writer("writer")
    for _ in range(count):
        batch = writer.say("shared")
        for node in nodes:
            node.take(batch)
    return writer


# --- beginning -------------------------------------------------------------------------


def test_who_has_the_same_says_so() -> None:
    one, other = pair()
    shared(one, other)
    link = connected(one, other)
    assert link.run() == 1
    assert link.dialogue == [f"{one.name}: Heads", f"{other.name}: Same"]
    assert link.conversation(one).is_settled(ROOM.id)
    assert link.conversation(other).is_settled(ROOM.id)


def test_who_speaks_first_and_is_behind_gets_what_is_new() -> None:
    one, other = pair()
    writer = shared(one, other)
    other.take(writer.say("new"))
    link = connected(one, other)
    assert link.run() == 1
    assert link.dialogue == [f"{one.name}: Heads", f"{other.name}: Batches"]
    assert_same(one, other)
    assert [texts(one.log)[-1], len(one.entries)] == ["new", 4]


def test_who_speaks_second_and_is_behind_asks() -> None:
    one, other = pair()
    writer = shared(one, other)
    one.take(writer.say("new"))
    link = connected(one, other)
    link.run()
    assert link.dialogue == [
        f"{one.name}: Heads",
        f"{other.name}: Get",
        f"{one.name}: Batches",
        f"{other.name}: Same",
    ]
    assert_same(one, other)


def test_both_have_something_new() -> None:
    one, other = pair()
    shared(one, other)
    one.say("from one")
    other.say("from the other")
    link = connected(one, other)
    link.run()
    assert link.dialogue == [
        f"{one.name}: Heads",
        f"{other.name}: Batches",
        f"{other.name}: Get",
        f"{one.name}: Batches",
        f"{other.name}: Same",
    ]
    assert_same(one, other)
    assert link.conversation(one).is_settled(ROOM.id)
    assert link.conversation(other).is_settled(ROOM.id)


def test_nobody_has_a_room() -> None:
    one, other = Node("anna", rooms=[]), Node("bert", rooms=[])
    link = connected(one, other)
    assert link.run() == 0
    assert [each.split()[1] for each in link.dialogue] == ["End"]


def test_a_room_that_only_one_keeps() -> None:
    one, other = pair()
    one.say("x")
    other.replica.close(ROOM.id)
    link = connected(one, other)
    link.run()
    assert link.dialogue == [f"{one.name}: Heads", f"{other.name}: Unknown"]
    link.tick(NOW_MS + 100 * ANSWER_MS)
    assert len(link.said) == 2


def test_a_room_that_only_the_second_keeps() -> None:
    one, other = pair()
    other.say("x")
    one.replica.close(ROOM.id)
    link = connected(one, other)
    link.run()
    assert link.dialogue == [f"{one.name}: End", f"{other.name}: Heads", f"{one.name}: Unknown"]


def test_a_room_that_is_opened_later() -> None:
    one, other = pair()
    other.say("x")
    one.replica.close(ROOM.id)
    link = connected(one, other)
    link.run()
    one.replica.open(ROOM)
    link.tick(NOW_MS + 1000)
    link.run(NOW_MS + 1000)
    assert_same(one, other)
    other.say("y")
    link.run()
    assert_same(one, other)


def test_many_rooms() -> None:
    rooms = [Manifest("muc", f"room{number}@rooms.example") for number in range(200)]
    one, other = Node("anna", rooms=rooms[:150]), Node("bert", rooms=rooms[50:])
    for node, room in [(one, rooms[0]), (one, rooms[60]), (other, rooms[60]), (other, rooms[70]), (other, rooms[199])]:
        node.say(node.name, room=room.id)
    link = connected(one, other)
    link.run()
    for at in range(5):
        link.tick(NOW_MS + at * 1000)
        link.run(NOW_MS + at * 1000)
    for room in rooms[50:150]:
        assert state(one.replica.logs[room.id]) == state(other.replica.logs[room.id])
        assert link.conversation(one).is_settled(room.id)
    count = len(link.said)
    link.tick(NOW_MS + 5 * RECHECK_MS)
    assert len(link.said) == count


def test_the_beginning_gets_lost() -> None:
    """Whoever was to speak first: the other does not wait for ever."""
    one, other = pair()
    other.say("x")
    link = connected(one, other)
    link.under_way[other.name].clear()
    link.tick(NOW_MS + ANSWER_MS)
    link.run(NOW_MS + ANSWER_MS)
    assert_same(one, other)


# --- cold join -------------------------------------------------------------------------


def test_a_cold_join_has_the_newest_lines_in_the_first_answer() -> None:
    one, other = pair()
    writers = [Writer(name) for name in ("carl", "dora", "emil")]
    for number in range(3000):
        other.take(writers[number % 3].say(str(number)))
    link = connected(one, other)
    link.deliver(other)
    link.deliver(one)
    assert link.dialogue[:3] == [f"{one.name}: Interested", f"{one.name}: End", f"{other.name}: Info"]
    assert texts(one.log)[-20:] == texts(other.log)[-20:]
    link.run()
    assert_same(one, other)


def test_what_comes_in_the_background_is_newest_first() -> None:
    one, other = pair()
    writers = [Writer(name) for name in ("carl", "dora")]
    for number in range(100):
        for writer in writers:
            writer.ms = NOW_MS - 100_000 + number * 1000
            other.take(writer.say(*[str(number)] * 100))
    link = connected(one, other)
    lowest = []
    while any(link.under_way.values()):
        for node in link.nodes:
            while link.under_way[node.name]:
                link.deliver(node)
        oldest = one.log.page(10**6)[:1]
        lowest += [placed.entry.clock for placed in oldest]
    assert len(one.log.page(10**6)) == 20_000
    assert lowest == sorted(lowest, reverse=True)
    assert len(set(lowest)) > 4
    assert_same(one, other)


def test_the_second_may_be_the_cold_one() -> None:
    one, other = pair()
    for _ in range(200):
        one.say("x")
    link = connected(one, other)
    link.run()
    assert link.dialogue[:3] == [f"{one.name}: Heads", f"{other.name}: Interested", f"{one.name}: Info"]
    assert_same(one, other)
    assert link.conversation(one).is_settled(ROOM.id)


def test_two_empty_rooms() -> None:
    one, other = pair()
    link = connected(one, other)
    link.run()
    assert link.conversation(one).is_settled(ROOM.id)
    assert link.conversation(other).is_settled(ROOM.id)
    one.say("x")
    link.run()
    assert_same(one, other)
    other.say("y")
    link.run()
    assert_same(one, other)


def test_a_room_of_which_only_the_id_is_known() -> None:
    one, other = Node("anna", rooms=[]), Node("bert")
    other.say("x", "y")
    one.replica.seek(ROOM.id)
    link = connected(one, other)
    link.run()
    assert "Interested" in "".join(link.dialogue)
    assert f"{other.name}: ManifestOf" in link.dialogue
    assert one.replica.logs[ROOM.id].manifest == ROOM
    assert_same(one, other)
    assert not one.replica.sought


def test_a_room_that_nobody_knows_is_asked_for_again() -> None:
    one, other = Node("anna", rooms=[]), Node("bert", rooms=[])
    one.replica.seek(ROOM.id)
    link = connected(one, other)
    link.run()
    other.replica.open(ROOM)
    other.say("x")
    link.run()
    for at in range(1, 60):
        link.tick(NOW_MS + at * 1000)
        link.run(NOW_MS + at * 1000)
    assert_same(one, other)


def test_a_manifest_nobody_asked_for() -> None:
    one, other = pair()
    one.replica.close(ROOM.id)
    link = connected(one, other)
    assert link.conversation(one).receive(encode(ManifestOf(HALL)), NOW_MS) == []
    assert not one.replica.logs


# --- live ------------------------------------------------------------------------------


def settled(one: Node, other: Node) -> Link:
    shared(one, other)
    link = connected(one, other)
    link.run()
    link.said.clear()
    return link


def test_what_is_new_is_pushed_and_nothing_else_is_said() -> None:
    one, other = pair()
    link = settled(one, other)
    one.say("x")
    link.run()
    other.say("y")
    link.run()
    assert link.dialogue == [f"{one.name}: Push", f"{other.name}: Push"]
    assert_same(one, other)
    link.tick(NOW_MS + AGAIN_MS + 1)
    assert len(link.said) == 2


def test_after_a_minute_they_compare_once() -> None:
    one, other = pair()
    link = settled(one, other)
    one.say("x")
    link.run()
    now_ms = NOW_MS
    for _ in range(300):
        now_ms += 1000
        link.tick(now_ms)
        link.run(now_ms)
    assert link.dialogue[:1] == [f"{one.name}: Push"]
    assert sorted(each.split()[1] for each in link.dialogue[1:]) in (
        ["Heads", "Same"],
        ["Heads", "Heads", "Same", "Same"],
    )


def test_a_push_that_got_lost_is_noticed() -> None:
    one, other = pair()
    link = settled(one, other)
    one.say("x")
    link.under_way[other.name].clear()
    now_ms = NOW_MS
    for _ in range(2):
        now_ms += RECHECK_MS
        link.tick(now_ms)
        link.run(now_ms)
    assert_same(one, other)


def test_a_gap_is_held_and_pulled() -> None:
    one, other = pair()
    link = settled(one, other)
    one.say("lost")
    link.under_way[other.name].clear()
    one.say("here")
    link.run()
    assert texts(other.log)[-1] == "here"
    link.tick(NOW_MS)
    assert f"{other.name}: Get" not in link.dialogue
    link.tick(NOW_MS + HOLD_MS)
    link.run()
    assert link.dialogue[-2:] == [f"{other.name}: Get", f"{one.name}: Batches"]
    assert_same(one, other)


def test_a_gap_that_fills_itself_is_not_asked_for() -> None:
    one, other = pair()
    link = settled(one, other)
    one.say("first")
    one.say("second")
    link.deliver(other, index=1)
    link.deliver(other)
    link.tick(NOW_MS + HOLD_MS)
    assert link.dialogue == [f"{one.name}: Push"] * 2
    assert_same(one, other)


def test_a_large_batch_is_pushed_in_parts() -> None:
    one, other = pair()
    link = settled(one, other)
    one.write(*(Content("a", bytes(2000)) for _ in range(1000)))
    link.run()
    assert len(link.said) > 4
    assert all(len(data) < 300_000 for _, data in link.said)
    assert_same(one, other)


def test_nothing_is_pushed_to_who_does_not_keep_the_room() -> None:
    one, other = pair()
    other.replica.close(ROOM.id)
    link = connected(one, other)
    link.run()
    count = len(link.said)
    one.say("x")
    assert len(link.said) == count


def test_what_comes_from_one_peer_goes_on_to_the_others() -> None:
    """A and C have no connection."""
    nodes = [Node(name) for name in ("anna", "bert", "carl")]
    links = [connected(nodes[0], nodes[1]), connected(nodes[1], nodes[2])]
    run_all(links, NOW_MS)
    for node in nodes:
        node.say(f"from {node.name}")
    run_all(links, NOW_MS)
    assert_same(*nodes)
    assert len(nodes[2].log.page(9)) == 3


def test_what_was_pulled_from_one_peer_goes_on_to_the_others() -> None:
    nodes = [Node(name) for name in ("anna", "bert", "carl")]
    links = [connected(nodes[1], nodes[2])]
    run_all(links, NOW_MS)
    for _ in range(500):
        nodes[0].say("x")
    links.append(connected(nodes[0], nodes[1]))
    now_ms = NOW_MS
    for _ in range(5):
        run_all(links, now_ms)
        now_ms += AGAIN_MS
        for link in links:
            link.tick(now_ms)
    run_all(links, now_ms)
    assert_same(*nodes)


def test_a_triangle_does_not_echo() -> None:
    nodes = [Node(name) for name in ("anna", "bert", "carl")]
    links = [connected(nodes[0], nodes[1]), connected(nodes[1], nodes[2]), connected(nodes[0], nodes[2])]
    run_all(links, NOW_MS)
    for link in links:
        link.said.clear()
    nodes[0].say("x")
    run_all(links, NOW_MS)
    assert_same(*nodes)
    assert sum(len(link.said) for link in links) <= 4


# --- windows ---------------------------------------------------------------------------


def test_who_keeps_a_window_gets_no_more() -> None:
    """Its days are compared, whoever speaks first."""
    for names in (("anna", "bert"), ("bert", "anna")):
        whole, part = Node(names[0]), Node(names[1], from_day=20_005)
        for day in range(20_000, 20_010):
            whole.say(*["x"] * 30, now_ms=day * DAY_MS)
        now_ms = 20_010 * DAY_MS
        link = connected(whole, part, now_ms)
        link.run(now_ms)
        assert len(part.log.page(1000)) == 5 * 30
        assert link.conversation(whole).is_settled(ROOM.id)
        assert link.conversation(part).is_settled(ROOM.id)
        whole.say("new", now_ms=now_ms)
        link.run(now_ms)
        assert texts(part.log)[-1] == "new"
        part.say("answer", now_ms=now_ms)
        link.run(now_ms)
        assert texts(whole.log)[-1] == "answer"
        again = connected(whole, part, now_ms)
        again.run(now_ms)
        assert sorted(each.split()[1] for each in again.dialogue) in (["Heads", "Same"], ["Heads", "Heads", "Same"])


def test_two_windows() -> None:
    one, other = Node("anna", from_day=20_003), Node("bert", from_day=20_006)
    writer = Node("writer")
    now_ms = 20_010 * DAY_MS
    for day in range(20_000, 20_010):
        writer.say(*["x"] * 10, now_ms=day * DAY_MS)
    for node in (one, other):
        connected(writer, node, now_ms).run(now_ms)
    assert [len(node.log.page(1000)) for node in (one, other)] == [70, 40]
    link = connected(one, other, now_ms)
    link.run(now_ms)
    assert link.conversation(one).is_settled(ROOM.id)
    assert [len(node.log.page(1000)) for node in (one, other)] == [70, 40]


# --- damage ----------------------------------------------------------------------------


def test_entries_that_were_lost_are_asked_for() -> None:
    one, other = pair()
    writer = shared(one, other, count=30)
    for node, (first, last) in ((one, (3, 9)), (other, (15, 15)), (other, (20, 29))):
        assert isinstance(node.store, MemoryStore)
        node.store.drop(ROOM.id, writer.origin, first, last)
        node.restart()
    link = connected(one, other)
    link.run()
    assert_same(one, other)
    assert len(one.log.page(100)) == 30


def test_a_head_that_was_lost_is_asked_for() -> None:
    one, other = pair()
    writer = shared(one, other, count=30)
    assert isinstance(one.store, MemoryStore)
    one.store.drop(ROOM.id, writer.origin, 25, 30)
    one.restart()
    link = connected(one, other)
    link.run()
    assert_same(one, other)


def test_what_both_have_lost_is_asked_for_once() -> None:
    one, other = pair()
    writer = shared(one, other, count=30)
    other.take(writer.say("new"))
    for node in (one, other):
        assert isinstance(node.store, MemoryStore)
        node.store.drop(ROOM.id, writer.origin, 10, 20)
        node.restart()
    link = connected(one, other)
    link.run()
    link.cut()
    assert_same(one, other)
    assert len(link.said) < 12


def test_a_content_that_was_lost_is_asked_for() -> None:
    one, other = pair()
    shared(one, other, count=5)
    lost = one.log.page(5)[2]
    one.store.erase(ROOM.id, lost.id)
    one.restart()
    one.log.page(5)  # who reads it, notices
    link = connected(one, other)
    link.run()
    assert_same(one, other)
    assert [placed.id for placed in one.entries[-1:]] == [lost.id]


def test_a_content_that_is_erased_is_not_asked_for() -> None:
    one, other = pair()
    shared(one, other, count=5)
    one.erase(one.log.page(5)[2].id)
    link = connected(one, other)
    link.run()
    assert_same(one, other)
    assert texts(other.log).count(None) == 1
    again = connected(one, other)
    again.run()
    assert again.dialogue == [f"{one.name}: Heads", f"{other.name}: Same"]


def test_a_node_that_has_lost_its_own_end_gets_it_back_before_it_writes() -> None:
    one, other = pair()
    one.say("a")
    one.say("b")
    connected(one, other).run()
    assert isinstance(one.store, MemoryStore)
    one.store.drop(ROOM.id, one.origin, 2, 2)
    one.restart()
    connected(one, other).run()
    one.say("c")
    run_all(one.links, NOW_MS)
    assert_same(one, other)
    assert texts(other.log) == ["a", "b", "c"]


# --- forks -----------------------------------------------------------------------------


def forked(one: Node, other: Node, count: int = 1) -> Writer:
    """The same origin says something else to each; heads agree."""
    writer = shared(one, other)
    liar = writer.other()
    for number in range(count):
        one.take(writer.say(f"to one {number}"))
        other.take(liar.say(f"to the other {number}"))
    return writer


def test_a_fork_that_heads_do_not_tell_is_found() -> None:
    one, other = pair()
    writer = forked(one, other)
    link = connected(one, other)
    assert link.run() <= 2
    assert link.dialogue[:2] == [f"{one.name}: Heads", f"{other.name}: Symbols"]
    assert_same(one, other)
    assert {origin: seq for origin, (seq, _) in one.log.exclusions.items()} == {writer.origin: 4}
    assert texts(one.log) == ["shared"] * 3


def test_heads_that_cross() -> None:
    """Both find that something has changed, and speak at once: one of them answers."""
    one, other = pair()
    link = settled(one, other)
    writer = Writer("mallory")
    liar = writer.other()
    one.take(writer.say("to one"))
    other.take(liar.say("to the other"))
    link.tick(NOW_MS + AGAIN_MS)
    assert sorted(link.dialogue) == sorted([f"{one.name}: Heads", f"{other.name}: Heads"])
    link.run(NOW_MS + AGAIN_MS)
    assert_same(one, other)
    assert link.dialogue.count(f"{other.name}: Symbols") == 1
    assert f"{one.name}: Symbols" not in link.dialogue


def test_a_fork_that_lies_before_what_its_proof_shows() -> None:
    """One has the longer branch: what comes of it shows a fork, but not where; together with what is here it does."""
    one, other = pair()
    writer = Writer("mallory")
    liar = writer.other()
    liar.ms += 1000
    one.take(writer.say("1", "2", "3", "4"))
    other.take(liar.say("one", "two", "three"))
    connected(one, other).run()
    assert_same(one, other)
    assert one.log.exclusions[writer.origin][0] == 1


@pytest.mark.parametrize("count", [2, 100, 1500])
def test_a_long_fork(count: int) -> None:
    one, other = pair()
    writer = forked(one, other, count)
    link = connected(one, other)
    link.run()
    for at in range(1, 40):
        link.tick(NOW_MS + at * 1000)
        link.run(NOW_MS + at * 1000)
    assert_same(one, other)
    assert one.log.exclusions[writer.origin][0] == 4
    assert link.conversation(one).is_settled(ROOM.id)


def test_a_fork_and_something_new() -> None:
    one, other = pair()
    forked(one, other)
    one.take(Writer("carl").say("x"))
    link = connected(one, other)
    link.run()
    assert_same(one, other)


def test_a_proof_is_told_to_who_has_none() -> None:
    one, other = pair()
    writer = shared(one, other)
    liar = writer.other()
    first, second = writer.say("one"), liar.say("other")
    one.take(first)
    other.take(first)
    one.replica.accept(second, NOW_MS)
    link = connected(one, other)
    link.run()
    assert_same(one, other)
    assert other.refusals == [(writer.origin, "fork")]


def test_a_proof_that_the_second_has_is_told_too() -> None:
    one, other = pair()
    writer = shared(one, other)
    liar = writer.other()
    first, second = writer.say("one"), liar.say("other")
    for node in (one, other):
        node.take(first)
    other.replica.accept(second, NOW_MS)
    connected(one, other).run()
    assert_same(one, other)
    assert one.refusals == [(writer.origin, "fork")]


def test_different_proofs_end_the_same() -> None:
    one, other = pair()
    writer = shared(one, other)
    third = writer.other()
    early = third.say("three", "four")
    liar = writer.other()
    batches = [writer.say("one"), liar.say("other")]
    one.take(batches[0])
    one.replica.accept(batches[1], NOW_MS)
    other.take(batches[0])
    other.replica.accept(early, NOW_MS)
    assert state(one.log) != state(other.log)
    connected(one, other).run()
    assert_same(one, other)


def test_a_fork_that_is_found_live_is_told_to_all() -> None:
    nodes = [Node(name) for name in ("anna", "bert", "carl")]
    links = [connected(nodes[0], nodes[1]), connected(nodes[1], nodes[2])]
    run_all(links, NOW_MS)
    writer = Writer("mallory")
    liar = writer.other()
    nodes[0].take(writer.say("one"))
    nodes[2].take(liar.say("other"))
    now_ms = NOW_MS
    for _ in range(10):
        now_ms += AGAIN_MS
        for link in links:
            link.tick(now_ms)
        run_all(links, now_ms)
    assert_same(*nodes)
    assert all(writer.origin in node.log.exclusions for node in nodes)


def test_entries_before_a_fork_are_vouched_for_by_its_proof() -> None:
    """The seal that vouched for them is excluded with what came after the fork."""
    one, other = pair()
    writer = Writer("mallory")
    liar = writer.other()
    batch = writer.say(*map(str, range(10)))
    one.take(batch)
    proof = prove(
        batch,
        Writer("mallory").put(*[Content("romeo@example", str(at).encode()) for at in range(5)], Content("m", b"?")),
        verify,
    )
    assert proof is not None
    one.replica.convict(ROOM.id, proof.encode())
    assert texts(one.log) == ["0", "1", "2", "3", "4"]
    connected(one, other).run()
    assert_same(one, other)
    assert liar.seq == 0


# --- what is larger than a message ------------------------------------------------------


def test_a_large_surplus_is_fetched_page_by_page() -> None:
    one, other = pair()
    writer = shared(one, other)
    for _ in range(30):
        one.take(writer.put(*(Content("a", bytes(1000)) for _ in range(100))))
    connected(one, other).run()
    assert_same(one, other)


def test_many_feeds_that_are_behind() -> None:
    one, other = pair()
    writers = [Writer(f"writer {number}") for number in range(300)]
    for writer in writers:
        batch = writer.say("x")
        one.take(batch)
        other.take(batch)
    for number, writer in enumerate(writers):
        (one, other)[number % 2].take(writer.say(*["y"] * 20))
    connected(one, other).run()
    assert_same(one, other)


def test_days_come_first_for_very_large_rooms(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sync_repair, "MAX_SET", 50)
    one, other = pair()
    writer = Writer("writer")
    for day in range(20_000, 20_010):
        writer.ms = day * DAY_MS
        batch = writer.say(*["x"] * 10)
        for node in (one, other):
            node.take(batch, now_ms=20_020 * DAY_MS)
    liar = writer.other()
    one.take(writer.say("to one"), now_ms=20_020 * DAY_MS)
    other.take(liar.say("to the other"), now_ms=20_020 * DAY_MS)
    link = connected(one, other, 20_020 * DAY_MS)
    link.run(20_020 * DAY_MS)
    assert [each.split()[1] for each in link.dialogue[:4]] == ["Heads", "Days", "More", "Symbols"]
    symbols = next(message for _, message in link.messages if isinstance(message, Symbols))
    assert symbols.scope.days == (20_009,)
    assert_same(one, other)


def test_very_many_differences_are_found_by_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sync_repair, "MAX_TABLE", 330)
    monkeypatch.setattr(sync_repair, "FIRST_SYMBOLS", 20)
    one, other = pair()
    writer = forked(one, other, 400)
    link = connected(one, other)
    now_ms = NOW_MS
    for _ in range(200):
        link.run(now_ms)
        now_ms += 10_000
        link.tick(now_ms)
    samples = {message.scope.sample for _, message in link.messages if isinstance(message, Symbols)}
    assert len(samples) > 1
    assert_same(one, other)
    assert one.log.exclusions[writer.origin][0] == 4


# --- small things ----------------------------------------------------------------------


def test_a_name_that_two_origins_share_is_spelled_out() -> None:
    """Two keys that begin with the same 8 bytes; nobody can sign for them here, so a hash does."""
    one, other = (Node(name, signer=HashSigner(name[:1].encode()), verifier=verify_hash) for name in ("anna", "bert"))
    feeds = [Feed(b"f"), Feed(b"f")]
    feeds[1].origin = type(feeds[1].origin)(b"f" * 8 + b"g" * 24)
    for feed in feeds:
        feed.ms = NOW_MS
        batch = feed.write(1, Content("f", b"x"))
        batch = batch._replace(room=ROOM.id)
        one.take(hash_sealed(batch))
    link = connected(one, other)
    link.run()
    assert_same(one, other)
    assert len(one.log.page(9)) == 2
    again = connected(one, other)
    again.run()
    heads = next(message for _, message in again.messages if isinstance(message, Heads))
    assert {len(head.origin) for head in heads.heads} == {KEY_BYTES}


def hash_sealed(batch: Batch) -> Batch:
    return batch._replace(seal=signature(batch.origin, sealed(ids(batch)[-1])))


def test_a_closed_room_is_spoken_of_no_more() -> None:
    one, other = pair()
    link = settled(one, other)
    one.replica.close(ROOM.id)
    other.say("x")
    link.run()
    link.tick(NOW_MS + RECHECK_MS)
    link.run(NOW_MS + RECHECK_MS)
    assert not link.conversation(one).closed


def test_interested_and_info_say_what_there_is() -> None:
    one, other = pair()
    for day in range(20_000, 20_003):
        other.say("x", now_ms=day * DAY_MS)
    conversation = Conversation(other.replica, one.origin)
    (answer,) = conversation.receive(encode(Interested(ROOM.id, 20_001)), NOW_MS)
    info = decode(answer)
    assert isinstance(info, Info)
    assert info.digest.entries == 2
    assert [tuple(head) for head in info.heads] == [(other.origin, 3)]


def test_keys_decide_who_speaks_first() -> None:
    low, high = sorted([key("anna").origin, key("bert").origin])
    nodes = {node.origin: node for node in (Node("anna"), Node("bert"))}
    assert Conversation(nodes[low].replica, high).start(NOW_MS)
    assert not Conversation(nodes[high].replica, low).start(NOW_MS)
