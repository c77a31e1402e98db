"""A batch: consecutive entries of one feed, vouched for by one signature over the last of them; and its bytes.

    1 │ room │ origin │ seq │ previous id │ number │ entries … │ seal
    1    32      32     var   32, seq > 1    var                  64, or nothing

    entry:  clock, as difference to the one before │ kind │ length │ content      (a content has at least one byte)
                          var                          1      var
                                                            0    │ SHA-256 of a content that is not here, 32 bytes

Numbers ("var") are LEB128 of at most 63 bits, in their shortest form: no two byte strings are the same batch.
"""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Final, NamedTuple

from megaphone.errors import HistoryError
from megaphone.history.answers import Refusal
from megaphone.history.clock import Clock
from megaphone.history.entry import FIRST, MAX_NUMBER, Entry, EntryID, Origin, chain
from megaphone.history.manifest import RoomID

if TYPE_CHECKING:
    from collections.abc import Sequence

SEAL: Final = b"megaphone seal 1"
MAX_ENTRIES: Final = 1024
MAX_ENTRY_BYTES: Final = 262_144
"""Of a content."""
MAX_BYTES: Final = 1_048_576
"""Where a batch is cut; one entry more may be in it."""
ENTRY_ROOM: Final = 48
"""What an entry has at most beside its content, as bytes of a batch; a batch has 170 beside its entries."""

_VERSION: Final = 1
_LIMIT: Final = MAX_BYTES + MAX_ENTRY_BYTES
_FIRST_NUMBER: Final = 65
_HASH: Final = 32
_SEAL_BYTES: Final = 64


class Batch(NamedTuple):
    """Entries `seq`, `seq + 1`, … of an origin's feed in a room, 1 to 1,024 of them."""

    room: RoomID
    origin: Origin
    seq: int
    """Of the first entry, from 1."""
    previous: EntryID
    """Id of the entry before the first; 32 zeros at seq 1."""
    entries: tuple[Entry, ...]
    seal: bytes
    """Signature over the last entry, 64 bytes; empty if the entry after the last is known, and says its id."""

    @property
    def last(self) -> int:
        """Seq of the last entry."""
        return self.seq + len(self.entries) - 1


def ids(batch: Batch) -> list[EntryID]:
    """Return the ids of a batch's entries, in order."""
    return chain(batch.room, batch.origin, batch.seq, batch.previous, batch.entries)


def sealed(entry: EntryID) -> bytes:
    """Return what an origin signs to vouch for an entry and all before it."""
    return SEAL + entry


def faults(batch: Batch, most: int = MAX_ENTRIES) -> Refusal | None:
    """Return what is wrong with a batch in itself, before anything is hashed; None if nothing is."""
    room, origin, seq, previous, entries, seal = batch
    if len(entries) > most:
        return Refusal.TOO_LARGE
    lengths = (len(room), len(origin), len(previous))
    if lengths != (_HASH, _HASH, _HASH) or len(seal) not in (0, _SEAL_BYTES) or not entries:
        return Refusal.MALFORMED
    if seq < 1 or batch.last > MAX_NUMBER or (seq == 1) != (previous == FIRST):
        return Refusal.MALFORMED
    return _order(entries)


def _order(entries: Sequence[Entry]) -> Refusal | None:
    """Return what is wrong with the clocks, kinds and lengths of entries."""
    last = -1
    size = 0
    for clock, kind, content, hash_ in entries:
        if clock <= last:
            return Refusal.CLOCK_ORDER
        last = clock
        if content is not None:
            length = len(content)
            size += length
            if length > MAX_ENTRY_BYTES:
                return Refusal.TOO_LARGE
            if not length:
                return Refusal.MALFORMED
        if len(hash_) != _HASH or not 0 <= kind <= 255:
            return Refusal.MALFORMED
    if last > MAX_NUMBER:
        return Refusal.MALFORMED
    return Refusal.TOO_LARGE if size > _LIMIT else None


def encode(batch: Batch) -> bytes:
    """Return the bytes of a batch, which has no `faults`."""
    out = bytearray((_VERSION,))
    out += batch.room
    out += batch.origin
    _put(out, batch.seq)
    if batch.seq > 1:
        out += batch.previous
    _put(out, len(batch.entries))
    before = 0
    for clock, kind, content, hash_ in batch.entries:
        step = clock - before
        before = clock
        if step < 128:
            out.append(step)
        else:
            _put(out, step)
        out.append(kind)
        if content is None:
            out.append(0)
            out += hash_
        else:
            _put(out, len(content))
            out += content
    out += batch.seal
    return bytes(out)


def decode(data: bytes, most: int = MAX_ENTRIES) -> Batch:
    """Read what `encode` has written. HistoryError: "malformed", "too-large" or "clock-order". Nothing is verified."""
    if len(data) > _LIMIT:
        raise HistoryError(Refusal.TOO_LARGE, f"a batch of {len(data)} bytes")
    try:
        return _decode(data, most)
    except IndexError:
        raise HistoryError(Refusal.MALFORMED, "a batch that breaks off") from None


def _decode(data: bytes, most: int) -> Batch:
    """Read a batch; IndexError where it breaks off."""
    if data[0] != _VERSION:
        raise HistoryError(Refusal.MALFORMED, f"a batch of version {data[0]}")
    seq, at = _number(data, _FIRST_NUMBER)
    previous = FIRST
    if seq > 1:
        previous = EntryID(data[at : at + _HASH])
        at += _HASH
        if previous == FIRST:
            raise HistoryError(Refusal.MALFORMED, "a first entry that is not at seq 1")
    number, at = _number(data, at)
    if number > most:
        raise HistoryError(Refusal.TOO_LARGE, f"a batch of {number} entries")
    if not number or not seq or seq + number - 1 > MAX_NUMBER:
        raise HistoryError(Refusal.MALFORMED, f"{number} entries from seq {seq} on")
    entries, at = _entries(data, at, number)
    if len(data) - at not in (0, _SEAL_BYTES):
        raise HistoryError(Refusal.MALFORMED, f"a seal of {len(data) - at} bytes")
    return Batch(RoomID(data[1:33]), Origin(data[33:65]), seq, previous, entries, data[at:])


def _entries(data: bytes, at: int, number: int) -> tuple[tuple[Entry, ...], int]:
    """Read so many entries; return them and where they end."""
    size = len(data)
    clock = 0
    entries = []
    for index in range(number):
        step = data[at]
        at += 1
        if step >= 128:
            step, at = _number(data, at - 1)
        if not step and index:
            raise HistoryError(Refusal.CLOCK_ORDER, "two entries at one point of the clock")
        clock += step
        kind = data[at]
        length = data[at + 1]
        at += 2
        if length >= 128:
            length, at = _number(data, at - 1)
        end = at + (length or _HASH)
        if end > size:
            raise IndexError
        if length:
            content = data[at:end]
            entries.append(Entry(Clock(clock), kind, content, sha256(content).digest()))
            if length > MAX_ENTRY_BYTES:
                raise HistoryError(Refusal.TOO_LARGE, f"an entry of {length} bytes")
        else:
            entries.append(Entry(Clock(clock), kind, None, data[at:end]))
        at = end
    if clock > MAX_NUMBER:
        raise HistoryError(Refusal.MALFORMED, "a clock of more than 63 bits")
    return tuple(entries), at


def _put(out: bytearray, number: int) -> None:
    """Write a number, 7 bits a byte, the lowest first."""
    while number >= 128:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)


def _number(data: bytes, at: int) -> tuple[int, int]:
    """Read a number; return it and where it ends. IndexError if it breaks off."""
    number = 0
    for shift in range(0, 63, 7):
        byte = data[at]
        at += 1
        number |= (byte & 127) << shift
        if byte < 128:
            if not byte and shift:
                raise HistoryError(Refusal.MALFORMED, "a number that is longer than it must be")
            return number, at
    raise HistoryError(Refusal.MALFORMED, "a number of more than 63 bits")
