"""The first words of two peers inside TLS, no I/O: versions, names, who dials proves its key, and both say yes or no.

    dialler                              listener         the listener's key is proved by TLS (megaphone.peers.identity)
       │ ◄──────────── Hello ──────────────│              sent at once by both
       │ ───────────── Hello ────────────► │
       │ ───────────── Proof ────────────► │              signature over both Hellos, by the key in the dialler's
       │ ◄─────────── Welcome ─────────────│
       or either, instead of Proof or Welcome: Refused(reason), and the end

What is signed: "megaphone peer 1" │ SHA-256(listener's Hello) │ SHA-256(dialler's Hello). The listener's Hello has its
key, which the dialler has found equal to the one of TLS, and a nonce. So a man in the middle cannot pass a proof on: it
names the listener that the dialler really reached, which is him and not the one he would like to be believed by.

Messages are MessagePack arrays, the name of the kind first; fields that a later version appends are ignored.
"""

from __future__ import annotations

from enum import StrEnum
from hashlib import sha256
from typing import Final, TypeVar

import msgspec

from megaphone.errors import PeerError
from megaphone.peers.names import clean_name

VERSION: Final = 1
KEY_BYTES: Final = 32
NONCE_BYTES: Final = 32
INSTANCE_BYTES: Final = 8
MESSAGE_LIMIT_BYTES: Final = 1024

_SIGNED: Final = b"megaphone peer 1"


class Reason(StrEnum):
    """Why a peer is refused."""

    VERSION = "version"
    """No version in common."""
    KEY_CHANGED = "key-changed"
    """The name is known, with another key."""
    TOO_MANY_NAMES = "too-many-names"
    """The key has come with several names already."""
    CONNECTED = "connected"
    """There is a connection already."""
    OURSELVES = "ourselves"
    """It is the same node."""
    FULL = "full"
    """There are as many peers as may be."""


class Hello(msgspec.Struct, frozen=True, array_like=True, tag="hello"):
    """Who one is. `port` is where one listens, 0 if nowhere; `instance` is random and new at each start."""

    version: int
    name: str
    key: bytes
    nonce: bytes
    port: int
    instance: bytes


class Proof(msgspec.Struct, frozen=True, array_like=True, tag="proof"):
    """The dialler's signature."""

    signature: bytes


class Welcome(msgspec.Struct, frozen=True, array_like=True, tag="welcome"):
    """The listener's yes."""


class Refused(msgspec.Struct, frozen=True, array_like=True, tag="refused"):
    """A no, from either; `reason` is a Reason, or one of a later version."""

    reason: str


Message = Hello | Proof | Welcome | Refused

T = TypeVar("T", Hello, Proof, Welcome)

_ENCODER: Final = msgspec.msgpack.Encoder()
_DECODER: Final = msgspec.msgpack.Decoder(Message)


def encode(message: Message) -> bytes:
    """Return the bytes of a message."""
    return _ENCODER.encode(message)


def expect(kind: type[T], data: bytes) -> T:
    """Read a message of this kind; PeerError if it is another one, or none, and if it is a refusal."""
    if len(data) > MESSAGE_LIMIT_BYTES:
        raise PeerError("a greeting is too long")
    try:
        message = _DECODER.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise PeerError(f"does not greet as it should: {error}") from None
    if isinstance(message, Refused):
        raise PeerError(f"refuses us: {message.reason}", message.reason, told=True)
    if not isinstance(message, kind):
        raise PeerError("does not greet in order")
    return message


def check(hello: Hello) -> None:
    """See that the fields are as they should be; PeerError if not."""
    if hello.version < VERSION:
        raise PeerError(f"speaks version {hello.version}, we speak {VERSION}", Reason.VERSION)
    if len(hello.key) != KEY_BYTES or len(hello.nonce) != NONCE_BYTES or len(hello.instance) != INSTANCE_BYTES:
        raise PeerError("a field of its greeting has the wrong length")
    if not 0 <= hello.port <= 65535:
        raise PeerError("its port is none")
    try:
        clean = clean_name(hello.name)
    except ValueError as error:
        raise PeerError(f"its name is none: {error}") from None
    if clean != hello.name:
        raise PeerError("its name is not in its normal form")


def signed(listener: bytes, dialler: bytes) -> bytes:
    """Return what the dialler signs, of the bytes of both Hellos."""
    return _SIGNED + sha256(listener).digest() + sha256(dialler).digest()
