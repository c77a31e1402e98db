"""What a node knows of the store: what must be told again after it was away, and when a reading may go on."""

from __future__ import annotations

from megaphone.bus.keys import Change
from megaphone.embedded.store_view import OWN_LIMIT, SINCE_LIMIT, Seen, StoreView

MARK = "mark.6161616161616161"


def view_with_mark(revision: int = 10) -> StoreView:
    """A view that has read all, which are the versions 1 to 3, and put and heard a mark."""
    view = StoreView(b"a" * 8)
    view.begin(from_mark=False)
    for number in (1, 2, 3):
        view.found(number)
    assert view.mark_due
    view.put_mark(b"m")
    assert not view.mark_due
    view.heard([Change(MARK, b"m", revision)])
    assert view.mark == (revision, b"m")
    assert not view.mark_due
    return view


def test_what_was_seen_takes_a_bit_each() -> None:
    seen = Seen()
    numbers = [1, 7, 8, 9, 100_000, 5_000_000]
    for number in numbers:
        seen.add(number)
    assert [number for number in (*range(20), 100_000, 4_999_999, 5_000_000, 9_999_999) if number in seen] == numbers


def test_what_was_not_read_is_unseen() -> None:
    view = StoreView(b"a" * 8)
    view.begin(from_mark=False)
    view.found(2)
    assert view.unseen([1, 2, 3]) == [1, 3]
    view.begin(from_mark=False)
    assert view.unseen([1, 2, 3]) == [1, 2, 3]


def test_only_what_was_found_after_the_mark_is_expected_after_it() -> None:
    view = view_with_mark()
    view.found(4)
    view.told(2, 12)
    view.begin(from_mark=True)
    assert view.mark == (10, b"m")
    assert view.expected == [2, 4]
    view.found(4)
    assert view.unseen(view.expected) == [2]
    view.begin(from_mark=True)  # what was missing may still be
    assert view.expected == [2, 4]


def test_what_is_found_while_a_mark_is_put_is_expected_after_it() -> None:
    view = view_with_mark()
    view.found(4)
    view.put_mark(b"n")
    view.told(5, 21)
    view.begin(from_mark=True)  # the mark was not heard: that before counts
    assert view.expected == [4, 5]
    view.put_mark(b"o")
    view.found(6)
    view.heard([Change(MARK, b"n", 20), Change("mark.6262626262626262", b"o", 22)])
    assert view.mark == (10, b"m")
    view.heard([Change(MARK, b"o", 23)])
    assert view.mark == (23, b"o")
    view.begin(from_mark=True)
    assert view.expected == [6]


def test_a_mark_is_due_again_when_much_was_found_after_it() -> None:
    view = view_with_mark()
    for number in range(SINCE_LIMIT):
        view.found(number)
    assert not view.mark_due
    view.found(SINCE_LIMIT)
    assert view.mark_due


def test_after_a_doubt_all_is_read() -> None:
    view = view_with_mark()
    view.put_mark(b"n")
    view.doubt()
    view.heard([Change(MARK, b"n", 20)])
    assert view.mark is None
    assert not view.mark_due
    view.begin(from_mark=False)
    assert view.mark_due


def test_own_words_are_heard_once() -> None:
    view = view_with_mark()
    view.told(4, 11)
    theirs, ours = Change("vcard.a", b"x", 12), Change("vcard.b", b"x", 11)
    gone, mark = Change("vcard.c", None, 13), Change("mark.6262626262626262", b"n", 14)
    assert view.rows_of([ours, theirs, gone, mark]) == [theirs]
    view.heard([ours, theirs, gone, mark])
    view.told(5, 12)  # the answer came after we had heard it
    assert view.rows_of([Change("vcard.d", b"x", 12)]) == [Change("vcard.d", b"x", 12)]
    for revision in range(20, 20 + 2 * OWN_LIMIT):
        view.told(6, revision)
    assert len(view._own) == OWN_LIMIT
