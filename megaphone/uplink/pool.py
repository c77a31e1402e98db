"""The pool: which upstreams serve a domain, which are healthy, and which takes the next connection."""

from __future__ import annotations

import ipaddress
import os
import socket
import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgspec

from megaphone.dispatch.counters import Board, UpstreamSlot
from megaphone.dispatch.moving import SharedPart
from megaphone.errors import ConfigError, MoveError
from megaphone.sockets.endpoint import expand_sources, parse_address

if TYPE_CHECKING:
    from collections.abc import Iterator

    from megaphone.config.schema import Config
    from megaphone.config.schema import Upstream as UpstreamTable
    from megaphone.dispatch.moving import Chunk


Address = str | tuple[str, int]  # the path of a Unix socket, or IP address and port


def socket_address(family: int, address: Address) -> bytes:
    """Return a `struct sockaddr` for connect(2): AF_INET, AF_INET6 or AF_UNIX."""
    if isinstance(address, str):
        return struct.pack("=H", family) + address.encode() + b"\0"
    host, port = address
    if family == socket.AF_INET:
        return struct.pack("=H", family) + struct.pack("!H4s8x", port, ipaddress.IPv4Address(host).packed)
    return struct.pack("=H", family) + struct.pack("!HI16sI", port, 0, ipaddress.IPv6Address(host).packed, 0)


def resolve(table: UpstreamTable, file: str = "configuration") -> tuple[int, Address]:
    """Return family and address of an upstream; ConfigError if its host name has no address."""
    target = parse_address(table.address)
    if target.path is not None:
        return socket.AF_UNIX, target.path
    try:
        found = socket.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise ConfigError(file, f"upstream {table.name}", f"cannot resolve {target.host}: {error.strerror}") from None
    family, *_, address = found[0]
    return family, (str(address[0]), target.port)


@dataclass(slots=True, eq=False)
class Upstream:
    """One server address, also `packed` for connect(2). `limit` is this worker's share of `max_connections`."""

    index: int
    name: str
    family: int
    address: Address
    proxy_protocol: bool
    limit: int
    mode: str = "direct"
    sources: tuple[bytes, ...] = ()
    healthy: bool = True
    open: int = 0
    next_source: int = field(default=0, init=False)
    packed: bytes = field(init=False)

    def __post_init__(self) -> None:
        """Pack the address once, for every connection."""
        self.packed = socket_address(self.family, self.address)

    def source(self) -> bytes | None:
        """Return the next local address to connect from, or None to let the kernel choose."""
        if not self.sources:
            return None
        self.next_source = (self.next_source + 1) % len(self.sources)
        return self.sources[self.next_source]


class Pool(SharedPart):
    """The upstreams of every domain. Choice: healthy, below its limit, fewest open connections."""

    name = "pool"

    def __init__(self, config: Config, board: Board, workers: int, file: str = "configuration") -> None:
        self._board = board
        self.upstreams = [self._upstream(index, table, workers, file) for index, table in enumerate(config.upstream)]
        # each is tried from the start, but it is reported as healthy only when a check has said so
        self.serve(config)

    @staticmethod
    def _upstream(index: int, table: UpstreamTable, workers: int, file: str) -> Upstream:
        family, address = resolve(table, file)
        sources = () if family == socket.AF_UNIX else expand_sources(table.source_addresses)
        return Upstream(
            index=index,
            name=table.name,
            family=family,
            address=address,
            mode=table.mode,
            proxy_protocol=table.proxy_protocol,
            limit=max(1, table.max_connections // workers),
            sources=tuple(
                socket_address(socket.AF_INET6 if ":" in source else socket.AF_INET, (source, 0)) for source in sources
            ),
        )

    # --- moving to another process (docs/reference/hand-over.md, `pool`) ---------------------------------------------

    def export(self) -> Iterator[Chunk]:
        """Yield which upstreams are healthy, by name."""
        yield msgspec.msgpack.encode({upstream.name: upstream.healthy for upstream in self.upstreams}), ()

    def restore(self, data: bytes, descriptors: list[int]) -> None:
        """Take what the predecessor's checks have found last."""
        for descriptor in descriptors:
            os.close(descriptor)
        try:
            healthy = msgspec.msgpack.decode(data, type=dict[str, bool])
        except msgspec.MsgspecError as error:
            raise MoveError(f"not the record of a pool: {error}") from None
        for upstream in self.upstreams:
            if upstream.name in healthy:
                self.mark(upstream, healthy=healthy[upstream.name])

    def serve(self, config: Config) -> None:
        """Take the domains of this configuration (its upstreams must be those of the first one)."""
        by_name = {upstream.name: upstream for upstream in self.upstreams}
        self.domains = {
            domain.name.lower(): tuple(by_name[name] for name in domain.upstreams) for domain in config.domain
        }

    def choose(self, domain: str, tried: int = 0) -> Upstream | str:
        """Return the upstream for one more connection; `tried` is a bit mask of indexes already failed.

        A string is the stream-error condition (RFC 6120 section 4.9.3) when there is none. One that has no link is
        chosen where nothing is healthy: a link may come back before the client's time is over.
        """
        best: Upstream | None = None
        full = False
        for upstream in self.domains.get(domain, ()):
            if tried >> upstream.index & 1 or not (upstream.healthy or upstream.mode == "link"):
                continue
            if upstream.open >= upstream.limit:
                full = True
                self._board.add(Board.upstream_slot(upstream.index, UpstreamSlot.UP_REFUSED_FULL), 1)
            elif best is None or (not upstream.healthy, upstream.open) < (not best.healthy, best.open):
                best = upstream
        if best is not None:
            return best
        return "resource-constraint" if full else "remote-connection-failed"

    def mark(self, upstream: Upstream, *, healthy: bool) -> None:
        """Record what the health check found."""
        upstream.healthy = healthy
        self._board.set(Board.upstream_slot(upstream.index, UpstreamSlot.UP_HEALTHY), int(healthy))
