"""Types of the compiled limits."""

from megaphone.config.schema import Limits
from megaphone.sockets.tls_contexts import CertificateChoice

class ClientLimits:
    """`[limits]` in the units of the hot path."""

    def __init__(self, limits: Limits) -> None: ...

class ListenerFacts:
    """What a connection has to know of the listener it came by."""

    def __init__(
        self,
        tls: str,
        starttls_required: bool,
        proxy_networks: tuple[str, ...],
        certificates: CertificateChoice | None,
        place: int = 0,
    ) -> None: ...
    @property
    def tls(self) -> str: ...
    @property
    def place(self) -> int: ...
    @property
    def starttls_required(self) -> bool: ...
