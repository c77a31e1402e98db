"""Types of the compiled TLS engine."""

from collections.abc import Iterable, Sequence

def last_error() -> str: ...
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
        client_ca: str = "",
    ) -> None: ...
    def serves(self, name: str) -> bool: ...

class CertificateChoice:
    """All certificates of a listener."""

    def __init__(self, contexts: Iterable[TLSContext]) -> None: ...

class ClientContext:
    """What the edge shows and demands where it is the client."""

    def __init__(self, ca: str, certificate: str, key: str, server_name: str, is_address: bool = False) -> None: ...

class TLS:
    """One TLS connection."""

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
    @property
    def peer_refusal(self) -> str: ...
    @property
    def exporter(self) -> bytes | None: ...
    @property
    def unique(self) -> bytes | None: ...
    @property
    def certificate_hash(self) -> bytes | None: ...
