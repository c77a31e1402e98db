"""Types of the compiled limits."""

from megaphone.config.schema import Limits, WebSocket
from megaphone.edge.web import Web
from megaphone.sockets.tls_contexts import CertificateChoice

class ClientLimits:
    """`[limits]` in the units of the hot path."""

    def __init__(self, limits: Limits) -> None: ...

class WebSocketLimits:
    """`[websocket]` of the configuration in the units of the hot path."""

    def __init__(self, table: WebSocket) -> None: ...
    @property
    def path(self) -> bytes: ...
    @property
    def origins(self) -> frozenset[bytes] | None: ...
    @property
    def forwarded_ranges(self) -> list[tuple[bytes, bytes]]: ...
    @property
    def forwarded_header(self) -> bytes: ...
    @property
    def request_bytes(self) -> int: ...

class ListenerFacts:
    """What a connection has to know of the listener it came by."""

    def __init__(
        self,
        tls: str,
        starttls_required: bool,
        proxy_networks: tuple[str, ...],
        certificates: CertificateChoice | None,
        place: int = 0,
        websocket: bool = False,
        web: Web | None = None,
    ) -> None: ...
    @property
    def web(self) -> Web | None: ...
    @property
    def http(self) -> bool: ...
    @property
    def tls(self) -> str: ...
    @property
    def place(self) -> int: ...
    @property
    def starttls_required(self) -> bool: ...
    @property
    def websocket(self) -> bool: ...
