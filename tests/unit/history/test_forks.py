"""An origin that signs two things at one place: named, and excluded everywhere from there on, with a proof for all."""

from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from megaphone.errors import HistoryError
from megaphone.history.batch import Batch, ids
from megaphone.history.clock import Clock
from megaphone.history.content import Content
from megaphone.history.entry import EntryID, bare, entry
from megaphone.history.forks import MAX_RUN, Proof, decode, merged, prove
from megaphone.history.manifest import Manifest
from megaphone.history.memory import MemoryStore
from tests.unit.history.origins import NOW_MS, ROOM, Writer, key, log, split, state, texts, verify


def forked(common: int, one: int, other: int) -> tuple[Batch, Batch, Batch]:
    """A feed of `common` entries, and two ways that it goes on, each sealed at its end."""
    writer = Writer("anna")
    first = writer.say(*(f"common {number}" for number in range(common)))
    liar = writer.other()
    return (
        first,
        writer.say(*(f"one {number}" for number in range(one))),
        liar.say(*(f"other {number}" for number in range(other))),
    )


def proof_of(common: int = 3, one: int = 2, other: int = 4) -> Proof:
    _, left, right = forked(common, one, other)
    proof = prove(left, right, verify)
    assert proof is not None
    return proof


def test_a_fork_is_found_named_and_its_origin_excluded_from_there_on() -> None:
    first, one, other = forked(3, 2, 4)
    store = MemoryStore()
    here = log(store)
    here.accept(first, NOW_MS)
    here.accept(one, NOW_MS)
    accepted = here.accept(other, NOW_MS)
    assert accepted.refusal == "fork"
    assert accepted.new == ()
    proof = accepted.fork
    assert proof is not None
    assert (proof.origin, proof.seq) == (first.origin, 4)
    assert texts(here) == ["common 0", "common 1", "common 2"]
    assert here.exclusions == {first.origin: (4, proof.encode())}
    assert here.heads() == {first.origin: 3}
    assert here.accept(one, NOW_MS).refusal == "excluded"
    assert here.accept(other, NOW_MS).refusal == "excluded"
    assert here.accept(first, NOW_MS).refusal == "duplicate"
    assert state(log(store)) == state(here)
    assert log(store).accept(one, NOW_MS).refusal == "excluded"


def test_others_take_the_proof() -> None:
    first, one, _ = forked(3, 2, 4)
    here = log()
    here.accept(first, NOW_MS)
    here.accept(one, NOW_MS)
    data = proof_of().encode()
    assert here.convict(data) == first.origin
    assert texts(here) == ["common 0", "common 1", "common 2"]
    assert here.convict(data) is None
    empty = log()
    assert empty.convict(data) == first.origin
    assert empty.accept(one, NOW_MS).refusal == "excluded"
    assert empty.accept(first, NOW_MS).refusal is None
    assert state(empty) == state(here)


def test_what_is_before_a_fork_is_taken_even_from_a_batch_that_goes_on_behind_it() -> None:
    """Whether the seal vouches for it, or only the proof does."""
    first, one, _ = forked(3, 2, 4)
    whole = one._replace(seq=1, previous=first.previous, entries=(*first.entries, *one.entries))
    for batch in (whole, whole._replace(seal=b""), split(whole, 3)[0]):
        here = log()
        here.convict(proof_of().encode())
        accepted = here.accept(batch, NOW_MS)
        assert accepted.refusal == ("excluded" if batch.last > 3 else None)
        assert [each.seq for each in accepted.new] == [1, 2, 3]
        assert texts(here) == ["common 0", "common 1", "common 2"]
    forged = whole._replace(entries=(bare(first.entries[0])._replace(kind=9), *whole.entries[1:]), seal=b"")
    assert log().accept(forged, NOW_MS).refusal == "bad-seal"


def test_a_fork_in_one_batch_with_what_was_before_it() -> None:
    first, one, other = forked(3, 2, 4)
    here = log()
    here.accept(Writer("anna").sealed(one), NOW_MS)
    whole = other._replace(seq=1, previous=first.previous, entries=(*first.entries, *other.entries))
    accepted = here.accept(whole, NOW_MS)
    assert accepted.refusal == "fork"
    assert accepted.fork is not None
    assert accepted.fork.seq == 4
    assert [each.seq for each in accepted.new] == [1, 2, 3]
    assert texts(here) == ["common 0", "common 1", "common 2"]


def test_a_fork_that_shows_only_in_the_previous_id() -> None:
    """The forked entry itself has not come: what comes names another one before it."""
    _, one, other = forked(3, 1, 4)
    later = split(other, 1)[1]  # from seq 5 on, after another 4
    here = log()
    here.accept(one, NOW_MS)
    accepted = here.accept(later, NOW_MS)
    assert accepted.refusal == "fork"
    assert accepted.fork is not None
    assert accepted.fork.seq == 4
    assert decode(accepted.fork.encode(), verify).seq == 4
    there = log()
    there.accept(later, NOW_MS)
    accepted = there.accept(one, NOW_MS)
    assert accepted.fork is not None
    assert accepted.fork.seq == 4
    assert there.exclusions == here.exclusions


def test_a_fork_that_is_vouched_for_by_what_lies_behind() -> None:
    """No seal of its own: the entry after it, which is here and sealed, names it."""
    first, one, other = forked(2, 3, 3)
    here = log()
    here.accept(first, NOW_MS)
    here.accept(one, NOW_MS)
    lower, upper = split(other, 1)
    there = log()
    there.accept(first, NOW_MS)
    there.accept(upper, NOW_MS)  # from seq 4 on
    whole = one._replace(seq=1, previous=first.previous, entries=(*first.entries, *one.entries))
    assert there.accept(lower, NOW_MS).refusal is None
    accepted = there.accept(whole, NOW_MS)
    assert accepted.fork is not None
    assert accepted.fork.seq == 3
    assert texts(there) == ["common 0", "common 1"]
    nearly = log()
    nearly.accept(upper, NOW_MS)
    nearly.accept(Writer("anna").sealed(split(whole, 3)[0]), NOW_MS)
    accepted = nearly.accept(lower, NOW_MS)
    assert (accepted.refusal, accepted.fork) == ("duplicate", None) or accepted.refusal in ("fork", "excluded")


def test_an_earlier_fork_is_proven_later() -> None:
    """The same origin has forked twice: the earlier one counts, whichever is seen first."""
    writer = Writer("anna")
    first = writer.say("common")
    early = writer.other()
    middle = writer.say("middle", "middle")
    late = writer.other()
    one, two, three = writer.say("one"), late.say("two"), early.say("three")
    for order in permutations([first, middle, one, two, three]):
        here = log()
        for batch in (*order, *order):
            here.accept(batch, NOW_MS)
        assert here.exclusions[writer.origin][0] == 2, order
        assert texts(here) == ["common"]


def test_what_is_here_may_contradict_a_proof_that_comes() -> None:
    """The proof is about a later seq, for whoever made it knew no better; we do, and so does who gets ours."""
    writer = Writer("anna")
    early = writer.other()
    first = writer.say("one")
    late = writer.other()
    proof = prove(writer.say("two"), late.say("two, too"), verify)
    assert proof is not None
    assert proof.seq == 2
    other = early.say("another one")
    for batches in ([other], [early.say("another two"), other]):
        here, there = log(), log()
        for batch in batches:
            assert here.accept(batch, NOW_MS).refusal is None
        assert here.convict(proof.encode()) == writer.origin
        assert here.exclusions[writer.origin][0] == 1
        assert texts(here) == []
        assert there.convict(proof.encode()) == writer.origin
        assert there.accept(first, NOW_MS).refusal is None
        there.convict(here.exclusions[writer.origin][1])
        here.convict(there.exclusions[writer.origin][1])
        assert state(here) == state(there)
        fresh = log()
        fresh.convict(proof.encode())
        assert fresh.accept(other, NOW_MS).refusal == "fork"
        assert fresh.exclusions[writer.origin][0] == 1


def test_a_clock_that_falls_back_between_two_batches_is_proven_too() -> None:
    """Which of the two comes first must not matter, so it is no batch's fault but the origin's."""
    writer = Writer("anna")
    first = writer.say("one")
    writer.ms -= 10
    second = writer.say("two", "three")
    here, there = log(), log()
    assert here.accept(first, NOW_MS).refusal is None
    accepted = here.accept(second, NOW_MS)
    assert accepted.refusal == "clock-order"
    assert accepted.fork is not None
    assert there.accept(second, NOW_MS).refusal is None
    accepted = there.accept(first, NOW_MS)
    assert (accepted.refusal, [each.seq for each in accepted.new]) == ("clock-order", [1])
    assert state(here) == state(there)
    assert texts(here) == ["one"]
    assert log().convict(here.exclusions[first.origin][1]) == first.origin


def test_a_fork_of_our_own_ends_our_feed() -> None:
    anna = key("anna")
    here = log(own="anna")
    first, _, other = forked(1, 1, 1)
    here.accept(first, NOW_MS)
    here.append(1, Content("a", b"one"), Clock(NOW_MS + 50 << 16))
    here.flush(anna)
    assert here.accept(other, NOW_MS).refusal == "fork"
    for ask in (lambda: here.append(1, Content("a", b"x"), Clock(NOW_MS + 60 << 16)),):
        with pytest.raises(HistoryError) as caught:
            ask()
        assert caught.value.reason == "excluded"


def test_a_proof_proves_itself() -> None:
    proof = proof_of()
    assert decode(proof.encode(), verify) == proof
    with pytest.raises(HistoryError):
        decode(Proof(*proof[:3], proof.other, proof.one).encode(), verify)
    assert not any(each.content for run in (proof.one, proof.other) for each in run.entries)


@given(st.data())
def test_no_altered_byte_of_a_proof_passes(data: st.DataObject) -> None:
    written = bytearray(proof_of().encode())
    at = data.draw(st.integers(0, len(written) - 1))
    written[at] ^= data.draw(st.integers(1, 255))
    with pytest.raises(HistoryError):
        decode(bytes(written), verify)


@given(st.binary(max_size=300))
def test_any_bytes_as_a_proof_get_an_answer(data: bytes) -> None:
    with pytest.raises(HistoryError):
        decode(data, verify)


def test_what_proves_nothing() -> None:
    first, one, other = forked(3, 2, 4)
    assert prove(first, one, verify) is None  # one goes on from the other
    assert prove(one, one, verify) is None
    assert prove(one, other._replace(seal=bytes(64)), verify) is None
    assert prove(one._replace(seal=b""), other, verify) is None
    bert = Writer("bert")
    assert prove(one, bert.say("x", "y", "z", "u"), verify) is None
    elsewhere = Writer("anna", Manifest("muc", "mantua@rooms.example"))
    assert prove(first, elsewhere.say("x"), verify) is None
    far = Writer("anna")
    far.seq, far.previous = 50, EntryID(b"x" * 32)
    assert prove(first, far.say("x"), verify) is None  # nothing in common


def test_proofs_for_somebody_else() -> None:
    data = proof_of().encode()
    for here, reason in (
        (log(room=Manifest("muc", "mantua@rooms.example")), "unknown-room"),
        (log(own=None), ""),
    ):
        if reason:
            with pytest.raises(HistoryError) as caught:
                here.convict(data)
            assert caught.value.reason == reason
        else:
            assert here.convict(data) is not None
    stranger = Writer("stranger")
    liar = stranger.other()
    proof = prove(stranger.say("x"), liar.say("y"), verify)
    assert proof is not None
    with pytest.raises(HistoryError) as caught:
        log().convict(proof.encode())
    assert caught.value.reason == "unknown-origin"


@given(st.permutations([(1, 1, 1), (3, 2, 4), (3, 1, 1), (5, 1, 1), (2, 3, 3)]), st.integers(0, 5))
def test_proofs_merge_in_any_order(shapes: list[tuple[int, int, int]], split_at: int) -> None:
    proofs = [proof_of(*shape) for shape in shapes]
    together = None
    for proof in proofs:
        together = merged(together, proof)
    one = two = None
    for proof in proofs[:split_at]:
        one = merged(proof, one)
    for proof in proofs[split_at:]:
        two = merged(two, proof)
    assert merged(two, one) == together == proof_of(1, 1, 1)
    here = log()
    for proof in proofs:
        here.convict(proof.encode())
    assert here.exclusions == {key("anna").origin: (2, proof_of(1, 1, 1).encode())}


def test_runs_of_a_proof_are_bounded() -> None:
    """A fork further from the next seal than that is proven where it can be, and its origin excluded from there on."""
    writer = Writer("anna")
    liar = writer.other()
    content = Content("a", b"x").encode()
    entries = [entry(Clock((NOW_MS << 16) + at), 1, content) for at in range(MAX_RUN + 100)]
    pieces = []
    for start in range(0, len(entries), 1000):
        pieces.append(writer.put_entries(*entries[start : start + 1000], seal=start + 1000 >= len(entries)))
    here = log()
    for batch in reversed(pieces):
        assert here.accept(batch, NOW_MS).refusal is None
    assert here.accept(liar.say("another"), NOW_MS).refusal == "bad-chain"  # nothing that both say
    assert here.exclusions == {}
    long = liar.put_entries(*entries[1:1001], seal=False)
    accepted = here.accept(liar.sealed(long), NOW_MS)
    assert accepted.fork is not None
    assert accepted.fork.seq == 100  # of the last 3,072 entries the first names it
    assert len(accepted.fork.encode()) < 262_144
    assert ROOM.id == accepted.fork.room
    assert ids(accepted.fork.one) != ids(accepted.fork.other)
