"""Wires what a listener serves over HTTP: the routes of each word in its key `web`.

A word is a row of `_BUILDERS`; whoever adds one writes a function that gets the `Site` and returns its routes. Routes
are built anew by a reload; what has to outlive one is kept by the worker (`Site.worker`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import msgspec

from megaphone.web.host_meta import host_meta_routes, places_of
from megaphone.web.routes import Route, Routes
from megaphone.web.server import WebServer

if TYPE_CHECKING:
    from megaphone.config.schema import Config, Listen
    from megaphone.worker.worker import Worker


class Site(msgspec.Struct, frozen=True):
    """What routes are built from."""

    config: Config
    index: int  # of the listener in [[listen]]
    ports: dict[int, int]  # of listeners, by their index, as they really are
    worker: Worker  # loop, poller, dispatcher, clients, board, embedded ...

    @property
    def listen(self) -> Listen:
        """The listener's table."""
        return self.config.listen[self.index]


def _host_meta(site: Site) -> Iterable[Route]:
    return host_meta_routes(places_of(site.config, site.ports), site.config.web.public_url)


# "websocket" is not here: XMPP over WebSocket is the edge's own (edge/upgrade.py).
_BUILDERS: dict[str, Callable[[Site], Iterable[Route]]] = {
    "host-meta": _host_meta,
}


def web_server(site: Site) -> WebServer | None:
    """Return who serves HTTP on a listener beyond the XMPP WebSocket; None: nobody."""
    words = [word for word in site.listen.web if word in _BUILDERS]
    if not words:
        return None
    return WebServer(Routes(route for word in words for route in _BUILDERS[word](site)), site.config.web)
