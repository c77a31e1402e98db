"""What a predecessor and its successor say to each other, as bytes: messages on a SOCK_SEQPACKET socket.

Documented, with the rules of compatibility, in docs/reference/hand-over.md:

    predecessor -> successor:  hello  connections  dropped  part  frozen  commit
    successor -> predecessor:  hello  refused  complete  taken

A message is MessagePack, an array that begins with its name. On the socket it is cut into pieces, since the kernel
takes some 200 kB at once: one byte, 1 if more pieces of this message follow and 0 if not, then the piece. The
descriptors of a message go with its first piece.
"""

from __future__ import annotations

import msgspec
from msgspec import Struct

from megaphone.dispatch.moving import DESCRIPTORS_LIMIT

VERSION = 1  # of the messages and of all records in them; see docs/reference/hand-over.md for when it is raised
OLDEST = 1  # what we still understand
PIECE_BYTES = 128 * 1024
MESSAGE_LIMIT_BYTES = 16 * 1024 * 1024


class Hello(Struct, array_like=True, frozen=True, tag="hello"):
    """The first message of both: the versions spoken, the program's version (for people), the worker's index."""

    version: int
    oldest: int
    program: str
    index: int


class ConnectionRecord(Struct, array_like=True, frozen=True):
    """One connection: what its kind exports, then what its owner exports ("" and nothing without one).

    Of the message's descriptors it takes the next `connection_descriptors`, then `owner_descriptors`.
    """

    id: int
    connection_kind: str
    connection: bytes
    connection_descriptors: int
    owner_kind: str = ""
    owner: bytes = b""
    owner_descriptors: int = 0


class Connections(Struct, array_like=True, frozen=True, tag="connections"):
    """Connections as they are now; one that came before is replaced."""

    records: list[ConnectionRecord]


class Dropped(Struct, array_like=True, frozen=True, tag="dropped"):
    """Connections that came before and have ended, or cannot move any more."""

    ids: list[int]


class Part(Struct, array_like=True, frozen=True, tag="part"):
    """The next chunk of a shared part; all descriptors of the message are its."""

    name: str
    data: bytes
    descriptors: int


class Frozen(Struct, array_like=True, frozen=True, tag="frozen"):
    """All has been said: so many connections should be there now. Answered with `complete` or `refused`."""

    connections: int


class Complete(Struct, array_like=True, frozen=True, tag="complete"):
    """Everything is there and can be used, but for these connections, which the predecessor keeps."""

    refused: list[int]


class Commit(Struct, array_like=True, frozen=True, tag="commit"):
    """It is all yours: board, sketch, sockets; `generation` is the next one to give out. Answered with `taken`."""

    generation: int


class Taken(Struct, array_like=True, frozen=True, tag="taken"):
    """From here on the successor serves. Before it has been said, the predecessor may go on."""


class Refused(Struct, array_like=True, frozen=True, tag="refused"):
    """No hand-over, and why: another version, another worker, a part that cannot be used."""

    reason: str


Message = Hello | Connections | Dropped | Part | Frozen | Complete | Commit | Taken | Refused

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Message)


def encode(message: Message) -> list[bytes]:
    """The pieces of one message; ValueError if it is longer than `MESSAGE_LIMIT_BYTES`."""
    data = _encoder.encode(message)
    if len(data) > MESSAGE_LIMIT_BYTES:
        raise ValueError(f"a message of {len(data)} bytes is too long to be handed over ({MESSAGE_LIMIT_BYTES})")
    pieces = [data[at : at + PIECE_BYTES] for at in range(0, len(data), PIECE_BYTES)]
    return [b"\x01" + piece for piece in pieces[:-1]] + [b"\0" + pieces[-1]]


class Assembly:
    """Pieces to messages; holds at most one message that is not complete, with its descriptors.

    What it gives out is the caller's, descriptors included; those of an incomplete message are `descriptors`.
    """

    def __init__(self) -> None:
        self.descriptors: list[int] = []
        self._data = bytearray()

    def receive(self, piece: bytes, descriptors: list[int]) -> tuple[Message, list[int]] | None:
        """Take a piece; the message that it completes, or None. ValueError for what is no message."""
        self.descriptors += descriptors
        self._data += memoryview(piece)[1:]
        if len(self._data) > MESSAGE_LIMIT_BYTES or len(self.descriptors) > DESCRIPTORS_LIMIT + 3:
            raise ValueError("a message that is too long")
        if piece[:1] == b"\x01":
            return None
        message = _decoder.decode(self._data)
        data, self._data = self._data, bytearray()
        del data
        complete, self.descriptors = self.descriptors, []
        return message, complete
