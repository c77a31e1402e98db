"""What all HTTP connections of a listener share; the edge gives it those whose request is not for XMPP."""

from __future__ import annotations

from typing import TYPE_CHECKING

from megaphone.sockets.poller import ticks_of
from megaphone.web.connection import HTTPConnection

if TYPE_CHECKING:
    from megaphone.config.schema import WebTable
    from megaphone.edge.connection import ClientConnection
    from megaphone.web.routes import Routes
    from megaphone.wire.http_head import Head


class WebServer:
    """The routes of one listener, and the limits of `[web]`; replaced as a whole by a reload."""

    def __init__(self, routes: Routes, table: WebTable) -> None:
        self.routes = routes
        self.table = table
        self.request_ticks = ticks_of(table.request_seconds)
        self.idle_ticks = ticks_of(table.idle_seconds)

    def serve(self, connection: ClientConnection, head: Head) -> HTTPConnection:
        """Return who answers this request, and takes what comes behind its head on this connection."""
        return HTTPConnection(connection, self, head)
