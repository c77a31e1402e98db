"""One worker: wires poller, dispatcher, edge and uplink together and does what the supervisor says."""

from __future__ import annotations

import asyncio
import mmap
import os
import socket
import sys
from contextlib import suppress
from functools import partial
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from megaphone import log
from megaphone.bus.members import INCARNATION_BYTES
from megaphone.config import environment, load
from megaphone.config.cluster_rules import node_name, read_access
from megaphone.config.token_keys import read_token_keys
from megaphone.dispatch.counters import Slot
from megaphone.dispatch.dispatcher import Dispatcher
from megaphone.edge import opening
from megaphone.edge.admission import Admission
from megaphone.edge.clients import Clients
from megaphone.edge.connection import connection_bytes, restore_connection
from megaphone.edge.limits import ClientLimits, ListenerFacts, WebSocketLimits
from megaphone.edge.listener import Listener
from megaphone.edge.sketch import SEED_BYTES, Sketch, sketch_bytes
from megaphone.embedded.embedded import Embedded
from megaphone.embedded.nodes_settings import NodesSettings, addresses_of
from megaphone.errors import ConfigError, MoveError, StorageError, TLSError
from megaphone.sockets.endpoint import parse_other_host
from megaphone.sockets.tls_contexts import CertificateChoice, TLSContext
from megaphone.uplink.direct import DirectCarrier, restore_stream
from megaphone.uplink.direct import stream_bytes as direct_stream_bytes
from megaphone.uplink.health import HealthChecks
from megaphone.uplink.link_carrier import LinkCarrier
from megaphone.uplink.link_part import LinkPart
from megaphone.uplink.link_stream import KIND as LINK_KIND
from megaphone.uplink.link_stream import stream_bytes as link_stream_bytes
from megaphone.uplink.pool import Pool
from megaphone.uplink.uplink import Uplink
from megaphone.wire import writer
from megaphone.worker.node_bus import NodeBus
from megaphone.worker.process import SWEEPS_PER_SECOND, Process
from megaphone.worker.round_trips import RoundTrips

if TYPE_CHECKING:
    from megaphone.bus.subjects import Subjects
    from megaphone.config.schema import Config
    from megaphone.edge.connection import ClientConnection
    from megaphone.uplink.pool import Upstream
    from megaphone.uplink.uplink import Carrier
    from megaphone.web.bosh import Bosh
    from megaphone.web.server import WebServer
    from megaphone.worker.channel import Channel
    from megaphone.worker.pages import PagesPart

SWITCH_SECONDS = 0.0005
_STEP_SECONDS = 0.05
_ADDRESSES_LIMIT = 64


class Worker(Process):
    """Everything one worker process owns."""

    def __init__(self, start: dict[str, Any], channel: Channel) -> None:
        super().__init__(start, channel, f"worker-{start['index']}")
        workers = self._workers
        config = load.parse(start["config_text"], self._file)
        log.configure(config.log.format, config.log.level)
        memory = mmap.mmap(start["sketch_fd"], sketch_bytes(workers))
        sketch = Sketch(memory, self.index, workers, keep=self.is_successor)
        self.dispatcher = Dispatcher(self.index, config.node.max_connections, max(1, self.board.get(Slot.GENERATION)))
        limits = ClientLimits(config.limits)
        self.clients = Clients(self.poller, self.dispatcher, self.board, limits)
        self._round_trips = RoundTrips(self.dispatcher, self.board, every=2 * SWEEPS_PER_SECOND)
        self.clients.admission = Admission(sketch, config.limits)
        self.clients.websocket = WebSocketLimits(config.websocket)
        self.pool = Pool(config, self.board, workers, self._file)
        self.uplink = Uplink(self.poller, self.dispatcher, self.board, self.pool, self._carriers(config, limits))
        self.embedded = self._embed(config, start) if config.embedded else None
        self.clients.open_uplink = self.uplink.open
        if self.embedded is not None:
            self.clients.open_uplink = self.embedded.open_stream
        self.clients.on_fault = self._log_fault
        self.clients.listener_at = self._facts_at
        self.checks = HealthChecks(self.pool, self.board, config.health, self._upstream_changed)
        self._start = start
        self._serving = False
        self._node_bus: NodeBus | None = None
        self._pages: PagesPart | None = None
        self._bosh: Bosh | None = None
        self._certificates = self._load_certificates(config)
        self._ports = _ports_of(start["listeners"])
        self._web_servers: dict[int, WebServer | None] = {}
        self._take(config)
        # (place in the configuration, listener); a host name with several addresses has several listeners
        self._listeners = [
            (listen, Listener(self.clients, self._facts(config, listen), descriptor))
            for listen, descriptor in start["listeners"]
        ]
        links = LinkPart(self.uplink)
        if self.is_successor:
            links.sleep()
        self.parts = [self.pool, links]
        self.restore_connection = {"client": partial(restore_connection, self.clients)}
        self.restore_owner = {"direct": partial(restore_stream, self.uplink), LINK_KIND: links.restore_owner}
        if self.embedded is not None:
            self.parts.append(self.embedded.moving)
            self.restore_connection |= self.embedded.remote_connections
            self.restore_owner |= self.embedded.owners
        stream_bytes = max(direct_stream_bytes(), link_stream_bytes())
        self.board.set(Slot.CONNECTION_BYTES, connection_bytes() + stream_bytes)

    # --- configuration ------------------------------------------------------------

    def _carriers(self, config: Config, limits: ClientLimits) -> list[Carrier]:
        """Return how streams get to each upstream, in the order of the configuration."""
        direct = DirectCarrier(self.poller, opening.proxy_header, limits)
        node = socket.gethostname()
        return [
            LinkCarrier(
                self.poller,
                self.dispatcher,
                self.board,
                self.pool,
                upstream,
                limits,
                secret=environment.link_secret(table, upstream.index, self._file),
                name=f"{node}/{self.index}/{upstream.name}",
                links=table.links,
                opening_limit=table.opening_streams,
                facts=opening.link_facts,
                is_returning=opening.is_returning,
                report=self._link_report,
                changed=self._upstream_changed,
                tls=environment.link_tls(table, upstream.index, self._file),
            )
            if upstream.mode == "link"
            else direct
            for upstream, table in zip(self.pool.upstreams, config.upstream, strict=True)
        ]

    def _embed(self, config: Config, start: dict[str, Any]) -> Embedded:
        """Return the service that stands in for the servers behind."""
        # the thread that writes to the database asks often, and for a moment each time
        sys.setswitchinterval(SWITCH_SECONDS)
        try:
            return Embedded(
                config,
                loop=self._loop,
                poller=self.poller,
                dispatcher=self.dispatcher,
                board=self.board,
                clients=self.clients,
                index=self.index,
                workers=self._workers,
                bus_directory=start["bus_directory"],
                bus_fds=start["bus_fds"],
                token_keys=read_token_keys(config, self._file),
                facts_of=lambda listen: self._facts(self.config, listen),
                listen_of=self._listen_of,
                fault=self._log_fault,
                taking_over=self.is_successor,
                cluster=self._cluster(config, start),
                report=self._node_report,
            )
        except StorageError as error:
            raise ConfigError(self._file, "service.data", str(error)) from None

    def _cluster(self, config: Config, start: dict[str, Any]) -> NodesSettings | None:
        """Return what the service needs to know of the cluster, None without."""
        cluster = config.cluster
        if cluster is None:
            return None
        # random, shared by all workers, and as old as the node's start
        with mmap.mmap(start["sketch_fd"], SEED_BYTES, access=mmap.ACCESS_READ) as shared:
            seed = shared[:SEED_BYTES]
        return NodesSettings(
            cluster.name,
            read_access(cluster, self._file),
            node_name=node_name(cluster),
            incarnation=blake2b(seed, digest_size=INCARNATION_BYTES, person=b"incarnation").digest(),
            serves=(config.domain[0].name, config.rooms.domain),
            lease_seconds=cluster.lease_seconds,
            addresses=addresses_of([listen.address for listen in config.listen], start["listeners"])[:_ADDRESSES_LIMIT],
        )

    def _listen_of(self, connection: ClientConnection) -> int:
        """The place in the configuration of the listener that a connection came by."""
        return connection.listener.place

    def _facts_at(self, place: int) -> ListenerFacts:
        """Return what a connection has to know of the listener that its predecessor had at this place."""
        for listen, listener in self._listeners:
            if listen == place:
                return listener.facts
        raise MoveError(f"there is no listener {place}")

    def _load_certificates(self, config: Config) -> CertificateChoice | None:
        tls = config.tls
        try:
            contexts = [
                TLSContext(
                    certificate.chain,
                    certificate.key,
                    certificate.names,
                    minimum_version=tls.minimum_version,
                    ciphers=tls.ciphers,
                    groups=tls.groups,
                    session_tickets=tls.session_tickets,
                )
                for certificate in config.certificate
            ]
        except TLSError as error:
            raise ConfigError(self._file, "certificate", str(error)) from None
        http = any(listen.web for listen in config.listen)
        return CertificateChoice(contexts, record_layer=tls.record_layer, http=http) if contexts else None

    def _facts(self, config: Config, listen: int) -> ListenerFacts:
        table = config.listen[listen]
        return ListenerFacts(
            table.tls,
            table.starttls == "required",
            table.proxy_protocol_from,
            self._certificates,
            listen,
            "websocket" in table.web,
            self._web_server(config, listen),
        )

    def pages_of(self, config: Config) -> PagesPart:
        """Return the ephemeral pages, which outlive a reload; they begin with the first listener that has them."""
        if self._pages is None:
            from megaphone.worker.pages import PagesPart  # as the web: not in a worker without it

            self._pages = PagesPart(
                config,
                self._start,
                loop=self._loop,
                board=self.board,
                embedded=self.embedded,
                subjects=self._subjects(),
            )
        return self._pages

    def bosh_of(self, config: Config) -> Bosh:
        """Return the sessions over BOSH, which outlive a reload."""
        if self._bosh is None:
            from megaphone.web.bosh import Bosh
            from megaphone.worker.bosh import bosh_settings

            self._bosh = Bosh(
                loop=self._loop,
                clients=self.clients,
                board=self.board,
                index=self.index,
                workers=self._workers,
                bus=self._subjects() if self._workers > 1 else None,
                settings=bosh_settings(config),
            )
        return self._bosh

    def _subjects(self) -> Subjects:
        """Return the bus of the node's workers: the embedded service's, or one of our own."""
        if self.embedded is not None:
            return self.embedded.subjects
        if self._node_bus is None:
            start = self._start
            self._node_bus = NodeBus(
                self._loop,
                self.poller,
                index=self.index,
                workers=self._workers,
                bus_directory=start["bus_directory"],
                bus_fds=start["bus_fds"],
                fault=self._log_fault,
            )
            if self._serving:
                self._node_bus.open()
        return self._node_bus.subjects

    def _web_server(self, config: Config, listen: int) -> WebServer | None:
        """Return who serves HTTP on a listener; built once for a configuration."""
        if not config.listen[listen].web:
            return None
        if listen not in self._web_servers:
            from megaphone.worker import web  # 2 MB, which a worker without it need not have

            self._web_servers[listen] = web.web_server(web.Site(config, listen, self._ports, self))
        return self._web_servers[listen]

    def _apply(self, config: Config) -> None:
        """Put the parts of a new configuration in force that need no restart; nothing in here can fail."""
        self.clients.limits = ClientLimits(config.limits)
        self.clients.websocket = WebSocketLimits(config.websocket)
        self.clients.admission.apply(config.limits)
        self.uplink.apply(self.clients.limits)
        self.checks.health = config.health
        self.pool.serve(config)
        if self._pages is not None:
            self._pages.apply(config.pages)
        if self._bosh is not None:
            from megaphone.worker.bosh import bosh_settings

            self._bosh.apply(bosh_settings(config))
        self._take(config)
        self._web_servers = {}
        for listen, listener in self._listeners:
            listener.facts = self._facts(config, listen)

    def _take(self, config: Config) -> None:
        """Keep the configuration, at the start as on a reload, with what the edge takes from it."""
        self.config = config
        self.clients.domains = frozenset(self.pool.domains)
        self.clients.on_closed = self._log_connection if config.log.connections else None
        other = config.drain.see_other_host
        self.clients.see_other_host = writer.see_other_host(*parse_other_host(other)) if other else b""

    def reload(self, text: str) -> None:
        """Put this configuration in force; ConfigError, and nothing has changed, if it cannot be."""
        config = load.parse(text, self._file)
        certificates = self._load_certificates(config)
        token_keys = read_token_keys(config, self._file)
        log.configure(config.log.format, config.log.level)
        self._certificates = certificates
        self._apply(config)
        if self.embedded is not None:
            self.embedded.apply(config, token_keys)

    # --- life ------------------------------------------------------------

    @property
    def drain_condition(self) -> str:
        """`see-other-host` when there is one."""
        return "see-other-host" if self.clients.see_other_host else super().drain_condition

    def open_listeners(self) -> None:
        """Start accepting."""
        if self.embedded is not None:
            self.embedded.open()
        self._serving = True
        if self._node_bus is not None:
            self._node_bus.open()
        for _, listener in self._listeners:
            listener.open()

    def pause_listeners(self) -> None:
        """Accept nobody for now."""
        for _, listener in self._listeners:
            listener.pause()

    def resume_listeners(self) -> None:
        """Accept again."""
        for _, listener in self._listeners:
            listener.resume()

    def take_over_board(self, generation: int) -> None:
        """Count on the predecessor's board."""
        super().take_over_board(generation)
        self.clients.count_on()

    def close_listeners(self) -> None:
        """Stop accepting, and tell the upstreams on links that no more streams will come."""
        for _, listener in self._listeners:
            listener.close()
        self.end_held()
        self.uplink.drain()
        if self.embedded is not None:
            self.embedded.drain()

    def end_held(self) -> None:
        """End the sessions over BOSH, before the connections of their requests are."""
        if self._bosh is not None:
            self._bosh.drain(self.drain_condition, replaced=self.is_replaced or self._handed_over)

    def links(self) -> list[dict[str, Any]]:
        """Return a row for each link to an upstream."""
        return self.uplink.describe_links()

    def nodes(self) -> dict[str, Any]:
        """Return who of the cluster is alive."""
        nodes = None if self.embedded is None else self.embedded.nodes
        return super().nodes() if nodes is None else nodes.describe()

    def end_sessions(self, jid: str, condition: str) -> int | None:
        """End the sessions of the embedded service; its connections may be in other workers, or nowhere."""
        return None if self.embedded is None else self.embedded.end_sessions(jid, condition)

    async def leave(self) -> None:
        """End the links in order."""
        if self._handed_over:
            await self._await_last_words()
        self.uplink.close()
        if self._pages is not None:
            self._pages.close()
        if self._node_bus is not None:
            self._node_bus.close()
        if self.embedded is not None:
            self.embedded.close()
            await self.embedded.leave_cluster(goodbye=not self.is_replaced)

    async def _await_last_words(self) -> None:
        """Clients that left just before the hand-over may have said something that their server has not taken yet."""
        deadline = self._loop.time() + self.config.limits.close_seconds
        while self.uplink.lingering_streams and self._loop.time() < deadline:  # noqa: ASYNC110 - they close anywhere
            await asyncio.sleep(_STEP_SECONDS)

    def sweep(self) -> None:
        """End what has taken too long."""
        self.clients.sweep(SWEEPS_PER_SECOND)
        self._round_trips.sweep()
        self.uplink.sweep()
        if self.embedded is not None:
            self.embedded.sweep()
        if self._node_bus is not None:
            if self._handed_over:  # another process listens in our place
                self._node_bus.close()
            self._node_bus.sweep()
        if self._pages is not None:
            self._pages.sweep()
        for _, listener in self._listeners:
            listener.retry()

    # --- log ------------------------------------------------------------

    def _node_report(self, event: str, *, trouble: bool = False, **fields: object) -> None:
        with suppress(OSError):
            if trouble:
                self._log.warning(event, **fields)
            else:
                self._log.info(event, **fields)

    def _link_report(self, upstream: Upstream, link: int, trouble: str) -> None:
        with suppress(OSError):
            if trouble:
                self._log.warning("link down", upstream=upstream.name, link=link, reason=trouble)
            else:
                self._log.info("link up", upstream=upstream.name, link=link)


def _ports_of(listeners: list[tuple[int, int]]) -> dict[int, int]:
    """Return the port of each listener by its place in the configuration, as its socket has it."""
    ports = {}
    for listen, descriptor in listeners:
        with socket.socket(fileno=os.dup(descriptor)) as listening:
            ports[listen] = listening.getsockname()[1]
    return ports
