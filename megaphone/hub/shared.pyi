"""Types of what all links and streams of a hub share."""

from collections.abc import Callable
from typing import Any

from megaphone.dispatch.counters import Board
from megaphone.dispatch.dispatcher import Dispatcher, Owner
from megaphone.hub.link import HubLink
from megaphone.hub.settings import LinkSettings, SocketLimits
from megaphone.hub.socket import LinkSocket
from megaphone.hub.stream import HubStream
from megaphone.sockets.poller import Poller
from megaphone.sockets.tls_contexts import CertificateChoice

class Hub:
    """Everything the links of one hub process share."""

    certificates: CertificateChoice | None
    welcome: Callable[[LinkSocket, Any], None]
    open_uplink: Callable[[HubStream], Owner | str]
    on_closed: Callable[[HubStream, int], None] | None
    on_link: Callable[..., None]
    draining: bool

    def __init__(
        self,
        poller: Poller,
        dispatcher: Dispatcher,
        board: Board,
        settings: LinkSettings,
        instance: bytes,
        limits: SocketLimits,
    ) -> None: ...
    @property
    def links(self) -> dict[bytes, HubLink]: ...
    @property
    def sockets(self) -> set[LinkSocket]: ...
    def apply(self, limits: SocketLimits) -> None: ...
