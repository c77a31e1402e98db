"""Which server is tested, and how it is reached."""

import ipaddress
import socket
from dataclasses import dataclass
from typing import Literal

from loadtest.swarm.errors import TargetError

Security = Literal["plain", "starttls", "tls"]
TLSVersion = Literal["any", "1.2"]

SOURCE_ADDRESSES_LIMIT = 65_536


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """An XMPP server.

    `host` is a name or an address of IPv4 or IPv6; it is resolved once. Sessions take the `ports` in turn.
    `security`: `plain` TCP, `starttls` (RFC 6120 section 5) or direct `tls` (XEP-0368).
    `tls_version`: `1.2` for clients that know nothing newer.
    `ca_file`: PEM file of the authorities to trust; None: those of the system. `verify=False` trusts any certificate.
    `source_addresses`: addresses and networks (`127.0.1.0/24`) that sessions connect from in turn. One address passes
    some 28,000 sessions to one port of the server; none given: the system chooses.
    """

    host: str
    ports: tuple[int, ...]
    domain: str
    security: Security = "plain"
    tls_version: TLSVersion = "any"
    ca_file: str | None = None
    verify: bool = True
    source_addresses: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.ports or not all(1 <= port <= 65_535 for port in self.ports):
            raise TargetError(f"no ports between 1 and 65535: {self.ports}")
        if self.security not in ("plain", "starttls", "tls"):
            raise TargetError(f"security is plain, starttls or tls, not {self.security!r}")
        if self.tls_version not in ("any", "1.2"):
            raise TargetError(f"tls_version is any or 1.2, not {self.tls_version!r}")
        if not 1 <= len(self.domain.encode()) <= 1023 or any(character in "<>&'\" @/" for character in self.domain):
            raise TargetError(f"not the domain of a server: {self.domain!r}")

    def addresses(self) -> list[tuple[bytes, int]]:
        """The packed address (4 or 16 bytes) and port of each way to the server."""
        try:
            found = socket.getaddrinfo(self.host, None, type=socket.SOCK_STREAM)
        except OSError as error:
            raise TargetError(f"cannot resolve {self.host}: {error}") from error
        address = ipaddress.ip_address(found[0][4][0])
        return [(address.packed, port) for port in self.ports]

    def sources(self) -> list[bytes]:
        """The packed source addresses, networks expanded: at most 65,536."""
        found: list[bytes] = []
        for text in self.source_addresses:
            try:
                network = ipaddress.ip_network(text, strict=False)
            except ValueError as error:
                raise TargetError(f"not an address or network: {text!r}") from error
            if network.num_addresses + len(found) > SOURCE_ADDRESSES_LIMIT:
                raise TargetError(f"more than {SOURCE_ADDRESSES_LIMIT} source addresses")
            found.extend(address.packed for address in network.hosts())
        return found
