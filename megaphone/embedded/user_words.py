"""What the homes of a user on several nodes say to each other: MessagePack arrays (docs/reference/cluster.md).

    Said    something told or asked (service.ports.What)                 u.<user>, u.<user>.<resource>, u.<user>.m
    Answer  the answer to it
    Here    the sessions of a user on one node                           u.<user>
    Takes   users who have begun to take messages                        u
    Resume  a client wants to go on with its session on another node     n.<node>.<worker>.resume
    Lent    the answer: the session, or how far it had come
    Done    it goes on there                                             n.<node>.<worker>.resumed

A later version adds fields at the end, with a default; readers pass over what they do not know.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from megaphone.service.moving import SessionSnapshot
from megaphone.service.ports import What
from megaphone.stream.moving import ManagementSnapshot

NODE_BYTES = 8  # of a node's key: who says something
EPOCH_BYTES = 8
TAKES_LIMIT = 256  # users in one Takes
_SESSIONS_LIMIT = 1024

_Node = Annotated[bytes, Meta(min_length=NODE_BYTES, max_length=NODE_BYTES)]
_Epoch = Annotated[bytes, Meta(min_length=EPOCH_BYTES, max_length=EPOCH_BYTES)]
_Worker = Annotated[int, Meta(ge=0, lt=1024)]
_Text = Annotated[str, Meta(min_length=1, max_length=3071)]


class Said(Struct, array_like=True, frozen=True, tag=1):
    """Something for the sessions of `to`. `keep`: it is to be safe before the answer; `got`: the node it is not for."""

    node: _Node
    worker: _Worker
    epoch: _Epoch
    what: What
    to: _Text
    stanza: bytes
    keep: bool = False
    got: bytes = b""


class HereSession(Struct, array_like=True, frozen=True):
    """One session: resource, when it was bound (ms since 1970), whether available, whether it takes messages."""

    resource: _Text
    bound_ms: int
    available: bool
    takes: bool


class Here(Struct, array_like=True, frozen=True, tag=2):
    """All sessions that a user (a local part) has on a node; `asks`: the others say theirs."""

    node: _Node
    worker: _Worker
    epoch: _Epoch
    user: _Text
    sessions: Annotated[tuple[HereSession, ...], Meta(max_length=_SESSIONS_LIMIT)]
    asks: bool = False


class Takes(Struct, array_like=True, frozen=True, tag=3):
    """These users (local parts) have begun to take messages on a node: what is kept for them may come."""

    node: _Node
    worker: _Worker
    epoch: _Epoch
    users: Annotated[tuple[_Text, ...], Meta(max_length=TAKES_LIMIT)]


class Answer(Struct, array_like=True, frozen=True, tag=4):
    """Whether somebody has taken it; `others`: the user has sessions on a node that is neither's."""

    taken: bool
    node: _Node
    others: bool = False


class Resume(Struct, array_like=True, frozen=True, tag=5):
    """A client of this account (a local part) asks for the session with this id (XEP-0198 section 5)."""

    node: _Node
    worker: _Worker
    epoch: _Epoch
    user: _Text
    previd: _Text


class Lent(Struct, array_like=True, frozen=True, tag=6):
    """The session, its stream management, until when it waits (Unix seconds); else how many stanzas were handled.

    It is the asker's as soon as that says so; until then it waits on. `at` is the key of the node, in hex, to which it
    has gone.
    """

    session: SessionSnapshot | None = None
    management: ManagementSnapshot | None = None
    deadline: float = 0.0
    handled: int | None = None
    at: str = ""


class Done(Struct, array_like=True, frozen=True, tag=7):
    """All of it is safe here, and is forgotten there."""

    node: _Node
    worker: _Worker
    epoch: _Epoch
    previd: _Text


Word = Said | Here | Takes
encode = msgspec.msgpack.Encoder().encode
decode_word = msgspec.msgpack.Decoder(Word).decode
decode_answer = msgspec.msgpack.Decoder(Answer).decode
decode_resume = msgspec.msgpack.Decoder(Resume).decode
decode_lent = msgspec.msgpack.Decoder(Lent).decode
decode_done = msgspec.msgpack.Decoder(Done).decode
