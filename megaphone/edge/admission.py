"""Admission: may this address open one more connection? Limits per address, per prefix, and per second."""

from __future__ import annotations

import ipaddress
import time
from typing import TYPE_CHECKING

from megaphone.dispatch.counters import Reason

if TYPE_CHECKING:
    from megaphone.config.schema import Limits
    from megaphone.edge.connection import ClientConnection
    from megaphone.edge.sketch import Sketch

_MAPPED = b"\0" * 10 + b"\xff\xff"
_TOTAL = b"*"

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def network_matcher(networks: tuple[str, ...]) -> list[tuple[int, int]]:
    """Return (first, last) of each network as 128-bit numbers, IPv4 mapped into IPv6."""
    ranges = []
    for text in networks:
        network = ipaddress.ip_network(text, strict=False)
        shift = 0xFFFF << 32 if isinstance(network, ipaddress.IPv4Network) else 0
        ranges.append((shift + int(network.network_address), shift + int(network.broadcast_address)))
    return ranges


def in_networks(address: bytes, ranges: list[tuple[int, int]]) -> bool:
    """Say whether a 16-byte address is in one of the networks."""
    if not ranges:
        return False
    number = int.from_bytes(address)
    return any(first <= number <= last for first, last in ranges)


def prefix_of(address: bytes) -> bytes:
    """Return what counts as one customer: an IPv4 /24 or an IPv6 /64."""
    return address[:15] if address.startswith(_MAPPED) else address[:8]


class Admission:
    """Counts connections per address in the node's shared sketch and says who must wait outside."""

    def __init__(self, sketch: Sketch, limits: Limits) -> None:
        self._sketch = sketch
        self.apply(limits)

    def apply(self, limits: Limits) -> None:
        """Take new limits; connections that exist stay."""
        self._limits = limits
        self._trusted = network_matcher(limits.trusted_networks)

    def admit(self, connection: ClientConnection, address: bytes) -> Reason | None:
        """Count the connection under its 16-byte address, or return why it is refused."""
        if in_networks(address, self._trusted):
            return None
        limits, sketch = self._limits, self._sketch
        now_ms = time.monotonic_ns() // 1_000_000
        if sketch.rate(_TOTAL, now_ms) > limits.accepts_per_second:
            return Reason.TOTAL_RATE
        if sketch.rate(address, now_ms) > limits.accepts_per_second_per_address:
            return Reason.ADDRESS_RATE
        prefix = prefix_of(address)
        in_prefix = sketch.opened(prefix)
        of_address = sketch.opened(address)
        if of_address > limits.connections_per_address or in_prefix > limits.connections_per_prefix:
            sketch.closed(address)
            sketch.closed(prefix)
            return Reason.ADDRESS_LIMIT if of_address > limits.connections_per_address else Reason.PREFIX_LIMIT
        connection.admit()
        return None

    def released(self, connection: ClientConnection) -> None:
        """Take an admitted connection out of the counts."""
        address = connection.client_address
        self._sketch.closed(prefix_of(address))
        self._sketch.closed(address)
