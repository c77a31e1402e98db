"""Where XMPP over WebSocket and BOSH are found (XEP-0156): /.well-known/host-meta, in XML and JSON (RFC 6415)."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from functools import partial
from typing import TYPE_CHECKING
from xml.sax.saxutils import quoteattr

import msgspec

from megaphone.sockets.endpoint import parse_address
from megaphone.web.routes import Route

if TYPE_CHECKING:
    from megaphone.config.schema import Config, Listen
    from megaphone.web.exchange import Exchange, Request

_XRD = "<?xml version='1.0' encoding='UTF-8'?>\n<XRD xmlns='http://docs.oasis-open.org/ns/xri/xrd-1.0'>\n%s</XRD>\n"
_HOST = re.compile(r"([a-z0-9._-]+|\[[0-9a-f:.]+\])(:[0-9]{1,5})?")
_LOOPBACK = re.compile(r"localhost|127\.[0-9.]+|\[::1\]")
_EVERYWHERE = ("", "*", "0.0.0.0", "::")  # noqa: S104 - read, not listened on


class Place(msgspec.Struct, frozen=True):
    """Something that clients may connect to: what it is, and where."""

    rel: str
    scheme: str  # "ws" or "http", with an "s" in TLS
    tls: bool
    host: str  # that it listens on; "" = all
    port: int
    path: str


def places_of(config: Config, ports: dict[int, int]) -> list[Place]:
    """Return what the listeners of the configuration serve; `ports` are those that their sockets really have."""
    found = []
    for index, listen in enumerate(config.listen):
        endpoint = parse_address(listen.address)
        host = "" if endpoint.host in _EVERYWHERE else endpoint.host
        port = ports.get(index, endpoint.port)
        for rel, scheme, path in _served(config, listen):
            found.append(Place(rel, scheme, listen.tls != "none", host, port, path))
    return found


def _served(config: Config, listen: Listen) -> Iterator[tuple[str, str, str]]:
    if "websocket" in listen.web:
        yield "urn:xmpp:alt-connections:websocket", "ws", config.websocket.path
    if "bosh" in listen.web:
        yield "urn:xmpp:alt-connections:xbosh", "http", config.bosh.path


def host_meta_routes(places: Iterable[Place], public_url: str) -> list[Route]:
    """Return the routes; with a `public_url` ("https://chat.example.org") everything is found there."""
    known = list(places)
    methods = frozenset({"GET"})
    return [
        Route("/.well-known/host-meta", methods, partial(_answer_xml, known, public_url), cors=True),
        Route("/.well-known/host-meta.json", methods, partial(_answer_json, known, public_url), cors=True),
    ]


def links(places: Iterable[Place], public_url: str, request: Request) -> list[tuple[str, str]]:
    """Return (rel, address) of all that whoever asks can reach; what has TLS first."""
    if public_url:
        scheme, _, authority = public_url.partition("://")
        tls = scheme == "https"
        found = [(place.rel, tls, _address(place, tls, authority)) for place in places]
    else:
        found = [
            (place.rel, place.tls, _address(place, place.tls, _authority(place, name)))
            for place in places
            for name in _names(place, request)
        ]
    return [(rel, address) for rel, _, address in sorted(dict.fromkeys(found), key=lambda each: not each[1])]


def _names(place: Place, request: Request) -> Iterator[str]:
    """Under which name the client reaches a listener: the one it has used for us, unless that is another machine's."""
    match = _HOST.fullmatch(request.host)
    name = match[1] if match else ""
    if place.host and _is_loopback(place.host):
        if not name or _LOOPBACK.fullmatch(name):
            yield name or "localhost"
    elif name or place.host:
        yield name or (f"[{place.host}]" if ":" in place.host else place.host)


def _is_loopback(host: str) -> bool:
    return host in ("localhost", "::1") or host.startswith("127.")


def _authority(place: Place, name: str) -> str:
    return name if place.port == (443 if place.tls else 80) else f"{name}:{place.port}"


def _address(place: Place, tls: bool, authority: str) -> str:
    return f"{place.scheme}{'s' if tls else ''}://{authority}{place.path}"


def _answer_xml(places: list[Place], public_url: str, exchange: Exchange) -> None:
    rows = [
        f"  <Link rel={quoteattr(rel)} href={quoteattr(address)}/>\n"
        for rel, address in links(places, public_url, exchange.request)
    ]
    exchange.answer(200, [(b"Content-Type", b"application/xrd+xml; charset=utf-8")], (_XRD % "".join(rows)).encode())


def _answer_json(places: list[Place], public_url: str, exchange: Exchange) -> None:
    rows = [{"rel": rel, "href": address} for rel, address in links(places, public_url, exchange.request)]
    body = json.dumps({"links": rows}, indent=2).encode() + b"\n"
    exchange.answer(200, [(b"Content-Type", b"application/json")], body)
