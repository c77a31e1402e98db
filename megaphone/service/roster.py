"""The roster (RFC 6121 section 2): clients ask for it, change it and hear of changes; versions save its transfer.

On one node a version is a number that counts up. In a cluster two nodes could count to the same: there it is a hash of
what the roster says.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING

from megaphone.service import presence
from megaphone.service.ports import RosterItem
from megaphone.service.refusal import Refusal
from megaphone.stream.jid import JID
from megaphone.wire.stanza_writer import presence as write_presence
from megaphone.wire.writer import escape

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

    from megaphone.service.home import Home
    from megaphone.service.session import Session, User

ROSTER = "jabber:iq:roster"
_VERSION_BYTES = 12


def get(home: Home, session: Session, query: Element) -> bytes:
    """Return the roster, or nothing if the client has this version of it (RFC 6121 section 2.6)."""
    user = session.user
    session.interested = True
    if query.get("ver") == version(home, user):
        return b""
    return _query(home, user, b"".join(_item(item) for item in user.roster.values() if item.listed))


def version(home: Home, user: User) -> str:
    """Return the version of a roster (section 2.6)."""
    if home.elsewhere is None:
        return str(user.roster_version)
    items = b"".join(sorted(_item(item) for item in user.roster.values() if item.listed))
    return hashlib.blake2b(items, digest_size=_VERSION_BYTES).hexdigest()


def set_(home: Home, session: Session, query: Element) -> bytes:
    """Add, change or remove one item (RFC 6121 sections 2.3 to 2.5)."""
    user = session.user
    elements = query.findall(f"{{{ROSTER}}}item")
    if len(elements) != 1 or len(query) != 1:
        raise Refusal("bad-request", "A roster set has exactly one item")
    (element,) = elements
    try:
        jid = JID.parse(element.get("jid", ""))
    except ValueError as reason:
        raise Refusal("jid-malformed", str(reason)) from None
    item = user.roster.get(jid)
    if element.get("subscription") == "remove":
        if item is None or not item.listed:
            raise Refusal("item-not-found")
        _remove(home, user, item)
        return b""
    if jid == user.jid:
        raise Refusal("not-allowed", "Nobody is a contact of their own")
    name, groups = _name(home, element), _groups(home, element)
    if item is None:
        check_room(home, user)
    changed = replace(item or RosterItem(jid), name=name, groups=groups, listed=True)
    if changed != item:
        home.put_item(user, changed, changed=True)
    push(home, user, changed)
    return b""


def check_room(home: Home, user: User) -> None:
    """Refusal if the roster is full."""
    if len(user.roster) >= home.settings.roster_items:
        raise Refusal("resource-constraint", f"A roster has at most {home.settings.roster_items} items")


def push(home: Home, user: User, item: RosterItem) -> None:
    """Tell the clients that have asked for the roster about an item (RFC 6121 section 2.1.6)."""
    _push(home, user, _item(item))


def push_removed(home: Home, user: User, jid: JID) -> None:
    """Tell them that an item is gone."""
    _push(home, user, b"<item jid='%b' subscription='remove'/>" % escape(str(jid)))


def _push(home: Home, user: User, item: bytes) -> None:
    interested = [session for session in user.sessions if session.interested]
    query = _query(home, user, item) if interested else b""
    for session in interested:
        to = escape(str(session.jid))
        id_ = home.push_id().encode()
        home.deliver(session, b"<iq to='%b' type='set' id='%b'>%b</iq>" % (to, id_, query))


def _remove(home: Home, user: User, item: RosterItem) -> None:
    """Remove an item and end the subscriptions both ways (RFC 6121 section 2.5.2)."""
    home.remove_item(user, item)
    push_removed(home, user, item.jid)
    to, from_ = str(item.jid), str(user.jid)
    if item.ask or item.subscription in ("to", "both"):
        home.outlet.route(write_presence(to=to, from_=from_, type_="unsubscribe"), item.jid)
    if item.request is not None or item.subscription in ("from", "both"):
        home.outlet.route(write_presence(to=to, from_=from_, type_="unsubscribed"), item.jid)
    if item.subscription in ("from", "both"):
        presence.show_all(home, user, item.jid, gone=True)


def _name(home: Home, element: Element) -> str:
    name = element.get("name", "")
    if len(name.encode()) > home.settings.roster_name_bytes:
        raise Refusal("not-acceptable", "The name is too long")
    return name


def _groups(home: Home, element: Element) -> tuple[str, ...]:
    """Return the groups of an item (RFC 6121 section 2.3.3): none twice, none empty, none too long."""
    groups = tuple(each.text or "" for each in element.findall(f"{{{ROSTER}}}group"))
    if len(set(groups)) != len(groups):
        raise Refusal("bad-request", "A group is named twice")
    if len(groups) > home.settings.roster_groups_per_item:
        raise Refusal("not-acceptable", "The item is in too many groups")
    if any(not each or len(each.encode()) > home.settings.roster_name_bytes for each in groups):
        raise Refusal("not-acceptable", "The name of a group is empty or too long")
    return groups


def _query(home: Home, user: User, items: bytes) -> bytes:
    return b"<query xmlns='jabber:iq:roster' ver='%b'>%b</query>" % (version(home, user).encode(), items)


def _item(item: RosterItem) -> bytes:
    name = b" name='%b'" % escape(item.name) if item.name else b""
    ask = b" ask='subscribe'" if item.ask else b""
    groups = b"".join(b"<group>%b</group>" % escape(group) for group in item.groups)
    jid, subscription = escape(str(item.jid)), item.subscription.encode()
    end = b">%b</item>" % groups if groups else b"/>"
    return b"<item jid='%b'%b subscription='%b'%b%b" % (jid, name, subscription, ask, end)
