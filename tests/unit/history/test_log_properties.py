"""Whatever is split, lost, sent twice or comes in another order: all logs end with the same."""

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from megaphone.history.batch import Batch, decode, encode, ids
from megaphone.history.content import Content
from megaphone.history.entry import Kind
from megaphone.history.log import Log
from megaphone.history.memory import MemoryStore
from tests.unit.history.origins import NOW_MS, Writer, log, split, state

NAMES = ["anna", "bert", "carl"]


@st.composite
def conversations(draw: st.DrawFn) -> list[Batch]:
    """Sealed batches of three origins, with retractions and moderations among them, and perhaps a liar."""
    writers = [Writer(name) for name in NAMES]
    said: list[Batch] = []
    for _ in range(draw(st.integers(1, 12))):
        writer = draw(st.sampled_from(writers))
        writer.ms += draw(st.integers(0, 3))
        what = draw(st.sampled_from(["say", "say", "say", "retract", "moderate", "fork"]))
        if what == "say" or not said:
            texts = draw(st.lists(st.sampled_from(["a", "b", "c" * 50]), min_size=1, max_size=5))
            said.append(writer.say(*texts))
        elif what == "fork":
            writers.append(writer.other())
        else:
            target = draw(st.sampled_from(ids(draw(st.sampled_from(said)))))
            kind = Kind.RETRACTION if what == "retract" else Kind.MODERATION
            said.append(writer.put(Content("romeo@example", b"x", target), kind=kind))
    return said


def deliver(here: Log, batches: list[Batch]) -> None:
    for batch in batches:
        here.accept(decode(encode(batch)), NOW_MS + 1000)


@given(st.integers(1, 30), st.lists(st.integers(1, 6), max_size=10))
def test_any_split_gives_the_same_ids(count: int, lengths: list[int]) -> None:
    batch = Writer("anna").say(*(f"{number}" for number in range(count)))
    pieces = split(batch, *lengths)
    assert [id_ for piece in pieces for id_ in ids(piece)] == ids(batch)
    assert all(other.previous == ids(one)[-1] for one, other in pairwise(pieces))
    here, there = log(), log()
    deliver(here, [batch])
    deliver(there, pieces[::-1])
    assert state(here) == state(there)


@settings(max_examples=200)
@given(conversations(), st.data())
def test_all_orders_end_the_same(said: list[Batch], data: st.DataObject) -> None:
    """What is lost at first comes once more at the end; proofs are told to all, as sync does."""
    logs = [log(), log(MemoryStore()), log()]
    for here in logs:
        deliver(here, data.draw(st.lists(st.sampled_from(said), max_size=2 * len(said))))
        deliver(here, data.draw(st.permutations(said)))
    proofs = [proof for here in logs for _, proof in here.exclusions.values()]
    for here in logs:
        for proof in data.draw(st.permutations(proofs)):
            here.convict(proof)
        deliver(here, data.draw(st.permutations(said)))
        assert here.missing() == []
    proofs = [proof for here in logs for _, proof in here.exclusions.values()]
    for here in logs:
        for proof in proofs:
            here.convict(proof)
        deliver(here, said)  # what excluded tombstones had erased
    assert state(logs[0]) == state(logs[1]) == state(logs[2])


@given(conversations(), st.data())
def test_a_restart_changes_nothing(said: list[Batch], data: st.DataObject) -> None:
    store = MemoryStore()
    here = log()
    for batch in data.draw(st.permutations(said)):
        there = log(store)
        assert there.accept(batch, NOW_MS + 1000) == here.accept(batch, NOW_MS + 1000)
        assert state(there) == state(here)
