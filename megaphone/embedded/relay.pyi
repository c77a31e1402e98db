"""Types of the compiled relay of connections between workers."""

from collections.abc import Callable
from typing import Any

from megaphone.bus.local import LocalBus
from megaphone.dispatch.counters import Board
from megaphone.dispatch.dispatcher import Connection, Dispatcher, Owner
from megaphone.edge.connection import ClientConnection
from megaphone.stream.jid import JID

class RemoteConnection(Connection):
    """A connection whose socket is in another worker."""

    def finish(self, condition: str, reason: int) -> None: ...
    @property
    def closing(self) -> bool: ...
    def describe(self) -> dict[str, Any] | None: ...

class Relay:
    """The relayed connections of one worker."""

    def __init__(
        self,
        bus: LocalBus,
        dispatcher: Dispatcher,
        board: Board,
        attach: Callable[[RemoteConnection, tuple[str, str], bool], Owner],
    ) -> None: ...
    def open(self, connection: ClientConnection, home: int, account: JID, anonymous: bool, received: bytes) -> None: ...
    def take_frame(self, peer: int, kind: int, payload: bytes) -> None: ...
    def peer_lost(self, peer: int) -> None: ...
