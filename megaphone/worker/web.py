"""Wires what a listener serves over HTTP: the routes of each word in its key `web`.

A word is a row of `_BUILDERS`; whoever adds one writes a function that gets the `Site` and returns its routes. Routes
are built anew by a reload; what has to outlive one is kept by the worker (`Site.part`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import msgspec

from megaphone.web.chat import ChatSettings, chat_routes
from megaphone.web.host_meta import host_meta_routes, places_of
from megaphone.web.routes import Route, Routes
from megaphone.web.server import WebServer
from megaphone.worker.bosh import bosh_routes

if TYPE_CHECKING:
    from megaphone.config.schema import Config, Listen
    from megaphone.worker.web_part import WebPart


class Site(msgspec.Struct, frozen=True):
    """What routes are built from."""

    config: Config
    index: int  # of the listener in [[listen]]
    ports: dict[int, int]  # of listeners, by their index, as they really are
    part: WebPart

    @property
    def listen(self) -> Listen:
        """The listener's table."""
        return self.config.listen[self.index]


def _host_meta(site: Site) -> Iterable[Route]:
    return host_meta_routes(places_of(site.config, site.ports), site.config.web.public_url)


def _bosh(site: Site) -> Iterable[Route]:
    return bosh_routes(site.part.bosh(site.config), site.config, site.index)


def _pages(site: Site) -> Iterable[Route]:
    return site.part.pages(site.config).service.routes()


def _chat(site: Site) -> Iterable[Route]:
    table, config, web = site.config.chat, site.config, site.listen.web
    return chat_routes(
        ChatSettings(
            title=table.title,
            domains=tuple(dict.fromkeys((table.domain, *(each.name for each in config.domain)))),
            rooms_domain=table.rooms,
            join=table.join,
            guests=table.guests,
            uploads=table.uploads,
            websocket_path=config.websocket.path if "websocket" in web else "",
            bosh_path=config.bosh.path if "bosh" in web else "",
        )
    )


# "websocket" is not here: XMPP over WebSocket is the edge's own (edge/upgrade.py).
_BUILDERS: dict[str, Callable[[Site], Iterable[Route]]] = {
    "chat": _chat,
    "host-meta": _host_meta,
    "bosh": _bosh,
    "pages": _pages,
}


def web_server(site: Site) -> WebServer | None:
    """Return who serves HTTP on a listener beyond the XMPP WebSocket; None: nobody."""
    words = [word for word in site.listen.web if word in _BUILDERS]
    if not words:
        return None
    return WebServer(Routes(route for word in words for route in _BUILDERS[word](site)), site.config.web)
