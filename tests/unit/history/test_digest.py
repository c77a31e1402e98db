"""Digests: the same for the same set, whatever the order, and sums of parts."""

from hypothesis import given
from hypothesis import strategies as st

from megaphone.history import digest as digests
from megaphone.history.digest import MODULUS, NOTHING, Digest
from megaphone.history.entry import EntryID

IDS = st.lists(st.binary(min_size=32, max_size=32).map(EntryID), max_size=20, unique=True)


def test_of_two_entries() -> None:
    one, other = EntryID(b"\xff" * 32), EntryID(bytes(15) + b"\x02" + b"\xaa" * 16)
    assert digests.of([one]) == Digest(1, MODULUS - 1)
    assert digests.of([one, other]) == Digest(2, 1)
    assert digests.of([]) == NOTHING


@given(IDS, st.randoms())
def test_the_order_does_not_matter(ids: list[EntryID], choice: object) -> None:
    shuffled = ids[:]
    choice.shuffle(shuffled)  # type: ignore[attr-defined]
    assert digests.of(shuffled) == digests.of(ids)


@given(IDS, st.integers(0, 20))
def test_parts_add_up_and_can_be_taken_away(ids: list[EntryID], cut: int) -> None:
    whole, one, other = digests.of(ids), digests.of(ids[:cut]), digests.of(ids[cut:])
    assert one.plus(other) == whole
    assert whole.minus(one) == other


@given(IDS, IDS)
def test_other_sets_have_other_digests(one: list[EntryID], other: list[EntryID]) -> None:
    ids = {id_[: digests.ID_BYTES] for id_ in one} ^ {id_[: digests.ID_BYTES] for id_ in other}
    assert (digests.of(one) == digests.of(other)) == (not ids)


def test_days_from_one_on() -> None:
    days = {3: (1, 10), 4: (2, MODULUS - 5), 9: (1, 7)}
    assert digests.since(days) == Digest(4, 12)
    assert digests.since(days, 4) == Digest(3, 2)
    assert digests.since(days, 10) == NOTHING
