"""The way of one node to NATS, which can be cut: a TCP relay in a thread of its own."""

import asyncio
from collections.abc import Coroutine
from dataclasses import replace
from threading import Thread
from typing import Any

from megaphone.bus.nats_access import Access, Server
from tests.adversity.network import Network
from tests.servers.nats import NATS

STEP_SECONDS = 30.0


class WayToNATS:
    """Open from the beginning; `access` is for who goes this way."""

    def __init__(self, nats: NATS) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        target = nats.access.servers[0]
        self._network = Network((target.host, target.port))
        self.heal()
        host, port = self._network.address
        self.access: Access = replace(nats.access, servers=(Server(host, port, target.tls),))

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(STEP_SECONDS)

    def cut(self) -> None:
        """Drop the connections, and refuse new ones."""
        self._run(self._network.go_away())

    def heal(self) -> None:
        """Take connections (again)."""
        self._run(self._network.come_back())

    def close(self) -> None:
        """Cut it for good."""
        self.cut()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(STEP_SECONDS)
        self._loop.close()
