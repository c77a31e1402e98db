"""Pages: whatever their size and direction, one behind the other they are the whole, and nothing twice."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from megaphone.errors import ArchiveError
from megaphone.history.entry import Kind
from megaphone.stream.archive import PAGE_BYTES, Archived, Page, Said, Wanted, page_of

PEERS = ("juliet@x", "nurse@x")
SIZES = st.integers(1, 40) | st.just(PAGE_BYTES // 2) | st.just(PAGE_BYTES + 1)
ENTRIES = st.lists(st.tuples(st.integers(0, 20), st.sampled_from(PEERS), SIZES), max_size=25).map(
    lambda rows: [
        Archived(f"id{number}", Said(float(time), Kind.MESSAGE, peer, peer, "r", b"x" * size))
        for number, (time, peer, size) in enumerate(rows)
    ]
)
FILTERS = st.builds(
    Wanted,
    max=st.integers(1, 7),
    start=st.none().map(lambda _: float("-inf")) | st.integers(0, 20).map(float),
    end=st.none().map(lambda _: float("inf")) | st.integers(0, 20).map(float),
    peer=st.none() | st.sampled_from(PEERS),
)


def page(entries: list[Archived], wanted: Wanted) -> Page:
    found = page_of(entries, wanted, whole=True)
    assert found is not None
    return found


def matching(entries: list[Archived], wanted: Wanted) -> list[Archived]:
    return [each for each in entries if wanted.matches(each)]


@given(entries=ENTRIES, wanted=FILTERS)
def test_forwards(entries: list[Archived], wanted: Wanted) -> None:
    seen: list[Archived] = []
    while True:
        got = page(entries, wanted)
        assert len(got.entries) <= wanted.max
        seen += got.entries
        if got.complete:
            break
        assert got.entries  # however large one entry is, it goes on
        wanted = replace(wanted, after=(got.entries[-1].id,))
    assert seen == matching(entries, wanted)


@given(entries=ENTRIES, wanted=FILTERS)
def test_backwards(entries: list[Archived], wanted: Wanted) -> None:
    wanted = replace(wanted, backwards=True)
    seen: list[Archived] = []
    while True:
        got = page(entries, wanted)
        assert len(got.entries) <= wanted.max
        seen = [*got.entries, *seen]
        if got.complete:
            break
        assert got.entries
        wanted = replace(wanted, before=(got.entries[0].id,))
    assert seen == matching(entries, wanted)


@given(entries=ENTRIES, wanted=FILTERS, data=st.data())
def test_what_is_in_memory_answers_as_the_whole_does(
    entries: list[Archived], wanted: Wanted, data: st.DataObject
) -> None:
    """Of the last entries alone the same page comes, or none."""
    ids = [each.id for each in entries]
    named = st.lists(st.sampled_from(ids), max_size=2).map(tuple) if ids else st.just(())
    some = st.lists(st.sampled_from(ids), min_size=1, max_size=2).map(tuple) if ids else st.none()
    wanted = replace(
        wanted,
        max=data.draw(st.integers(0, 7)),
        after=data.draw(named),
        before=data.draw(named),
        backwards=data.draw(st.booleans()),
        ids=data.draw(st.none() | some),
    )
    tail = entries[data.draw(st.integers(0, len(entries))) :]
    found = page_of(tail, wanted, whole=False)
    if found is not None:
        assert found == page(entries, wanted)


@given(entries=ENTRIES, wanted=FILTERS)
def test_counts(entries: list[Archived], wanted: Wanted) -> None:
    got = page(entries, replace(wanted, max=0))
    assert got.entries == ()
    assert got.total == len(matching(entries, wanted))


def test_most_questions_need_the_last_entries_alone() -> None:
    entries = [Archived(str(number), Said(0.0, Kind.MESSAGE, "", "", "", b"x")) for number in range(20)]
    tail = entries[10:]
    after = page_of(tail, Wanted(max=3, after=("15",)), whole=False)
    assert after is not None
    assert [each.id for each in after.entries] == ["16", "17", "18"]
    last = page_of(tail, Wanted(max=3, backwards=True), whole=False)
    assert last is not None
    assert [each.id for each in last.entries] == ["17", "18", "19"]
    assert page_of(tail, Wanted(max=10, backwards=True), whole=False) is None
    assert page_of(tail, Wanted(max=3), whole=False) is None
    assert page_of(tail, Wanted(max=3, after=("5",)), whole=False) is None


@pytest.mark.parametrize("wanted", [Wanted(1, after=("x",)), Wanted(1, before=("x",)), Wanted(1, ids=("x",))])
def test_unknown_ids(wanted: Wanted) -> None:
    with pytest.raises(ArchiveError) as refused:
        page_of([], wanted, whole=True)
    assert refused.value.condition == "item-not-found"
