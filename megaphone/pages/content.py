"""The content of a page: its hash, and its parts when it is too long for one message.

A holder or reader that has joined with {"parts": true} sends and gets long contents in several messages, so that none
needs much room and other words find their way in between:

    content        {"content": text, "hash": page}                            up to PART_CHARACTERS, and all to others
    content_part   {"index": 0.., "count": n, "part": text, "hash": page}     in order; they are put together again
"""

from __future__ import annotations

import hashlib
import re

PART_CHARACTERS = 16_384

_PAGE = re.compile(r"[0-9a-f]{64}")


def is_page(text: str) -> bool:
    """Whether this names a page: SHA-256 in lower-case hexadecimal."""
    return _PAGE.fullmatch(text) is not None


def page_of(content: bytes) -> str:
    """Return the name of the page with this content (UTF-8)."""
    return hashlib.sha256(content).hexdigest()


def parts_of(content: str) -> list[str]:
    """Return the content in parts, at least one."""
    return [content[at : at + PART_CHARACTERS] for at in range(0, len(content), PART_CHARACTERS)] or [""]


class Assembly:
    """The parts of one content as they come, in order; `bytes` of them are here, at most `limit_bytes`."""

    __slots__ = ("_count", "_limit_bytes", "_parts", "bytes")

    def __init__(self, limit_bytes: int) -> None:
        self.bytes = 0
        self._limit_bytes = limit_bytes
        self._parts: list[str] = []
        self._count = 0

    def add(self, index: int, count: int, part: str) -> str | None:
        """Take the next part; the whole content with the last one. ValueError if it is not the next, or too much."""
        if not self._parts:
            self._count = count
        if not index == len(self._parts) < count == self._count or (not part and count > 1):
            raise ValueError("bad_part")
        size = len(part.encode())
        if self.bytes + size > self._limit_bytes:
            raise ValueError("too_large")
        self.bytes += size
        self._parts.append(part)
        return "".join(self._parts) if len(self._parts) == count else None
