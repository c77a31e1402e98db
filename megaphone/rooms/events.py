"""What the instances of one room, on the nodes of a cluster, say to each other.

An instance owns the sessions that are connected to its node and claims them; the others mirror its claims:

    own claim new or changed ─► Shown ─┐ each names the event before it: a gap, and the whole list is asked for
    own claim given up ───────► Gone ──┤
    all of them given up ─────► Closed ┘
    Ask ─► About (what room it is, if that is wanted) ─► Whole, in one or more parts

Every payload is a list of these, MessagePack arrays that begin with their kind. Fields that a later version adds at the
end are passed over; so are lists with a kind that is not known.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

from megaphone.stream.jid import JID


class Origin(NamedTuple):
    """Whose word it is: 16 hexadecimal digits of the node's key, its worker, 8 bytes for this life of the worker."""

    node: str
    worker: int
    epoch: bytes


Reason = tuple[tuple[int, ...], str, str]
"""Status codes, the nick of who did it, and the reason given."""

NO_REASON: Reason = ((), "", "")


class Claim(msgspec.Struct, array_like=True, frozen=True):
    """That a session is in a room, said by its node.

    `entered` is when its occupant came, `spoke` when its presence was said last: Unix milliseconds of that node.
    """

    session: JID
    nick: str
    role: str
    entered: int
    spoke: int
    presence: bytes


class Shown(msgspec.Struct, array_like=True, frozen=True, tag="shown"):
    """A claim is new, or has changed. `before` is the `seq` of the event before this; 0: there was no claim then."""

    origin: Origin
    room: JID
    before: int
    seq: int
    claim: Claim
    reason: Reason = NO_REASON


class Gone(msgspec.Struct, array_like=True, frozen=True, tag="gone"):
    """A claim is no more; `presence` is what the session has said on leaving."""

    origin: Origin
    room: JID
    before: int
    seq: int
    session: JID
    presence: bytes
    reason: Reason = NO_REASON


class Closed(msgspec.Struct, array_like=True, frozen=True, tag="closed"):
    """No claim of this origin's in this room is left."""

    origin: Origin
    room: JID
    before: int
    seq: int
    reason: Reason = NO_REASON


class Still(msgspec.Struct, array_like=True, frozen=True, tag="still"):
    """Nothing new: said now and then, for those who have missed the last event."""

    origin: Origin
    room: JID
    seq: int


class Ask(msgspec.Struct, array_like=True, frozen=True, tag="ask"):
    """Asks for the claims of rooms, each with the `seq` that is known of the asked worker's life `epoch`.

    `about`: what room it is is wanted, too.
    """

    origin: Origin
    epoch: bytes
    rooms: tuple[tuple[JID, int], ...]
    about: bool = False


class About(msgspec.Struct, array_like=True, frozen=True, tag="about"):
    """What room it is, for a node whose rows do not have it yet. A `locked` one is being made there."""

    origin: Origin
    room: JID
    locked: bool
    config: dict[str, Any]
    creator: JID
    created: float
    secret: bytes
    subject: tuple[bytes, float] | None
    affiliations: tuple[tuple[JID, str, str], ...]


class Whole(msgspec.Struct, array_like=True, frozen=True, tag="whole"):
    """All claims of one origin's in one room, as of `seq`, in parts: `first` begins them, `last` ends them.

    `same`: they are as the one who asks knows them. Without claims `seq` is 0.
    """

    origin: Origin
    room: JID
    seq: int
    claims: tuple[Claim, ...] = ()
    first: bool = True
    last: bool = True
    same: bool = False


class Told(msgspec.Struct, array_like=True, frozen=True, tag="told"):
    """A stanza, without `to`, for the occupants of an `audience` that has no place in the archive."""

    origin: Origin
    room: JID
    audience: str
    stanza: bytes


class Act(msgspec.Struct, array_like=True, frozen=True, tag="act"):
    """Gives an occupant, whose sessions are the asked node's, another role; "none" removes it."""

    origin: Origin
    room: JID
    nick: str
    bare: JID
    role: str
    reason: Reason


class Forwarded(msgspec.Struct, array_like=True, frozen=True, tag="forwarded"):
    """A stanza of an occupant for an occupant whose session is the asked node's."""

    origin: Origin
    room: JID
    stanza: bytes


class Destroyed(msgspec.Struct, array_like=True, frozen=True, tag="destroyed"):
    """An owner has destroyed the room `at` this time, Unix seconds (0: now); `content` is `<destroy/>`."""

    origin: Origin
    room: JID
    content: bytes
    at: float = 0.0


Event = Shown | Gone | Closed | Still | Ask | About | Whole | Told | Act | Forwarded | Destroyed

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(list[Event])


def encode(events: list[Event]) -> bytes:
    """Return a payload."""
    return _encoder.encode(events)


def decode(payload: bytes) -> list[Event]:
    """Read a payload; ValueError if it is none."""
    try:
        return _decoder.decode(payload)
    except msgspec.MsgspecError as error:
        raise ValueError(f"no events of rooms: {error}") from None
