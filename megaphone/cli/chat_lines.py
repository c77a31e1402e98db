"""A chat in plain lines: what happens goes to standard output, what is typed or piped in is said."""

import asyncio
import contextlib
import sys

from megaphone.cli.chat_events import Event
from megaphone.cli.chat_session import Session
from megaphone.cli.chat_settings import ChatError, Settings
from megaphone.cli.chat_typing import (
    EXIT,
    in_background,
    piped_lines,
    show,
    show_above_prompt,
    terminal_restored,
    typed_lines,
)
from megaphone.cli.output import FAILED


async def chat(settings: Settings) -> None:
    """Chat until `exit`, or until the end of standard input and everything said was heard; else ChatError."""
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    on_terminal = sys.stdin.isatty() and sys.stdout.isatty()
    session = Session(settings, _show_above_prompt if on_terminal else _show)
    with terminal_restored() if on_terminal else contextlib.nullcontext():
        source = typed_lines() if on_terminal else piped_lines(sys.stdin.fileno())
        saying = asyncio.create_task(_say(session, in_background(source), settings.timeout_seconds))
        try:
            await session.run()
        finally:
            if not saying.done():
                saying.cancel()
            await asyncio.wait({saying})
        if not saying.cancelled() and (trouble := saying.result()) is not None:
            raise ChatError(trouble, FAILED)


async def _say(session: Session, lines: "asyncio.Queue[str | None]", timeout_seconds: float) -> str | None:
    """Say all lines, then leave; returns what has become of the last ones if they were not heard."""
    trouble = None
    while (line := await lines.get()) is not None:
        if line.strip() == EXIT:
            break
        if line.strip():
            await session.say(line)
    else:
        if unheard := await session.wait_heard(timeout_seconds):
            trouble = f"nobody heard the last {unheard} of your lines"
        elif not session.ever_inside:
            trouble = f"{session.settings.room} was not entered within {timeout_seconds:g} s"
    session.leave()
    return trouble


def _show(event: Event) -> None:
    show(event.lines())


def _show_above_prompt(event: Event) -> None:
    show_above_prompt(event.lines())
