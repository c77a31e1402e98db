"""What workers of different nodes say to each other about histories (docs/reference/cluster.md): MessagePack arrays.

Each frame goes to one worker, on `n.<node>.<worker>.history`, as a request that is answered with nothing when it has
been taken: so its sender knows how much is under way. The sender stands in front: the first 8 bytes of its node's key,
and its worker.
"""

from __future__ import annotations

from typing import Annotated, Final

import msgspec
from msgspec import Meta

SENDER_BYTES: Final = 8
NAMED_AT_ONCE: Final = 16
"""Rooms in one `Kept`: each is opened when it comes."""

_Sender = Annotated[bytes, Meta(min_length=SENDER_BYTES, max_length=SENDER_BYTES)]
_Worker = Annotated[int, Meta(ge=0, lt=1024)]
_Name = tuple[Annotated[str, Meta(max_length=32)], Annotated[str, Meta(max_length=3071)]]


class Talk(msgspec.Struct, array_like=True, frozen=True, tag="talk"):
    """A message of a conversation (docs/reference/history.md). The node with the lower key begins it, with a number."""

    sender: _Sender
    worker: _Worker
    number: int
    message: bytes


class Again(msgspec.Struct, array_like=True, frozen=True, tag="again"):
    """The node with the lower key is to begin a conversation."""

    sender: _Sender
    worker: _Worker


class Kept(msgspec.Struct, array_like=True, frozen=True, tag="kept"):
    """Logs by kind and name that the node to which it is said is to keep."""

    sender: _Sender
    worker: _Worker
    rooms: Annotated[tuple[_Name, ...], Meta(max_length=NAMED_AT_ONCE)]


class Told(msgspec.Struct, array_like=True, frozen=True, tag="told"):
    """A new batch of a log, by kind and name, of which the conversation has not spoken yet."""

    sender: _Sender
    worker: _Worker
    room: _Name
    batch: bytes


Frame = Talk | Again | Kept | Told

_ENCODER: Final = msgspec.msgpack.Encoder()
_DECODER: Final[msgspec.msgpack.Decoder[Frame]] = msgspec.msgpack.Decoder(Frame)


def encode(frame: Frame) -> bytes:
    """Return the bytes of a frame."""
    return _ENCODER.encode(frame)


def decode(data: bytes) -> Frame | None:
    """Read a frame; None for what is none, or one of a later version."""
    try:
        return _DECODER.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
