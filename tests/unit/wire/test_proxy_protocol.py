"""PROXY protocol: every byte layout of the specification, and every way to get one wrong."""

import struct

import pytest

from megaphone.errors import ProxyHeaderError
from megaphone.wire.proxy_protocol import (
    HEADER_LIMIT_BYTES,
    PP2_TYPE_ALPN,
    PP2_TYPE_AUTHORITY,
    PP2_TYPE_CRC32C,
    PP2_TYPE_SSL,
    V1_LIMIT_BYTES,
    V2_SIGNATURE,
    NeedMore,
    Parsed,
    TlsFacts,
    build_v2,
    crc32c,
    parse,
)

IPV4_ADDRESSES = bytes([192, 0, 2, 1, 198, 51, 100, 2]) + struct.pack("!HH", 50000, 5222)


def v2(block: bytes, *, command: int = 0x21, family: int = 0x11, length: int | None = None) -> bytes:
    return V2_SIGNATURE + struct.pack("!BBH", command, family, len(block) if length is None else length) + block


def tlv(kind: int, value: bytes, length: int | None = None) -> bytes:
    return struct.pack("!BH", kind, len(value) if length is None else length) + value


@pytest.mark.parametrize(
    ("line", "source", "destination"),
    [
        (b"PROXY TCP4 192.0.2.1 198.51.100.2 50000 5222\r\n", ("192.0.2.1", 50000), ("198.51.100.2", 5222)),
        (b"PROXY TCP4 255.255.255.255 0.0.0.0 65535 0\r\n", ("255.255.255.255", 65535), ("0.0.0.0", 0)),
        (b"PROXY TCP6 2001:db8::1 ::1 1 2\r\n", ("2001:db8::1", 1), ("::1", 2)),
        (b"PROXY TCP6 2001:0DB8:0:0:0:0:0:1 :: 1 2\r\n", ("2001:db8::1", 1), ("::", 2)),
        (b"PROXY TCP6 ::ffff:192.0.2.1 ::ffff:198.51.100.2 1 2\r\n", ("192.0.2.1", 1), ("198.51.100.2", 2)),
        (b"PROXY UNKNOWN\r\n", None, None),
        (b"PROXY UNKNOWN ffff:f...f:ffff what ever 99999\r\n", None, None),
    ],
)
def test_v1_line(line: bytes, source: tuple[str, int] | None, destination: tuple[str, int] | None) -> None:
    assert parse(line + b"<?xml") == Parsed(len(line), 1, source, destination)


@pytest.mark.parametrize(
    "line",
    [
        b"PROXY TCP4 192.0.2.1 198.51.100.2 050000 5222\r\n",  # leading zero
        b"PROXY TCP4 192.0.2.01 198.51.100.2 50000 5222\r\n",
        b"PROXY TCP4 192.0.2.1 198.51.100.2 65536 5222\r\n",
        b"PROXY TCP4 192.0.2.1 198.51.100.2 -1 5222\r\n",
        b"PROXY TCP4 192.0.2.1 198.51.100.2 +1 5222\r\n",
        b"PROXY TCP4 192.0.2.1 198.51.100.2 \xd9\xa1 5222\r\n",  # a digit, but not an ASCII one
        b"PROXY TCP4 192.0.2.1 198.51.100.2 50000\r\n",
        b"PROXY TCP4 192.0.2.1 198.51.100.2 50000 5222 \r\n",
        b"PROXY TCP4  192.0.2.1 198.51.100.2 50000 5222\r\n",
        b"PROXY TCP4 192.0.2.1\t198.51.100.2 50000 5222\r\n",
        b"PROXY TCP4 192.0.2.256 198.51.100.2 50000 5222\r\n",
        b"PROXY TCP4 2001:db8::1 198.51.100.2 50000 5222\r\n",
        b"PROXY TCP6 192.0.2.1 ::1 50000 5222\r\n",
        b"PROXY TCP6 fe80::1%eth0 ::1 50000 5222\r\n",
        b"PROXY TCP6 1::2::3 ::1 50000 5222\r\n",
        b"PROXY tcp4 192.0.2.1 198.51.100.2 50000 5222\r\n",
        b"PROXY UDP4 192.0.2.1 198.51.100.2 50000 5222\r\n",
        b"PROXY UNKNOWNX\r\n",
        b"PROXY \r\n",
        b"PROXY TCP4 192.0.2.1 198.51.100.2 50000 5222\n",
        b"PROXY TCP4 192.0.2.1 198.51.100.2 50000 5222\rX",
        b"PROXY UNKNOWN \r x\r\n",
        b"PROXY UNKNOWN \n x\r\n",
        b"proxy TCP4 192.0.2.1 198.51.100.2 50000 5222\r\n",
        b"PROXYTCP4",
        b"<?xml version='1.0'?>",
        b"\x16\x03\x01",
        b"GET / HTTP/1.1\r\n",
    ],
)
def test_v1_strictness(line: bytes) -> None:
    with pytest.raises(ProxyHeaderError, match="PROXY"):
        parse(line)


def test_v1_line_has_a_length_limit() -> None:
    longest = b"PROXY UNKNOWN ".ljust(V1_LIMIT_BYTES - 2, b"f") + b"\r\n"
    assert parse(longest) == Parsed(V1_LIMIT_BYTES, 1)
    with pytest.raises(ProxyHeaderError, match="107"):
        parse(longest[:-2] + b"f\r\n")
    with pytest.raises(ProxyHeaderError, match="107"):
        parse(longest[:-2] + b"ff")  # no need to wait for more


@pytest.mark.parametrize(
    ("address_bytes", "text"), [(bytes(15) + b"\x01", "::1"), (bytes(10) + b"\xff\xff\xc0\x00\x02\x01", "192.0.2.1")]
)
def test_v2_ipv6_and_mapped_ipv4(address_bytes: bytes, text: str) -> None:
    header = v2(address_bytes * 2 + struct.pack("!HH", 1, 2), family=0x21)
    assert parse(header) == Parsed(len(header), 2, (text, 1), (text, 2))


@pytest.mark.parametrize("block", [b"", b"\xff" * 7, bytes(12) + b"\x01\xff\xff"])
def test_v2_local_skips_its_block_whatever_it_holds(block: bytes) -> None:
    header = v2(block, command=0x20, family=0xFF)
    assert parse(header + b"<") == Parsed(16 + len(block), 2)


@pytest.mark.parametrize(
    ("family", "block"),
    [
        (0x00, b""),
        (0x00, b"\xff" * 9),
        (0x10, bytes(12)),
        (0x01, b""),
        (0x12, bytes(12)),
        (0x32, bytes(216)),
        (0x31, bytes(216)),
    ],
)
def test_v2_without_an_ip_stream_has_no_address(family: int, block: bytes) -> None:
    assert parse(v2(block, family=family)) == Parsed(16 + len(block), 2)


def test_v2_tlvs_are_read() -> None:
    ssl = b"\x01" + bytes(4) + tlv(0x21, b"TLSv1.3") + tlv(0x23, b"TLS_AES_128_GCM_SHA256") + tlv(0x22, b"CN")
    header = v2(
        IPV4_ADDRESSES
        + tlv(PP2_TYPE_ALPN, b"xmpp-client")
        + tlv(0x04, b"")
        + tlv(PP2_TYPE_AUTHORITY, "bücher.example".encode())
        + tlv(PP2_TYPE_SSL, ssl)
        + tlv(0xEA, b"custom")
    )
    assert parse(header) == Parsed(
        len(header),
        2,
        ("192.0.2.1", 50000),
        ("198.51.100.2", 5222),
        TlsFacts("TLSv1.3", "TLS_AES_128_GCM_SHA256"),
        b"xmpp-client",
        "bücher.example",
    )


def test_v2_ssl_tlv_of_a_client_without_tls() -> None:
    parsed = parse(v2(IPV4_ADDRESSES + tlv(PP2_TYPE_SSL, bytes(5))))
    assert isinstance(parsed, Parsed)
    assert parsed.tls is None


@pytest.mark.parametrize(
    "header",
    [
        pytest.param(v2(IPV4_ADDRESSES, command=0x11), id="version 1 in a binary header"),
        pytest.param(v2(IPV4_ADDRESSES, command=0x31), id="version 3"),
        pytest.param(v2(IPV4_ADDRESSES, command=0x22), id="unknown command"),
        pytest.param(v2(IPV4_ADDRESSES, family=0x41), id="unknown family"),
        pytest.param(v2(IPV4_ADDRESSES, family=0x13), id="unknown transport"),
        pytest.param(v2(IPV4_ADDRESSES[:-1]), id="too short for IPv4"),
        pytest.param(v2(IPV4_ADDRESSES, family=0x21), id="too short for IPv6"),
        pytest.param(v2(bytes(215), family=0x31), id="too short for Unix"),
        pytest.param(v2(IPV4_ADDRESSES + b"\x01"), id="TLV cut in its type"),
        pytest.param(v2(IPV4_ADDRESSES + b"\x01\x00"), id="TLV cut in its length"),
        pytest.param(v2(IPV4_ADDRESSES + tlv(1, b"abc", length=4)), id="TLV longer than the header"),
        pytest.param(v2(IPV4_ADDRESSES + tlv(1, b"abc", length=2)), id="bytes behind the last TLV"),
        pytest.param(v2(IPV4_ADDRESSES + tlv(PP2_TYPE_SSL, b"\x01")), id="SSL TLV too short"),
        pytest.param(
            v2(IPV4_ADDRESSES + tlv(PP2_TYPE_SSL, b"\x01" + bytes(4) + b"\x21\x00\x09x")), id="SSL sub-TLV too long"
        ),
        pytest.param(
            v2(IPV4_ADDRESSES + tlv(PP2_TYPE_SSL, b"\x01" + bytes(4) + tlv(0x21, b"\xff"))), id="TLS version not ASCII"
        ),
        pytest.param(v2(IPV4_ADDRESSES + tlv(PP2_TYPE_AUTHORITY, b"\xff")), id="authority not UTF-8"),
        pytest.param(v2(IPV4_ADDRESSES + tlv(PP2_TYPE_CRC32C, bytes(4))), id="wrong checksum"),
        pytest.param(v2(IPV4_ADDRESSES + tlv(PP2_TYPE_CRC32C, bytes(3))), id="short checksum"),
        pytest.param(V2_SIGNATURE[:-1] + b"X", id="wrong signature"),
    ],
)
def test_v2_strictness(header: bytes) -> None:
    with pytest.raises(ProxyHeaderError, match="PROXY"):
        parse(header)


def test_v2_size_is_bounded_before_the_bytes_arrive() -> None:
    assert parse(v2(b"", length=4096)) == NeedMore(4096)
    with pytest.raises(ProxyHeaderError, match="4096"):
        parse(v2(b"", length=4097))
    padded = v2(IPV4_ADDRESSES + tlv(0x04, bytes(4096 - 12 - 3)))
    assert len(padded) == HEADER_LIMIT_BYTES
    assert parse(padded + b"rest") == Parsed(HEADER_LIMIT_BYTES, 2, ("192.0.2.1", 50000), ("198.51.100.2", 5222))


def test_crc32c_has_the_published_check_value() -> None:
    assert crc32c(b"123456789") == 0xE3069283
    assert crc32c(bytes(32)) == 0x8A9136AA  # RFC 3720 appendix B.4


def test_v2_checksum_is_verified() -> None:
    blank = v2(IPV4_ADDRESSES + tlv(PP2_TYPE_CRC32C, bytes(4)) + tlv(0x04, b"x"))
    at = 16 + len(IPV4_ADDRESSES) + 3
    header = blank[:at] + struct.pack("!I", crc32c(blank)) + blank[at + 4 :]
    assert parse(header) == Parsed(len(header), 2, ("192.0.2.1", 50000), ("198.51.100.2", 5222))
    with pytest.raises(ProxyHeaderError, match="checksum"):
        parse(header[:-1] + b"y")


def test_build_v2_is_byte_exact() -> None:
    assert build_v2(
        source=("192.0.2.1", 50000),
        destination=("198.51.100.2", 5222),
        tls=TlsFacts("TLSv1.3", "X"),
        alpn=b"xmpp-client",
        authority="example.org",
    ) == bytes.fromhex(
        "0d0a0d0a000d0a515549540a"  # signature
        "21" "11" "003e"  # PROXY of version 2, TCP over IPv4, 62 bytes follow
        "c0000201" "c6336402" "c350" "1466"
        "01000b" "786d70702d636c69656e74"
        "02000b" "6578616d706c652e6f7267"
        "200013" "01" "00000001"  # TLS, no verified client certificate
        "210007" "544c5376312e33"
        "230001" "58"
    )  # fmt: skip


@pytest.mark.parametrize(
    ("source", "destination", "expected"),
    [
        (("fe80::1%eth0", 1), ("2001:db8::1", 2), (("fe80::1", 1), ("2001:db8::1", 2))),
        (("192.0.2.1", 1), ("2001:db8::1", 2), (("192.0.2.1", 1), ("2001:db8::1", 2))),
    ],
)
def test_build_v2_zone_indexes_and_mixed_families(
    source: tuple[str, int], destination: tuple[str, int], expected: tuple[tuple[str, int], tuple[str, int]]
) -> None:
    parsed = parse(build_v2(source=source, destination=destination))
    assert isinstance(parsed, Parsed)
    assert (parsed.source, parsed.destination) == expected


@pytest.mark.parametrize(
    "arguments",
    [
        {"source": ("example.org", 1)},
        {"source": ("192.0.2.1", 65536)},
        {"destination": ("192.0.2.1", -1)},
        {"alpn": bytes(4096)},
        {"alpn": bytes(70000)},
    ],
)
def test_build_v2_refuses_what_the_header_cannot_say(arguments: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"address|0\.\.65535|above"):
        build_v2(**({"source": ("192.0.2.1", 1), "destination": ("192.0.2.1", 2)} | arguments))  # type: ignore[arg-type]
