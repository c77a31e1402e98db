"""Admission: may this address open one more connection? Limits per address, per prefix, and per second."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from megaphone.dispatch.counters import Reason
from megaphone.sockets.client_address import in_networks, network_matcher, prefix_of

if TYPE_CHECKING:
    from megaphone.config.schema import Limits
    from megaphone.edge.connection import ClientConnection
    from megaphone.edge.sketch import Sketch

_TOTAL = b"*"


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
        connection.admitted = True
        return None

    def count(self, connection: ClientConnection) -> None:
        """Count a connection that another worker has admitted and gives to this one."""
        address = connection.client_address
        if not in_networks(address, self._trusted):
            self._sketch.opened(prefix_of(address))
            self._sketch.opened(address)
            connection.admitted = True

    def released(self, connection: ClientConnection) -> None:
        """Take an admitted connection out of the counts."""
        address = connection.client_address
        self._sketch.closed(prefix_of(address))
        self._sketch.closed(address)
