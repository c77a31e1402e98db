"""A chat's lines on a terminal or in pipes: those that are typed, and those that are shown while somebody types."""

import asyncio
import contextlib
import os
import sys
import termios
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import CancelledError
from typing import Final

PROMPT: Final = "-> "
EXIT: Final = "exit"
READ_BYTES: Final = 65_536
LINE_LIMIT_BYTES: Final = 65_536  # of standard input; a longer line is said in pieces, each of which is refused
ERASE_LINE: Final = "\r\x1b[K"


def in_background(source: Iterator[str]) -> "asyncio.Queue[str | None]":
    """Lines, then None, read in a thread of their own; the next one is read when the one before was taken."""
    lines: asyncio.Queue[str | None] = asyncio.Queue(1)
    loop = asyncio.get_running_loop()

    def put(line: str | None) -> None:
        asyncio.run_coroutine_threadsafe(lines.put(line), loop).result()

    def read() -> None:
        # At the end of the chat nobody takes lines any more, and the loop may be closed.
        with contextlib.suppress(CancelledError, RuntimeError):
            for line in source:
                put(line)
            put(None)

    # Not a task of the loop's executor: the end of the program would wait until the next line is typed.
    threading.Thread(target=read, daemon=True).start()
    return lines


def typed_lines() -> Iterator[str]:
    """Lines typed at a terminal, until Ctrl-D."""
    import readline  # noqa: F401 - gives input() its editing

    while True:
        try:
            yield input(PROMPT)
        except EOFError:
            return


def piped_lines(descriptor: int) -> Iterator[str]:
    """Lines of a pipe or file; not through sys.stdin, whose lock a thread that waits would hold at the end."""
    rest = b""
    while True:
        try:
            data = os.read(descriptor, READ_BYTES)
        except OSError:
            data = b""
        *complete, rest = (rest + data).split(b"\n")
        for line in complete:
            yield line.decode("utf-8", "replace").removesuffix("\r")
        if len(rest) >= LINE_LIMIT_BYTES or (not data and rest):
            yield rest.decode("utf-8", "replace")
            rest = b""
        if not data:
            return


def show(lines: Iterable[str]) -> None:
    """Print lines at once."""
    for line in lines:
        print(line)
    sys.stdout.flush()


def show_above_prompt(lines: Iterable[str]) -> None:
    """Print lines above the prompt, which moves below them with what is typed already."""
    import readline

    text = "\n".join(lines)
    sys.stdout.write(f"{ERASE_LINE}{text}\n{PROMPT}{readline.get_line_buffer()}")
    sys.stdout.flush()


@contextlib.contextmanager
def terminal_restored() -> Iterator[None]:
    """The terminal as it was: the thread that waits for a line is left in the middle of it."""
    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)
    try:
        yield
    finally:
        termios.tcsetattr(descriptor, termios.TCSANOW, before)
        sys.stdout.write(ERASE_LINE)
        sys.stdout.flush()
