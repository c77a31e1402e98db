"""What the edge knows of whoever serves HTTP beyond XMPP over WebSocket (web.server.WebServer)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from megaphone.dispatch.dispatcher import Owner
    from megaphone.edge.connection import ClientConnection


class Web(Protocol):
    """The server of one listener."""

    def serve(self, connection: ClientConnection) -> Owner:
        """Return who takes what comes on this connection from now on."""
