"""Types of the compiled direct uplink."""

from collections.abc import Callable
from typing import Any

from megaphone.dispatch.counters import Board
from megaphone.dispatch.dispatcher import Connection, Dispatcher, Owner
from megaphone.sockets.poller import Poller
from megaphone.uplink.pool import Pool

CONNECT_BUCKETS_SECONDS: tuple[float, ...]

def stream_bytes() -> int: ...

class DirectUplink:
    """Opens upstream sockets for one worker."""

    def __init__(
        self,
        poller: Poller,
        dispatcher: Dispatcher,
        board: Board,
        pool: Pool,
        proxy_header: Callable[[Any], bytes],
        limits: Any,
    ) -> None: ...
    def apply(self, limits: Any) -> None: ...
    def open(self, connection: Connection, domain: str) -> Owner | str: ...
    def sweep(self) -> None: ...
