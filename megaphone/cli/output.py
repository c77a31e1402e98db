"""What every command prints with: errors in one form, JSON, tables that line up."""

import json
import sys
from collections.abc import Sequence
from typing import Any, Final

DEFAULT_CONFIG: Final = "/etc/megaphone/megaphone.toml"
DEFAULT_HUB_CONFIG: Final = "/etc/megaphone/hub.toml"

OK: Final = 0
FAILED: Final = 1
USAGE: Final = 2  # usage or configuration error
UNREACHABLE: Final = 3  # the running Megaphone could not be asked
INTERRUPTED: Final = 130  # Ctrl-C, as shells report it


def print_error(text: str) -> None:
    """One line on standard error, in the form of argparse's own errors."""
    print(f"megaphone: error: {text}", file=sys.stderr)


def print_json(value: Any) -> None:
    """The value as indented JSON on standard output."""
    print(json.dumps(value, indent=2, ensure_ascii=False))


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns as wide as their widest cell, without trailing blanks; control characters are made visible."""
    lines = [tuple(head), *(tuple(printable(cell) for cell in row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    padded = ("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in lines)
    return "\n".join(line.rstrip() for line in padded)


def printable(text: str) -> str:
    """The text with everything that could steer a terminal written as an escape."""
    return "".join(character if character.isprintable() else f"\\u{ord(character):04x}" for character in text)


def size(count: int | None) -> str:
    """Bytes for people: `999 B`, `12.3 kB`, `4.5 MB`; "-" for None."""
    if count is None:
        return "-"
    if count < 1000:
        return f"{count} B"
    power = min((len(str(count)) - 1) // 3, 4)
    return f"{count / 1000**power:.1f} {('kB', 'MB', 'GB', 'TB')[power - 1]}"


def age(seconds: float | None) -> str:
    """A duration for people in its two greatest units: `5 s`, `3 m 10 s`, `2 d 4 h`; "-" for None."""
    if seconds is None:
        return "-"
    rest = int(seconds)
    parts: list[str] = []
    for unit, length in (("d", 86_400), ("h", 3600), ("m", 60), ("s", 1)):
        count, rest = divmod(rest, length)
        if count or (unit == "s" and not parts):
            parts.append(f"{count} {unit}")
    return " ".join(parts[:2])


def latency(seconds: float | None) -> str:
    """A short time for people: `0.08 ms`, `12.3 ms`, `1.25 s`; "-" for None."""
    if seconds is None:
        return "-"
    if seconds >= 1:
        return f"{seconds:.2f} s"
    return f"{seconds * 1000:.2f} ms" if 0 < seconds < 0.000995 else f"{seconds * 1000:.{1 if seconds else 0}f} ms"
