"""Bytes of messages: numbers as LEB128 in their shortest form, and a reader that refuses whatever is not so."""

from __future__ import annotations

from typing import Final

from megaphone.errors import HistoryError
from megaphone.history.answers import Refusal

_NUMBER_BITS: Final = 63


def put_number(out: bytearray, number: int) -> None:
    """Write a number below 2^63, 7 bits a byte, the lowest first."""
    while number >= 128:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)


class Reader:
    """Reads a message from its first byte to its last."""

    __slots__ = ("_at", "_data")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def is_at_end(self) -> bool:
        """Whether all has been read."""
        return self._at == len(self._data)

    def take(self, count: int) -> bytes:
        """Read so many bytes."""
        end = self._at + count
        if end > len(self._data):
            raise malformed("a message that breaks off")
        taken = self._data[self._at : end]
        self._at = end
        return taken

    def rest(self) -> bytes:
        """Read all that is left."""
        return self.take(len(self._data) - self._at)

    def byte(self) -> int:
        """Read a byte."""
        return self.take(1)[0]

    def number(self, most: int = 2**_NUMBER_BITS - 1) -> int:
        """Read a number of at most `most`."""
        number = 0
        for shift in range(0, _NUMBER_BITS, 7):
            byte = self.byte()
            number |= (byte & 127) << shift
            if byte < 128:
                if not byte and shift:
                    raise malformed("a number that is longer than it must be")
                if number > most:
                    raise malformed(f"{number} is more than {most}")
                return number
        raise malformed("a number of more than 63 bits")

    def end(self) -> None:
        """Refuse whatever follows."""
        if not self.is_at_end:
            raise malformed("more bytes than the message has")


def malformed(text: str) -> HistoryError:
    """Return the error that says what is wrong."""
    return HistoryError(Refusal.MALFORMED, text)
