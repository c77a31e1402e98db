"""What the domain and an account can do, for clients that ask (XEP-0030, XEP-0115)."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from typing import TYPE_CHECKING

from megaphone.service.refusal import Refusal
from megaphone.wire.writer import escape

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

    from megaphone.service.home import Home

INFO = "http://jabber.org/protocol/disco#info"
ITEMS = "http://jabber.org/protocol/disco#items"
NODE = "https://megaphone.im"  # what the server calls itself in its capabilities; a name, nothing to be fetched

DOMAIN_IDENTITY = ("server", "im", "Megaphone")
DOMAIN_FEATURES = (
    "http://jabber.org/protocol/disco#info",
    "http://jabber.org/protocol/disco#items",
    "jabber:iq:private",
    "jabber:iq:roster",
    "jabber:iq:version",
    "msgoffline",
    "urn:xmpp:blocking",
    "urn:xmpp:carbons:2",
    "urn:xmpp:ping",
    "urn:xmpp:time",
    "vcard-temp",
)
ACCOUNT_FEATURES = (
    "http://jabber.org/protocol/disco#info",
    "http://jabber.org/protocol/disco#items",
    "urn:xmpp:ping",
    "vcard-temp",
)


def capabilities() -> str:
    """Return the verification string of the domain's capabilities (XEP-0115 section 5.1)."""
    category, type_, name = DOMAIN_IDENTITY
    text = f"{category}/{type_}//{name}<" + "".join(f"{feature}<" for feature in sorted(DOMAIN_FEATURES))
    return b64encode(hashlib.sha1(text.encode()).digest()).decode()  # noqa: S324 - the hash that the XEP names


def capabilities_feature() -> bytes:
    """Return the `<c/>` that goes into the stream features, so that clients need not ask (XEP-0115 section 6.3)."""
    return b"<c xmlns='http://jabber.org/protocol/caps' hash='sha-1' node='%b' ver='%b'/>" % (
        escape(NODE),
        escape(capabilities()),
    )


def domain_info(_: Home, query: Element) -> bytes:
    """Return what the domain is and can do."""
    node = query.get("node")
    if node is not None and node != f"{NODE}#{capabilities()}":
        raise Refusal("item-not-found", "There is no such node")
    return _info(DOMAIN_IDENTITY, DOMAIN_FEATURES, node)


def domain_items(home: Home, query: Element) -> bytes:
    """Return the components of the domain; users are nobody else's business (XEP-0030 section 8)."""
    if query.get("node") is not None:
        raise Refusal("item-not-found", "There is no such node")
    items = b"".join(
        b"<item jid='%b' name='%b'/>" % (escape(domain), escape(name)) for domain, name in home.settings.components
    )
    return b"<query xmlns='http://jabber.org/protocol/disco#items'>%b</query>" % items


def account_info(query: Element, *, anonymous: bool, features: tuple[str, ...] = ()) -> bytes:
    """Return what an account is and can do; `features` are those that not every account has."""
    if query.get("node") is not None:
        raise Refusal("item-not-found", "There is no such node")
    identity = ("account", "anonymous" if anonymous else "registered", "")
    return _info(identity, (*ACCOUNT_FEATURES, *features), None)


def account_items(query: Element) -> bytes:
    """Return nothing: an account has no nodes, and its resources show themselves by presence."""
    if query.get("node") is not None:
        raise Refusal("item-not-found", "There is no such node")
    return b"<query xmlns='http://jabber.org/protocol/disco#items'/>"


def _info(identity: tuple[str, str, str], features: tuple[str, ...], node: str | None) -> bytes:
    category, type_, name = (escape(each) for each in identity)
    named = b" name='%b'" % name if name else b""
    asked = b"" if node is None else b" node='%b'" % escape(node)
    return b"<query xmlns='http://jabber.org/protocol/disco#info'%b><identity category='%b' type='%b'%b/>%b</query>" % (
        asked,
        category,
        type_,
        named,
        b"".join(b"<feature var='%b'/>" % escape(feature) for feature in features),
    )
