"""A chat in plain lines: what happens goes to standard output, what is typed or piped in is said."""

import asyncio
import contextlib
import os
import sys
import termios
import threading
from collections.abc import Iterator
from concurrent.futures import CancelledError
from typing import Final

from megaphone.cli.chat_events import Event
from megaphone.cli.chat_session import Session
from megaphone.cli.chat_settings import ChatError, Settings
from megaphone.cli.output import FAILED

PROMPT: Final = "-> "
EXIT: Final = "exit"
READ_BYTES: Final = 65_536
LINE_LIMIT_BYTES: Final = 65_536  # of standard input; a longer line is said in pieces, each of which is refused
ERASE_LINE: Final = "\r\x1b[K"


async def chat(settings: Settings) -> None:
    """Chat until `exit`, or until the end of standard input and everything said was heard; else ChatError."""
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    on_terminal = sys.stdin.isatty() and sys.stdout.isatty()
    session = Session(settings, _show_above_prompt if on_terminal else _show)
    with _terminal_restored() if on_terminal else contextlib.nullcontext():
        source = _typed_lines() if on_terminal else _piped_lines(sys.stdin.fileno())
        saying = asyncio.create_task(_say(session, _in_background(source), settings.timeout_seconds))
        try:
            await session.run()
        finally:
            if not saying.done():
                saying.cancel()
            await asyncio.wait({saying})
        if not saying.cancelled() and (unheard := saying.result()):
            raise ChatError(f"nobody heard the last {unheard} of your lines", FAILED)


async def _say(session: Session, lines: "asyncio.Queue[str | None]", timeout_seconds: float) -> int:
    unheard = 0
    while (line := await lines.get()) is not None:
        if line.strip() == EXIT:
            break
        if line.strip():
            await session.say(line)
    else:
        unheard = await session.wait_heard(timeout_seconds)
    session.leave()
    return unheard


# What is typed ----------------------------------------------------------------------------------------------------


def _in_background(source: Iterator[str]) -> "asyncio.Queue[str | None]":
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


def _typed_lines() -> Iterator[str]:
    import readline  # noqa: F401 - gives input() its editing

    while True:
        try:
            yield input(PROMPT)
        except EOFError:
            return


def _piped_lines(descriptor: int) -> Iterator[str]:
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


# What is shown ----------------------------------------------------------------------------------------------------


def _show(event: Event) -> None:
    for line in event.lines():
        print(line)
    sys.stdout.flush()


def _show_above_prompt(event: Event) -> None:
    """The prompt, with what is typed already, moves below the new lines."""
    import readline

    lines = "\n".join(event.lines())
    sys.stdout.write(f"{ERASE_LINE}{lines}\n{PROMPT}{readline.get_line_buffer()}")
    sys.stdout.flush()


@contextlib.contextmanager
def _terminal_restored() -> Iterator[None]:
    """The terminal as it was: the thread that waits for a line is left in the middle of it."""
    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)
    try:
        yield
    finally:
        termios.tcsetattr(descriptor, termios.TCSANOW, before)
        sys.stdout.write(ERASE_LINE)
        sys.stdout.flush()
