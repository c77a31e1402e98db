"""Types of what all client connections of a worker share."""

from collections.abc import Callable

from megaphone.dispatch.counters import Board
from megaphone.dispatch.dispatcher import Dispatcher, Owner
from megaphone.edge.admission import Admission
from megaphone.edge.connection import ClientConnection
from megaphone.edge.limits import ClientLimits, ListenerFacts, WebSocketLimits
from megaphone.sockets.poller import Poller

class Clients:
    """Everything the connections of one worker share."""

    limits: ClientLimits
    websocket: WebSocketLimits
    admission: Admission
    domains: frozenset[str]
    open_uplink: Callable[[ClientConnection, str], Owner | str]
    see_other_host: bytes
    listener_at: Callable[[int], ListenerFacts]
    on_closed: Callable[[ClientConnection, int], None] | None
    on_fault: Callable[[Exception], None]

    def __init__(self, poller: Poller, dispatcher: Dispatcher, board: Board, limits: ClientLimits) -> None: ...
    @property
    def poller(self) -> Poller: ...
    @property
    def dispatcher(self) -> Dispatcher: ...
    @property
    def board(self) -> Board: ...
    def count_on(self) -> None: ...
    def sweep(self, parts: int) -> None: ...
