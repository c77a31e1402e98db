"""The talk on the full screen: the last events, drawn anew for each width of the terminal (textual)."""

import datetime
from collections import deque
from typing import Final

from textual.events import Resize
from textual.widgets import RichLog

from megaphone.cli.chat_drawing import draw_day, draw_event, time_of
from megaphone.cli.chat_events import Event, Said

EVENTS_LIMIT: Final = 1_000
ROWS_LIMIT: Final = 20_000  # drawn; a message may have many


class Talk(RichLog, can_focus=False):
    """Follows new events while its end is in sight, and stays where the reader is otherwise."""

    def __init__(self, *, id: str) -> None:  # noqa: A002 - textual's name for it
        super().__init__(id=id, max_lines=ROWS_LIMIT, min_width=0, auto_scroll=False)
        self._events: deque[tuple[Event, datetime.datetime]] = deque(maxlen=EVENTS_LIMIT)
        self._columns = 0  # that it is drawn for; 0 before it is laid out
        self._day: datetime.date | None = None

    def add(self, event: Event) -> None:
        """One more event, of now or of the time that its stamp tells."""
        at = time_of(event.stamp if isinstance(event, Said) else None)
        self._events.append((event, at))
        if self._columns:
            self._draw(event, at)

    def follow(self) -> None:
        """Go to the end."""
        self.scroll_end(animate=False)

    def on_resize(self, resized: Resize) -> None:
        """Draw everything anew if the width is another one."""
        columns = self.scrollable_content_region.width
        if columns == self._columns:
            return
        self.clear()
        self._columns, self._day = columns, None
        for event, at in self._events:
            self._draw(event, at)
        self.follow()

    def _draw(self, event: Event, at: datetime.datetime) -> None:
        at_end = self.is_vertical_scroll_end
        if at.date() != self._day:
            if self._day is not None or at.date() != datetime.datetime.now().astimezone().date():
                self.write(draw_day(at.date()), width=self._columns)
            self._day = at.date()
        self.write(draw_event(event, at, self._columns), width=self._columns, scroll_end=at_end)
