"""Types of the compiled TLS engine."""

from collections.abc import Iterable, Sequence

def set_ticket_keys(keys: Sequence[bytes]) -> None: ...

class TLSContext:
    """One certificate chain and its key, ready for handshakes."""

    def __init__(
        self,
        chain: str,
        key: str,
        names: tuple[str, ...] = (),
        *,
        minimum_version: str = "1.2",
        ciphers: str = ...,
        groups: str = ...,
        session_tickets: bool = True,
    ) -> None: ...
    def serves(self, name: str) -> bool: ...

class CertificateChoice:
    """All certificates of a listener."""

    def __init__(self, contexts: Iterable[TLSContext]) -> None: ...

class TLS:
    """The server side of one TLS connection."""

    @property
    def established(self) -> bool: ...
    @property
    def version(self) -> str: ...
    @property
    def cipher(self) -> str: ...
    @property
    def server_name(self) -> str | None: ...
    @property
    def alpn(self) -> bytes: ...
    @property
    def resumed(self) -> bool: ...
