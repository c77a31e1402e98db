"""Client addresses in 16 bytes: IPv6, or IPv4 mapped into it (RFC 4291 section 2.5.5.2); text, prefix, networks."""

import ipaddress

MAPPED_PREFIX = b"\0" * 10 + b"\xff\xff"


def address_text(packed: bytes) -> str:
    """Return the usual text of a 16-byte address; IPv4-mapped ones as IPv4."""
    address = ipaddress.IPv6Address(packed)
    return str(address.ipv4_mapped or address)


def address_bytes(text: str) -> bytes:
    """Return the 16 bytes of an IPv4 or IPv6 address; ValueError if `text` is neither."""
    return _mapped(ipaddress.ip_address(text))


def _mapped(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bytes:
    return MAPPED_PREFIX + address.packed if address.version == 4 else address.packed


def prefix_of(address: bytes) -> bytes:
    """Return what counts as one customer: an IPv4 /24 or an IPv6 /64."""
    return address[:15] if address.startswith(MAPPED_PREFIX) else address[:8]


def network_matcher(networks: tuple[str, ...]) -> list[tuple[bytes, bytes]]:
    """Return the first and the last 16-byte address of each network."""
    parsed = [ipaddress.ip_network(text, strict=False) for text in networks]
    return [(_mapped(network.network_address), _mapped(network.broadcast_address)) for network in parsed]


def in_networks(address: bytes, ranges: list[tuple[bytes, bytes]]) -> bool:
    """Say whether a 16-byte address is in one of the networks."""
    return any(first <= address <= last for first, last in ranges)
