"""What an entry says: who, what, and of a tombstone what it erases. Its hash stands in the header, so it can go."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Final

import msgspec

from megaphone.errors import HistoryError
from megaphone.history.answers import Refusal

if TYPE_CHECKING:
    from megaphone.history.manifest import RoomID
    from megaphone.history.ports import Verifier

ID_BYTES: Final = 32
KEY_BYTES: Final = 32
SIGNATURE_BYTES: Final = 64
_AUTHOR: Final = b"megaphone author 1"


class Content(msgspec.Struct, frozen=True, array_like=True):
    """The content of an entry; `encode` makes the bytes whose hash the header has."""

    author: str
    """A JID in rooms and archives, a name on a LAN."""
    stanza: bytes
    target: bytes | None = None
    """Of a tombstone: the id of the entry that it erases."""
    author_key: bytes | None = None
    """Ed25519 key of the author's own signature, which is optional."""
    author_signature: bytes | None = None
    """Over `statement`."""

    def encode(self) -> bytes:
        """Return the canonical bytes: trailing nils are left out."""
        if self.target is None and self.author_key is None and self.author_signature is None:
            return _ENCODER.encode((self.author, self.stanza))
        fields = [self.author, self.stanza, self.target, self.author_key, self.author_signature]
        while fields[-1] is None:
            fields.pop()
        return _ENCODER.encode(fields)


_ENCODER: Final = msgspec.msgpack.Encoder()
_DECODER: Final = msgspec.msgpack.Decoder(Content)


def decode(data: bytes) -> Content:
    """Read canonical bytes; HistoryError("malformed") if they are not those that `encode` makes."""
    try:
        content = _DECODER.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise HistoryError(Refusal.MALFORMED, f"content: {error}") from None
    if content.encode() != data:
        raise HistoryError(Refusal.MALFORMED, "content: not the canonical form")
    return content


def check(content: Content, room: RoomID, verifier: Verifier, *, tombstone: bool) -> None:
    """Raise HistoryError if it is not one of a tombstone, or of something else, or its author has not signed it."""
    target, key, signature = content.target, content.author_key, content.author_signature
    if tombstone != (target is not None) or (target is not None and len(target) != ID_BYTES):
        raise HistoryError(Refusal.MALFORMED, "content: a tombstone has a target of 32 bytes, nothing else has one")
    if key is None and signature is None:
        return
    if key is None or signature is None or len(key) != KEY_BYTES or len(signature) != SIGNATURE_BYTES:
        raise HistoryError(Refusal.MALFORMED, "content: an author's key has 32 bytes and a signature of 64")
    if not verifier(key, signature, statement(room, content.author, content.stanza)):
        raise HistoryError(Refusal.FORGED_AUTHOR, f"the signature of {content.author!r} is wrong")


def statement(room: RoomID, author: str, stanza: bytes) -> bytes:
    """Return what an author signs who vouches for a message without trusting the node."""
    return _AUTHOR + room + author.encode() + b"\0" + sha256(stanza).digest()


def content_hash(data: bytes) -> bytes:
    """Return the hash that stands in the header, 32 bytes."""
    return sha256(data).digest()
