"""Lines of a room: what is shown, in which order, and what is not."""

import pytest

from megaphone.history.clock import COUNTER_BITS, Clock
from megaphone.history.entry import FIRST, EntryID, Kind, Origin, entry
from megaphone.history.manifest import Manifest
from megaphone.history.ports import Placed
from megaphone.peers.room import Line, Window, channel, line, said

JULIA = Origin(b"j" * 32)
START = 1_000_000


def placed(milliseconds: int, text: str = "", *, kind: int = Kind.NOTE, origin: Origin = JULIA) -> Placed:
    content = said("julia", text or str(milliseconds)).encode()
    each = entry(Clock(milliseconds << COUNTER_BITS), kind, content)
    return Placed(origin, milliseconds, EntryID(b"i" * 32), FIRST, each)


def texts(lines: list[Line]) -> list[str]:
    return [each.text for each in lines]


def test_a_line_comes_out_as_it_went_in() -> None:
    found = line(placed(1_790_000_000_123, "hello, wörld"))
    assert found == Line(1_790_000_000_123, "julia", JULIA, "hello, wörld")
    assert found.time == "2026-09-21T14:13:20Z"


def test_the_end_of_time_is_a_time() -> None:
    assert Line((1 << 48) - 1, "julia", JULIA, "").time == "9999-12-31T23:59:59Z"


def test_what_is_no_line_is_not_shown() -> None:
    one = placed(1)
    assert line(one._replace(entry=one.entry._replace(content=None))) is None
    assert line(one._replace(entry=one.entry._replace(content=b"\xc1"))) is None
    assert line(placed(1, kind=Kind.SUBJECT)) is None
    assert line(placed(1, kind=99)) is None


@pytest.mark.parametrize("text", ["tea", "#tea", " #tea "])
def test_rooms_have_one_name(text: str) -> None:
    assert channel(text) == Manifest("lan", "tea")


@pytest.mark.parametrize("text", ["", "#", " ", "a\nb", "\x1b", "x" * 129])
def test_what_is_no_room(text: str) -> None:
    with pytest.raises(ValueError, match="name"):
        channel(text)


def test_a_line_has_a_limit() -> None:
    said("julia", "x" * 8000)
    with pytest.raises(ValueError, match="8001 bytes"):
        said("julia", "x" * 8001)


def test_who_was_here_before_sees_the_last_lines_and_then_all_that_was_missed() -> None:
    window = Window(2, START)
    assert texts(window.first([placed(5), placed(6), placed(7)])) == ["6", "7"]
    new, left_out = window.new([placed(9), placed(3), placed(8)])
    assert (texts(new), left_out) == (["8", "9"], 0)
    assert texts(window.new([placed(START + 1)])[0]) == [str(START + 1)]


def test_a_short_log_has_no_older_part_that_could_be_hidden() -> None:
    window = Window(2, START)
    assert texts(window.first([placed(5)])) == ["5"]
    assert texts(window.new([placed(3)])[0]) == ["3"]


def test_who_is_new_sees_as_many_old_lines_as_asked_for_over_all_pages() -> None:
    window = Window(3, START)
    assert window.first([]) == []
    assert texts(window.new([placed(8), placed(9)])[0]) == ["8", "9"]
    assert texts(window.new([placed(1), placed(2), placed(3), placed(START)])[0]) == ["3", str(START)]
    assert texts(window.new([placed(2), placed(START + 5)])[0]) == [str(START + 5)]


def test_who_asks_for_nothing_old_sees_nothing_old() -> None:
    for page in ([], [placed(5)]):
        window = Window(0, START)
        assert window.first(page) == []
        assert texts(window.new([placed(4), placed(START + 1)])[0]) == [str(START + 1)]


def test_a_flood_is_cut_and_counted() -> None:
    window = Window(20, START, burst_limit=3)
    window.first([placed(1)])
    new, left_out = window.new([placed(number) for number in range(2, 12)])
    assert (texts(new), left_out) == (["9", "10", "11"], 7)
    assert window.new([placed(8)]) == ([], 0)
