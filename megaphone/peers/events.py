"""What happens among peers that a user is told of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from megaphone.history.entry import Origin
    from megaphone.peers.hello import Reason


@dataclass(frozen=True, slots=True)
class NewPeer:
    """A name that was never seen; from now on it goes with this key."""

    name: str
    key: Origin


@dataclass(frozen=True, slots=True)
class Connected:
    """There is a direct connection."""

    name: str
    key: Origin


@dataclass(frozen=True, slots=True)
class Lost:
    """A direct connection has ended; `reason` goes on from the name."""

    name: str
    key: Origin
    reason: str


@dataclass(frozen=True, slots=True)
class PeerRefused:
    """We do not talk to this one. `known` is the key that the name is known with, None if it is not."""

    name: str
    key: Origin
    host: str
    reason: Reason
    known: Origin | None


@dataclass(frozen=True, slots=True)
class RefusedByPeer:
    """Somebody at this address does not talk to us; `reason` is a Reason, or one of a later version."""

    host: str
    reason: str


@dataclass(frozen=True, slots=True)
class EntriesRefused:
    """What somebody has signed is not taken; `refusal` says why (docs/reference/history.md)."""

    origin: Origin
    refusal: str


@dataclass(frozen=True, slots=True)
class Trouble:
    """Something does not work, and how it goes on; for people."""

    text: str


Event = NewPeer | Connected | Lost | PeerRefused | RefusedByPeer | EntriesRefused | Trouble
