"""What a worker is told to take part in a cluster, and how it tells operators."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from megaphone.bus.nats_access import Access


@dataclass(frozen=True, slots=True)
class NodesSettings:
    """The cluster, how NATS is reached, and who the node is.

    `incarnation` is the same for all workers of a node from its start to its end, upgrades and crashes included.
    `serves` are the domains of users and rooms, which all nodes must have in common.
    """

    cluster: str
    access: Access
    node_name: str
    incarnation: bytes
    serves: tuple[str, ...] = ()
    lease_seconds: int = 10
    addresses: tuple[str, ...] = ()


class Report(Protocol):
    """What an operator should know: an event and its fields, for the log; `trouble` if it is none that is wanted."""

    def __call__(self, event: str, *, trouble: bool = False, **fields: object) -> None:
        """Write it down."""
