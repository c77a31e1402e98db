"""The full screen's rows, columns and colours."""

import datetime
import io

import pytest
from rich.cells import cell_len
from rich.console import Console, RenderableType

from megaphone.cli.chat_drawing import draw_event, draw_occupants, nick_style, time_of
from megaphone.cli.chat_events import (
    Event,
    Joined,
    NotSent,
    RoomSaid,
    Said,
    ServerChanged,
    ServersUpdated,
    SubjectChanged,
)

AT = datetime.datetime(2026, 1, 2, 3, 4, tzinfo=datetime.UTC)


def drawn(renderable: RenderableType, width: int) -> list[str]:
    console = Console(file=io.StringIO(), width=width, color_system=None)
    console.print(renderable)
    assert isinstance(console.file, io.StringIO)
    return [row.rstrip() for row in console.file.getvalue().splitlines()]


@pytest.mark.parametrize(
    ("event", "rows"),
    [
        (Said("John", "word " * 8), [f"03:04         John {' '.join(['word'] * 6)}", f"{' ' * 19}word word"]),
        (Said("A very long nick", "[b]x[/b]\n:smile:"), ["03:04 A very long… [b]x[/b]", f"{' ' * 19}:smile:"]),
        (Said("Eve", "psst", private=True), ["03:04       to you Eve: psst"]),
        (Joined("John"), ["03:04            → John joined the chat"]),
        (SubjectChanged("", "tea"), ["03:04            # tea"]),
        (ServersUpdated(("a", "b")), ["03:04            ! a, b"]),
        (ServerChanged("lost a:1, trying b:1"), ["03:04            ! lost a:1, trying b:1"]),
        (RoomSaid("a\nb"), ["03:04            · a", "03:04            · b"]),
        (NotSent("hi", "no"), ["03:04            ✗ not sent: hi: no"]),
    ],
)
def test_columns(event: Event, rows: list[str]) -> None:
    assert drawn(draw_event(event, AT, 50), 50) == rows


@pytest.mark.parametrize("width", [1, 5, 10, 29, 30, 40, 80, 200])
def test_every_width_holds_what_is_drawn(width: int) -> None:
    for event in (Said("J" * 60, "漢字" * 50 + " word" * 30), ServerChanged("x" * 300), Joined("漢" * 50)):
        assert all(cell_len(row) <= max(width, 2) for row in drawn(draw_event(event, AT, width), width))


def test_occupants() -> None:
    assert draw_occupants(["b", "Me", "A"], "Me", 10).plain == "3 here\n\nMe\nA\nb"
    many = [f"n{number:02}" for number in range(30)]
    assert draw_occupants(many, "n05", 6).plain == "30 here\n\nn05\nn00\nn01\nn02\n… 26 more"
    assert draw_occupants([], "Me", 10).plain == "0 here\n"


def test_a_nick_has_one_colour_everywhere() -> None:
    assert nick_style("Romeo") == nick_style("Romeo") != nick_style("juliet@capulet.lit")


def test_times() -> None:
    assert time_of("2026-01-02T03:04:00Z") == AT
    assert time_of("2026-01-02T03:04:00") == AT
    for broken in (None, "", "yesterday", "\x1b"):
        assert abs(time_of(broken) - datetime.datetime.now(datetime.UTC)) < datetime.timedelta(minutes=1)
