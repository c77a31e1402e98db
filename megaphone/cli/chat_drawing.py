"""How a chat's events and occupants look on the full screen: time, author and text in columns (rich)."""

import colorsys
import datetime
import hashlib
from typing import Final

from rich.style import Style
from rich.table import Table
from rich.text import Text

from megaphone.cli.chat_events import Event, Said
from megaphone.cli.chat_text import readable_lines, readable_nick

NICK_COLUMNS: Final = 12
NARROW_COLUMNS: Final = 50  # below it, the author has less room
NARROW_NICK_COLUMNS: Final = 8
ONE_COLUMN_COLUMNS: Final = 30  # below it, there are plain lines

_DIM: Final = "grey62"

_SIGNS: Final = {
    "JOIN": ("→", "green"),
    "LEAVE": ("←", "red"),
    "NICK": ("↔", "cyan"),
    "SUBJECT": ("#", "cyan"),
    "ROOM": ("·", _DIM),
    "SERVER": ("!", "yellow"),
    "SERVER UPDATE": ("!", "yellow"),
    "ERROR": ("✗", "bold red"),
}


def draw_event(event: Event, at: datetime.datetime, width: int) -> Table:
    """The event as it stands in the log, `width` columns wide; `at` is in local time."""
    if width < ONE_COLUMN_COLUMNS:
        grid = Table.grid()
        grid.add_column(overflow="fold")
        for line in event.lines():
            grid.add_row(Text(line))
        return grid
    grid = Table.grid(padding=(0, 1), expand=True)
    grid.add_column(width=5, no_wrap=True)
    grid.add_column(
        width=NICK_COLUMNS if width >= NARROW_COLUMNS else NARROW_NICK_COLUMNS,
        justify="right",
        no_wrap=True,
        overflow="ellipsis",
    )
    grid.add_column(ratio=1, overflow="fold")
    time = Text(f"{at:%H:%M}", _DIM)
    if isinstance(event, Said):
        who = Text(readable_nick(event.nick), nick_style(event.nick) + Style(bold=event.mine))
        text = Text("\n".join(readable_lines(event.text)))
        if event.private:
            who, text = Text("to you", "magenta"), Text.assemble((readable_nick(event.nick), "magenta"), ": ", text)
        grid.add_row(time, who, text)
        return grid
    for line in event.lines():
        tag, text_of_tag = line.removeprefix("[").split("] ", 1)
        sign, style = _SIGNS[tag]
        grid.add_row(time, Text(sign, style), Text(text_of_tag, _DIM if tag in ("JOIN", "LEAVE") else style))
    return grid


def draw_day(day: datetime.date) -> Text:
    """What stands between the events of two days."""
    return Text(f"── {day:%A}, {day.day} {day:%B %Y} ──", _DIM, justify="center")


def draw_occupants(nicks: list[str], ours: str, rows: int) -> Text:
    """Who is here, ourselves first, in at most `rows` rows."""
    others = sorted((nick for nick in nicks if nick != ours), key=str.casefold)
    text = Text(f"{len(nicks)} here\n", "bold", no_wrap=True, overflow="ellipsis")
    ordered = [*([ours] if ours in nicks else []), *others]
    shown = ordered if len(ordered) < rows else ordered[: max(0, rows - 2)]
    for nick in shown:
        text.append("\n")
        text.append(readable_nick(nick), nick_style(nick) + Style(bold=nick == ours))
    if len(shown) < len(ordered):
        text.append(f"\n… {len(ordered) - len(shown)} more", _DIM)
    return text


def nick_style(nick: str) -> Style:
    """A colour by which the same nick is known everywhere (XEP-0392, section 5.1), light enough for a dark screen."""
    angle = int.from_bytes(hashlib.sha1(nick.encode(), usedforsecurity=False).digest()[:2], "little") / 65_536
    red, green, blue = (round(255 * part) for part in colorsys.hls_to_rgb(angle, 0.72, 0.65))
    return Style(color=f"rgb({red},{green},{blue})")


def time_of(stamp: str | None) -> datetime.datetime:
    """Local time of a stamp of XEP-0082; of now without one, or if it cannot be read."""
    if stamp:
        try:
            told = datetime.datetime.fromisoformat(stamp)
        except ValueError:
            pass
        else:
            return (told if told.tzinfo else told.replace(tzinfo=datetime.UTC)).astimezone()
    return datetime.datetime.now().astimezone()
