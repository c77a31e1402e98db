"""What a worker serves over HTTP: a server per listener, and what outlives a reload, the pages and sessions over BOSH.

Nothing of it is imported before a listener wants it: 2 MB that a worker without it need not have.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from megaphone.bus.node_bus import NodeBus
from megaphone.bus.subject_frames import SubjectFrames

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from megaphone.bus.node_bus import BusPlace
    from megaphone.bus.subjects import Subjects
    from megaphone.config.schema import Config
    from megaphone.dispatch.counters import Board
    from megaphone.edge.clients import Clients
    from megaphone.embedded.embedded import Embedded
    from megaphone.sockets.poller import Poller
    from megaphone.web.bosh import Bosh
    from megaphone.web.server import WebServer
    from megaphone.worker.pages import PagesPart


class WebPart:
    """The web of one worker. `ports` are those of the listeners, by their place in the configuration."""

    def __init__(
        self,
        *,
        loop: asyncio.AbstractEventLoop,
        poller: Poller,
        clients: Clients,
        board: Board,
        place: BusPlace,
        ports: dict[int, int],
        embedded: Embedded | None,
        fault: Callable[[Exception], None],
    ) -> None:
        self._loop = loop
        self._poller = poller
        self._clients = clients
        self._board = board
        self._place = place
        self._ports = ports
        self._embedded = embedded
        self._fault = fault
        self._serving = False
        self._servers: dict[int, WebServer | None] = {}
        self._node_bus: NodeBus | None = None
        self._pages: PagesPart | None = None
        self._bosh: Bosh | None = None

    def server(self, config: Config, listen: int) -> WebServer | None:
        """Return who serves HTTP on a listener; built once for a configuration."""
        if not config.listen[listen].web:
            return None
        if listen not in self._servers:
            from megaphone.worker import web

            self._servers[listen] = web.web_server(web.Site(config, listen, self._ports, self))
        return self._servers[listen]

    def pages(self, config: Config) -> PagesPart:
        """Return the ephemeral pages, which begin with the first listener that has them."""
        if self._pages is None:
            from megaphone.worker.pages import PagesPart

            self._pages = PagesPart(
                config,
                index=self._place.index,
                loop=self._loop,
                board=self._board,
                embedded=self._embedded,
                subjects=self._subjects(),
            )
        return self._pages

    def bosh(self, config: Config) -> Bosh:
        """Return the sessions over BOSH, which begin with the first listener that has them."""
        if self._bosh is None:
            from megaphone.web.bosh import Bosh
            from megaphone.worker.bosh import bosh_settings

            place = self._place
            self._bosh = Bosh(
                loop=self._loop,
                clients=self._clients,
                board=self._board,
                index=place.index,
                workers=place.workers,
                bus=self._subjects() if place.workers > 1 else None,
                settings=bosh_settings(config),
            )
        return self._bosh

    def _subjects(self) -> Subjects:
        """Return the bus of the node's workers: the embedded service's, or one of our own."""
        if self._embedded is not None:
            return self._embedded.subjects
        if self._node_bus is None:
            taker = SubjectFrames()
            self._node_bus = NodeBus(self._poller, self._place, taker, later=self._loop.call_soon, fault=self._fault)
            taker.subjects = self._node_bus.subjects
            if self._serving:
                self._node_bus.open()
        return self._node_bus.subjects

    def apply(self, config: Config) -> None:
        """Another configuration holds; servers are built anew for it."""
        if self._pages is not None:
            self._pages.apply(config.pages)
        if self._bosh is not None:
            from megaphone.worker.bosh import bosh_settings

            self._bosh.apply(bosh_settings(config))
        self._servers = {}

    def open(self) -> None:
        """Start talking to the other workers."""
        self._serving = True
        if self._node_bus is not None:
            self._node_bus.open()
        if self._bosh is not None:
            self._bosh.open()

    def sweep(self, *, handed_over: bool) -> None:
        """Do what is due; called 8 times a second. `handed_over`: another process listens in our place."""
        if self._node_bus is not None:
            if handed_over:
                self._node_bus.close()
            self._node_bus.sweep(self._loop.time())
        if self._pages is not None:
            self._pages.sweep()

    def end_held(self, condition: str, *, replaced: bool) -> None:
        """End the sessions over BOSH; `replaced`: another process of the node goes on."""
        if self._bosh is not None:
            self._bosh.drain(condition, replaced=replaced)

    def close(self) -> None:
        """The worker ends."""
        if self._pages is not None:
            self._pages.close()
        if self._node_bus is not None:
            self._node_bus.close()
