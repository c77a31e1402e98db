"""Builds a client's WebSocket frames, and collects what the reader says about frames given in pieces."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from megaphone.wire.websocket import CLOSE_CODES, Error, Event, MessageReader, Opcode

KEY = bytes.fromhex("37fa213d")  # of the examples in RFC 6455 section 5.7
OPCODES = {
    "continuation": 0,
    "text": 1,
    "binary": 2,
    "close": 8,
    "ping": 9,
    "pong": 10,
}
REPEATED = re.compile(r"\{([0-9]+) ([^}]+)\}")


def masked(payload: bytes, key: bytes = KEY) -> bytes:
    """The payload with the mask on, or off."""
    repeated = (key * (len(payload) // 4 + 1))[: len(payload)]
    return (int.from_bytes(payload, "big") ^ int.from_bytes(repeated, "big")).to_bytes(len(payload), "big")


def frame(
    opcode: int, payload: bytes = b"", *, more: bool = False, rsv: int = 0, key: bytes | None = KEY, form: int = 0
) -> bytes:
    """One frame: `more` makes it not final, `form` 16 or 64 spells the length so, and without a key it is unmasked."""
    length = len(payload)
    form = form or (7 if length < 126 else 16 if length < 65536 else 64)
    first = bytes([(0 if more else 0x80) | rsv << 4 | opcode])
    mask = 0x80 if key else 0
    if form == 7:
        lengths = bytes([mask | length])
    else:
        lengths = bytes([mask | (126 if form == 16 else 127)]) + length.to_bytes(form // 8, "big")
    return first + lengths + (key + masked(payload, key) if key else payload)


def unescaped(text: str) -> bytes:
    """Text with escapes as in Python's bytes; {300 x} is x 300 times, and other characters stand for their UTF-8."""
    text = REPEATED.sub(lambda found: found[2] * int(found[1]), text)
    return text.encode().decode("unicode_escape").encode("latin-1")


def frame_of(words: str) -> bytes:
    """A frame in words: opcode, flags behind slashes, then the payload, for example "text/more Hel"."""
    kind, _, payload = words.partition(" ")
    name, *flags = kind.split("/")
    if name == "raw":
        return unescaped(payload)
    rsv = sum(int(flag[3:]) for flag in flags if flag.startswith("rsv"))
    form = next((int(flag[4:]) for flag in flags if flag.startswith("form")), 0)
    opcode = OPCODES[name] if name in OPCODES else int(name.removeprefix("opcode"))
    key = None if "unmasked" in flags else bytes(4) if "zeros" in flags else KEY
    data = unescaped(payload)
    if name == "close" and data:
        code, _, reason = data.partition(b" ")
        data = int(code).to_bytes(2, "big") + reason
    return frame(opcode, data, more="more" in flags, rsv=rsv, key=key, form=form)


@dataclass(slots=True)
class Reading:
    """Everything a reader said, with offsets counted from the first byte."""

    events: list[tuple[str, bytes, int]] = field(default_factory=list)  # kind, whole payload, where it ended
    code: int | None = None  # of the client's close frame
    error: Error | None = None
    error_offset: int = -1
    under_way: bytes = b""  # payload of the message that has not ended
    rests: bool = False
    controls: int = 0

    @property
    def said(self) -> list[tuple[str, bytes]]:
        return [(kind, payload) for kind, payload, _ in self.events]

    @property
    def close_code(self) -> int | None:
        return None if self.error is None else CLOSE_CODES[self.error]


def read(pieces: Iterable[bytes], *, reader: MessageReader | None = None, **limits: int) -> Reading:
    """Feeds the pieces in turn, up to the end or to the first error."""
    reader = reader or MessageReader(**limits)
    reading = Reading()
    base = 0
    for piece in pieces:
        offset = 0
        while offset < len(piece):
            event, consumed, payload, detail = reader.read(bytearray(piece[offset:]))
            assert 0 <= consumed <= len(piece) - offset
            offset += consumed
            if event is Event.ERROR:
                assert isinstance(detail, Error)
                reading.error, reading.error_offset = detail, base + offset
                reading.controls = reader.take_controls()
                assert not reader.holds
                return reading
            if event is Event.MORE:
                assert offset == len(piece)
            elif event is Event.DATA:
                assert isinstance(detail, tuple)
                opcode, first, final = detail
                assert payload or final
                assert first == (not reading.under_way)
                reading.under_way += payload
                if final:
                    kind = "text" if opcode is Opcode.TEXT_FRAME else "binary"
                    reading.events.append((kind, reading.under_way, base + offset))
                    reading.under_way = b""
            else:
                reading.events.append((event.name.lower(), payload, base + offset))
                if event is Event.CLOSE:
                    assert isinstance(detail, int)
                    assert not isinstance(detail, Error)
                    reading.code = detail
        base += len(piece)
    reading.rests = reader.rests
    reading.controls = reader.take_controls()
    return reading
