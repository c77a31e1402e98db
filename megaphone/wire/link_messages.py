"""The link's rare frames as values: CHALLENGE, HELLO, WELCOME and SHUTDOWN, and the two proofs.

Each class is one frame's payload as docs/reference/link-protocol.md lays it out; `encode` and `decode` are inverse.
`decode` raises LinkError with the reason that the protocol has for what is wrong, and a text that names the frame.
"""

import hmac
import struct
from dataclasses import dataclass
from typing import Any, Self

from megaphone.errors import LinkError
from megaphone.wire.link import LinkReason

MAGIC = b"MPLK"
VERSION = 1
SESSIONS_GO_ON = 1  # feature: both sides keep what is not acknowledged
CHANNEL_BINDINGS = 2  # feature: OPEN carries channel bindings
FEATURES = SESSIONS_GO_ON | CHANNEL_BINDINGS
RESUMED = 1  # flag of WELCOME
PROOF_BYTES = 32
TEXT_LIMIT_BYTES = 255
SECRET_BYTES = (16, 1024)
WINDOW_BYTES = (4096, 1048576)

_EDGE_LABEL = b"megaphone link 1 edge\0"
_SERVER_LABEL = b"megaphone link 1 server\0"
_CHALLENGE = struct.Struct("!4sBB16s16s")
_HELLO = struct.Struct("!4sBI16s16sIQIB")
_WELCOME = struct.Struct("!BBIIQIIH")
_SHUTDOWN = struct.Struct("!QB")


def reason_text(reason: int) -> str:
    """The name of a reason as the protocol's document has it; "reason N" for one that is not in it."""
    try:
        return LinkReason(reason).name.lower().replace("_", "-")
    except ValueError:
        return f"reason {reason}"


def cut_text(text: str, limit_bytes: int = TEXT_LIMIT_BYTES) -> bytes:
    """The text as UTF-8, cut between two characters to at most `limit_bytes`."""
    encoded = text.encode(errors="replace")
    if len(encoded) <= limit_bytes:
        return encoded
    return encoded[:limit_bytes].decode(errors="ignore").encode()


def check_secret(secret: bytes) -> bytes:
    """The secret, if it has 16 to 1,024 bytes; otherwise ValueError."""
    if not SECRET_BYTES[0] <= len(secret) <= SECRET_BYTES[1]:
        raise ValueError(f"the link's secret has {len(secret)} bytes instead of {SECRET_BYTES[0]} to {SECRET_BYTES[1]}")
    return secret


def _proof(secret: bytes, *parts: bytes) -> bytes:
    return hmac.digest(check_secret(secret), b"".join(parts), "sha256")


def edge_is_proven(secret: bytes, challenge: bytes, hello: bytes) -> bool:
    """Whether whoever said HELLO in answer to CHALLENGE (both payloads) knows the secret."""
    expected = _proof(secret, _EDGE_LABEL, challenge, hello[:-PROOF_BYTES])
    return hmac.compare_digest(expected, hello[-PROOF_BYTES:])


def server_is_proven(secret: bytes, challenge: bytes, hello: bytes, welcome: bytes) -> bool:
    """Whether whoever said WELCOME in answer to HELLO (all payloads) knows the secret."""
    expected = _proof(secret, _SERVER_LABEL, challenge, hello, welcome[:-PROOF_BYTES])
    return hmac.compare_digest(expected, welcome[-PROOF_BYTES:])


def _split(payload: bytes, layout: struct.Struct, name: str) -> tuple[tuple[Any, ...], bytes]:
    """The values of the fixed part, and the rest."""
    if len(payload) < layout.size:
        raise LinkError(LinkReason.PROTOCOL_ERROR, f"{name} of {len(payload)} bytes is too short")
    return layout.unpack_from(payload), payload[layout.size :]


def _check(right: bool, text: str, reason: LinkReason = LinkReason.PROTOCOL_ERROR) -> None:
    if not right:
        raise LinkError(reason, text)


def _text(data: bytes, name: str) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise LinkError(LinkReason.PROTOCOL_ERROR, f"{name} that is not UTF-8") from None


def _check_window(window: int, name: str) -> None:
    least, most = WINDOW_BYTES
    _check(least <= window <= most, f"{name} has a window of {window} bytes instead of {least} to {most}")


@dataclass(frozen=True, slots=True)
class Challenge:
    """The server's first word. `nonce` and `instance` have 16 bytes each."""

    nonce: bytes
    instance: bytes
    lowest: int = VERSION
    highest: int = VERSION

    def encode(self) -> bytes:
        """The payload."""
        return _CHALLENGE.pack(MAGIC, self.lowest, self.highest, self.nonce, self.instance)

    @classmethod
    def decode(cls, payload: bytes) -> Self:
        """Read a payload; LinkError also if the server does not understand version 1."""
        (magic, lowest, highest, nonce, instance), rest = _split(payload, _CHALLENGE, "CHALLENGE")
        _check(magic == MAGIC, "CHALLENGE does not begin with MPLK")
        _check(not rest, f"CHALLENGE is followed by {len(rest)} bytes")
        _check(
            lowest <= VERSION <= highest,
            f"the server understands versions {lowest} to {highest}, the edge version {VERSION}",
            LinkReason.UNSUPPORTED_VERSION,
        )
        return cls(nonce, instance, lowest, highest)


@dataclass(frozen=True, slots=True)
class Hello:
    """The edge's answer. `nonce` and `session` have 16 bytes, `name` at most 255; `proof` is that of a decoded one."""

    nonce: bytes
    session: bytes
    epoch: int
    received: int
    window: int
    name: str
    features: int = FEATURES
    version: int = VERSION
    proof: bytes = b""

    def encode(self, secret: bytes, challenge: bytes) -> bytes:
        """The payload, with the proof for the CHALLENGE with this payload."""
        name = cut_text(self.name)
        unproven = _HELLO.pack(
            MAGIC,
            self.version,
            self.features,
            self.nonce,
            self.session,
            self.epoch,
            self.received,
            self.window,
            len(name),
        )
        unproven += name
        return unproven + _proof(secret, _EDGE_LABEL, challenge, unproven)

    @classmethod
    def decode(cls, payload: bytes) -> Self:
        """Read a payload; LinkError also if the edge speaks another version. The proof is not checked here."""
        values, rest = _split(payload, _HELLO, "HELLO")
        magic, version, features, nonce, session, epoch, received, window, name_bytes = values
        _check(magic == MAGIC, "HELLO does not begin with MPLK")
        _check(
            version == VERSION,
            f"the edge speaks version {version}, the server understands versions {VERSION} to {VERSION}",
            LinkReason.UNSUPPORTED_VERSION,
        )
        _check(
            len(rest) == name_bytes + PROOF_BYTES,
            f"HELLO has a name of {name_bytes} bytes and {len(rest)} bytes for name and proof",
        )
        _check(epoch >= 1, "HELLO has epoch 0")
        _check_window(window, "HELLO")
        name = _text(rest[:name_bytes], "HELLO has a name")
        return cls(nonce, session, epoch, received, window, name, features, version, rest[name_bytes:])


@dataclass(frozen=True, slots=True)
class Welcome:
    """The server's answer to HELLO. `resumed`: the session goes on; `grace_seconds` how long it outlives a socket."""

    epoch: int
    received: int
    window: int
    streams: int
    grace_seconds: int
    resumed: bool = False
    features: int = FEATURES
    version: int = VERSION

    def encode(self, secret: bytes, challenge: bytes, hello: bytes) -> bytes:
        """The payload, with the proof for the CHALLENGE and HELLO with these payloads."""
        flags = RESUMED if self.resumed else 0
        unproven = _WELCOME.pack(
            self.version,
            flags,
            self.features,
            self.epoch,
            self.received,
            self.window,
            self.streams,
            self.grace_seconds,
        )
        return unproven + _proof(secret, _SERVER_LABEL, challenge, hello, unproven)

    @classmethod
    def decode(cls, payload: bytes) -> Self:
        """Read a payload. The proof is not checked here: `server_is_proven` does that."""
        values, rest = _split(payload, _WELCOME, "WELCOME")
        version, flags, features, epoch, received, window, streams, grace_seconds = values
        _check(len(rest) == PROOF_BYTES, f"WELCOME has {len(rest)} bytes of proof instead of {PROOF_BYTES}")
        _check(
            version == VERSION,
            f"the server speaks version {version}, the edge understands versions {VERSION} to {VERSION}",
            LinkReason.UNSUPPORTED_VERSION,
        )
        _check_window(window, "WELCOME")
        return cls(epoch, received, window, streams, grace_seconds, bool(flags & RESUMED), features, version)


@dataclass(frozen=True, slots=True)
class Shutdown:
    """The end of a stream or the link: `sent` bytes of data in all, `reason` a number, `text` up to 255 bytes."""

    sent: int
    reason: int
    text: str = ""

    def encode(self) -> bytes:
        """The payload."""
        return _SHUTDOWN.pack(self.sent, self.reason) + cut_text(self.text)

    @classmethod
    def decode(cls, payload: bytes) -> Self:
        """Read a payload."""
        (sent, reason), text = _split(payload, _SHUTDOWN, "SHUTDOWN")
        _check(len(text) <= TEXT_LIMIT_BYTES, f"SHUTDOWN has a text of {len(text)} bytes")
        return cls(sent, reason, _text(text, "SHUTDOWN has a text"))
