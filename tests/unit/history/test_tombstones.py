"""Retractions and moderations: what they erase, in whichever order they come, and what they cannot."""

from itertools import permutations

import pytest

from megaphone.history.batch import Batch, ids
from megaphone.history.clock import Clock
from megaphone.history.content import Content
from megaphone.history.entry import EntryID, Kind, Origin, bare, stanza_id
from megaphone.history.log import Log
from megaphone.history.memory import MemoryStore
from tests.unit.history.origins import NOW_MS, ROOM, Writer, key, log, signed, state, texts, verify

ROMEO, TYBALT = "romeo@example", "tybalt@example"


def retraction(writer: Writer, target: EntryID, author: str = ROMEO) -> Batch:
    return writer.put(Content(author, b"<retract/>", target), kind=Kind.RETRACTION)


def moderation(writer: Writer, target: EntryID) -> Batch:
    return writer.put(Content("friar@example", b"<moderate/>", target), kind=Kind.MODERATION)


def outcome(*batches: Batch, moderates: Origin | None = None) -> list[str | None]:
    """The log after all of these, which is the same in each order, and after a restart between any two."""
    outcomes = []
    for order in permutations(batches):
        store = MemoryStore()
        here = _log(store, moderates)
        for batch in order:
            assert here.accept(batch, NOW_MS).refusal is None
        restarted = MemoryStore()
        for batch in order:
            _log(restarted, moderates).accept(batch, NOW_MS)
        again = _log(restarted, moderates)
        assert state(again) == state(here)
        assert here.missing() == []
        outcomes.append(state(here))
        found = texts(here)
    assert all(each == outcomes[0] for each in outcomes)
    return found


def _log(store: MemoryStore, moderates: Origin | None) -> Log:
    may = (lambda origin: origin == moderates) if moderates is not None else None
    return Log(ROOM, store, verify, lambda _: True, moderates=may)


def test_an_author_retracts_at_the_same_origin() -> None:
    anna = Writer("anna")
    said = anna.say("oh", "dear")
    assert outcome(said, retraction(anna, ids(said)[0])) == [None, "dear", "<retract/>"]


def test_nobody_retracts_what_somebody_else_has_said() -> None:
    anna = Writer("anna")
    said = anna.say("mine")
    assert outcome(said, retraction(anna, ids(said)[0], TYBALT)) == ["mine", "<retract/>"]


def test_another_origin_cannot_retract_in_an_authors_name() -> None:
    anna, bert = Writer("anna"), Writer("bert")
    said = anna.say("mine")
    bert.ms += 10
    assert outcome(said, retraction(bert, ids(said)[0])) == ["mine", "<retract/>"]


def test_an_author_retracts_anywhere_with_the_same_key() -> None:
    anna, bert = Writer("anna"), Writer("bert")
    bert.ms += 10
    said = anna.put(signed("romeo's own", ROMEO, b"mine"))
    target = ids(said)[0]
    stanza = f"<retract id='{stanza_id(target)}'/>".encode()
    mine = bert.put(signed("romeo's own", ROMEO, stanza, target), kind=Kind.RETRACTION)
    assert outcome(said, mine) == [None, stanza.decode()]
    bert = Writer("bert")
    bert.ms += 10
    not_mine = bert.put(signed("tybalt's own", ROMEO, stanza, target), kind=Kind.RETRACTION)
    assert outcome(said, not_mine) == ["mine", stanza.decode()]


def test_a_signed_retraction_is_not_one_of_something_else() -> None:
    """The signature is over the stanza: an origin that puts another target beside it forges nothing."""
    anna, bert = Writer("anna"), Writer("bert")
    bert.ms += 10
    said = anna.put(signed("romeo's own", ROMEO, b"one"), signed("romeo's own", ROMEO, b"two"))
    first, second = ids(said)
    stanza = f"<retract id='{stanza_id(first)}'/>".encode()
    moved = bert.put(signed("romeo's own", ROMEO, stanza, second), kind=Kind.RETRACTION)
    assert outcome(said, moved) == ["one", "two", stanza.decode()]


def test_a_moderation_counts_from_who_may() -> None:
    anna, bert = Writer("anna"), Writer("bert")
    bert.ms += 10
    said = anna.say("a villain, that lives many miles asunder")
    moderated = moderation(bert, ids(said)[0])
    assert outcome(said, moderated) == [None, "<moderate/>"]
    assert outcome(said, moderated, moderates=bert.origin) == [None, "<moderate/>"]
    assert outcome(said, moderated, moderates=anna.origin)[1] == "<moderate/>"
    assert outcome(said, moderated, moderates=anna.origin)[0] is not None


def test_tombstones_stay() -> None:
    anna = Writer("anna")
    said = anna.say("one")
    first = retraction(anna, ids(said)[0])
    second = retraction(anna, ids(first)[0])
    assert outcome(said, first, second) == [None, "<retract/>", "<retract/>"]


def test_two_tombstones_are_one_too_many_and_do_no_harm() -> None:
    anna, bert = Writer("anna"), Writer("bert")
    bert.ms += 10
    said = anna.say("one")
    assert outcome(said, retraction(anna, ids(said)[0]), moderation(bert, ids(said)[0])) == [
        None,
        "<retract/>",
        "<moderate/>",
    ]


def test_target_and_tombstone_in_one_batch() -> None:
    anna = Writer("anna")
    said = anna.say("one")
    erased = retraction(anna, ids(said)[0])
    both = anna.sealed(said._replace(entries=(*said.entries, *erased.entries)))
    here = log()
    here.accept(both, NOW_MS)
    assert texts(here) == [None, "<retract/>"]


@pytest.mark.parametrize("first", ["tombstone", "bare"])
def test_an_erased_entry_is_not_asked_for(first: str) -> None:
    anna = Writer("anna")
    said = anna.say("one")
    erased = retraction(anna, ids(said)[0])
    lost = said._replace(entries=tuple(map(bare, said.entries)))
    here = log()
    for batch in (lost, erased) if first == "bare" else (erased, lost):
        here.accept(batch, NOW_MS)
    assert here.missing() == []
    assert here.accept(said, NOW_MS).refusal == "duplicate"  # somebody's old copy
    assert texts(here) == [None, "<retract/>"]
    assert here.missing() == []


def test_an_erased_entry_comes_without_its_content() -> None:
    anna = Writer("anna")
    said = anna.say("one")
    here = log()
    here.accept(retraction(anna, ids(said)[0]), NOW_MS)
    (placed,) = here.accept(said, NOW_MS).new
    assert placed.entry.content is None
    assert placed.id == ids(said)[0]


def test_a_tombstone_that_was_bare_erases_when_its_content_comes() -> None:
    anna = Writer("anna")
    said = anna.say("one")
    erased = retraction(anna, ids(said)[0])
    here = log()
    here.accept(said, NOW_MS)
    here.accept(erased._replace(entries=tuple(map(bare, erased.entries))), NOW_MS)
    assert texts(here) == ["one", None]
    assert [each.seq for each in here.accept(erased, NOW_MS).restored] == [2]
    assert texts(here) == [None, "<retract/>"]


def test_our_own_tombstones_erase() -> None:
    anna = Writer("anna")
    said = anna.say("one")
    here = log(own="bert")
    here.accept(said, NOW_MS)
    here.append(Kind.MODERATION, Content("friar@example", b"x", ids(said)[0]), Clock(NOW_MS + 99 << 16))
    assert texts(here) == ["one"]
    here.flush(key("bert"))
    assert texts(here) == [None, "x"]
