"""Structured log on standard error: one line per event, one `write` per line, for the supervisor and its workers.

A log line must never end the process that wrote it: when standard error is gone or full, the line is lost.
Values come from the network too, so control characters are escaped before they reach an operator's terminal.
"""

import logging
import os
import re
import sys
from typing import Any, Final, Literal

import msgspec
import structlog
from structlog.typing import EventDict, FilteringBoundLogger, Processor, WrappedLogger

LEVELS: Final = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}

_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


class LineLogger:
    """Writes one finished line with a single system call, so that lines of several processes do not mix."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def write(self, line: str | bytes) -> None:
        """Writes the line and its newline; a failing standard error loses the line and nothing else."""
        data = line if isinstance(line, bytes) else line.encode("utf-8", "backslashreplace")
        try:
            os.write(self._descriptor, data + b"\n")
        except OSError:
            return

    msg = debug = info = warning = error = critical = exception = write


def _json(event: EventDict, **_: Any) -> bytes:
    return msgspec.json.encode(event, enc_hook=repr)


def _escape_control(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """A JID with an escape sequence in it must not repaint the operator's terminal."""
    return {key: _escaped(value) if isinstance(value, str) else value for key, value in event.items()}


def _escaped(value: str) -> str:
    return _CONTROL.sub(lambda match: f"\\u{ord(match.group()):04x}", value)


def configure(
    format: Literal["console", "json"] = "console",  # noqa: A002 - the name of the configuration key
    level: Literal["debug", "info", "warning", "error"] = "info",
    *,
    descriptor: int = 2,
) -> None:
    """Sets the format and the least level of every logger of this process; may be called again at a reload."""
    processors: list[Processor] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
    ]
    if format == "json":
        processors += [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(serializer=_json)]
    else:
        colors = descriptor == 2 and sys.stderr is not None and sys.stderr.isatty() and "NO_COLOR" not in os.environ
        processors += [
            _escape_control,
            structlog.dev.ConsoleRenderer(colors=colors, timestamp_key="time", pad_event_to=24),
        ]
    structlog.configure(
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        logger_factory=lambda *_: LineLogger(descriptor),
        cache_logger_on_first_use=False,  # so that a reload's new level reaches loggers made before it
    )


def get_logger(name: str) -> FilteringBoundLogger:
    """A logger whose lines carry `component=name`; usable before and after `configure`."""
    logger: FilteringBoundLogger = structlog.get_logger(component=name)
    return logger
