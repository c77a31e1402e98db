"""Reads and builds PROXY protocol headers, version 1 (text) and version 2 (binary).

Source: "The PROXY protocol, versions 1 & 2" (HAProxy, doc/proxy-protocol.txt), sections 2.1 and 2.2.

    v1   PROXY TCP4 192.0.2.1 198.51.100.2 50000 5222\\r\\n                       at most 107 bytes

    v2   | signature, 12 | version 2, command | family, transport | length | addresses | TLV ... |
         |               |        1 byte      |      1 byte       | 2 bytes|      `length` bytes |

    TLV  | type, 1 | length, 2 | value |

A header from a trusted proxy is still parsed strictly: a byte out of place means that the two ends do not agree
on where the client's own bytes start.
"""

import ipaddress
import re
import struct
from dataclasses import dataclass

from megaphone.errors import ProxyHeaderError

V1_LIMIT_BYTES = 107
V2_LIMIT_BYTES = 4096  # of addresses and TLVs, after the 16 fixed bytes
HEADER_LIMIT_BYTES = 16 + V2_LIMIT_BYTES

V2_SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
_V2_FIXED = struct.Struct("!12sBBH")
_TLV = struct.Struct("!BH")

_LOCAL, _PROXY = 0x20, 0x21  # version 2 in the high half
_TCP4, _TCP6, _UNIX_STREAM = 0x11, 0x21, 0x31
_ADDRESS_BYTES = {_TCP4: 12, _TCP6: 36, _UNIX_STREAM: 216}

PP2_TYPE_ALPN = 0x01
PP2_TYPE_AUTHORITY = 0x02
PP2_TYPE_CRC32C = 0x03
PP2_TYPE_SSL = 0x20
PP2_SUBTYPE_SSL_VERSION = 0x21
PP2_SUBTYPE_SSL_CIPHER = 0x23
PP2_CLIENT_SSL = 0x01

_PORT = re.compile(rb"0|[1-9][0-9]{0,4}")
_IPV6_TEXT = re.compile(rb"[0-9A-Fa-f:.]{2,45}")

Endpoint = tuple[str, int]


@dataclass(frozen=True, slots=True)
class TlsFacts:
    """What a proxy knows of the client's TLS connection, in OpenSSL's words: "TLSv1.3", "TLS_AES_256_GCM_SHA384"."""

    version: str
    cipher: str


@dataclass(frozen=True, slots=True)
class Parsed:
    """A whole header. `source` and `destination` are None for LOCAL, UNKNOWN and non-IP clients: use the socket's own.

    `length` is the header's, in bytes; the client's own bytes follow it.
    """

    length: int
    version: int
    source: Endpoint | None = None
    destination: Endpoint | None = None
    tls: TlsFacts | None = None
    alpn: bytes | None = None
    authority: str | None = None


@dataclass(frozen=True, slots=True)
class NeedMore:
    """Not a whole header yet; at least `missing_bytes` more must arrive before another try can succeed."""

    missing_bytes: int


def parse(data: bytes | bytearray | memoryview) -> Parsed | NeedMore:
    """Read the header at the start of `data`, whichever version it is.

    Raises ProxyHeaderError with the reason when `data` cannot become a valid header.
    """
    head = bytes(data[:HEADER_LIMIT_BYTES])
    if head.startswith(V2_SIGNATURE):
        return _parse_v2(head)
    if head.startswith(b"PROXY "):
        return _parse_v1(head)
    if b"PROXY ".startswith(head):  # also when nothing has come yet: the shortest header is one of version 1
        return NeedMore(len(b"PROXY UNKNOWN\r\n") - len(head))
    if V2_SIGNATURE.startswith(head):
        return NeedMore(16 - len(head))
    raise ProxyHeaderError(f"no PROXY header: the connection begins with {head[:12]!r}")


def _parse_v1(head: bytes) -> Parsed | NeedMore:
    end = head.find(b"\r\n", 0, V1_LIMIT_BYTES)
    if end < 0:
        line = head[:V1_LIMIT_BYTES]
        if len(line) == V1_LIMIT_BYTES:
            raise ProxyHeaderError(f"PROXY v1 line without CRLF in its first {V1_LIMIT_BYTES} bytes")
        if b"\n" in line or b"\r" in line[:-1]:
            raise ProxyHeaderError("PROXY v1 line is not ended by CRLF")
        return NeedMore(1 if line.endswith(b"\r") else 2)
    line, consumed = head[:end], end + 2
    if b"\n" in line or b"\r" in line:
        raise ProxyHeaderError("PROXY v1 line is not ended by CRLF")
    fields = line.split(b" ")
    if fields[1] == b"UNKNOWN":  # whatever follows on the line must be ignored
        return Parsed(consumed, 1)
    if fields[1] not in (b"TCP4", b"TCP6"):
        raise ProxyHeaderError(f"PROXY v1 protocol {fields[1]!r} is not TCP4, TCP6 or UNKNOWN")
    if len(fields) != 6:
        raise ProxyHeaderError("PROXY v1 line does not have exactly two addresses and two ports")
    source_ip, destination_ip = (_v1_address(fields[1], text) for text in fields[2:4])
    source_port, destination_port = (_v1_port(text) for text in fields[4:6])
    return Parsed(consumed, 1, (source_ip, source_port), (destination_ip, destination_port))


def _v1_address(protocol: bytes, text: bytes) -> str:
    try:
        if protocol == b"TCP4":
            return str(ipaddress.IPv4Address(text.decode("ascii")))  # refuses leading zeros, as section 2.1 asks
        if _IPV6_TEXT.fullmatch(text):  # no zone index
            return _unmapped(ipaddress.IPv6Address(text.decode("ascii")))
    except ValueError:
        pass
    raise ProxyHeaderError(f"PROXY v1 address {text!r} is not a {protocol.decode()} address")


def _v1_port(text: bytes) -> int:
    if not _PORT.fullmatch(text) or int(text) > 65535:
        raise ProxyHeaderError(f"PROXY v1 port {text!r} is not a number from 0 to 65535 without leading zeros")
    return int(text)


def _unmapped(address: ipaddress.IPv6Address) -> str:
    """IPv4-mapped clients count as IPv4: otherwise all of them would share one IPv6 prefix and its limits."""
    return str(address.ipv4_mapped or address)


def _parse_v2(head: bytes) -> Parsed | NeedMore:
    if len(head) > 12 and head[12] not in (_LOCAL, _PROXY):
        raise ProxyHeaderError(f"PROXY v2 version and command {head[12]:#04x} is neither LOCAL nor PROXY of version 2")
    if len(head) < 16:
        return NeedMore(16 - len(head))
    _, command, family, length = _V2_FIXED.unpack_from(head)
    if length > V2_LIMIT_BYTES:
        raise ProxyHeaderError(f"PROXY v2 header announces {length} bytes; at most {V2_LIMIT_BYTES} are accepted")
    if command == _PROXY:
        if family >> 4 > 3 or family & 0x0F > 2:
            raise ProxyHeaderError(f"PROXY v2 family and transport {family:#04x} is not defined")
        if length < _ADDRESS_BYTES.get(family, 0):
            raise ProxyHeaderError(f"PROXY v2 header of {length} bytes is too short for its addresses")
    consumed = 16 + length
    if len(head) < consumed:
        return NeedMore(consumed - len(head))
    # LOCAL: the proxy speaks for itself. Unspecified or datagram: a receiver falls back to knowing no address.
    if command == _LOCAL or family not in _ADDRESS_BYTES:
        return Parsed(consumed, 2)
    source = destination = None
    if family == _TCP4:
        source_ip, destination_ip, source_port, destination_port = struct.unpack_from("!4s4sHH", head, 16)
        source = (str(ipaddress.IPv4Address(source_ip)), source_port)
        destination = (str(ipaddress.IPv4Address(destination_ip)), destination_port)
    elif family == _TCP6:
        source_ip, destination_ip, source_port, destination_port = struct.unpack_from("!16s16sHH", head, 16)
        source = (_unmapped(ipaddress.IPv6Address(source_ip)), source_port)
        destination = (_unmapped(ipaddress.IPv6Address(destination_ip)), destination_port)
    tlvs = _tlvs(head, 16 + _ADDRESS_BYTES[family], consumed, "TLV")
    _check_crc32c(head[:consumed], tlvs)
    values = {kind: head[start:end] for kind, start, end in tlvs}
    return Parsed(
        consumed,
        2,
        source,
        destination,
        tls=_tls_facts(values[PP2_TYPE_SSL]) if PP2_TYPE_SSL in values else None,
        alpn=values.get(PP2_TYPE_ALPN),
        authority=_text(values[PP2_TYPE_AUTHORITY], "utf-8") if PP2_TYPE_AUTHORITY in values else None,
    )


def _tlvs(data: bytes, start: int, end: int, what: str) -> list[tuple[int, int, int]]:
    """Return (type, value's start, value's end) of each TLV in data[start:end], which they must fill exactly."""
    found = []
    while start < end:
        if end - start < 3:
            raise ProxyHeaderError(f"PROXY v2 {what} is cut off inside its type and length")
        kind, length = _TLV.unpack_from(data, start)
        if length > end - start - 3:
            raise ProxyHeaderError(f"PROXY v2 {what} {kind:#04x} of {length} bytes does not fit into the header")
        found.append((kind, start + 3, start + 3 + length))
        start += 3 + length
    return found


def _text(value: bytes, encoding: str) -> str:
    try:
        return value.decode(encoding)
    except UnicodeDecodeError:
        raise ProxyHeaderError(f"PROXY v2 TLV holds text that is not {encoding.upper()}: {value[:32]!r}") from None


def _tls_facts(value: bytes) -> TlsFacts | None:
    if len(value) < 5:
        raise ProxyHeaderError(f"PROXY v2 TLV PP2_TYPE_SSL has {len(value)} bytes instead of at least 5")
    parts = {kind: value[start:end] for kind, start, end in _tlvs(value, 5, len(value), "TLV inside PP2_TYPE_SSL")}
    if not value[0] & PP2_CLIENT_SSL:
        return None
    return TlsFacts(
        _text(parts.get(PP2_SUBTYPE_SSL_VERSION, b""), "ascii"), _text(parts.get(PP2_SUBTYPE_SSL_CIPHER, b""), "ascii")
    )


def _check_crc32c(header: bytes, tlvs: list[tuple[int, int, int]]) -> None:
    """A checksum, where there is one, covers the whole header with its own four bytes as zeros (section 2.2.3)."""
    for kind, start, end in tlvs:
        if kind == PP2_TYPE_CRC32C:
            if end - start != 4:
                raise ProxyHeaderError(f"PROXY v2 TLV PP2_TYPE_CRC32C has {end - start} bytes instead of 4")
            if crc32c(header[:start] + bytes(4) + header[end:]) != int.from_bytes(header[start:end], "big"):
                raise ProxyHeaderError("PROXY v2 checksum does not match")


def crc32c(data: bytes) -> int:
    """Return the CRC-32C of `data` (RFC 3309 section 6, reflected polynomial 0x82F63B78)."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = _CRC32C_TABLE[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    return crc ^ 0xFFFFFFFF


def _crc32c_of_byte(byte: int) -> int:
    for _ in range(8):
        byte = (byte >> 1) ^ (0x82F63B78 if byte & 1 else 0)
    return byte


_CRC32C_TABLE = tuple(_crc32c_of_byte(byte) for byte in range(256))


def build_v2(
    *,
    source: Endpoint,
    destination: Endpoint,
    tls: TlsFacts | None = None,
    alpn: bytes | None = None,
    authority: str | None = None,
) -> bytes:
    """Return a version 2 PROXY header that tells an upstream who its client is and what its TLS looks like.

    `authority` is the host name of the client's SNI. Raises ValueError for an address that is not an IP address, a
    port outside 0..65535, or a header above 4,112 bytes.
    """
    # A zone index means nothing on the other host, and the header has no room for it.
    source_ip, destination_ip = (ipaddress.ip_address(ip.partition("%")[0]) for ip, _ in (source, destination))
    if not (0 <= source[1] <= 65535 and 0 <= destination[1] <= 65535):
        raise ValueError(f"port of {source} or {destination} is outside 0..65535")
    if source_ip.version == destination_ip.version == 4:
        family, addresses = _TCP4, source_ip.packed + destination_ip.packed
    else:
        family, addresses = _TCP6, _packed_v6(source_ip) + _packed_v6(destination_ip)
    block = addresses + struct.pack("!HH", source[1], destination[1])
    if alpn is not None:
        block += _tlv(PP2_TYPE_ALPN, alpn)
    if authority is not None:
        block += _tlv(PP2_TYPE_AUTHORITY, authority.encode())
    if tls is not None:
        # verify is zero only for a verified client certificate, and Megaphone asks for none
        facts = struct.pack("!BI", PP2_CLIENT_SSL, 1)
        facts += _tlv(PP2_SUBTYPE_SSL_VERSION, tls.version.encode("ascii"))
        facts += _tlv(PP2_SUBTYPE_SSL_CIPHER, tls.cipher.encode("ascii"))
        block += _tlv(PP2_TYPE_SSL, facts)
    if len(block) > V2_LIMIT_BYTES:
        raise ValueError(f"PROXY v2 header of {16 + len(block)} bytes is above {HEADER_LIMIT_BYTES}")
    return _V2_FIXED.pack(V2_SIGNATURE, _PROXY, family, len(block)) + block


def _packed_v6(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bytes:
    return address.packed if address.version == 6 else b"\x00" * 10 + b"\xff\xff" + address.packed


def _tlv(kind: int, value: bytes) -> bytes:
    if len(value) > V2_LIMIT_BYTES:
        raise ValueError(f"PROXY v2 TLV {kind:#04x} of {len(value)} bytes is above {V2_LIMIT_BYTES}")
    return _TLV.pack(kind, len(value)) + value
