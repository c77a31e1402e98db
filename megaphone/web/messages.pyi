"""Types of the compiled WebSocket of text messages."""

from megaphone.dispatch.dispatcher import Owner
from megaphone.edge.connection import ClientConnection
from megaphone.web.exchange import Messages

class MessageSocket(Owner):
    """As `exchange.MessageConnection` says."""

    def __init__(self, connection: ClientConnection, subscriber: Messages, message_bytes: int) -> None: ...
    @property
    def client_address(self) -> bytes: ...
    def send_text(self, text: bytes) -> bool: ...
    def close(self, code: int, reason: str = "") -> None: ...
