"""Addresses as operators write them: "host:port", "[v6]:port", "unix:/path", and lists of source addresses."""

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass

SOURCES_LIMIT = 4096
UNIX_PATH_LIMIT_BYTES = 107  # sun_path of unix(7) without its final zero byte

# Underscores are no part of DNS host names, but /etc/hosts and container networks use them.
_HOST_NAME = re.compile("[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,62})(?:\\.[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,62}))*\\.?")
_IPV6_LIKE = re.compile("[0-9A-Fa-f:.]+")
_IPV4_LIKE = re.compile("[0-9.]+")
_PORT = re.compile("0|[1-9][0-9]{0,4}")

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A TCP address (`host`, `port`) or a Unix socket (`path`; then `host` is "" and `port` 0).

    `host` is a name, an IPv4 address or an IPv6 address without brackets; "" stands for all addresses of the machine.
    """

    host: str
    port: int
    path: str | None = None

    def __str__(self) -> str:
        if self.path is not None:
            return f"unix:{self.path}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_address(text: str) -> Endpoint:
    """Return the endpoint that `text` names; ValueError says what is wrong with it.

    An empty host and "*" mean all addresses; port 0 is accepted, whether it makes sense is for the caller.
    """
    if text.startswith("unix:"):
        return _unix(text.removeprefix("unix:"))
    if text.startswith("/"):
        raise ValueError(f'write a Unix socket as "unix:{text}"')
    host, colon, port = text.rpartition(":")
    if not colon or text.endswith("]"):
        raise ValueError('there is no port; write "HOST:PORT"')
    bracketed = host.startswith("[") and host.endswith("]")
    if ":" in host and not bracketed and _IPV6_LIKE.fullmatch(text):
        advice = f"[{host}]:{port}" if _ip_address(host) is not None else f"[{text}]:PORT"
        raise ValueError(f'an IPv6 address stands in brackets: "{advice}"')
    if not _PORT.fullmatch(port) or int(port) > 65535:
        raise ValueError(f'the port "{port}" is not a number from 0 to 65535')
    return Endpoint(_host(host, bracketed), int(port))


def parse_other_host(text: str) -> tuple[str, int | None]:
    """Return host and port (None: the usual one) of a machine that clients can be sent to (RFC 6120 section 4.9.3.19).

    `text` is "host", "host:port", "[v6]" or "[v6]:port"; ValueError says what is wrong with it.
    """
    if text.startswith(("unix:", "/")):
        raise ValueError("clients connect over TCP, not over a Unix socket")
    has_port = ":" in text and not text.endswith("]")
    endpoint = parse_address(text if has_port else f"{text}:1")
    if not endpoint.host or endpoint.host in ("0.0.0.0", "::"):  # noqa: S104 - refused
        raise ValueError(f'"{text}" names no host that a client could connect to')
    if "%" in endpoint.host:
        raise ValueError(f'"{endpoint.host}" has a zone, which means nothing on another machine')
    if not endpoint.port:
        raise ValueError("port 0 is no port that a client could connect to")
    return endpoint.host, endpoint.port if has_port else None


def _unix(path: str) -> Endpoint:
    if not path.startswith("/"):
        raise ValueError(f'the path of a Unix socket must be absolute: "unix:/{path}"')
    if "\0" in path:
        raise ValueError("the path of a Unix socket cannot hold a zero byte")
    if len(path.encode("utf-8", "surrogateescape")) > UNIX_PATH_LIMIT_BYTES:
        raise ValueError(f"the path of a Unix socket has at most {UNIX_PATH_LIMIT_BYTES} bytes")
    return Endpoint("", 0, path)


def _host(host: str, bracketed: bool) -> str:
    if bracketed:
        address = _ip_address(host[1:-1])
        if not isinstance(address, ipaddress.IPv6Address):
            raise ValueError(f'"{host[1:-1]}" is not an IPv6 address')
        return str(address)
    if host in ("", "*"):
        return ""
    if _IPV4_LIKE.fullmatch(host) and _ip_address(host) is None:
        raise ValueError(f'"{host}" is not an IPv4 address')
    if not _HOST_NAME.fullmatch(host) or len(host) > 254:
        raise ValueError(f'"{host}" is neither an IP address nor a host name')
    return host


def _ip_address(text: str) -> IPAddress | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def is_ip_address(host: str) -> bool:
    """Say whether the host of an endpoint is an address and not a name."""
    return _ip_address(host) is not None


def parse_network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    """Return the network or single address that `text` names; ValueError says what is wrong with it."""
    try:
        return ipaddress.ip_network(text)
    except ValueError:
        pass
    try:
        loose = ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise ValueError(f'"{text}" is neither an IP address nor a network such as "192.0.2.0/24"') from None
    raise ValueError(f'"{text}" has bits behind its prefix; write "{loose}", or "{text.partition("/")[0]}" alone')


def expand_sources(texts: Iterable[str]) -> tuple[str, ...]:
    """Return each source address once, in order: of addresses, networks ("127.0.0.0/28") and ranges ("A-B").

    A network stands for its host addresses. Raises ValueError for what is none of these, for IPv4 beside IPv6, and for
    more than 4,096 addresses.
    """
    found: dict[IPAddress, None] = {}
    for text in texts:
        for address in _expand(text, SOURCES_LIMIT):
            found[address] = None
            if len(found) > SOURCES_LIMIT:
                raise _too_many(text)
    if len({address.version for address in found}) > 1:
        raise ValueError("IPv4 and IPv6 addresses cannot be mixed")
    return tuple(str(address) for address in found)


def _expand(text: str, limit: int) -> Iterable[IPAddress]:
    first_text, dash, last_text = text.partition("-")
    if not dash:
        network = parse_network(text)
        if network.num_addresses > limit + 2:
            raise _too_many(text)
        return list(network.hosts())
    first, last = _ip_address(first_text.strip()), _ip_address(last_text.strip())
    if first is None or last is None or first.version != last.version:
        raise ValueError(f'"{text}" is not a range such as "192.0.2.10-192.0.2.19"')
    if int(last) < int(first):
        raise ValueError(f'the range "{text}" ends before it begins')
    if int(last) - int(first) >= limit:
        raise _too_many(text)
    return [first + offset for offset in range(int(last) - int(first) + 1)]


def _too_many(text: str) -> ValueError:
    return ValueError(f'with "{text}" there are more than {SOURCES_LIMIT} source addresses')
