"""What a worker is told to take part in a cluster, and how it tells operators."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

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


def addresses_of(configured: Sequence[str], listeners: Iterable[tuple[int, int]]) -> tuple[str, ...]:
    """Return where clients connect, as configured; in place of port 0 the port that the kernel chose.

    `listeners` are places in `configured` and the descriptors of listening sockets.
    """
    ports: dict[int, int] = {}
    for place, descriptor in listeners:
        with socket.socket(fileno=os.dup(descriptor)) as listening:
            ports.setdefault(place, listening.getsockname()[1])
    return tuple(
        f"{address.removesuffix(':0')}:{ports[place]}" if address.endswith(":0") and place in ports else address
        for place, address in enumerate(configured)
    )
