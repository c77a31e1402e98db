"""CHALLENGE, HELLO, WELCOME, OPEN and SHUTDOWN: golden payloads, proofs, refusals, texts cut between characters."""

import hashlib
import ipaddress
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from megaphone.errors import LinkError
from megaphone.wire.link import LinkReason
from megaphone.wire.link_messages import (
    Challenge,
    Hello,
    Shutdown,
    Welcome,
    check_secret,
    cut_text,
    edge_is_proven,
    server_is_proven,
)
from megaphone.wire.link_open import Open, Transport
from tests.unit.wire.link_golden import SECRET, golden

SERVER_NONCE, INSTANCE, EDGE_NONCE, SESSION = (bytes([byte]) * 16 for byte in (0x51, 0x17, 0xE1, 0x5E))
CERTIFICATE = hashlib.sha256(b"certificate").digest()
FACTS = {
    "open-plain": Open(Transport.TCP, ("192.0.2.1", 50000), ("198.51.100.2", 5222)),
    "open-tls-1.3": Open(
        Transport.DIRECT_TLS,
        ("2001:db8::1", 50001),
        ("2001:db8::2", 5223),
        0x0304,
        server_name="example.org",
        alpn=b"xmpp-client",
        tls_exporter=hashlib.sha256(b"exporter").digest(),
        cipher="TLS_AES_256_GCM_SHA384",
        edge_certificate=CERTIFICATE,
    ),
    "open-tls-1.2": Open(
        Transport.STARTTLS,
        ("192.0.2.1", 50000),
        ("198.51.100.2", 5222),
        0x0303,
        server_name="example.org",
        tls_unique=bytes(range(12)),
        cipher="ECDHE-RSA-AES128-GCM-SHA256",
        client_certificate=hashlib.sha256(b"client").digest(),
        edge_certificate=CERTIFICATE,
    ),
    "open-unix": Open(Transport.TCP),
}


def payload(name: str) -> bytes:
    return golden(name)[8:]


def hello(**changes: Any) -> Hello:
    fields = {"nonce": EDGE_NONCE, "session": SESSION, "epoch": 1, "received": 0, "window": 65536, "name": "node-1/0"}
    return Hello(**{**fields, **changes})


def refused(what: type[Challenge | Hello | Welcome | Open | Shutdown], data: bytes) -> tuple[LinkReason, str]:
    with pytest.raises(LinkError) as refusal:
        what.decode(data)
    assert len(str(refusal.value).encode()) <= 255
    return LinkReason(refusal.value.reason), str(refusal.value)


# --- greeting ---


def test_the_golden_challenge() -> None:
    assert Challenge.decode(payload("challenge")) == Challenge(SERVER_NONCE, INSTANCE)
    assert Challenge(SERVER_NONCE, INSTANCE).encode() == payload("challenge")


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("hello", {}),
        ("hello-shortest", {"name": ""}),
        ("hello-longest", {"name": "é" * 127 + "."}),
        ("hello-again", {"epoch": 2, "received": 1234567}),
    ],
)
def test_the_golden_hellos(name: str, changes: dict[str, Any]) -> None:
    data = payload(name)
    assert hello(**changes).encode(SECRET, payload("challenge")) == data
    assert Hello.decode(data) == hello(**changes, proof=data[-32:])
    assert edge_is_proven(SECRET, payload("challenge"), data)


@pytest.mark.parametrize(
    ("name", "answers", "welcome"),
    [
        ("welcome", "hello", Welcome(1, 0, 65536, 10000, 30)),
        ("welcome-resumed", "hello-again", Welcome(2, 7654321, 65536, 10000, 30, resumed=True)),
    ],
)
def test_the_golden_welcomes(name: str, answers: str, welcome: Welcome) -> None:
    data = payload(name)
    assert welcome.encode(SECRET, payload("challenge"), payload(answers)) == data
    assert Welcome.decode(data) == welcome
    assert server_is_proven(SECRET, payload("challenge"), payload(answers), data)


def test_every_bit_of_a_greeting_is_proven() -> None:
    challenge, said, answer = payload("challenge"), payload("hello"), payload("welcome")
    for at in range(8 * len(said)):
        changed = bytearray(said)
        changed[at // 8] ^= 1 << at % 8
        assert not edge_is_proven(SECRET, challenge, bytes(changed))
        assert not server_is_proven(SECRET, challenge, bytes(changed), answer)
    for at in range(len(answer)):
        changed = bytearray(answer)
        changed[at] ^= 0x80
        assert not server_is_proven(SECRET, challenge, said, bytes(changed))
    assert not edge_is_proven(bytes(32), challenge, said)
    assert not edge_is_proven(SECRET, challenge[:-1] + b"?", said)
    assert not server_is_proven(SECRET, challenge[:-1] + b"?", said, answer)


def test_an_edges_proof_is_no_servers() -> None:
    challenge, said = payload("challenge"), payload("hello")
    reflected = payload("welcome")[:-32] + said[-32:]
    assert not server_is_proven(SECRET, challenge, said, reflected)


@pytest.mark.parametrize("length", [0, 15, 1025])
def test_a_secret_of_another_length_is_refused(length: int) -> None:
    with pytest.raises(ValueError, match="16 to 1024"):
        check_secret(bytes(length))


def test_what_is_wrong_with_a_greeting_is_named() -> None:
    challenge, said, answer = payload("challenge"), payload("hello"), payload("welcome")
    wrong, version = LinkReason.PROTOCOL_ERROR, LinkReason.UNSUPPORTED_VERSION
    assert refused(Challenge, b"XMPP" + challenge[4:]) == (wrong, "CHALLENGE does not begin with MPLK")
    assert refused(Challenge, Challenge(SERVER_NONCE, INSTANCE, 2, 3).encode()) == (
        version,
        "the server understands versions 2 to 3, the edge version 1",
    )
    assert refused(Challenge, challenge[:-1])[0] == wrong
    assert refused(Challenge, challenge + b"x")[0] == wrong
    assert refused(Hello, b"XMPP" + said[4:]) == (wrong, "HELLO does not begin with MPLK")
    assert refused(Hello, hello(version=2).encode(SECRET, challenge)) == (
        version,
        "the edge speaks version 2, the server understands versions 1 to 1",
    )
    assert refused(Hello, hello(epoch=0).encode(SECRET, challenge)) == (wrong, "HELLO has epoch 0")
    for window in (0, 4095, 1048577):
        assert "window" in refused(Hello, hello(window=window).encode(SECRET, challenge))[1]
        assert "window" in refused(Welcome, Welcome(1, 0, window, 1, 30).encode(SECRET, challenge, said))[1]
    assert "name of 8 bytes" in refused(Hello, said[:-1])[1]
    assert refused(Hello, said[:50])[0] == wrong
    assert refused(Hello, said.replace(b"node-1", b"node-\xff")) == (wrong, "HELLO has a name that is not UTF-8")
    assert refused(Welcome, Welcome(1, 0, 4096, 1, 30, version=2).encode(SECRET, challenge, said))[0] == version
    assert "proof" in refused(Welcome, answer + b"x")[1]
    assert refused(Welcome, answer[:20])[0] == wrong


# --- OPEN ---


@pytest.mark.parametrize("name", FACTS)
def test_the_golden_opens(name: str) -> None:
    assert FACTS[name].encode() == payload(name)
    assert Open.decode(payload(name)) == FACTS[name]


def field(number: int, value: bytes) -> bytes:
    return bytes([number]) + len(value).to_bytes(2, "big") + value


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"\x00", "transport 0"),
        (b"\x06", "transport 6"),
        (b"\x01\x05", "address family 5"),
        (b"\x01\x04\xc0\x00\x02\x01\x01", "IPv4 address with something behind it"),
    ],
)
def test_a_wrong_beginning_of_open_is_named(data: bytes, text: str) -> None:
    assert text in refused(Open, data + payload("open-plain")[len(data) :])[1]


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"\x01", "ends inside"),
        (b"\x01\x00\x02x", "field 1 of 2 bytes is cut off"),
        (field(1, b"a") + field(1, b"b"), "field 1 (server_name) twice"),
        (field(3, bytes(31)), "field 3 (tls_exporter) has 31 bytes instead of 32 to 32"),
        (field(4, bytes(11)), "field 4 (tls_unique) has 11 bytes"),
        (field(4, bytes(65)), "field 4 (tls_unique) has 65 bytes"),
        (field(6, bytes(33)), "field 6"),
        (field(7, bytes(31)), "field 7"),
        (field(1, b"\xff"), "field 1 (server_name) is not UTF-8"),
        (field(5, b"\xc3"), "field 5 (cipher) is not UTF-8"),
        (field(99, bytes(4054)), "4097 bytes"),
    ],
)
def test_a_wrong_field_of_open_is_named(data: bytes, text: str) -> None:
    assert text in refused(Open, payload("open-plain") + data)[1]


def test_unknown_fields_are_ignored_wherever_they_stand() -> None:
    assert Open.decode(payload("open-plain") + field(200, b"x") + field(1, b"a.example") + field(200, b"")) == Open(
        Transport.TCP, ("192.0.2.1", 50000), ("198.51.100.2", 5222), server_name="a.example"
    )


def test_ipv4_beside_ipv6_is_mapped_and_read_as_ipv4() -> None:
    facts = Open(Transport.TCP, ("192.0.2.1", 1), ("2001:db8::2", 2))
    assert Open.decode(facts.encode()) == facts


@pytest.mark.parametrize(
    "facts",
    [
        Open(0),
        Open(Transport.TCP, tls_exporter=bytes(31)),
        Open(Transport.TCP, alpn=bytes(4054)),
        Open(Transport.TCP, ("localhost", 1)),
    ],
    ids=["transport", "exporter", "size", "address"],
)
def test_what_the_protocol_does_not_allow_is_not_encoded(facts: Open) -> None:
    with pytest.raises(ValueError, match=r"\d|localhost"):
        facts.encode()


@settings(max_examples=200, derandomize=True, deadline=None)
@given(
    st.builds(
        Open,
        st.sampled_from(Transport),
        st.none() | st.tuples(st.ip_addresses().map(str), st.integers(1, 65535)),
        st.none() | st.tuples(st.ip_addresses(v=4).map(str), st.integers(1, 65535)),
        st.integers(0, 65535),
        server_name=st.none() | st.text(max_size=60),
        alpn=st.none() | st.binary(max_size=60),
        tls_unique=st.none() | st.binary(min_size=12, max_size=64),
        cipher=st.none() | st.text(max_size=30),
    )
)
def test_open_comes_back_as_it_went(facts: Open) -> None:
    assert Open.decode(facts.encode()) == replace(facts, client=_unmapped(facts.client))


def _unmapped(client: tuple[str, int] | None) -> tuple[str, int] | None:
    """An IPv4 address that is mapped into IPv6 comes back as what it is."""
    if client is None:
        return None
    address = ipaddress.ip_address(client[0])
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address), client[1]


@settings(max_examples=200, derandomize=True, deadline=None)
@given(st.binary(max_size=120))
def test_garbage_behind_open_is_read_or_refused_and_what_is_read_can_be_written(rest: bytes) -> None:
    try:
        facts = Open.decode(payload("open-plain") + rest)
    except LinkError as error:
        assert error.reason == LinkReason.PROTOCOL_ERROR  # noqa: PT017
    else:
        assert Open.decode(facts.encode()) == facts


# --- SHUTDOWN and texts ---


@pytest.mark.parametrize(
    ("name", "shutdown"),
    [
        ("shutdown-stream", Shutdown(12345, LinkReason.CONNECTION_LOST, "read error")),
        ("shutdown-shortest", Shutdown(0, LinkReason.CLOSED)),
        ("shutdown-longest", Shutdown(2**40, LinkReason.SLOW_CONSUMER, "ü" * 127 + ".")),
        ("shutdown-link", Shutdown(0, LinkReason.SYSTEM_SHUTDOWN, "restart")),
    ],
)
def test_the_golden_shutdowns(name: str, shutdown: Shutdown) -> None:
    assert shutdown.encode() == payload(name)
    assert Shutdown.decode(payload(name)) == shutdown


def test_wrong_shutdowns_are_refused() -> None:
    assert refused(Shutdown, bytes(9) + b"a\xffb") == (
        LinkReason.PROTOCOL_ERROR,
        "SHUTDOWN has a text that is not UTF-8",
    )
    assert refused(Shutdown, bytes(8))[0] == LinkReason.PROTOCOL_ERROR
    assert refused(Shutdown, bytes(9 + 256))[0] == LinkReason.PROTOCOL_ERROR


@settings(max_examples=300, derandomize=True, deadline=None)
@given(st.text(max_size=40), st.integers(0, 60))
def test_texts_are_cut_between_characters(text: str, limit: int) -> None:
    cut = cut_text(text, limit)
    assert len(cut) <= limit
    assert text.startswith(cut.decode())
    if len(cut) < len(text.encode()):
        assert len(cut) > limit - 4


def test_a_long_name_is_cut() -> None:
    said = Hello.decode(hello(name="é" * 200).encode(SECRET, b""))
    assert said.name == "é" * 127
