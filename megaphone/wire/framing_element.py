"""`<open/>` and `<close/>` (RFC 7395 section 3.3): what they are on a stream, and what its header is as `<open/>`.

    <open xmlns='urn:ietf:params:xml:ns:xmpp-framing' to='example.org' version='1.0'/>      a message of its own
    <stream:stream xmlns='jabber:client' xmlns:stream='...' to='example.org' version='1.0'>  the same on a stream

Each happens a few times per connection, so this is ordinary Python.
"""

from enum import IntEnum

from megaphone.wire.framer import Event, StreamFramer
from megaphone.wire.header import StreamHeader, read_element
from megaphone.wire.start_tag import read_attributes
from megaphone.wire.writer import CLIENT_NAMESPACE, STREAM_END, STREAMS_NAMESPACE, escape

FRAMING_NAMESPACE = "urn:ietf:params:xml:ns:xmpp-framing"
CLOSE = b"<close xmlns='urn:ietf:params:xml:ns:xmpp-framing'/>"
STREAM_BEGIN = f"<stream:stream xmlns='{CLIENT_NAMESPACE}' xmlns:stream='{STREAMS_NAMESPACE}'".encode()

# What a stream header and <open/> both have (RFC 6120 section 4.7); whatever else a client writes there means nothing.
_ATTRIBUTES = ("from", "to", "id", "version", "xml:lang")


class Framing(IntEnum):
    """What a message is."""

    ELEMENT = 0  # neither: it is for the server, as it stands
    OPEN = 1
    CLOSE = 2


def read_framing(text: bytes) -> tuple[Framing, bytes]:
    """Return what a whole message is, and what stands for it on the stream: a header, its end, or `text` itself.

    Raises ValueError(condition, reason) for what is no element, or more than one.
    """
    framer = StreamFramer(stanza_bytes=max(len(text) + 1, 1024))
    framer.scan(STREAM_BEGIN + b">")
    event, end, _, _, _ = framer.scan(text)
    if event is not Event.STANZA or text[end:].strip(b" \t\r\n"):
        raise ValueError("not-well-formed", "a message is one whole element (RFC 7395 section 3.3)")
    local_name, namespace = read_element(text)
    if namespace != FRAMING_NAMESPACE or local_name not in ("open", "close"):
        return Framing.ELEMENT, text
    if local_name == "close":
        return Framing.CLOSE, STREAM_END
    said = dict(read_attributes(text))
    return Framing.OPEN, STREAM_BEGIN + _written({name: said.get(name) for name in _ATTRIBUTES}) + b">"


def open_element(header: StreamHeader) -> bytes:
    """Return the `<open/>` that says what the header of a server's stream says."""
    said = {
        "from": header.from_,
        "to": header.to,
        "id": header.id,
        "version": header.version,
        "xml:lang": header.lang,
    }
    return f"<open xmlns='{FRAMING_NAMESPACE}'".encode() + _written(said) + b"/>"


def _written(attributes: dict[str, str | None]) -> bytes:
    return b"".join(
        b" %b='%b'" % (name.encode(), escape(value)) for name, value in attributes.items() if value is not None
    )
