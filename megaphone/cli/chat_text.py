"""Text between people: what others wrote, safe for a terminal; and what we write, safe for XML."""

import unicodedata
from typing import Final

from megaphone.cli.output import printable

NICK_LIMIT: Final = 40  # characters shown of a nick; RFC 7622 allows 1,023 bytes
BODY_LIMIT_BYTES: Final = 8_000  # every server takes stanzas of 10,000 (RFC 6120, section 13.12)

# What stands in brackets at the start of our own lines; a nick that looks like one is shown in quotes.
TAGS: Final = frozenset({"JOIN", "LEAVE", "NICK", "SUBJECT", "ROOM", "SERVER", "SERVER UPDATE", "ERROR"})

_JOINERS: Final = "\u200c\u200d"  # zero-width; they shape letters and emoji, and steer nothing


def readable(text: str) -> str:
    """One line of others' text: blanks become spaces, and what could steer a terminal becomes an escape."""
    return "".join(_readable(character) for character in text)


def _readable(character: str) -> str:
    if character == "\t" or unicodedata.category(character) == "Zs":
        return " "
    return character if character in _JOINERS else printable(character)


def readable_lines(text: str) -> list[str]:
    """The lines of others' text, each safe; at least one."""
    return [readable(line) for line in text.splitlines()] or [""]


def readable_nick(nick: str) -> str:
    """A nick in one short piece that can be taken neither for a tag of ours nor for the end of its own brackets."""
    shown = readable(nick)
    if len(shown) > NICK_LIMIT:
        shown = shown[: NICK_LIMIT - 1] + "…"
    doubtful = shown.strip().upper() in TAGS or any(character in shown for character in '[]"')
    return f'"{shown}"' if doubtful or shown != shown.strip() else shown


def sendable(text: str) -> str:
    """Our text with what XML 1.0 cannot carry (section 2.2) replaced by U+FFFD."""
    return "".join(character if _is_xml(ord(character)) else "\ufffd" for character in text)


def _is_xml(code: int) -> bool:
    return code in (0x9, 0xA, 0xD) or 0x20 <= code <= 0xD7FF or 0xE000 <= code <= 0xFFFD or code >= 0x10000


def too_long(text: str) -> str | None:
    """Why this text cannot be sent in one message, or None."""
    escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    size = len(escaped.encode("utf-8", "replace"))
    return (
        None if size <= BODY_LIMIT_BYTES else f"{size} bytes are too long for one message (at most {BODY_LIMIT_BYTES})"
    )
