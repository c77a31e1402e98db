"""`megaphone top`: how the running node is, over and over, in a terminal (curses) or once."""

import argparse
import contextlib
import os
import sys
import time
from typing import Any, Final

from megaphone.cli.control import UnreachableError, add_control_options, ask
from megaphone.cli.output import OK, age, print_json
from megaphone.cli.top_frame import KEYS, SORTS, Look, Sort, frame
from megaphone.errors import AdminError

INTERVAL_SECONDS: Final = 2.0
SHORTEST_SECONDS: Final = 0.2
LONGEST_SECONDS: Final = 3600.0
TALKERS: Final = 100
ONCE_COLUMNS: Final = 160
ONCE_ROWS: Final = 100
_ANSWER_SECONDS: Final = 10.0
_ESCAPE: Final = 27
_REDRAW: Final = ord("L") & 0x1F  # Ctrl-L, as everywhere


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Adds `top` to the command line."""
    parser = subparsers.add_parser(
        "top",
        help="watch the running node",
        description="Watch connections, traffic, workers, links and top talkers of the running node: "
        "what the dashboard shows, in a terminal.",
        epilog="keys: q quit, s sort the talkers by all they carried or by what they carry now, d drain the node",
    )
    parser.add_argument(
        "--interval",
        metavar="SECONDS",
        type=_interval,
        default=INTERVAL_SECONDS,
        help=f"time between two looks (default: {INTERVAL_SECONDS:g})",
    )
    parser.add_argument("--once", action="store_true", help="print one page after two looks, and end")
    add_control_options(parser)


def run(args: argparse.Namespace) -> int:
    """Shows until the user has seen enough."""
    if args.json:
        print_json({**ask(args, "GET", "/dashboard.json"), "talkers": _talkers(args)})
        return OK
    if args.once:
        before = _look(args)
        time.sleep(args.interval)
        lines = frame(_look(args), before, columns=ONCE_COLUMNS, rows=ONCE_ROWS)
        print("\n".join(text for text, _ in lines[:-1]))
        return OK
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise AdminError("this is no terminal; use --once")
    first = _look(args)  # whoever is not there is better complained about before the screen is ours
    import curses  # only here: some systems' Python lacks it

    for name in ("LINES", "COLUMNS"):
        os.environ.pop(name, None)  # curses would believe them whatever size the terminal gets
    try:
        curses.wrapper(lambda screen: _Screen(args, screen, first).run())
    except curses.error as error:
        raise AdminError(f"the terminal cannot be used: {error}; use --once") from None
    return OK


def _interval(text: str) -> float:
    seconds = float(text)
    if not SHORTEST_SECONDS <= seconds <= LONGEST_SECONDS:
        raise argparse.ArgumentTypeError(f"from {SHORTEST_SECONDS:g} to {LONGEST_SECONDS:g} seconds, not {text}")
    return seconds


def _talkers(args: argparse.Namespace) -> Any:
    answer = ask(args, "GET", "/talkers", query={"limit": str(TALKERS)}, timeout_seconds=_ANSWER_SECONDS)
    return answer["connections"]


def _look(args: argparse.Namespace) -> Look:
    return Look(ask(args, "GET", "/dashboard.json", timeout_seconds=_ANSWER_SECONDS), _talkers(args))


class _Screen:
    """The terminal: draws the newest look, and does what a key asks for."""

    def __init__(self, args: argparse.Namespace, screen: Any, first: Look) -> None:
        import curses

        self._args = args
        self._screen = screen
        self._now, self._before = first, first
        self._sort: Sort = SORTS[0]
        self._note = ""
        self._asks_to_drain = False
        self._drains = False  # it was asked to, and has said that it does
        self._resized = curses.KEY_RESIZE
        self._styles = {
            "plain": curses.A_NORMAL,
            "title": curses.A_BOLD,
            "head": curses.A_BOLD | curses.A_UNDERLINE,
            "trouble": curses.A_BOLD | curses.A_STANDOUT,
            "keys": curses.A_REVERSE,
        }
        if curses.has_colors():
            curses.use_default_colors()
            curses.init_pair(1, curses.COLOR_RED, -1)
            self._styles["trouble"] = curses.color_pair(1) | curses.A_BOLD
        with contextlib.suppress(curses.error):  # a terminal that cannot hide its cursor
            curses.curs_set(0)

    def run(self) -> None:
        """Until q, Escape or Ctrl-C."""
        due = time.monotonic() + self._args.interval
        while True:
            self._draw()
            self._screen.timeout(max(1, round((due - time.monotonic()) * 1000)))
            try:
                key = self._screen.getch()
            except KeyboardInterrupt:
                return
            if key in (ord("q"), ord("Q"), _ESCAPE):
                return
            if key in (self._resized, _REDRAW):
                self._screen.clear()  # what is on the terminal now is not what was drawn: all of it is drawn anew
            elif key >= 0:
                self._obey(key)
            if time.monotonic() >= due:
                self._refresh()
                due = time.monotonic() + self._args.interval

    def _obey(self, key: int) -> None:
        if self._asks_to_drain:
            self._asks_to_drain = False
            self._note = self._drain() if key in (ord("y"), ord("Y")) else ""
        elif key in (ord("s"), ord("S")):
            self._sort = SORTS[(SORTS.index(self._sort) + 1) % len(SORTS)]
        elif key in (ord("d"), ord("D")):
            self._asks_to_drain = True
            self._note = "send all clients away and end the node? y/n"

    def _drain(self) -> str:
        try:
            answer = ask(self._args, "POST", "/drain", body={}, timeout_seconds=_ANSWER_SECONDS)
        except AdminError as error:
            return str(error)
        self._drains = True
        return f"draining the node, at most {age(answer['deadline_seconds'])}"

    def _refresh(self) -> None:
        try:
            look = _look(self._args)
        except UnreachableError as error:
            self._note = f"{'drained: ' if self._drains else ''}{error}   (these numbers are old; q quit)"
            return
        if not self._asks_to_drain and not self._drains:
            self._note = ""
        self._before, self._now = self._now, look

    def _draw(self) -> None:
        rows, columns = self._screen.getmaxyx()
        self._screen.erase()
        before = None if self._before is self._now else self._before
        keys = f"{KEYS}   (talkers by what they {'carry now' if self._sort == 'now' else 'carried'})"
        lines = frame(self._now, before, columns=columns - 1, rows=rows, sort=self._sort, note=self._note or keys)
        for row, (text, style) in enumerate(lines):
            # the keys stand at the bottom; one column stays free, since curses cannot write into the last corner
            place = rows - 1 if style == "keys" else row
            self._screen.addstr(place, 0, text.ljust(columns - 1) if style == "keys" else text, self._styles[style])
        self._screen.refresh()
