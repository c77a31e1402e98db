"""Log lines: one write each, in both formats, harmless to the terminal, and never the end of the process."""

import json
import os
from collections.abc import Callable, Iterator

import pytest
import structlog

from megaphone import log


@pytest.fixture
def lines() -> Iterator[tuple[int, Callable[[], list[str]]]]:
    """A descriptor to log to, and what has been written to it."""
    reading, writing = os.pipe()
    os.set_blocking(reading, False)

    def read() -> list[str]:
        try:
            return os.read(reading, 1 << 20).decode().splitlines()
        except BlockingIOError:
            return []

    yield writing, read
    os.close(reading)
    os.close(writing)
    structlog.reset_defaults()


def test_json(lines: tuple[int, Callable[[], list[str]]]) -> None:
    writing, read = lines
    log.configure("json", "info", descriptor=writing)
    log.get_logger("test").info("connection", jid="a@b", reason="kicked", count=3, odd={1, 2})
    (line,) = read()
    event = json.loads(line)
    assert event.pop("time").endswith("Z")
    assert event == {
        "component": "test",
        "event": "connection",
        "jid": "a@b",
        "reason": "kicked",
        "count": 3,
        "level": "info",
        "odd": [1, 2],
    }


def test_json_escapes_what_a_stranger_sends(lines: tuple[int, Callable[[], list[str]]]) -> None:
    writing, read = lines
    log.configure("json", "info", descriptor=writing)
    log.get_logger("test").info("x", jid='a"\n\x1b[31m\u20ac')
    (line,) = read()
    assert json.loads(line)["jid"] == 'a"\n\x1b[31m\u20ac'
    assert "\x1b" not in line


def test_console_escapes_what_could_steer_a_terminal(lines: tuple[int, Callable[[], list[str]]]) -> None:
    writing, read = lines
    log.configure("console", "info", descriptor=writing)
    log.get_logger("test").warning("ended", jid="a\x1b[31m\r\nb\u202ec", text="two words")
    (line,) = read()
    assert "\x1b" not in line
    assert r"a\u001b[31m\u000d\u000ab\u202ec" in line
    assert "text='two words'" in line
    assert "warning" in line


def test_a_level_that_changes_reaches_loggers_made_before(lines: tuple[int, Callable[[], list[str]]]) -> None:
    writing, read = lines
    log.configure("json", "error", descriptor=writing)
    logger = log.get_logger("test")
    logger.info("not yet")
    log.configure("json", "debug", descriptor=writing)
    logger.debug("now")
    assert [json.loads(line)["event"] for line in read()] == ["now"]


def test_each_line_is_one_write(lines: tuple[int, Callable[[], list[str]]], monkeypatch: pytest.MonkeyPatch) -> None:
    writes: list[bytes] = []
    monkeypatch.setattr(os, "write", lambda _, data: writes.append(data))
    for format_name in ("json", "console"):
        log.configure(format_name, "info", descriptor=lines[0])  # type: ignore[arg-type]
        log.get_logger("test").info("x", text="y")
    assert len(writes) == 2
    assert all(data.endswith(b"\n") and data.count(b"\n") == 1 for data in writes)


def test_a_lost_standard_error_loses_lines_and_nothing_else() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    log.configure("json", "info", descriptor=writing)
    log.get_logger("test").info("nobody reads this")
    os.close(writing)
    log.get_logger("test").info("nor this")
    structlog.reset_defaults()
