"""A plain model of the WebSocket reader: the whole input at once, each rule of RFC 6455 where its byte is."""

from collections.abc import Iterator

from megaphone.wire.websocket import Error
from tests.unit.wire.websocket_frames import Reading, masked

CODES = {*range(1000, 1004), *range(1007, 1015), *range(3000, 5000)}
FILLS = [fill * count for fill in (b"\x80", b"\xbf") for count in range(4)]


def begins_text(data: bytes) -> bool:
    """Whether some UTF-8 text begins with these bytes: whether bytes can follow that make it one."""
    for fill in FILLS:
        try:
            (data + fill).decode()
        except UnicodeDecodeError:
            continue
        return True
    return False


def right_bytes(data: bytes) -> int:
    """How many bytes stand before the first one that no UTF-8 text can have there."""
    try:
        data.decode()
    except UnicodeDecodeError as error:
        start = error.start
        return next((end - 1 for end in range(start + 1, len(data) + 1) if not begins_text(data[start:end])), len(data))
    return len(data)


def is_text(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


class RefusedError(Exception):
    """The byte at `offset` cannot stand there."""

    def __init__(self, error: Error, offset: int) -> None:
        self.error = error
        self.offset = offset


class Model:
    """Reads all frames of `data`; what follows the last byte is not known."""

    def __init__(self, data: bytes, *, message_bytes: int = 262144, frames: int = 1024, text_only: int = True) -> None:
        self.data = data
        self.message_bytes = message_bytes
        self.frames_limit = frames
        self.text_only = text_only
        self.opcode = 0  # of the message under way
        self.message = b""
        self.frames = 0
        self.said = Reading()

    def read(self) -> Reading:
        """The events, and the first thing that is wrong."""
        at = 0
        try:
            for end in self._frames():
                at = end
        except RefusedError as refused:
            self.said.error, self.said.error_offset = refused.error, refused.offset
        self.said.under_way = self.message
        self.said.rests = at == len(self.data) and not self.opcode and self.said.code is None
        self.said.controls = min(255, sum(kind in ("ping", "pong") for kind, _, _ in self.said.events))
        return self.said

    def _frames(self) -> Iterator[int]:
        """Ends of whole frames."""
        at, data = 0, self.data
        while at < len(data) and self.said.code is None:
            final, opcode = bool(data[at] & 0x80), data[at] & 0x0F
            self._check_head(at, final, opcode)
            if at + 1 >= len(data):
                return
            if not data[at + 1] & 0x80:
                raise RefusedError(Error.NOT_MASKED, at + 1)
            length, payload_at = self._length(at + 1, opcode)
            if length is None:
                return
            self._check_length(payload_at - 1, final, opcode, length)
            begin = payload_at + 4
            payload = masked(data[begin : begin + length], data[payload_at:begin]) if begin <= len(data) else b""
            whole = begin + length <= len(data)
            if opcode < 8:
                self._data(begin, payload, whole and final, opcode)
            elif opcode == 8:
                self._close(begin, payload, whole)
            elif whole:
                self.said.events.append(("ping" if opcode == 9 else "pong", payload, begin + length))
            if not whole:
                return
            at = begin + length
            yield at

    def _check_head(self, at: int, final: bool, opcode: int) -> None:
        if self.data[at] & 0x70:
            raise RefusedError(Error.RESERVED_BITS, at)
        if opcode not in (0, 1, 2, 8, 9, 10):
            raise RefusedError(Error.UNKNOWN_OPCODE, at)
        if opcode >= 8:
            if not final:
                raise RefusedError(Error.CONTROL_FRAGMENTED, at)
            return
        if opcode == 0:
            if not self.opcode:
                raise RefusedError(Error.NOTHING_TO_CONTINUE, at)
            self.frames += 1
            if self.frames > self.frames_limit:
                raise RefusedError(Error.TOO_MANY_FRAMES, at)
            return
        if self.opcode:
            raise RefusedError(Error.MESSAGE_UNDER_WAY, at)
        if opcode == 2 and self.text_only:
            raise RefusedError(Error.BINARY_REFUSED, at)
        self.opcode, self.frames = opcode, 1

    def _length(self, at: int, opcode: int) -> tuple[int | None, int]:
        """The length, None if it is not known yet, and the offset behind it."""
        data, length = self.data, self.data[at] & 0x7F
        if length < 126:
            return length, at + 1
        if opcode >= 8:
            raise RefusedError(Error.CONTROL_TOO_LONG, at)
        size = 2 if length == 126 else 8
        if size == 8 and at + 1 < len(data) and data[at + 1] & 0x80:
            raise RefusedError(Error.LENGTH_TOP_BIT, at + 1)
        if at + size >= len(data):
            return None, len(data)
        length = int.from_bytes(data[at + 1 : at + 1 + size], "big")
        if length < (126 if size == 2 else 65536):
            raise RefusedError(Error.LENGTH_NOT_MINIMAL, at + size)
        return length, at + 1 + size

    def _check_length(self, at: int, final: bool, opcode: int, length: int) -> None:
        if opcode == 8 and length == 1:
            raise RefusedError(Error.CLOSE_TOO_SHORT, at)
        if opcode < 8 and len(self.message) + length > self.message_bytes:
            raise RefusedError(Error.MESSAGE_TOO_BIG, at)
        if opcode < 8 and self.opcode == 1 and final and length == 0 and not is_text(self.message):
            raise RefusedError(Error.INVALID_UTF8, at)

    def _data(self, begin: int, payload: bytes, ends: bool, opcode: int) -> None:
        before = len(self.message)
        if self.opcode == 1:
            right = right_bytes(self.message + payload)
            if ends and right == before + len(payload) and not is_text(self.message + payload):
                right -= 1  # the end of the message comes too early
            if right < before + len(payload):
                self.message = (self.message + payload)[:right]
                raise RefusedError(Error.INVALID_UTF8, begin + right - before)
        self.message += payload
        if ends:
            kind = "text" if self.opcode == 1 else "binary"
            self.said.events.append((kind, self.message, begin + len(payload)))
            self.message, self.opcode = b"", 0

    def _close(self, begin: int, payload: bytes, whole: bool) -> None:
        if len(payload) >= 2:
            if int.from_bytes(payload[:2], "big") not in CODES:
                raise RefusedError(Error.INVALID_CLOSE_CODE, begin + 1)
            right = right_bytes(payload[2:])
            if whole and right == len(payload) - 2 and not is_text(payload[2:]):
                right -= 1
            if right < len(payload) - 2:
                raise RefusedError(Error.INVALID_UTF8, begin + 2 + right)
        if whole:
            self.said.code = int.from_bytes(payload[:2], "big") if payload else 1005
            self.said.events.append(("close", payload[2:], begin + len(payload)))
