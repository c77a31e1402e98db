"""One worker: wires poller, dispatcher, edge and uplink together and does what the supervisor says."""

from __future__ import annotations

import asyncio
import gc
import mmap
import signal
import socket
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import uvloop

from megaphone import log
from megaphone.config import environment, load
from megaphone.dispatch.counters import Board, Reason, Slot
from megaphone.dispatch.dispatcher import Dispatcher
from megaphone.edge import opening
from megaphone.edge.admission import Admission
from megaphone.edge.clients import Clients
from megaphone.edge.connection import connection_bytes
from megaphone.edge.limits import ClientLimits, ListenerFacts
from megaphone.edge.listener import Listener
from megaphone.edge.sketch import Sketch, sketch_bytes
from megaphone.errors import ConfigError, TLSError
from megaphone.sockets.poller import Poller
from megaphone.sockets.tls import CertificateChoice, TLSContext, set_ticket_keys
from megaphone.uplink.direct import DirectCarrier
from megaphone.uplink.direct import stream_bytes as direct_stream_bytes
from megaphone.uplink.health import HealthChecks
from megaphone.uplink.link_carrier import LinkCarrier
from megaphone.uplink.link_stream import stream_bytes as link_stream_bytes
from megaphone.uplink.pool import Pool
from megaphone.uplink.uplink import Uplink
from megaphone.worker import drain, heartbeat
from megaphone.worker.channel import Channel

if TYPE_CHECKING:
    from megaphone.config.schema import Config
    from megaphone.edge.connection import ClientConnection
    from megaphone.uplink.pool import Upstream
    from megaphone.uplink.uplink import Carrier

FATAL_EXIT = 3
SWEEPS_PER_SECOND = 8


class Worker:
    """Everything one worker process owns."""

    def __init__(self, start: dict[str, Any], channel: Channel) -> None:
        self._channel = channel
        self._file: str = start["config_path"]
        self.index: int = start["index"]
        self._workers = workers = int(start["workers"])
        config = load.parse(start["config_text"], self._file)
        log.configure(config.log.format, config.log.level)
        self._log = log.get_logger(f"worker-{self.index}")
        set_ticket_keys([bytes.fromhex(key) for key in start["ticket_keys"]])
        self.board = Board(mmap.mmap(start["board_fd"], 0))
        sketch = Sketch(mmap.mmap(start["sketch_fd"], sketch_bytes(workers)), self.index, workers)
        self._loop = uvloop.new_event_loop()
        self.poller = Poller(self._wake)
        self.dispatcher = Dispatcher(self.index, config.node.max_connections, max(1, self.board.get(Slot.GENERATION)))
        limits = ClientLimits(config.limits)
        self.clients = Clients(self.poller, self.dispatcher, self.board, limits)
        self.clients.admission = Admission(sketch, config.limits)
        self.pool = Pool(config, self.board, workers, self._file)
        self.uplink = Uplink(self.poller, self.dispatcher, self.board, self.pool, self._carriers(config, limits))
        self.clients.open_uplink = self.uplink.open
        self.clients.on_fault = self.poller.on_fault = self._log_fault
        self.checks = HealthChecks(self.pool, self.board, config.health, self._upstream_changed)
        self._certificates = self._load_certificates(config)
        self._take(config)
        # (place in the configuration, listener); a host name with several addresses has several listeners
        self._listeners = [
            (listen, Listener(self.clients, self._facts(config, listen), descriptor))
            for listen, descriptor in start["listeners"]
        ]
        self._draining: asyncio.Task[None] | None = None
        self._done = asyncio.Event()
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
        return CertificateChoice(contexts) if contexts else None

    def _facts(self, config: Config, listen: int) -> ListenerFacts:
        table = config.listen[listen]
        return ListenerFacts(
            table.tls,
            table.starttls == "required",
            table.proxy_protocol_from,
            self._certificates,
        )

    def _apply(self, config: Config) -> None:
        """Put the parts of a new configuration in force that need no restart; nothing in here can fail."""
        self.clients.limits = ClientLimits(config.limits)
        self.clients.admission.apply(config.limits)
        self.uplink.apply(self.clients.limits)
        self.checks.health = config.health
        self.pool.serve(config)
        self._take(config)
        for listen, listener in self._listeners:
            listener.facts = self._facts(config, listen)

    def _take(self, config: Config) -> None:
        """Keep the configuration, at the start as on a reload, with what the edge takes from it."""
        self.config = config
        self.clients.domains = frozenset(self.pool.domains)
        self.clients.on_closed = self._log_connection if config.log.connections else None

    def _reload(self, text: str) -> dict[str, Any]:
        try:
            config = load.parse(text, self._file)
            certificates = self._load_certificates(config)
        except ConfigError as error:
            return {"type": "reload_failed", "reason": str(error)}
        log.configure(config.log.format, config.log.level)
        self._certificates = certificates
        self._apply(config)
        return {"type": "reloaded"}

    # --- life ------------------------------------------------------------

    def run(self) -> int:
        """Serve until drained; returns the exit code."""
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._main())
        finally:
            self._loop.close()
        return 0

    async def _main(self) -> None:
        await self._channel.open()
        self._loop.add_reader(self.poller.fd, self.poller.turn)
        for _, listener in self._listeners:
            listener.open()
        beating = asyncio.create_task(heartbeat.beat(self.board))
        listening = asyncio.create_task(self._obey())
        self.checks.start()
        self._sweep()
        # connections are freed by reference counts alone; what lives now lives for good
        gc.collect()
        gc.freeze()
        self.board.set(Slot.STARTED_NS, time.monotonic_ns())
        await self._channel.send({"type": "ready"})
        await self._done.wait()
        await self.checks.stop()
        for task in (beating, listening):
            task.cancel()
        self._loop.remove_reader(self.poller.fd)

    def _wake(self) -> None:
        self._loop.call_soon(self.poller.turn)

    def _sweep(self) -> None:
        # first of all, so that whatever happens in here there is a next one
        self._loop.call_later(1 / SWEEPS_PER_SECOND, self._sweep)
        self.clients.sweep(SWEEPS_PER_SECOND)
        self.uplink.sweep()
        for _, listener in self._listeners:
            listener.retry()

    async def _obey(self) -> None:
        while (message := await self._channel.receive()) is not None:
            answer = self._answer(message)
            if answer is not None:
                await self._channel.send(answer)
        # the supervisor is gone: nobody would restart us, so our clients are better off elsewhere
        limits = self.config.drain
        self._start_drain(limits.connections_per_second / self._workers, limits.deadline_seconds)

    def _answer(self, message: dict[str, Any]) -> dict[str, Any] | None:
        match message["type"]:
            case "reload":
                return self._reload(message["config_text"])
            case "ticket_keys":
                set_ticket_keys([bytes.fromhex(key) for key in message["keys"]])
            case "connections":
                rows = self._matching(message["address"], message["jid"], message["state"], None, message["limit"])
                return {"type": "reply", "id": message["id"], "result": [row for _, row in rows]}
            case "kick":
                rows = self._matching(message["address"], message["jid"], None, message["connection"], None)
                for connection, _ in rows:
                    connection.finish(message["condition"], Reason.KICKED)
                return {"type": "reply", "id": message["id"], "result": len(rows)}
            case "drain":
                self._start_drain(message["connections_per_second"], message["deadline_seconds"])
        return None

    def _matching(
        self, address: str | None, jid: str | None, state: str | None, connection_id: str | None, limit: int | None
    ) -> list[tuple[ClientConnection, dict[str, Any]]]:
        if connection_id is not None:
            try:
                found = self.dispatcher.connection(int(connection_id, 16))
            except (ValueError, OverflowError):  # no id of ours
                found = None
            candidates = [] if found is None else [found]
        else:
            candidates = self.dispatcher.connections()
        rows: list[tuple[ClientConnection, dict[str, Any]]] = []
        for connection in candidates:
            if limit is not None and len(rows) >= limit:
                break
            row = connection.describe()
            if (
                (address is None or row["address"] == address)
                and (jid is None or (row["jid"] is not None and jid in (row["jid"], row["jid"].partition("/")[0])))
                and (state is None or row["state"] == state)
            ):
                rows.append((connection, row))
        return rows

    # --- drain ------------------------------------------------------------

    def _start_drain(self, connections_per_second: float, deadline_seconds: float) -> None:
        for _, listener in self._listeners:
            listener.close()
        self.uplink.drain()
        if self._draining is not None:
            self._draining.cancel()  # the newest word counts: a second signal means "quickly"
        self._draining = asyncio.create_task(self._drain(connections_per_second, deadline_seconds))

    async def _drain(self, connections_per_second: float, deadline_seconds: float) -> None:
        drained = await drain.drain(self.dispatcher, connections_per_second, deadline_seconds)
        self.uplink.close()
        await self._channel.send({"type": "drained", "closed": drained.closed, "cut": drained.cut})
        self._done.set()

    # --- log ------------------------------------------------------------

    def _log_connection(self, connection: ClientConnection, reason: int) -> None:
        with suppress(OSError):  # a log that cannot be written must cost no connection
            self._log.info("connection", reason=Reason(reason).name.lower().replace("_", "-"), **connection.describe())

    def _log_fault(self, error: Exception) -> None:
        with suppress(OSError):
            self._log.error("internal error", exc_info=error)

    def _link_report(self, upstream: Upstream, link: int, trouble: str) -> None:
        with suppress(OSError):
            if trouble:
                self._log.warning("link down", upstream=upstream.name, link=link, reason=trouble)
            else:
                self._log.info("link up", upstream=upstream.name, link=link)

    def _upstream_changed(self, upstream: Upstream, reason: str) -> None:
        if reason:
            self._log.warning("upstream down", upstream=upstream.name, reason=reason)
        else:
            self._log.info("upstream up", upstream=upstream.name)


def run(channel_descriptor: int) -> int:
    """Run one worker on an inherited channel; returns its exit code."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        # often sent to a whole group of processes; what to do about it is the supervisor's to say
        signal.signal(number, signal.SIG_IGN)
    channel = Channel(channel_descriptor)
    try:
        start = channel.first_message()
    except EOFError:
        return 1
    try:
        worker = Worker(start, channel)
    except ConfigError as error:
        channel.send_now({"type": "fatal", "reason": str(error)})
        return FATAL_EXIT
    return worker.run()
