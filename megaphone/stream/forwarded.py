"""Stanzas inside stanzas (XEP-0297): what a carbon and an archive's answer carry."""

from __future__ import annotations

from xml.parsers import expat

from megaphone.wire.stamp import stamp
from megaphone.wire.start_tag import read_start_tag


def forwarded(stanza: bytes, delay: bytes = b"") -> bytes:
    """Return `<forwarded/>` around a stanza of jabber:client; `delay` is the stamp of when it came, markup."""
    return b"<forwarded xmlns='urn:xmpp:forward:0'>%b%b</forwarded>" % (delay, in_client_namespace(stanza))


def in_client_namespace(data: bytes) -> bytes:
    """Return a stanza that says itself that it belongs to jabber:client, to stand below another namespace."""
    _, end, _ = read_start_tag(data)
    if b"xmlns" in data[:end] and _declares_default(data):
        return data
    return stamp(data, declarations=b" xmlns='jabber:client'")


def _declares_default(data: bytes) -> bool:
    parser = expat.ParserCreate()
    found: list[bool] = []

    def start(_: str, attributes: dict[str, str]) -> None:
        if not found:
            found.append("xmlns" in attributes)

    parser.StartElementHandler = start
    parser.Parse(data)
    return found[0]
