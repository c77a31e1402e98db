"""The bytes of the link protocol in plain Python, written from docs/reference/link-protocol.md alone.

Nothing here is fast or shares anything with megaphone.wire: two codecs made from one document check each other.
"""

import enum
import hashlib
import hmac
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

MAGIC = b"MPLK"
VERSION = 1
HEADER_BYTES = 8
DATA_LIMIT_BYTES = 16_384
WINDOW_LIMITS_BYTES = (4_096, 1_048_576)
SECRET_LIMITS_BYTES = (16, 1_024)
ACK_DUE_BYTES = 65_536
KEPT_LIMIT_BYTES = 4 * 1_048_576
NAME_LIMIT_BYTES = 255
TEXT_LIMIT_BYTES = 255
PROOF_BYTES = 32
GOES_ON = 0x01  # WELCOME, flags
FEATURE_GOES_ON = 0x01
FEATURE_BINDINGS = 0x02

Side = Literal["edge", "server"]


class Type(enum.IntEnum):
    CHALLENGE = 0x01
    HELLO = 0x02
    WELCOME = 0x03
    PING = 0x04
    PONG = 0x05
    ACK = 0x06
    DRAIN = 0x07
    OPEN = 0x10
    PUT_DATA = 0x11
    SEND_DATA = 0x12
    GET_DATA = 0x13
    SHUTDOWN = 0x14


class Reason(enum.IntEnum):
    CLOSED = 0
    CONNECTION_LOST = 1
    CONNECTION_TIMEOUT = 2
    POLICY_VIOLATION = 3
    SLOW_CONSUMER = 4
    RESOURCE_CONSTRAINT = 5
    SYSTEM_SHUTDOWN = 6
    INTERNAL_ERROR = 7
    REMOTE_CONNECTION_FAILED = 8
    PROTOCOL_ERROR = 16
    CREDIT_OVERSTEPPED = 17
    UNSUPPORTED_VERSION = 18
    NOT_AUTHORIZED = 19
    STALE_EPOCH = 20
    LINK_TIMEOUT = 21
    TOO_MANY_LINKS = 22


FIRST_LINK_REASON = Reason.PROTOCOL_ERROR


class Field(enum.IntEnum):
    SERVER_NAME = 1
    ALPN = 2
    TLS_EXPORTER = 3
    TLS_UNIQUE = 4
    CIPHER = 5
    CLIENT_CERTIFICATE = 6
    EDGE_CERTIFICATE = 7


FIELD_LIMITS_BYTES = {
    Field.TLS_EXPORTER: (32, 32),
    Field.TLS_UNIQUE: (12, 64),
    Field.CLIENT_CERTIFICATE: (32, 32),
    Field.EDGE_CERTIFICATE: (32, 64),
}
TEXT_FIELDS = {Field.SERVER_NAME, Field.CIPHER}


class Rule(NamedTuple):
    """One row of the document's table of frames."""

    senders: tuple[Side, ...]
    ids: Literal["link", "stream", "any"]
    low: int
    high: int


EDGE: tuple[Side, ...] = ("edge",)
SERVER: tuple[Side, ...] = ("server",)
BOTH: tuple[Side, ...] = ("edge", "server")
RULES = {
    Type.CHALLENGE: Rule(SERVER, "link", 38, 38),
    Type.HELLO: Rule(EDGE, "link", 90, 345),
    Type.WELCOME: Rule(SERVER, "link", 60, 60),
    Type.PING: Rule(BOTH, "link", 16, 16),
    Type.PONG: Rule(BOTH, "link", 16, 16),
    Type.ACK: Rule(BOTH, "link", 8, 8),
    Type.DRAIN: Rule(BOTH, "link", 0, 0),
    Type.OPEN: Rule(EDGE, "stream", 40, 4_096),
    Type.PUT_DATA: Rule(EDGE, "stream", 1, DATA_LIMIT_BYTES),
    Type.SEND_DATA: Rule(SERVER, "stream", 1, DATA_LIMIT_BYTES),
    Type.GET_DATA: Rule(BOTH, "stream", 8, 8),
    Type.SHUTDOWN: Rule(BOTH, "any", 9, 9 + TEXT_LIMIT_BYTES),
}


class FrameError(Exception):
    """The other side's bytes are none that the document allows; `reason` is what it is told."""

    def __init__(self, text: str, reason: Reason = Reason.PROTOCOL_ERROR) -> None:
        super().__init__(text)
        self.reason = reason


class Frame(NamedTuple):
    """One frame; its size is counted with its header."""

    type: Type
    id: int
    payload: bytes

    @property
    def size(self) -> int:
        return HEADER_BYTES + len(self.payload)

    def encode(self) -> bytes:
        return raw(self.type, self.id, self.payload)


def raw(kind: int, identifier: int, payload: bytes = b"", *, length: int | None = None) -> bytes:
    """Any frame, also one that is not allowed; `length` lies about the payload's."""
    return struct.pack("!II", kind << 24 | (len(payload) if length is None else length), identifier) + payload


class Decoder:
    """Cuts bytes into frames sent by `sender`; FrameError as soon as a header is wrong, before its payload has come."""

    def __init__(self, sender: Side) -> None:
        self._sender = sender
        self._buffer = bytearray()

    @property
    def pending_bytes(self) -> int:
        """How much of a frame that is not whole has come."""
        return len(self._buffer)

    def feed(self, data: bytes) -> Iterator[Frame]:
        self._buffer += data
        while len(self._buffer) >= HEADER_BYTES:
            first, identifier = struct.unpack_from("!II", self._buffer)
            kind, length = self._checked(first >> 24, first & 0xFFFFFF, identifier)
            if len(self._buffer) < HEADER_BYTES + length:
                return
            payload = bytes(self._buffer[HEADER_BYTES : HEADER_BYTES + length])
            del self._buffer[: HEADER_BYTES + length]
            yield Frame(kind, identifier, payload)

    def _checked(self, number: int, length: int, identifier: int) -> tuple[Type, int]:
        try:
            kind = Type(number)
        except ValueError:
            raise FrameError(f"frame of unknown type 0x{number:02x}") from None
        rule = RULES[kind]
        if self._sender not in rule.senders:
            raise FrameError(f"{kind.name}: not from the {self._sender}")
        if not rule.low <= length <= rule.high:
            raise FrameError(f"{kind.name}: payload of {length} bytes")
        if (rule.ids == "link") != (identifier == 0) and rule.ids != "any":
            raise FrameError(f"{kind.name}: id {identifier}")
        return kind, length


@dataclass(frozen=True, slots=True)
class Challenge:
    nonce: bytes
    instance: bytes
    low: int = VERSION
    high: int = VERSION
    magic: bytes = MAGIC

    def encode(self) -> bytes:
        return self.magic + bytes([self.low, self.high]) + self.nonce + self.instance

    @classmethod
    def decode(cls, payload: bytes) -> "Challenge":
        magic, low, high, nonce, instance = struct.unpack("!4sBB16s16s", payload)
        if magic != MAGIC:
            raise FrameError(f"CHALLENGE: magic {magic!r}")
        if not low <= VERSION <= high:
            raise FrameError(f"CHALLENGE: versions {low} to {high}, not {VERSION}", Reason.UNSUPPORTED_VERSION)
        return cls(nonce, instance, low, high)


@dataclass(frozen=True, slots=True)
class Hello:
    nonce: bytes
    session: bytes
    epoch: int = 1
    received: int = 0
    window: int = 65_536
    name: str = "reference"
    features: int = FEATURE_GOES_ON | FEATURE_BINDINGS
    version: int = VERSION
    magic: bytes = MAGIC
    proof: bytes = b""

    _FIXED = struct.Struct("!4sBI16s16sIQIB")

    def without_proof(self) -> bytes:
        name = self.name.encode()
        fixed = (self.magic, self.version, self.features, self.nonce, self.session, self.epoch, self.received)
        return self._FIXED.pack(*fixed, self.window, len(name)) + name

    def encode(self) -> bytes:
        return self.without_proof() + self.proof

    @classmethod
    def decode(cls, payload: bytes) -> "Hello":
        magic, version, features, nonce, session, epoch, received, window, length = cls._FIXED.unpack_from(payload)
        if magic != MAGIC:
            raise FrameError(f"HELLO: magic {magic!r}")
        if version != VERSION:
            raise FrameError(f"version {version}; understood: {VERSION}", Reason.UNSUPPORTED_VERSION)
        if len(payload) != cls._FIXED.size + length + PROOF_BYTES:
            raise FrameError(f"HELLO: name of {length} bytes in a payload of {len(payload)}")
        if epoch == 0:
            raise FrameError("HELLO: epoch 0")
        _check_window("HELLO", window)
        name = _text("HELLO", payload[cls._FIXED.size : -PROOF_BYTES])
        return cls(nonce, session, epoch, received, window, name, features, version, magic, payload[-PROOF_BYTES:])


@dataclass(frozen=True, slots=True)
class Welcome:
    epoch: int
    received: int = 0
    window: int = 65_536
    streams: int = 4_096
    grace_seconds: int = 30
    flags: int = 0
    features: int = FEATURE_GOES_ON | FEATURE_BINDINGS
    version: int = VERSION
    proof: bytes = b""

    def without_proof(self) -> bytes:
        head = struct.pack("!BBIIQ", self.version, self.flags, self.features, self.epoch, self.received)
        return head + struct.pack("!IIH", self.window, self.streams, self.grace_seconds)

    def encode(self) -> bytes:
        return self.without_proof() + self.proof

    @classmethod
    def decode(cls, payload: bytes) -> "Welcome":
        version, flags, features, epoch, received, window, streams, grace, proof = struct.unpack(
            "!BBIIQIIH32s", payload
        )
        if version != VERSION:
            raise FrameError(f"WELCOME: version {version}")
        _check_window("WELCOME", window)
        return cls(epoch, received, window, streams, grace, flags, features, version, proof)


@dataclass(frozen=True, slots=True)
class Open:
    """Addresses are 4 or 16 bytes, by family."""

    transport: int = 3
    client: tuple[bytes, int] = (bytes([192, 0, 2, 1]), 50_000)
    local: tuple[bytes, int] = (bytes([198, 51, 100, 2]), 5_222)
    tls_version: int = 0x0303
    fields: tuple[tuple[int, bytes], ...] = field(default=())

    def encode(self) -> bytes:
        (client, client_port), (local, local_port) = self.client, self.local
        result = struct.pack(
            "!BB16sH16sHH",
            *(self.transport, 4 if len(client) == 4 else 6),
            *(client, client_port, local, local_port, self.tls_version),
        )
        for kind, value in self.fields:
            result += struct.pack("!BH", kind, len(value)) + value
        return result

    @classmethod
    def decode(cls, payload: bytes) -> "Open":
        transport, family, client, client_port, local, local_port, tls_version = struct.unpack_from(
            "!BB16sH16sHH", payload
        )
        if not 1 <= transport <= 5:
            raise FrameError(f"OPEN: transport {transport}")
        if family not in (4, 6):
            raise FrameError(f"OPEN: family {family}")
        if family == 4:
            if any(client[4:]) or any(local[4:]):
                raise FrameError("OPEN: an IPv4 address with more than 4 bytes")
            client, local = client[:4], local[:4]
        fields = tuple(_open_fields(payload[40:]))
        return cls(transport, (client, client_port), (local, local_port), tls_version, fields)


def _open_fields(data: bytes) -> Iterator[tuple[int, bytes]]:
    seen = set()
    while data:
        if len(data) < 3 or len(data) < 3 + int.from_bytes(data[1:3]):
            raise FrameError("OPEN: a field goes beyond the end")
        kind, value, data = data[0], data[3 : 3 + int.from_bytes(data[1:3])], data[3 + int.from_bytes(data[1:3]) :]
        if kind not in list(Field):
            continue
        if kind in seen:
            raise FrameError(f"OPEN: field {kind} twice")
        seen.add(kind)
        low, high = FIELD_LIMITS_BYTES.get(Field(kind), (0, 4_096))
        if not low <= len(value) <= high:
            raise FrameError(f"OPEN: field {kind} of {len(value)} bytes")
        if kind in TEXT_FIELDS:
            try:
                value.decode()
            except UnicodeDecodeError:
                raise FrameError(f"OPEN: field {kind} is not UTF-8") from None
        yield kind, value


@dataclass(frozen=True, slots=True)
class Shutdown:
    sent: int = 0
    reason: int = Reason.CLOSED
    text: str = ""

    def encode(self) -> bytes:
        text = self.text.encode()
        while len(text) > TEXT_LIMIT_BYTES:
            text = text.decode()[:-1].encode()
        return struct.pack("!QB", self.sent, self.reason) + text

    @classmethod
    def decode(cls, payload: bytes) -> "Shutdown":
        sent, reason = struct.unpack_from("!QB", payload)
        return cls(sent, reason, _text("SHUTDOWN", payload[9:]))


def beat(stamp: bytes, received: int) -> bytes:
    """The payload of PING and PONG."""
    return stamp + struct.pack("!Q", received)


def number(value: int) -> bytes:
    """The payload of ACK and GET_DATA."""
    return struct.pack("!Q", value)


def edge_proof(secret: bytes, challenge: bytes, hello_without_proof: bytes) -> bytes:
    return hmac.digest(secret, b"megaphone link 1 edge\0" + challenge + hello_without_proof, hashlib.sha256)


def server_proof(secret: bytes, challenge: bytes, hello: bytes, welcome_without_proof: bytes) -> bytes:
    told = challenge + hello + welcome_without_proof
    return hmac.digest(secret, b"megaphone link 1 server\0" + told, hashlib.sha256)


def _text(frame: str, data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise FrameError(f"{frame}: text that is not UTF-8") from None


def _check_window(frame: str, window: int) -> None:
    low, high = WINDOW_LIMITS_BYTES
    if not low <= window <= high:
        raise FrameError(f"{frame}: window of {window} bytes")
