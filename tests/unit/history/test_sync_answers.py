"""What is sent to those who ask: every page can be checked when it comes, the newest first, and all of it is there."""

import random

import pytest

from megaphone.history.batch import MAX_ENTRY_BYTES, Batch, encode, ids
from megaphone.history.content import Content
from megaphone.history.log import Log
from megaphone.history.memory import MemoryStore
from megaphone.history.messages import PAGE_BYTES
from megaphone.history.sync_answers import Vault, pages, parts
from tests.unit.history.origins import NOW_MS, ROOM, Writer, log, split

LATER_MS = NOW_MS + 10_000_000


def vault(here: Log, store: MemoryStore) -> Vault:
    return Vault(ROOM.id, store, here.spans, here.exclusions)


def filled(*batches: Batch) -> tuple[Log, MemoryStore]:
    store = MemoryStore()
    here = log(store)
    for batch in batches:
        assert here.accept(batch, LATER_MS).refusal is None
    return here, store


def taken(sent: list[Batch], *before: Batch) -> list[int]:
    """The seqs that somebody has who gets them in turn, of whom nothing may be refused."""
    here, _ = filled(*before)
    for batch in sent:
        assert here.accept(batch, LATER_MS).refusal is None
    return sorted(placed.seq for placed in here.page(100_000))


def test_a_long_feed_comes_from_its_end_and_nothing_is_refused() -> None:
    writer = Writer("anna")
    here, store = filled(*(writer.say(*["x"] * 1000) for _ in range(5)))
    sent = list(vault(here, store).backwards(writer.origin, 1, 5000))
    assert [(batch.seq, batch.last, bool(batch.seal)) for batch in sent] == [
        (4001, 5000, True), (3001, 4000, True), (2001, 3000, True), (1001, 2000, True), (1, 1000, True)
    ]  # fmt: skip
    assert taken(sent) == list(range(1, 5001))


def test_seals_that_are_not_there_are_not_needed() -> None:
    writer = Writer("anna")
    whole = [writer.say(*["x"] * 1000, seal=at == 4) for at in range(5)]
    here, store = filled(*whole[::-1])
    sent = list(vault(here, store).backwards(writer.origin, 1, 5000))
    assert [bool(batch.seal) for batch in sent] == [True, False, False, False, False]
    assert taken(sent) == list(range(1, 5001))


@pytest.mark.parametrize("seed", range(30))
def test_any_range_of_any_feed(seed: int) -> None:
    """Whatever is here, and wherever seals are: what is sent is taken, and it is all that can be vouched for."""
    choice, writer = random.Random(seed), Writer("anna")
    written = [writer.say(*["x"] * choice.randint(1, 30)) for _ in range(12)]
    pieces = [piece for batch in written for piece in split(batch, *(choice.randint(1, 9) for _ in range(3)))]
    here, store = filled(*pieces[::-1])
    for _ in range(choice.randint(0, 3)):
        lost = choice.randint(1, writer.seq)
        store.drop(ROOM.id, writer.origin, lost, min(writer.seq, lost + choice.randint(0, 20)))
    here = log(store)
    first = choice.randint(1, writer.seq)
    last = choice.randint(first, writer.seq)
    sent = list(vault(here, store).backwards(writer.origin, first, last))
    got = set(taken(sent))
    for placed in store.feed(ROOM.id, writer.origin, first, last):
        assert placed.seq in got or not is_vouched_for(here, store, writer, placed.seq)


def is_vouched_for(here: Log, store: MemoryStore, writer: Writer, seq: int) -> bool:
    """Whether a seal comes later in the same span."""
    found = store.seal(ROOM.id, writer.origin, seq)
    return found is not None and any(span.first <= seq and found[0] <= span.last for span in here.spans[writer.origin])


def test_who_knows_the_last_id_needs_no_seal() -> None:
    writer = Writer("anna")
    whole = writer.say(*["x"] * 20)
    here, store = filled(whole)
    sent = list(vault(here, store).backwards(writer.origin, 5, 9, is_pinned=True))
    assert [(batch.seq, batch.last, batch.seal) for batch in sent] == [(5, 9, b"")]
    after = whole._replace(seq=10, previous=ids(whole)[8], entries=whole.entries[9:])
    assert taken(sent, after) == list(range(5, 21))


def test_what_is_too_old_is_left_out() -> None:
    writer = Writer("anna")
    day_ms = 86_400_000
    written = []
    for _ in range(4):
        written.append(writer.say("x", "y"))
        writer.ms += day_ms
    here, store = filled()
    for at, batch in enumerate(written):
        assert here.accept(batch, NOW_MS + at * day_ms + 60_000).refusal is None
    sent = list(vault(here, store).backwards(writer.origin, 1, 8, from_day=NOW_MS // day_ms + 2))
    assert [(batch.seq, batch.last) for batch in sent] == [(5, 8)]


def test_the_newest_page_has_the_end_of_each_feed() -> None:
    anna, bert = Writer("anna"), Writer("bert")
    here, store = filled(anna.say("a"), bert.say("b", "c"), anna.say("d"))
    sent = list(vault(here, store).page(here.page(3)))
    other, _ = filled(*sent)
    assert [placed.id for placed in other.page(9)][-3:] == [placed.id for placed in here.page(3)]


def test_pages_are_of_256_kib_and_an_entry() -> None:
    writer = Writer("anna")
    contents = [Content("a", bytes(size)) for size in [100] * 500 + [MAX_ENTRY_BYTES - 9] + [9_000] * 50]
    here, store = filled(*(writer.put(content) for content in contents))
    found, is_all = pages(vault(here, store).backwards(writer.origin, 1, writer.seq), most=20)
    assert is_all
    assert len(found) > 2
    for page in found:
        assert sum(map(len, page)) <= PAGE_BYTES or len(page) == 1
        assert sum(map(len, page)) <= PAGE_BYTES + MAX_ENTRY_BYTES
    few, is_all = pages(vault(here, store).backwards(writer.origin, 1, writer.seq), most=1)
    assert (few, is_all) == (found[:1], False)


def test_no_pages_are_an_empty_one() -> None:
    assert pages([]) == ([[]], True)


def test_a_large_batch_comes_in_parts_of_which_each_can_be_checked() -> None:
    batch = Writer("anna").put(*(Content("a", bytes(5000)) for _ in range(150)))
    cut = list(parts(batch))
    assert len(cut) > 2
    assert all(len(encode(part)) <= PAGE_BYTES for part in cut)
    assert [bool(part.seal) for part in cut] == [True] + [False] * (len(cut) - 1)
    assert taken(cut) == list(range(1, 151))
    assert list(parts(cut[0])) == cut[:1]
