"""Addresses as operators write them."""

import pytest

from megaphone.sockets.endpoint import (
    SOURCES_LIMIT,
    Endpoint,
    expand_sources,
    parse_address,
    parse_network,
    parse_other_host,
)


@pytest.mark.parametrize(
    ("text", "endpoint"),
    [
        ("127.0.0.1:5222", Endpoint("127.0.0.1", 5222)),
        ("[2001:DB8::1]:5222", Endpoint("2001:db8::1", 5222)),
        ("[fe80::1%eth0]:5222", Endpoint("fe80::1%eth0", 5222)),
        ("[::]:0", Endpoint("::", 0)),
        ("xmpp.example.org:65535", Endpoint("xmpp.example.org", 65535)),
        ("my_server:5222", Endpoint("my_server", 5222)),
        ("*:5222", Endpoint("", 5222)),
        (":5222", Endpoint("", 5222)),
        ("unix:/run/prosody/c2s.sock", Endpoint("", 0, "/run/prosody/c2s.sock")),
        ("unix:/" + "a" * 106, Endpoint("", 0, "/" + "a" * 106)),
    ],
)
def test_addresses(text: str, endpoint: Endpoint) -> None:
    assert parse_address(text) == endpoint
    assert parse_address(str(endpoint)) == endpoint


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no port"),
        ("localhost", 'write "HOST:PORT"'),
        ("[::1]", "no port"),
        ("::1:5222", '"\\[::1\\]:5222"'),
        ("2001:db8::1", '"\\[2001:db8::1\\]:PORT"'),
        ("localhost:", 'port ""'),
        ("localhost:xmpp", 'port "xmpp"'),
        ("localhost:65536", "65535"),
        ("localhost:05222", "05222"),
        ("localhost:-1", "-1"),
        ("localhost:\u0665", "\u0665"),
        ("[127.0.0.1]:5222", "not an IPv6"),
        ("[::1::]:5222", "not an IPv6"),
        ("127.0.0.256:5222", "not an IPv4"),
        ("127.0.0:5222", "not an IPv4"),
        ("a b:5222", "host name"),
        ("-a:5222", "host name"),
        ("a..b:5222", "host name"),
        ("http://a:5222", "host name"),
        ("[::1:5222", "host name"),
        ("/run/x.sock", 'unix:/run/x.sock"'),
        ("unix:run/x.sock", "absolute"),
        ("unix:", "absolute"),
        ("unix:/a\0", "zero byte"),
        ("unix:/" + "a" * 107, "107 bytes"),
    ],
)
def test_addresses_with_a_mistake(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        parse_address(text)


def test_networks() -> None:
    assert str(parse_network("192.0.2.0/24")) == "192.0.2.0/24"
    assert str(parse_network("192.0.2.1")) == "192.0.2.1/32"
    assert str(parse_network("2001:db8::/32")) == "2001:db8::/32"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("192.0.2.1/24", 'write "192.0.2.0/24", or "192.0.2.1" alone'),
        ("example.org", "neither"),
        ("1.2.3.4/33", "neither"),
    ],
)
def test_networks_with_a_mistake(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        parse_network(text)


@pytest.mark.parametrize(
    ("texts", "addresses"),
    [
        ([], ()),
        (["192.0.2.7"], ("192.0.2.7",)),
        (["192.0.2.0/30"], ("192.0.2.1", "192.0.2.2")),
        (["192.0.2.0/31"], ("192.0.2.0", "192.0.2.1")),
        (["127.0.0.9-127.0.0.11", "127.0.0.10"], ("127.0.0.9", "127.0.0.10", "127.0.0.11")),
        (["2001:db8::fffe - 2001:db8::1:0"], ("2001:db8::fffe", "2001:db8::ffff", "2001:db8::1:0")),
    ],
)
def test_sources(texts: list[str], addresses: tuple[str, ...]) -> None:
    assert expand_sources(texts) == addresses


def test_sources_are_bounded() -> None:
    assert len(expand_sources(["10.0.0.1-10.0.16.0"])) == SOURCES_LIMIT
    assert len(expand_sources(["10.0.0.0/20"])) == SOURCES_LIMIT - 2
    for texts in (["10.0.0.1-10.0.16.1"], ["10.0.0.0/19"], ["2001:db8::/64"], ["10.0.0.1-10.0.16.0", "10.1.0.0"]):
        with pytest.raises(ValueError, match="more than 4096"):
            expand_sources(texts)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("10.0.0.2-10.0.0.1", "ends before"),
        ("10.0.0.2-::1", "range"),
        ("10.0.0.2-", "range"),
        ("10.0.0.2-10", "range"),
        ("here", "neither"),
    ],
)
def test_sources_with_a_mistake(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        expand_sources([text])


def test_sources_have_one_family() -> None:
    with pytest.raises(ValueError, match="mixed"):
        expand_sources(["10.0.0.1", "::1"])


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("other.example", "other.example", None),
        ("other.example:5223", "other.example", 5223),
        ("192.0.2.1", "192.0.2.1", None),
        ("[2001:DB8::1]", "2001:db8::1", None),
        ("[2001:db8::1]:5222", "2001:db8::1", 5222),
    ],
)
def test_other_hosts(text: str, host: str, port: int | None) -> None:
    assert parse_other_host(text) == (host, port)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("2001:db8::1", "brackets"),
        ("[other.example]", "not an IPv6 address"),
        ("[fe80::1%eth0]:5222", "zone"),
        ("192.0.2.256", "not an IPv4 address"),
        ("other.example:", 'the port ""'),
        ("other.example:0", "port 0"),
        ("other.example:65536", "65536"),
        (":5222", "names no host"),
        ("0.0.0.0", "names no host"),
        ("[::]", "names no host"),
        ("unix:/run/x", "Unix socket"),
        ("/run/x", "Unix socket"),
        ("other<example", "host name"),
    ],
)
def test_other_hosts_with_a_mistake(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        parse_other_host(text)
