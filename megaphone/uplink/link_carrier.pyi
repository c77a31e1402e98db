"""Types of the compiled link carrier."""

from collections.abc import Callable
from typing import Any

from megaphone.dispatch.counters import Board
from megaphone.dispatch.dispatcher import Dispatcher
from megaphone.sockets.poller import Poller
from megaphone.sockets.tls_contexts import ClientContext
from megaphone.uplink.pool import Pool, Upstream
from megaphone.uplink.uplink import Carrier

class LinkCarrier(Carrier):
    """One worker's links to one upstream."""

    def __init__(
        self,
        poller: Poller,
        dispatcher: Dispatcher,
        board: Board,
        pool: Pool,
        upstream: Upstream,
        limits: Any,
        *,
        secret: bytes,
        name: str = "",
        links: int = 2,
        opening_limit: int = 64,
        facts: Callable[[Any], bytes],
        is_returning: Callable[[Any], bool],
        report: Callable[[Upstream, int, str], None] | None = None,
        changed: Callable[[Upstream, str], None] | None = None,
        tls: ClientContext | None = None,
    ) -> None: ...
    @property
    def opening(self) -> int: ...
    @property
    def attached(self) -> bool: ...
    @property
    def unattached_ns(self) -> int: ...
    @property
    def said(self) -> bool | None: ...
    @property
    def upstream(self) -> Upstream: ...
    asleep: bool
    @property
    def links(self) -> list[Any]: ...
    def waiting(self) -> list[Any]: ...
