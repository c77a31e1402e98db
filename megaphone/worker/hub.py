"""The hub's process, `python -m megaphone.worker.hub FD`: wires poller, links, streams and direct uplink together."""

from __future__ import annotations

import asyncio
import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from megaphone import log
from megaphone.config import hub as hub_config
from megaphone.dispatch.counters import Slot
from megaphone.dispatch.dispatcher import Dispatcher
from megaphone.errors import ConfigError, TLSError
from megaphone.hub.link import welcome
from megaphone.hub.listener import LinkListener
from megaphone.hub.settings import LinkSettings, SocketLimits
from megaphone.hub.shared import Hub
from megaphone.hub.stream import stream_bytes
from megaphone.hub.sweep import sweep
from megaphone.sockets.tls_contexts import CertificateChoice, TLSContext
from megaphone.uplink.direct import DirectCarrier
from megaphone.uplink.direct import stream_bytes as upstream_bytes
from megaphone.uplink.health import HealthChecks
from megaphone.uplink.pool import Pool
from megaphone.uplink.uplink import Uplink
from megaphone.wire.link import LinkReason
from megaphone.worker.process import SWEEPS_PER_SECOND, Process, run

if TYPE_CHECKING:
    from megaphone.config.hub import HubConfig
    from megaphone.hub.stream import HubStream
    from megaphone.worker.channel import Channel

_STEP_SECONDS = 0.02
_LAST_WORDS_STEPS = 50


class HubProcess(Process):
    """Everything the hub's process owns."""

    config: HubConfig

    def __init__(self, start: dict[str, Any], channel: Channel) -> None:
        super().__init__(start, channel, "hub")
        config = hub_config.parse(start["config_text"], self._file)
        log.configure(config.log.format, config.log.level)
        settings = LinkSettings(
            secret=hub_config.read_secret(config, self._file),
            links=config.hub.max_links,
            streams=config.hub.max_streams,
            window_bytes=config.hub.window_bytes,
            grace_seconds=config.hub.grace_seconds,
        )
        limits = self._limits(config)
        self.dispatcher = Dispatcher(self.index, config.node.max_connections, max(1, self.board.get(Slot.GENERATION)))
        self.hub = Hub(self.poller, self.dispatcher, self.board, settings, os.urandom(16), limits)
        self.pool = Pool(config, self.board, self._workers, self._file)
        carrier = DirectCarrier(self.poller, _proxy_header, limits)
        carriers = [carrier] * len(self.pool.upstreams)
        self.uplink = Uplink(self.poller, self.dispatcher, self.board, self.pool, carriers)
        self.hub.welcome = welcome
        self.hub.open_uplink = self._open_uplink
        self.hub.on_link = self._log_link
        self.hub.certificates = self._load_certificates(config)
        self.checks = HealthChecks(self.pool, self.board, config.health, self._upstream_changed)
        self._take(config)
        self._listeners = [LinkListener(self.hub, descriptor) for _, descriptor in start["listeners"]]
        self.board.set(Slot.CONNECTION_BYTES, stream_bytes() + upstream_bytes())

    # --- configuration ------------------------------------------------------------

    def _load_certificates(self, config: HubConfig) -> CertificateChoice | None:
        table = config.hub
        if not table.certificate:
            return None
        try:
            context = TLSContext(table.certificate, table.key, session_tickets=False, client_ca=table.client_ca)
        except TLSError as error:
            raise ConfigError(self._file, "hub.certificate", str(error)) from None
        return CertificateChoice([context], record_layer="openssl")

    @staticmethod
    def _limits(config: HubConfig) -> SocketLimits:
        return SocketLimits.of(
            connect_seconds=config.hub.connect_seconds,
            slow_seconds=config.hub.slow_seconds,
            close_seconds=config.hub.close_seconds,
            window_bytes=config.hub.window_bytes,
        )

    def _take(self, config: HubConfig) -> None:
        self.config = config
        self.hub.on_closed = self._log_connection if config.log.connections else None

    def reload(self, text: str) -> None:
        """Put this configuration in force; ConfigError, and nothing has changed, if it cannot be."""
        config = hub_config.parse(text, self._file)
        self.hub.certificates = self._load_certificates(config)
        log.configure(config.log.format, config.log.level)
        limits = self._limits(config)
        self.hub.apply(limits)
        self.uplink.apply(limits)
        self.checks.health = config.health
        self.pool.serve(config)
        self._take(config)

    # --- life ------------------------------------------------------------

    def _open_uplink(self, stream: HubStream) -> Any:
        return self.uplink.open(stream, self.config.domain[0].name)

    def open_listeners(self) -> None:
        """Start accepting links."""
        for listener in self._listeners:
            listener.open()

    def close_listeners(self) -> None:
        """Stop accepting links, and say DRAIN on those that are there."""
        for listener in self._listeners:
            listener.close()
        self.hub.draining = True
        for link in list(self.hub.links.values()):
            link.leave()

    def sweep(self) -> None:
        """End what has taken too long."""
        sweep(self.hub, SWEEPS_PER_SECOND)
        self.uplink.sweep()
        for listener in self._listeners:
            listener.retry()

    def links(self) -> list[dict[str, Any]]:
        """Return a row for each link of an edge."""
        return [link.describe() for link in self.hub.links.values()]

    async def leave(self) -> None:
        """End every link in order, and give the edges a moment to hear it."""
        for link in list(self.hub.links.values()):
            link.close(LinkReason.SYSTEM_SHUTDOWN, "the hub has drained")
        for _ in range(_LAST_WORDS_STEPS):
            if not self.hub.sockets:
                break
            await asyncio.sleep(_STEP_SECONDS)

    def _log_link(self, event: str, **fields: Any) -> None:
        with suppress(OSError):
            self._log.info(event, **fields)


def _proxy_header(stream: HubStream) -> bytes:
    return stream.proxy_header()


if __name__ == "__main__":
    raise SystemExit(run(int(sys.argv[1]), HubProcess))
