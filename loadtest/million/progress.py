"""Shows a run while it goes: a bar on a terminal, plain lines elsewhere."""

import shutil
import sys
import time
from typing import Final, TextIO

from loadtest.million.sampler import MEGAPHONE
from loadtest.million.timeline import Point

BAR: Final = 24
EIGHTHS: Final = " ▏▎▍▌▋▊▉"
LINE_SECONDS: Final = 5.0


class Progress:
    """Writes to `out`."""

    def __init__(self, sessions: int, out: TextIO = sys.stderr) -> None:
        self._sessions = sessions
        self._out = out
        self._terminal = out.isatty()
        self._shown_at = 0.0
        self._phase = ""
        self._on_line = False

    def say(self, text: str) -> None:
        """A line of its own."""
        self._end_line()
        print(text, file=self._out, flush=True)

    def show(self, point: Point, part: float | None) -> None:
        """One more second has passed, and `part` of the phase; without one the bar shows the sessions."""
        text = line(point)
        if point.phase == "ramp" and (rate := point.rate("logins")) > 0:
            text += f"  {left((self._sessions - point.open) / rate)}"
        now = time.monotonic()
        if self._terminal:
            width = shutil.get_terminal_size().columns - 1
            shown = f"{bar(point.open / self._sessions if part is None else part)} {text}"[:width]
            print(f"\r\x1b[K{shown}", end="", file=self._out, flush=True)
            self._on_line = True
        elif point.phase != self._phase or now - self._shown_at >= LINE_SECONDS:
            print(f"{point.at:7.0f} s  {text}", file=self._out, flush=True)
            self._shown_at = now
        self._phase = point.phase

    def _end_line(self) -> None:
        if self._on_line:
            print(file=self._out)
            self._on_line = False


def bar(part: float) -> str:
    """A bar that is full at 1."""
    eighths = int(min(1.0, max(0.0, part)) * BAR * 8)
    full, rest = divmod(eighths, 8)
    return "│" + ("█" * full + (EIGHTHS[rest] if rest else "")).ljust(BAR) + "│"


def left(seconds: float) -> str:
    """How much longer, roughly."""
    return f"{seconds / 60:.0f} min left" if seconds >= 90 else f"{seconds:.0f} s left"


def line(point: Point) -> str:
    """The figures of a point."""
    own = sum(point.memory.get(side, 0) for side in MEGAPHONE)
    words = [f"{point.phase:<6}{point.open:>10,} sessions"]
    if point.phase in ("ramp", "storm", "soak"):
        words.append(f"{point.rate('logins'):6,.0f} logins/s")
    chat = point.durations.get("chat")
    if chat is not None and chat.counts:
        words.append(f"{point.rate('chat_received'):6,.0f} messages/s, p99 {chat.percentile(99) * 1000:.1f} ms")
    words.append(f"Megaphone {own / 1e9:.2f} GB")
    cores = {side: spent / point.seconds for side, spent in point.cpu.items() if point.seconds}
    words.append(f"CPU {cores.get('workers', 0):.2f} + {cores.get('generator', 0):.2f}")
    if lost := point.counts.get("lost", 0):
        words.append(f"LOST {lost:,}")
    return "  ".join(words)
