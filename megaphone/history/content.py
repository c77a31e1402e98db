"""What an entry says: who, what, and of a tombstone what it erases. Its hash stands in the header, so it can go."""

from __future__ import annotations

from hashlib import sha256
from typing import Final

import msgspec

from megaphone.errors import HistoryError


class Content(msgspec.Struct, frozen=True, array_like=True, omit_defaults=True):
    """The content of an entry; `encode` makes the bytes whose hash the header has."""

    author: str
    """A JID in rooms and archives, a name on a LAN."""
    stanza: bytes
    target: bytes | None = None
    """Of a tombstone: the id of the entry that it erases."""
    author_key: bytes | None = None
    """Ed25519 key of the author's own signature, which is optional."""
    author_signature: bytes | None = None

    def encode(self) -> bytes:
        """Return the canonical bytes."""
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
    except msgspec.MsgspecError as error:
        raise HistoryError("malformed", str(error)) from None
    if content.encode() != data:
        raise HistoryError("malformed", "not the canonical form")
    return content


def content_hash(data: bytes) -> bytes:
    """Return the hash that stands in the header, 32 bytes."""
    return sha256(data).digest()
