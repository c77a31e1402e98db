"""What a room is called: its manifest, whose hash is the room's id, so that no registry is needed."""

from __future__ import annotations

from hashlib import sha256
from typing import Final, NamedTuple, NewType

import msgspec

RoomID = NewType("RoomID", bytes)
"""SHA-256 of a manifest, 32 bytes."""

_VERSION: Final = "megaphone-room-1"

MUC: Final = "muc"
USER: Final = "user"
LAN: Final = "lan"


class Manifest(NamedTuple):
    """Kind ("muc", "user", "lan") and name (a bare JID, or a channel)."""

    kind: str
    name: str

    @property
    def id(self) -> RoomID:
        """The room's id."""
        return RoomID(sha256(msgspec.msgpack.encode([_VERSION, self.kind, self.name])).digest())
