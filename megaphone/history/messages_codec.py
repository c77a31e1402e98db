"""The bytes of messages.

The first byte says which message it is, the second has its flags; then come the fields, in the order in which
`messages.py` has them. Numbers are LEB128, days two bytes. What is not exactly what `encode` writes is refused. Nothing
that is read here is verified yet.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Final

from megaphone.errors import HistoryError
from megaphone.history import digest as digests
from megaphone.history.answers import Refusal
from megaphone.history.digest import Digest
from megaphone.history.manifest import Manifest, RoomID
from megaphone.history.messages import (
    KEY_BYTES,
    LAST_DAY,
    MARK_BYTES,
    MAX_BYTES,
    MAX_CHOSEN_DAYS,
    MAX_DAYS,
    MAX_EXCLUSIONS,
    MAX_HEADS,
    MAX_NAME,
    MAX_RANGES,
    MAX_SAMPLE,
    MAX_SYMBOLS,
    MAX_WANTED,
    REF_BYTES,
    SYMBOLS_KEY_BYTES,
    Batches,
    Days,
    End,
    Exclusion,
    Get,
    Head,
    Heads,
    Info,
    Interested,
    ManifestOf,
    Message,
    More,
    Proofs,
    Push,
    Range,
    Same,
    Scope,
    Symbols,
    Unknown,
    Want,
    WantProofs,
)
from megaphone.history.octets import Reader, malformed, put_number

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

_ROOM_BYTES: Final = 32
_WHOLE_KEYS, _EXCLUSIONS, _GAPS, _END, _ANSWER = 1, 2, 4, 8, 16
_MANIFEST: Final = 1
_LAST, _COMPLETE = 1, 2
_ALLOWED: Final[dict[int, int]] = {Heads.type: 31, Interested.type: 1, Get.type: 1, Batches.type: 3, WantProofs.type: 1}


# --- writing ---------------------------------------------------------------------------


def encode(message: Message) -> bytes:
    """Return the bytes of a message, whose fields are within their bounds."""
    out = bytearray((message.type, 0))
    match message:
        case Heads():
            _encode_heads(out, message)
        case Same() | Unknown():
            out += message.ref
        case Interested():
            out[1] = _MANIFEST if message.wants_manifest else 0
            out += message.room
            _put_day(out, message.from_day)
        case ManifestOf():
            for text in message.manifest:
                _put_bytes(out, text.encode())
        case Info():
            out += message.room
            _put_day(out, message.from_day)
            _put_digest(out, message.digest)
            put_number(out, len(message.heads))
            for origin, seq in message.heads:
                out += origin
                put_number(out, seq)
            _put_all(out, message.batches)
        case Get():
            out[1] = _whole(each.origin for each in message.ranges)
            out += message.ref
            _put_day(out, message.from_day)
            for origin, first, last, is_pinned in message.ranges:
                out += origin
                put_number(out, first)
                put_number(out, last - first + 1 << 1 | is_pinned if last else 0)
        case Batches():
            out += message.ref
            if message.digest is not None:
                out[1] = _LAST | (_COMPLETE if message.is_complete else 0)
                _put_day(out, message.from_day)
                _put_digest(out, message.digest)
            _put_all(out, message.batches)
        case Push():
            out += message.batch
        case Days():
            out += message.ref
            _put_day(out, message.from_day)
            for day, digest in message.days:
                put_number(out, day)
                _put_digest(out, digest)
        case Symbols():
            out += message.ref
            _put_scope(out, message.scope)
            out += message.key
            put_number(out, message.size)
            put_number(out, message.first)
            out += message.symbols
        case More():
            out += message.ref
            _put_scope(out, message.scope)
            put_number(out, message.first)
            put_number(out, message.count)
        case Want():
            out += message.ref + b"".join(message.prefixes)
        case Proofs():
            out += message.ref + message.proof
        case WantProofs():
            out[1] = _whole(message.origins)
            out += message.ref + b"".join(message.origins)
    return bytes(out)


def _encode_heads(out: bytearray, message: Heads) -> None:
    out[1] = (
        _whole([*(head.origin for head in message.heads), *(each.origin for each in message.exclusions)])
        | (_EXCLUSIONS if message.exclusions else 0)
        | (_GAPS if message.has_gaps else 0)
        | (_END if message.is_end else 0)
        | (_ANSWER if message.is_answer else 0)
    )
    out += message.room
    _put_day(out, message.from_day)
    _put_digest(out, message.digest)
    if message.exclusions:
        put_number(out, len(message.exclusions))
        for excluded, seq, mark in message.exclusions:
            out += excluded
            put_number(out, seq)
            out += mark
    for origin, seq in message.heads:
        out += origin
        put_number(out, seq)


def _whole(origins: Iterable[bytes]) -> int:
    """Return the flag that says whether origins are whole keys; they are all, or none is."""
    return _WHOLE_KEYS if any(len(origin) == KEY_BYTES for origin in origins) else 0


def _put_day(out: bytearray, day: int) -> None:
    out += min(day, LAST_DAY).to_bytes(2, "big")


def _put_digest(out: bytearray, digest: Digest) -> None:
    put_number(out, digest.entries)
    out += digest.total.to_bytes(digests.ID_BYTES, "big")


def _put_bytes(out: bytearray, data: bytes) -> None:
    put_number(out, len(data))
    out += data


def _put_all(out: bytearray, parts: Sequence[bytes]) -> None:
    for part in parts:
        _put_bytes(out, part)


def _put_scope(out: bytearray, scope: Scope) -> None:
    _put_day(out, scope.from_day)
    out.append(scope.sample)
    put_number(out, len(scope.days))
    for day in scope.days:
        _put_day(out, day)


# --- reading ---------------------------------------------------------------------------


def decode(data: bytes) -> Message:
    """Read a message; HistoryError("malformed") if it is none, "too-large" if it is larger than any may be."""
    if len(data) > MAX_BYTES:
        raise HistoryError(Refusal.TOO_LARGE, f"a message of {len(data)} bytes")
    if len(data) < 2:
        raise malformed("a message of no bytes, or one")
    read = _READERS.get(data[0])
    if read is None:
        raise malformed(f"a message of type {data[0]}")
    flags = data[1]
    if flags & ~_ALLOWED.get(data[0], 0):
        raise malformed(f"flags {flags:#x} of a message of type {data[0]}")
    reader = Reader(data)
    reader.take(2)
    message = read(reader, flags)
    reader.end()
    if isinstance(message, (Heads, Get, WantProofs)) and encode(message) != data:
        raise malformed("flags that do not fit the message")
    return message


def _origin_bytes(flags: int) -> int:
    return KEY_BYTES if flags & _WHOLE_KEYS else REF_BYTES


def _heads(reader: Reader, flags: int) -> Heads:
    size = _origin_bytes(flags)
    room, from_day, digest = _room(reader), _day(reader), _digest(reader)
    exclusions = []
    if flags & _EXCLUSIONS:
        for _ in range(reader.number(MAX_EXCLUSIONS)):
            exclusions.append(Exclusion(reader.take(size), reader.number(), reader.take(MARK_BYTES)))
    heads: list[Head] = []
    while not reader.is_at_end:
        _bound(heads, MAX_HEADS)
        heads.append(Head(reader.take(size), reader.number()))
    return Heads(
        room,
        from_day,
        digest,
        tuple(heads),
        tuple(exclusions),
        bool(flags & _GAPS),
        bool(flags & _END),
        bool(flags & _ANSWER),
    )


def _manifest(reader: Reader, _flags: int) -> ManifestOf:
    try:
        kind, name = (reader.take(reader.number(MAX_NAME)).decode() for _ in range(2))
    except UnicodeDecodeError:
        raise malformed("a manifest that is no text") from None
    return ManifestOf(Manifest(kind, name))


def _info(reader: Reader, _flags: int) -> Info:
    room, from_day, digest = _room(reader), _day(reader), _digest(reader)
    heads = tuple(Head(reader.take(KEY_BYTES), reader.number()) for _ in range(reader.number(MAX_HEADS)))
    return Info(room, from_day, digest, heads, _parts(reader))


def _get(reader: Reader, flags: int) -> Get:
    ref, from_day = reader.take(REF_BYTES), _day(reader)
    ranges: list[Range] = []
    while not reader.is_at_end:
        _bound(ranges, MAX_RANGES)
        origin, first, count = reader.take(_origin_bytes(flags)), reader.number(), reader.number()
        last = first + (count >> 1) - 1 if count else 0
        if not first or count == 1 or last >> 63:
            raise malformed(f"a range from {first} to {last}")
        ranges.append(Range(origin, first, last, bool(count & 1)))
    return Get(ref, from_day, tuple(ranges))


def _batches(reader: Reader, flags: int) -> Batches:
    ref = reader.take(REF_BYTES)
    if flags & _LAST:
        return Batches(ref, _day(reader), _digest(reader), bool(flags & _COMPLETE), _parts(reader))
    if flags:
        raise malformed("an answer that is complete and not at its end")
    return Batches(ref, 0, None, False, _parts(reader))


def _days(reader: Reader, _flags: int) -> Days:
    ref, from_day = reader.take(REF_BYTES), _day(reader)
    days: list[tuple[int, Digest]] = []
    while not reader.is_at_end:
        _bound(days, MAX_DAYS)
        day = reader.number()
        if days and day <= days[-1][0]:
            raise malformed("days that do not rise")
        days.append((day, _digest(reader)))
    return Days(ref, from_day, tuple(days))


def _symbols(reader: Reader, _flags: int) -> Symbols:
    ref, scope, key = reader.take(REF_BYTES), _scope(reader), reader.take(SYMBOLS_KEY_BYTES)
    return Symbols(ref, scope, key, reader.number(2**62 - 1), reader.number(), reader.rest())


def _more(reader: Reader, _flags: int) -> More:
    ref, scope = reader.take(REF_BYTES), _scope(reader)
    return More(ref, scope, reader.number(), reader.number(MAX_SYMBOLS))


def _want(reader: Reader, _flags: int) -> Want:
    return Want(reader.take(REF_BYTES), _refs(reader, REF_BYTES, MAX_WANTED))


def _want_proofs(reader: Reader, flags: int) -> WantProofs:
    return WantProofs(reader.take(REF_BYTES), _refs(reader, _origin_bytes(flags), MAX_EXCLUSIONS))


def _refs(reader: Reader, size: int, most: int) -> tuple[bytes, ...]:
    refs: list[bytes] = []
    while not reader.is_at_end:
        _bound(refs, most)
        refs.append(reader.take(size))
    return tuple(refs)


def _parts(reader: Reader) -> tuple[bytes, ...]:
    parts = []
    while not reader.is_at_end:
        parts.append(reader.take(reader.number(MAX_BYTES)))
    return tuple(parts)


def _bound(read: Sequence[object], most: int) -> None:
    if len(read) == most:
        raise malformed(f"more than {most}")


def _room(reader: Reader) -> RoomID:
    return RoomID(reader.take(_ROOM_BYTES))


def _day(reader: Reader) -> int:
    return int.from_bytes(reader.take(2), "big")


def _digest(reader: Reader) -> Digest:
    return Digest(reader.number(), int.from_bytes(reader.take(digests.ID_BYTES), "big"))


def _scope(reader: Reader) -> Scope:
    from_day, sample = _day(reader), reader.byte()
    days = tuple(_day(reader) for _ in range(reader.number(MAX_CHOSEN_DAYS)))
    if sample > MAX_SAMPLE or any(one >= other for one, other in pairwise(days)):
        raise malformed("a scope that is none")
    return Scope(from_day, days, sample)


_READERS: Final[dict[int, Callable[[Reader, int], Message]]] = {
    Heads.type: _heads,
    End.type: lambda _reader, _flags: End(),
    Same.type: lambda reader, _flags: Same(reader.take(REF_BYTES)),
    Unknown.type: lambda reader, _flags: Unknown(reader.take(REF_BYTES)),
    Interested.type: lambda reader, flags: Interested(_room(reader), _day(reader), bool(flags)),
    ManifestOf.type: _manifest,
    Info.type: _info,
    Get.type: _get,
    Batches.type: _batches,
    Push.type: lambda reader, _flags: Push(reader.rest()),
    Days.type: _days,
    Symbols.type: _symbols,
    More.type: _more,
    Want.type: _want,
    Proofs.type: lambda reader, _flags: Proofs(reader.take(REF_BYTES), reader.rest()),
    WantProofs.type: _want_proofs,
}
