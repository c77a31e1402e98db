"""OPEN, the link's frame that says who a client is: addresses, transport, TLS facts, channel bindings.

    | transport, 1 | family, 1 | client, 16 + 2 | local, 16 + 2 | TLS version, 2 | fields ...        40 to 4,096 bytes
    field: | type, 1 | length, 2 | value |

docs/reference/link-protocol.md, section Streams. `decode` raises LinkError with a text that names frame and field.
"""

import ipaddress
import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Self

from megaphone.errors import LinkError
from megaphone.wire.link import LinkReason

PAYLOAD_LIMIT_BYTES = 4096

_FIXED = struct.Struct("!BB16sH16sHH")
_FIELD = struct.Struct("!BH")

Endpoint = tuple[str, int]


class Transport(IntEnum):
    """How a client is connected to the edge."""

    TCP = 1
    DIRECT_TLS = 2
    STARTTLS = 3
    WEBSOCKET = 4
    WEBSOCKET_TLS = 5


# The fields: number, attribute of Open, least and most bytes of the value, whether it is text.
_FIELDS = {
    1: ("server_name", 0, 65535, True),
    2: ("alpn", 0, 65535, False),
    3: ("tls_exporter", 32, 32, False),
    4: ("tls_unique", 12, 64, False),
    5: ("cipher", 0, 65535, True),
    6: ("client_certificate", 32, 32, False),
    7: ("edge_certificate", 32, 64, False),
}


@dataclass(frozen=True, slots=True)
class Open:
    """What the edge knows of a client. An endpoint is (IP address, port), or None if unknown (a Unix socket).

    `tls_version` is 0x0304 for TLS 1.3 and 0 without TLS. `tls_exporter`: RFC 9266, 32 bytes; `tls_unique`: RFC 5929,
    12 to 64; `client_certificate`: SHA-256 of the verified one; `edge_certificate`: `tls-server-end-point`, 32 to 64.
    """

    transport: int
    client: Endpoint | None = None
    local: Endpoint | None = None
    tls_version: int = 0
    server_name: str | None = None
    alpn: bytes | None = None
    tls_exporter: bytes | None = None
    tls_unique: bytes | None = None
    cipher: str | None = None
    client_certificate: bytes | None = None
    edge_certificate: bytes | None = None

    def encode(self) -> bytes:
        """The payload. ValueError for what the protocol does not allow, such as one above 4,096 bytes."""
        ends = [None if end is None else (ipaddress.ip_address(end[0]), end[1]) for end in (self.client, self.local)]
        family = 6 if any(end is not None and end[0].version == 6 for end in ends) else 4
        (client, client_port), (local, local_port) = (_packed(end, family) for end in ends)
        payload = _FIXED.pack(
            Transport(self.transport), family, client, client_port, local, local_port, self.tls_version
        )
        for number, (name, least, most, _) in _FIELDS.items():
            value = getattr(self, name)
            if value is not None:
                encoded = value.encode() if isinstance(value, str) else value
                if not least <= len(encoded) <= most:
                    raise ValueError(f"{name} has {len(encoded)} bytes instead of {least} to {most}")
                payload += _FIELD.pack(number, len(encoded)) + encoded
        if len(payload) > PAYLOAD_LIMIT_BYTES:
            raise ValueError(f"OPEN of {len(payload)} bytes is above {PAYLOAD_LIMIT_BYTES}")
        return payload

    @classmethod
    def decode(cls, payload: bytes) -> Self:
        """Read a payload; fields that nobody knows yet are left out."""
        if not _FIXED.size <= len(payload) <= PAYLOAD_LIMIT_BYTES:
            raise _refused(f"has {len(payload)} bytes instead of {_FIXED.size} to {PAYLOAD_LIMIT_BYTES}")
        transport, family, client, client_port, local, local_port, tls_version = _FIXED.unpack_from(payload)
        if transport not in Transport.__members__.values():
            raise _refused(f"has transport {transport}, which is not known")
        if family not in (4, 6):
            raise _refused(f"has address family {family} instead of 4 or 6")
        return cls(
            Transport(transport),
            _endpoint(client, client_port, family),
            _endpoint(local, local_port, family),
            tls_version,
            **_fields(payload),
        )


def _refused(text: str) -> LinkError:
    return LinkError(LinkReason.PROTOCOL_ERROR, f"OPEN {text}")


def _packed(end: tuple[ipaddress.IPv4Address | ipaddress.IPv6Address, int] | None, family: int) -> tuple[bytes, int]:
    """Address and port as they stand in the frame; in an IPv6 frame an IPv4 address is mapped (RFC 4291, 2.5.5.2)."""
    if end is None:
        return bytes(16), 0
    address, port = end
    if address.version == 4 and family == 6:
        return bytes(10) + b"\xff\xff" + address.packed, port
    return address.packed.ljust(16, b"\0"), port


def _endpoint(packed: bytes, port: int, family: int) -> Endpoint | None:
    if not any(packed) and port == 0:
        return None
    if family == 4:
        if any(packed[4:]):
            raise _refused("has an IPv4 address with something behind it")
        return str(ipaddress.IPv4Address(packed[:4])), port
    address = ipaddress.IPv6Address(packed)
    return str(address.ipv4_mapped or address), port


def _fields(payload: bytes) -> dict[str, Any]:
    values: dict[str, Any] = {}
    at = _FIXED.size
    while at < len(payload):
        if len(payload) - at < _FIELD.size:
            raise _refused("ends inside the type and length of a field")
        number, length = _FIELD.unpack_from(payload, at)
        at += _FIELD.size
        value = payload[at : at + length]
        at += length
        if len(value) < length:
            raise _refused(f"field {number} of {length} bytes is cut off")
        if number not in _FIELDS:
            continue
        name, least, most, is_text = _FIELDS[number]
        if name in values:
            raise _refused(f"has field {number} ({name}) twice")
        if not least <= length <= most:
            raise _refused(f"field {number} ({name}) has {length} bytes instead of {least} to {most}")
        try:
            values[name] = value.decode() if is_text else value
        except UnicodeDecodeError:
            raise _refused(f"field {number} ({name}) is not UTF-8") from None
    return values
