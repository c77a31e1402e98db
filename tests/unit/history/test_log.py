"""Dialogues with a log: what it takes, and the word for each refusal, after which nothing has changed."""

import pytest

from megaphone.errors import HistoryError
from megaphone.history.answers import Missing, Refusal
from megaphone.history.batch import MAX_ENTRY_BYTES, Batch, decode, encode, ids
from megaphone.history.clock import Clock
from megaphone.history.content import Content
from megaphone.history.entry import EntryID, Kind, bare, entry
from megaphone.history.log import AHEAD_MS
from megaphone.history.manifest import Manifest
from megaphone.history.memory import MemoryStore
from megaphone.history.spans import MAX_SPANS
from tests.unit.history.origins import NOW_MS, ROOM, Writer, log, signed, split, state, texts

YEARS_MS = 10 * 365 * 86_400_000


def refusal_of(batch: Batch, *before: Batch) -> Refusal | None:
    """The answer to a batch after others; what is refused changes nothing."""
    here = log()
    for each in before:
        assert here.accept(each, NOW_MS).refusal is None
    unchanged = state(here)
    accepted = here.accept(batch, NOW_MS)
    if accepted.refusal is not None:
        assert accepted.new == ()
        assert accepted.fork is None
        assert state(here) == unchanged
    return accepted.refusal


def test_a_sealed_batch_is_taken() -> None:
    assert refusal_of(Writer("anna").say("hello", "world")) is None


def test_another_room() -> None:
    assert refusal_of(Writer("anna", Manifest("muc", "mantua@rooms.example")).say("hello")) == "unknown-room"


def test_an_origin_nobody_trusts() -> None:
    assert refusal_of(Writer("stranger").say("hello")) == "unknown-origin"


def test_too_large() -> None:
    assert refusal_of(Writer("anna").put(Content("a", bytes(MAX_ENTRY_BYTES)))) == "too-large"
    assert refusal_of(Writer("anna").say(*["x"] * 1025)) == "too-large"


def test_a_clock_that_does_not_rise() -> None:
    clock = Clock(NOW_MS << 16)
    content = Content("a", b"x").encode()
    assert refusal_of(Writer("anna").put_entries(entry(clock, 1, content), entry(clock, 1, content))) == "clock-order"


def test_a_clock_ten_years_ahead() -> None:
    writer = Writer("anna")
    writer.ms += YEARS_MS
    batch = writer.say("hello from the future")
    assert refusal_of(batch) == "clock-ahead"
    assert log().accept(batch, NOW_MS + YEARS_MS).refusal is None


def test_a_clock_may_be_a_minute_ahead() -> None:
    writer = Writer("anna")
    writer.ms += AHEAD_MS - 1
    assert refusal_of(writer.say("just so")) is None
    writer = Writer("anna")
    writer.ms += AHEAD_MS
    assert refusal_of(writer.say("too much")) == "clock-ahead"


def test_a_wrong_seal() -> None:
    batch = Writer("anna").say("hello")
    assert refusal_of(batch._replace(seal=bytes(64))) == "bad-seal"
    assert refusal_of(batch._replace(seal=Writer("bert").say("hello").seal)) == "bad-seal"
    assert refusal_of(batch._replace(seal=b"")) == "bad-seal"


def test_a_forged_entry() -> None:
    """Somebody else writes at the end of a feed, or in the middle of a batch."""
    writer = Writer("anna")
    first = writer.say("hello")
    forged = writer.say("I owe you a horse", seal=False)
    assert refusal_of(forged._replace(seal=first.seal), first) == "bad-seal"
    assert refusal_of(forged, first) == "bad-seal"
    batch = Writer("anna").say("one", "two", "three")
    entries = (batch.entries[0], entry(batch.entries[1].clock, 1, Content("a", b"2").encode()), batch.entries[2])
    assert refusal_of(batch._replace(entries=entries)) == "bad-seal"
    assert refusal_of(batch._replace(entries=entries), batch) == "bad-seal"


def test_what_contradicts_what_is_known_and_has_no_seal() -> None:
    writer = Writer("anna")
    other = writer.other()
    assert refusal_of(other.say("no", seal=False), writer.say("yes")) == "bad-chain"


def test_a_replayed_batch_is_a_duplicate() -> None:
    writer = Writer("anna")
    first, second = writer.say("one"), writer.say("two", "three")
    for batch in (first, second):
        assert refusal_of(batch, first, second) == "duplicate"
        assert refusal_of(decode(encode(batch)), first, second) == "duplicate"


def test_a_batch_that_overlaps_brings_only_what_is_new() -> None:
    batch = Writer("anna").say("one", "two", "three", "four")
    middle = Batch(batch.room, batch.origin, 2, ids(batch)[0], batch.entries[1:3], b"")
    middle = Writer("anna").sealed(middle)
    here = log()
    assert [each.seq for each in here.accept(middle, NOW_MS).new] == [2, 3]
    accepted = here.accept(batch, NOW_MS)
    assert [each.seq for each in accepted.new] == [1, 4]
    assert accepted.refusal is None
    assert texts(here) == ["one", "two", "three", "four"]
    assert len(here.spans[batch.origin]) == 1


def test_a_forged_author() -> None:
    content = signed("romeo's own", "romeo@example", b"I love Juliet")
    assert refusal_of(Writer("anna").put(content)) is None
    forged = Content("tybalt@example", content.stanza, None, content.author_key, content.author_signature)
    assert refusal_of(Writer("anna").put(Content("a", b"x"), forged)) == "forged-author"


@pytest.mark.parametrize(
    ("kind", "content"),
    [
        (1, b"\x93\xa1a\xc4\x01b\xc0"),
        (1, b"hello"),
        (3, Content("a", b"x").encode()),
        (4, Content("a", b"x", b"short").encode()),
        (1, Content("a", b"x", b"t" * 32).encode()),
        (1, Content("a", b"x", None, b"k" * 32).encode()),
    ],
)
def test_a_content_that_is_none(kind: int, content: bytes) -> None:
    batch = Writer("anna").put_entries(entry(Clock(NOW_MS << 16), kind, content))
    assert refusal_of(decode(encode(batch))) == "malformed"


def test_an_unknown_kind_is_kept_whatever_it_says() -> None:
    batch = Writer("anna").put_entries(entry(Clock(NOW_MS << 16), 77, b"from a later version"))
    here = log()
    (placed,) = here.accept(batch, NOW_MS).new
    assert placed.entry.content == b"from a later version"
    assert here.content(placed) is None
    assert here.missing() == []


def test_a_gap_is_no_refusal_and_is_named() -> None:
    writer = Writer("anna")
    first, second, third = writer.say("one"), writer.say("two", "three"), writer.say("four")
    here = log()
    assert here.accept(third, NOW_MS).missing == (Missing(writer.origin, 1, 3),)
    assert here.accept(first, NOW_MS).missing == ()
    assert here.missing() == [Missing(writer.origin, 2, 3)]
    assert here.heads() == {writer.origin: 4}
    assert here.accept(second, NOW_MS).missing == ()
    assert here.missing() == []
    assert [(span.first, span.last) for span in here.spans[writer.origin]] == [(1, 4)]
    assert texts(here) == ["one", "two", "three", "four"]


def test_what_the_next_entry_names_needs_no_seal() -> None:
    batch = Writer("anna").say("one", "two", "three", "four")
    first, second, third = split(batch, 1, 2)
    assert (first.seal, second.seal) == (b"", b"")
    assert refusal_of(second) == "bad-seal"
    assert refusal_of(second, third) is None
    assert refusal_of(first, third) == "bad-seal"
    assert refusal_of(first, third, second) is None
    wrong = second._replace(previous=EntryID(b"x" * 32))
    assert refusal_of(wrong, third) == "bad-chain"


def test_a_right_place_in_the_chain_does_not_excuse_a_wrong_seal() -> None:
    first, second = split(Writer("anna").say("one", "two"), 1)
    assert refusal_of(first._replace(seal=bytes(64)), second) == "bad-seal"


def test_gaps_are_bounded() -> None:
    writer = Writer("anna")
    here = log()
    batches = [writer.say(f"{number}") for number in range(2 * MAX_SPANS + 2)]
    for batch in batches[: 2 * MAX_SPANS : 2]:
        assert here.accept(batch, NOW_MS).refusal is None
    last = batches[-1]
    refused = here.accept(last, NOW_MS)
    assert refused.refusal == "too-many-gaps"
    assert refused.missing == (Missing(writer.origin, 2 * MAX_SPANS, 2 * MAX_SPANS + 1),)
    assert here.accept(batches[1], NOW_MS).refusal is None  # fills one
    assert here.accept(last, NOW_MS).refusal is None


def test_a_bare_entry_is_asked_for_until_its_content_comes() -> None:
    batch = Writer("anna").say("one", "two", "three")
    lost = batch._replace(entries=(batch.entries[0], bare(batch.entries[1]), batch.entries[2]))
    store = MemoryStore()
    here = log(store)
    asked = Missing(batch.origin, 2, 2, content=True)
    assert here.accept(lost, NOW_MS).missing == (asked,)
    assert here.missing() == [asked]
    assert texts(here) == ["one", None, "three"]
    assert here.accept(lost, NOW_MS).refusal == "duplicate"
    again = log(store)
    assert again.missing() == []  # until somebody reads
    again.page(10)
    assert again.missing() == [asked]
    accepted = again.accept(batch, NOW_MS)
    assert (accepted.new, [each.seq for each in accepted.restored], accepted.refusal) == ((), [2], None)
    assert again.missing() == []
    assert texts(again) == ["one", "two", "three"]
    assert again.accept(batch, NOW_MS).refusal == "duplicate"


def test_contents_are_restored_beside_new_entries() -> None:
    first, second = split(Writer("anna").say("one", "two"), 1)
    here = log()
    here.accept(second, NOW_MS)
    here.accept(first._replace(entries=tuple(map(bare, first.entries))), NOW_MS)
    writer = Writer("anna")
    whole = writer.say("one", "two")
    longer = writer.say("three")
    both = writer.sealed(whole._replace(entries=(*whole.entries, *longer.entries)))
    accepted = here.accept(both, NOW_MS)
    assert [each.seq for each in accepted.new] == [3]
    assert [each.seq for each in accepted.restored] == [1]
    assert texts(here) == ["one", "two", "three"]


def test_the_order_is_that_of_clock_and_origin() -> None:
    anna, bert = Writer("anna"), Writer("bert")
    here, there = log(), log()
    said = [anna.say("a1"), bert.say("b1"), anna.say("a2"), bert.say("b2")]
    for batch in said:
        here.accept(batch, NOW_MS)
    for batch in reversed(said):
        there.accept(batch, NOW_MS)
    assert state(here) == state(there)
    assert sorted(texts(here)[:2]) == ["a1", "b1"]  # type: ignore[type-var]
    assert sorted(texts(here)[2:]) == ["a2", "b2"]  # type: ignore[type-var]
    page = here.page(2)
    first = page[0]
    assert here.page(2, (first.entry.clock, first.origin, first.seq)) == here.page(4)[:2]


def test_a_restart_knows_what_was_known() -> None:
    anna = Writer("anna")
    batches = [anna.say("one"), anna.say("two"), anna.say("three"), anna.say("four")]
    store, there = MemoryStore(), log()
    for batch in (batches[3], batches[0], batches[1]):
        assert log(store).accept(batch, NOW_MS).refusal is None
        there.accept(batch, NOW_MS)
    assert state(log(store)) == state(there)
    assert log(store).missing() == there.missing() == [Missing(anna.origin, 3, 3)]
    assert log(store).accept(batches[0], NOW_MS).refusal == "duplicate"
    assert store.rooms() == [ROOM]


def test_a_reload_sees_what_was_dropped() -> None:
    anna = Writer("anna")
    store = MemoryStore()
    here = log(store)
    batch = anna.say("one", "two", "three")
    here.accept(batch, NOW_MS)
    store.drop(ROOM.id, anna.origin, 1, 2)
    here.reload()
    assert here.missing() == [Missing(anna.origin, 1, 2)]
    assert [each.seq for each in here.accept(batch, NOW_MS).new] == [1, 2]


@pytest.mark.parametrize("known", [0, 1, 2])
def test_every_altered_byte_is_refused(known: int) -> None:
    """Whether nothing is known, what is before it, or the batch itself."""
    writer = Writer("anna")
    before = writer.say("before")
    batch = writer.put(Content("a", b"one"), Content("b", b"two" * 30), kind=Kind.NOTE)
    written = encode(batch)
    here = log()
    for each in (before, batch)[:known]:
        here.accept(each, NOW_MS)
    unchanged = state(here)
    for at in range(len(written) - (64 if known == 2 else 0)):  # of what is known nobody needs the seal
        for bit in range(0, 8, 3):
            altered = bytearray(written)
            altered[at] ^= 1 << bit
            reason: str | None
            try:
                reason = here.accept(decode(bytes(altered)), NOW_MS).refusal
            except HistoryError as error:
                reason = error.reason
            assert reason in set(Refusal) - {Refusal.DUPLICATE, Refusal.FORK}, (at, bit)
    assert state(here) == unchanged
