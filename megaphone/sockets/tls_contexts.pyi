"""Types of the contexts of TLS."""

from collections.abc import Iterable
from typing import Literal

def last_error() -> str: ...

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
    @property
    def certificate_hash(self) -> bytes | None: ...
    def serves(self, name: str) -> bool: ...

class CertificateChoice:
    """All certificates of a listener."""

    def __init__(
        self, contexts: Iterable[TLSContext], *, record_layer: Literal["own", "openssl"] = "own", http: bool = False
    ) -> None: ...
    @property
    def own_records(self) -> bool: ...

class ClientContext:
    """What the edge shows and demands where it is the client."""

    def __init__(self, ca: str, certificate: str, key: str, server_name: str, is_address: bool = False) -> None: ...
