"""Who serves HTTP beyond the XMPP WebSocket, as the edge sees it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from megaphone.dispatch.dispatcher import Owner
    from megaphone.edge.connection import ClientConnection
    from megaphone.wire.http_head import Head


class Web(Protocol):
    """What a listener's facts have where there is HTTP (web.server.WebServer)."""

    def serve(self, connection: ClientConnection, head: Head) -> Owner:
        """Return who owns a connection that has begun with this request; what is behind its head is still to come."""
