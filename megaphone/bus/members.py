"""Who is in a cluster, seen by one node: a view derived from one key per node. No I/O; time comes in as a number.

    key of a node said ─► joined ─► said again: nothing new, or changed
                            ├─► its lease has run out here, or it says that it leaves ─► left
                            └─► another incarnation (the node was started again) ─► left, joined

The leases are counted here: what the store says of a key that it has dropped, after a time when nobody could write, is
no word about the node. While nothing can be heard of the store nobody leaves; from when it can be heard again, each
member has its lease anew. The same holds while our own word is missing: a store that is too busy to take ours takes
nobody's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import msgspec
from msgspec import Meta, Struct

from megaphone.errors import KeysError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

NODE_KEY_BYTES = 32
INCARNATION_BYTES = 8
EPOCH_BYTES = 8  # of the lives of workers
MEMBERS_LIMIT = 1024
LATE_SECONDS = 1.0  # a tick that comes so late says that we were away, not that the others were
MISSING_PART = 0.6  # of its lease: our own word is missing; with a word each third, nobody's lease runs out before

_Text = Annotated[str, Meta(min_length=1, max_length=255)]
_Texts = Annotated[tuple[_Text, ...], Meta(max_length=64)]


class Member(Struct, frozen=True, kw_only=True):
    """What a node says of itself; fields that a later version adds are ignored.

    `node_key` is its Ed25519 public key, 32 bytes, which names it; `incarnation` is random, another one each time that
    the node starts. `since_ms` is when it started, by its own clock, in milliseconds since 1970.
    """

    name: _Text
    node_key: Annotated[bytes, Meta(min_length=NODE_KEY_BYTES, max_length=NODE_KEY_BYTES)]
    incarnation: Annotated[bytes, Meta(min_length=INCARNATION_BYTES, max_length=INCARNATION_BYTES)]
    since_ms: Annotated[int, Meta(ge=0, le=2**48)]
    lease_seconds: Annotated[int, Meta(ge=1, le=3600)] = 10
    addresses: _Texts = ()
    offers: _Texts = ()

    @property
    def key(self) -> str:
        """Return the name of its key in the store."""
        return self.node_key.hex()


_DECODER = msgspec.json.Decoder(Member)


def encode_member(member: Member) -> bytes:
    """Return the value of a node's key: JSON."""
    return msgspec.json.encode(member)


def decode_member(key: str, value: bytes) -> Member:
    """Read the value of a key. KeysError if it is none of a node's, or of another node's."""
    try:
        member = _DECODER.decode(value)
    except msgspec.MsgspecError as error:
        raise KeysError(f"the key {key[:80]!r} says nothing of a node: {error}") from None
    if member.key != key:
        raise KeysError(f"the key {key[:80]!r} speaks of another node")
    return member


class View:
    """The members by their node keys, and who is told of changes: `joined`, `left`, `changed` (was, is).

    `own` is the key of the node that looks, if it says itself in the store too. Those callbacks are called from within
    `take`, `leave` and `tick`, with the view as it is after the change.
    """

    def __init__(
        self,
        *,
        joined: Callable[[Member], None],
        left: Callable[[Member], None],
        changed: Callable[[Member, Member], None],
        own: str = "",
    ) -> None:
        self._own = own
        self._joined = joined
        self._left = left
        self._changed = changed
        self._members: dict[str, Member] = {}
        self._deadlines: dict[str, float] = {}
        self._hears = False
        self._missing = False  # our own word
        self._last_tick: float | None = None
        self._goodbyes: dict[str, None] = {}  # of those that are away, who has said so; the oldest first

    @property
    def members(self) -> Mapping[str, Member]:
        """The members by key; a copy."""
        return dict(self._members)

    @property
    def hears(self) -> bool:
        """Whether the store is heard, so that the view is whole but for what is on its way."""
        return self._hears

    def take(self, key: str, value: bytes, now: float) -> None:
        """A key is so. KeysError for a value that is none of a node's: that changes nothing."""
        known = self._members.get(key)
        member = decode_member(key, value)
        if known is not None and known.incarnation != member.incarnation:
            if member.since_ms < known.since_ms:
                return  # what a store that was rolled back says of the time before
            self._remove(key)
            known = None
        if known is None and len(self._members) >= MEMBERS_LIMIT:
            raise KeysError(f"more than {MEMBERS_LIMIT} nodes")
        self._members[key] = member
        self._deadlines[key] = now + member.lease_seconds
        self._goodbyes.pop(key, None)
        if known is None:
            self._joined(member)
        elif known != member:
            self._changed(known, member)

    def leave(self, key: str, incarnation: bytes) -> None:
        """A node has deleted its key and said which incarnation of it leaves."""
        known = self._members.get(key)
        if known is not None and known.incarnation == incarnation:
            self._goodbyes[key] = None
            if len(self._goodbyes) > MEMBERS_LIMIT:
                del self._goodbyes[next(iter(self._goodbyes))]
            self._remove(key)

    def said_goodbye(self, key: str) -> bool:
        """Whether a node that is away has said so, rather than its lease had run out."""
        return key in self._goodbyes

    def restore(self, members: Iterable[Member], now: float) -> None:
        """Know what a process before this one knew; nobody is told. Each has its lease anew."""
        self._members = {member.key: member for member in members}
        self._lease_anew(now)

    def hear(self, hears: bool, now: float) -> None:
        """Say whether the store can be heard; nobody leaves while it cannot."""
        if hears and not self._hears:
            self._lease_anew(now)
        self._hears = hears

    def tick(self, now: float) -> None:
        """Take out those whose lease has run out; called several times a second."""
        late = 0.0 if self._last_tick is None else now - self._last_tick
        self._last_tick = now
        if late > LATE_SECONDS:
            self._deadlines = {key: deadline + late for key, deadline in self._deadlines.items()}
        own = self._members.get(self._own)
        missing = own is not None and now > self._deadlines[self._own] - (1 - MISSING_PART) * own.lease_seconds
        if self._missing and not missing:
            self._lease_anew(now)
        self._missing = missing
        if self._hears and not self._missing:
            for key in [key for key, deadline in self._deadlines.items() if deadline <= now]:
                self._remove(key)

    def _lease_anew(self, now: float) -> None:
        self._deadlines = {key: now + member.lease_seconds for key, member in self._members.items()}

    def _remove(self, key: str) -> None:
        del self._deadlines[key]
        self._left(self._members.pop(key))
