"""Reads and writes `<body/>`, the wrapper that BOSH puts around pieces of a stream (XEP-0124, XEP-0206).

    body      <body rid='7' sid='…' xmlns='http://jabber.org/protocol/httpbind'><iq …/><message …/></body>
    stream                                                                      <iq …/><message …/>

A body is framed by the stream's own framer: what may be its child is what may be a stanza on a stream. A child that
declares no namespace has inherited the body's, and is meant to be in jabber:client, as it is where it goes on to. What
else the body declares is declared again on the children that use it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from megaphone.wire.framer import Event, StreamFramer
from megaphone.wire.header import StreamHeader, read_stream_header
from megaphone.wire.start_tag import read_attributes, read_start_tag
from megaphone.wire.writer import CLIENT_NAMESPACE, STREAMS_NAMESPACE, escape

if TYPE_CHECKING:
    from collections.abc import Iterable

HTTPBIND_NAMESPACE: Final = "http://jabber.org/protocol/httpbind"
XBOSH_NAMESPACE: Final = "urn:xmpp:xbosh"
RID_LIMIT: Final = 2**53 - 1  # section 7.1
KEY_LIMIT_CHARACTERS: Final = 256
_SMALLEST_LIMIT_BYTES = 1024
_SPACE = b" \t\r\n"


@dataclass(frozen=True, slots=True)
class Body:
    """What one body of a client says; absent attributes are None. Times are in seconds.

    `elements` are its children as they go on to the stream.
    """

    rid: int
    sid: str | None = None
    to: str | None = None
    from_: str | None = None
    lang: str | None = None
    version: tuple[int, int] | None = None
    content: str | None = None
    wait: int | None = None
    hold: int | None = None
    ack: int | None = None
    pause: int | None = None
    terminates: bool = False
    restarts: bool = False
    key: str | None = None
    new_key: str | None = None
    elements: bytes = b""

    @property
    def is_empty(self) -> bool:
        """Whether all it does is to ask for what there is."""
        return not (self.elements or self.terminates or self.restarts or self.pause is not None)


def read_body(text: bytes, *, depth: int = 64, attributes: int = 64) -> Body:
    """Return what `text` says, which must be one whole body with a `rid`.

    Raises ValueError("bad-request", reason) for anything else (section 17.2): no XML, XML that no stream allows (RFC
    6120 section 11.1), another element, a number that is none.
    """
    header, elements = _cut(_opened(text.strip(_SPACE)), depth, attributes)
    if header.local_name != "body" or header.namespace != HTTPBIND_NAMESPACE:
        raise ValueError("bad-request", f"the element is no <body xmlns='{HTTPBIND_NAMESPACE}'/>")
    said = dict(read_attributes(_without_declaration(text.strip(_SPACE))))
    rid = _number(said, "rid", RID_LIMIT)
    if rid is None:
        raise ValueError("bad-request", "there is no rid")
    restart = [f"{prefix}:restart" for prefix, name in header.prefixes if name == XBOSH_NAMESPACE]
    for name in ("key", "newkey", "sid"):
        if len(said.get(name, "")) > KEY_LIMIT_CHARACTERS:
            raise ValueError("bad-request", f"{name} is too long")
    return Body(
        rid=rid,
        sid=said.get("sid"),
        to=said.get("to"),
        from_=said.get("from"),
        lang=said.get("xml:lang"),
        version=_version(said.get("ver")),
        content=said.get("content"),
        wait=_number(said, "wait"),
        hold=_number(said, "hold"),
        ack=_number(said, "ack", RID_LIMIT),
        pause=_number(said, "pause"),
        terminates=said.get("type") == "terminate",
        restarts=any(said.get(name) in ("true", "1") for name in restart),
        key=said.get("key"),
        new_key=said.get("newkey"),
        elements=b"".join([_on_stream(each, header) for each in elements]),
    )


def write_body(attributes: Iterable[tuple[str, str]], payload: bytes = b"") -> bytes:
    """Return a body with these attributes; `payload` are whole elements that declare their own namespaces."""
    said = b"".join([b" %b='%b'" % (name.encode(), escape(value)) for name, value in attributes])
    begin = b"<body xmlns='http://jabber.org/protocol/httpbind'" + said
    return begin + b">" + payload + b"</body>" if payload else begin + b"/>"


def terminal_body(condition: str | None, payload: bytes = b"") -> bytes:
    """Return the body that ends a session (section 13); without `condition` in order."""
    said = [("type", "terminate")]
    if condition is not None:
        said.append(("condition", condition))
    return write_body(said, payload)


def shutdown_body(other_uri: str) -> bytes:
    """Return the body that ends a session as the service goes down: `other_uri` is where to go, "" nowhere."""
    if not other_uri:
        return terminal_body("system-shutdown")
    return terminal_body("see-other-uri", b"<uri>%b</uri>" % escape(other_uri))


def _without_declaration(text: bytes) -> bytes:
    return text.partition(b"?>")[2].lstrip(_SPACE) if text.startswith(b"<?xml") else text


def _opened(text: bytes) -> bytes:
    """Return a body without children as start tag and end tag: to a framer, a stream that has come to its end."""
    begin = _without_declaration(text)
    try:
        name, end, empty = read_start_tag(begin)
    except ValueError:
        raise ValueError("bad-request", "it does not begin with a start tag") from None
    if not empty:
        return text
    return b"%b></%b>%b" % (text[: len(text) - len(begin) + end - 2], name, begin[end:])


def _cut(text: bytes, depth: int, attributes: int) -> tuple[StreamHeader, list[bytes]]:
    """Return what the body's start tag says, and its children."""
    framer = StreamFramer(stanza_bytes=max(len(text) + 1, _SMALLEST_LIMIT_BYTES), depth=depth, attributes=attributes)
    header: StreamHeader | None = None
    elements = []
    rest = memoryview(text)
    while True:
        event, end, error, _, _ = framer.scan(rest)
        if event in (Event.ERROR, Event.MORE):
            raise ValueError("bad-request", f"the body is not well-formed, or not whole ({error!r})")
        piece, rest = bytes(rest[:end]), rest[end:]
        if event == Event.HEADER:
            try:
                header = read_stream_header(piece)
            except ValueError as refusal:
                raise ValueError("bad-request", str(refusal.args[1])) from None
        elif event == Event.STANZA:
            elements.append(piece.lstrip(_SPACE))
        else:
            break
    if header is None or rest:
        raise ValueError("bad-request", "there is more than one element")
    return header, elements


def _on_stream(element: bytes, body: StreamHeader) -> bytes:
    """Return a child of a body as it has to be below a stream's header."""
    missing = [
        (f"xmlns:{prefix}", name)
        for prefix, name in body.prefixes
        if (prefix, name) != ("stream", STREAMS_NAMESPACE) and f"{prefix}:".encode() in element
    ]
    if body.default_namespace not in (None, HTTPBIND_NAMESPACE, CLIENT_NAMESPACE):
        missing.append(("xmlns", body.default_namespace or ""))
    if not missing:
        return element
    own = {name for name, _ in read_attributes(element)}
    inserted = b"".join([b" %b='%b'" % (key.encode(), escape(name)) for key, name in missing if key not in own])
    begin = 1 + len(read_start_tag(element)[0])
    return element[:begin] + inserted + element[begin:]


def _number(said: dict[str, str], name: str, greatest: int = 2**31 - 1) -> int | None:
    text = said.get(name)
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(RID_LIMIT)) and int(text) <= greatest):
        raise ValueError("bad-request", f"{name} is no whole number up to {greatest}")
    return int(text)


def _version(text: str | None) -> tuple[int, int] | None:
    """Return a version as numbers: 1.10 is later than 1.9 (section 7.1)."""
    if text is None:
        return None
    major, _, minor = text.partition(".")
    if not all(part.isascii() and part.isdigit() and len(part) < 5 for part in (major, minor)):
        raise ValueError("bad-request", "ver is no version")
    return int(major), int(minor)
