"""The block list (XEP-0191): who is on it neither hears from the user nor is heard."""

from __future__ import annotations

from typing import TYPE_CHECKING

from megaphone.service import presence
from megaphone.service.refusal import Refusal
from megaphone.service.session import NO_JIDS, User
from megaphone.stream.jid import JID
from megaphone.wire.rendered import Rendered
from megaphone.wire.writer import escape

if TYPE_CHECKING:
    from collections.abc import Iterable
    from xml.etree.ElementTree import Element

    from megaphone.service.home import Home
    from megaphone.service.session import Session

BLOCKING = "urn:xmpp:blocking"


def get(home: Home, session: Session, _: Element) -> bytes:
    """Return the block list; from now on the session hears of changes (XEP-0191 section 3.2)."""
    session.blocklist = True
    return b"<blocklist xmlns='urn:xmpp:blocking'>%b</blocklist>" % _items(sorted(session.user.blocked))


def block(home: Home, session: Session, element: Element) -> bytes:
    """Add JIDs to the list; whoever got the user's presence sees them leave (XEP-0191 section 3.3)."""
    user = session.user
    jids = _jids(element)
    if not jids:
        raise Refusal("bad-request", "Whom to block is not said")
    new = [jid for jid in jids if jid not in user.blocked]
    if len(user.blocked) + len(new) > home.settings.blocked_jids:
        raise Refusal("resource-constraint", f"A block list has at most {home.settings.blocked_jids} JIDs")
    home.touch(user.local, contacts=True)
    _add(home, user, new)
    if not user.anonymous:
        for jid in new:
            home.store.put_blocked(user.jid, jid)
    home.refresh(user)
    _push(home, user, b"block", jids)
    return b""


def _add(home: Home, user: User, new: list[JID]) -> None:
    before = _seen_by(user)
    _hide(home, user, new)
    user.blocked = user.blocked.union(new)
    for contact in before - _seen_by(user):
        presence.show_all(home, user, contact, gone=True)
    # nothing is heard of them any more: what the clients have heard before must not look like the present
    for item in user.roster.values():
        if item.subscription in ("to", "both") and any(_covers(jid, item.jid) for jid in new):
            presence.tell_gone(home, user, item.jid)


def unblock(home: Home, session: Session, element: Element) -> bytes:
    """Take JIDs off the list, all of them if none is named; presence is exchanged again (sections 3.4 and 3.5)."""
    user = session.user
    named = _jids(element)
    removed = [jid for jid in named or sorted(user.blocked) if jid in user.blocked]
    home.touch(user.local, contacts=True)
    if not user.anonymous:
        for jid in removed:
            home.store.remove_blocked(user.jid, jid)
    _take_off(home, user, removed)
    home.refresh(user)
    _push(home, user, b"unblock", named)
    return b""


def _take_off(home: Home, user: User, removed: list[JID]) -> None:
    before = _seen_by(user)
    user.blocked = user.blocked.difference(removed) or NO_JIDS
    for contact in _seen_by(user) - before:
        presence.show_all(home, user, contact)
    for item in user.roster.values():
        if item.subscription in ("to", "both") and any(_covers(jid, item.jid) for jid in removed):
            for each in user.sessions:
                if each.available:
                    presence.probe(home, each, item.jid)


def refresh(home: Home, user: User, blocked: frozenset[JID]) -> None:
    """Take the list as it is in the store now: another node has changed it."""
    new, removed = sorted(blocked - user.blocked), sorted(user.blocked - blocked)
    if not (new or removed):
        return
    home.touch(user.local, contacts=True)
    if new:
        _add(home, user, new)
        _push(home, user, b"block", new)
    if removed:
        _take_off(home, user, removed)
        _push(home, user, b"unblock", removed)
    home.refresh(user)


def _seen_by(user: User) -> set[JID]:
    """Return the contacts who get the user's presence."""
    return {
        item.jid for item in user.roster.values() if item.subscription in ("from", "both") and not user.blocks(item.jid)
    }


def _hide(home: Home, user: User, jids: list[JID]) -> None:
    """End directed presence to those who are going to be blocked."""
    for session in user.sessions:
        for target in tuple(session.direct or ()):
            if any(_covers(jid, target) for jid in jids) and session.direct is not None:
                session.direct.discard(target)
                gone = Rendered(presence.UNAVAILABLE)
                if not (session.available and user.shows_presence_to(target.bare)):
                    home.outlet.route(gone.stanza(str(target), str(session.jid)), target)
        session.direct = session.direct or None


def _covers(blocked: JID, jid: JID) -> bool:
    return blocked.domain == jid.domain and blocked.local in ("", jid.local) and blocked.resource in ("", jid.resource)


def _jids(element: Element) -> list[JID]:
    """Return the JIDs of a request, each once."""
    jids: dict[JID, None] = {}
    for item in element:
        if item.tag != f"{{{BLOCKING}}}item":
            raise Refusal("bad-request", "Only items can be blocked")
        try:
            jids[JID.parse(item.get("jid", ""))] = None
        except ValueError as reason:
            raise Refusal("jid-malformed", str(reason)) from None
    return list(jids)


def _items(jids: Iterable[JID]) -> bytes:
    return b"".join(b"<item jid='%b'/>" % escape(str(jid)) for jid in jids)


def _push(home: Home, user: User, name: bytes, jids: list[JID]) -> None:
    for session in user.sessions:
        if session.blocklist:
            to, id_ = escape(str(session.jid)), home.push_id().encode()
            content = b"<%b xmlns='urn:xmpp:blocking'>%b</%b>" % (name, _items(jids), name)
            home.deliver(session, b"<iq to='%b' type='set' id='%b'>%b</iq>" % (to, id_, content))
