"""Requests that the service answers itself: to the domain, to the user's own account, to somebody else's account.

Which request means what stands in three tables, by type, namespace and name. What is in none of them is answered with
service-unavailable (RFC 6120 section 8.2.3), so that a client does not wait: pubsub to an account is such a request.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from megaphone.service import archive, archive_preferences, blocking, discovery, nodes, roster, stored_xml
from megaphone.service.contents import CARBONS
from megaphone.service.refusal import Refusal
from megaphone.stream.mam import MAM, timestamp
from megaphone.wire.stanza_writer import iq_result
from megaphone.wire.writer import escape

if TYPE_CHECKING:
    from collections.abc import Callable
    from xml.etree.ElementTree import Element

    from megaphone.service.home import Home
    from megaphone.service.session import Session, User
    from megaphone.stream.jid import JID
    from megaphone.stream.stanza import Stanza


class Request(NamedTuple):
    """One request: `user` is whose account is asked; `session` is the sender's, None where that is somebody else."""

    home: Home
    stanza: Stanza
    payload: Element
    now: float
    session: Session | None
    user: User

    @property
    def own(self) -> Session:
        """The sender's session, for requests that only the user's own clients may make."""
        if self.session is None:
            raise Refusal("forbidden")
        return self.session


Key = tuple[str, str, str]


def _nothing(_: Request) -> bytes:
    return b""


def _version(request: Request) -> bytes:
    """XEP-0092; what it runs on is nobody's business."""
    version = request.home.settings.version
    content = b"<name>Megaphone</name>" + (b"<version>%b</version>" % escape(version) if version else b"")
    return b"<query xmlns='jabber:iq:version'>%b</query>" % content


def _time(request: Request) -> bytes:
    """XEP-0202."""
    utc = timestamp(request.now).encode()
    return b"<time xmlns='urn:xmpp:time'><tzo>+00:00</tzo><utc>%b</utc></time>" % utc


def _enable_carbons(request: Request) -> bytes:
    """XEP-0280 section 4: once more is no error."""
    request.own.carbons = True
    request.home.refresh(request.user)
    return b""


def _disable_carbons(request: Request) -> bytes:
    request.own.carbons = False
    request.home.refresh(request.user)
    return b""


def _account_info(request: Request) -> bytes:
    return discovery.account_info(request.payload, anonymous=request.user.anonymous)


def _own_account_info(request: Request) -> bytes:
    features = archive.FEATURES if archive.has_archive(request.home, request.user) else ()
    return discovery.account_info(request.payload, anonymous=request.user.anonymous, features=features)


def _archive_preferences(request: Request) -> bytes:
    archive.check_owner(request.home, request.own)
    if request.stanza.type == "get":
        return archive_preferences.get(request.home, request.own)
    return archive_preferences.set_(request.home, request.own, request.payload)


def _account_items(request: Request) -> bytes:
    return discovery.account_items(request.payload)


def _vcard(request: Request) -> bytes:
    return stored_xml.get_vcard(request.home, request.user)


TO_DOMAIN: dict[Key, Callable[[Request], bytes]] = {
    ("get", "urn:xmpp:ping", "ping"): _nothing,
    ("get", "jabber:iq:version", "query"): _version,
    ("get", "urn:xmpp:time", "time"): _time,
    ("get", discovery.INFO, "query"): lambda request: discovery.domain_info(request.home, request.payload),
    ("get", discovery.ITEMS, "query"): lambda request: discovery.domain_items(request.home, request.payload),
    ("set", nodes.NODES, "nodes"): lambda request: nodes.watch(request.home, request.own),
    # RFC 3921 section 3: clients of that time begin a session so; today it is bound with the resource
    ("set", "urn:ietf:params:xml:ns:xmpp-session", "session"): _nothing,
}

TO_OWN_ACCOUNT: dict[Key, Callable[[Request], bytes]] = {
    ("get", "urn:xmpp:ping", "ping"): _nothing,
    ("set", "urn:ietf:params:xml:ns:xmpp-session", "session"): _nothing,
    ("get", roster.ROSTER, "query"): lambda request: roster.get(request.home, request.own, request.payload),
    ("set", roster.ROSTER, "query"): lambda request: roster.set_(request.home, request.own, request.payload),
    ("set", CARBONS, "enable"): _enable_carbons,
    ("set", CARBONS, "disable"): _disable_carbons,
    ("get", blocking.BLOCKING, "blocklist"): lambda r: blocking.get(r.home, r.own, r.payload),
    ("set", blocking.BLOCKING, "block"): lambda r: blocking.block(r.home, r.own, r.payload),
    ("set", blocking.BLOCKING, "unblock"): lambda r: blocking.unblock(r.home, r.own, r.payload),
    ("get", discovery.INFO, "query"): _own_account_info,
    ("get", discovery.ITEMS, "query"): _account_items,
    ("get", MAM, "query"): lambda r: archive.form(r.home, r.own),
    ("set", MAM, "query"): lambda r: archive.answer_query(r.home, r.own, r.payload),
    ("get", MAM, "metadata"): lambda r: archive.metadata(r.home, r.own),
    ("get", MAM, "prefs"): _archive_preferences,
    ("set", MAM, "prefs"): _archive_preferences,
    ("get", stored_xml.PRIVATE, "query"): lambda r: stored_xml.get_private(r.home, r.user, r.stanza),
    ("set", stored_xml.PRIVATE, "query"): lambda r: stored_xml.set_private(r.home, r.user, r.stanza),
    ("get", stored_xml.VCARD, "vCard"): _vcard,
    ("set", stored_xml.VCARD, "vCard"): lambda r: stored_xml.set_vcard(r.home, r.user, r.stanza),
}

# What others may ask an account: those who see the user's presence anything, everybody the vCard (XEP-0030 section 8).
TO_CONTACT: dict[Key, Callable[[Request], bytes]] = {
    ("get", "urn:xmpp:ping", "ping"): _nothing,
    ("get", discovery.INFO, "query"): _account_info,
    ("get", discovery.ITEMS, "query"): _account_items,
    ("get", stored_xml.VCARD, "vCard"): _vcard,
}
TO_STRANGER: dict[Key, Callable[[Request], bytes]] = {("get", stored_xml.VCARD, "vCard"): _vcard}


def check(stanza: Stanza) -> bool:
    """Whether an iq asks for an answer; Refusal for one that is none (RFC 6120 section 8.2.3)."""
    if stanza.type in ("result", "error"):
        return False
    if stanza.type not in ("get", "set") or stanza.id is None:
        raise Refusal("bad-request", "An iq has an id, and the type get, set, result or error")
    return True


def answer_client(home: Home, session: Session, stanza: Stanza, now: float, *, to_domain: bool) -> None:
    """Answer a client's request to the domain or to its own account; answers to the service's requests end here."""
    if check(stanza):
        table = TO_DOMAIN if to_domain else TO_OWN_ACCOUNT
        answer = _answer(table, home, stanza, now, session, session.user)
        home.deliver(
            session, iq_result(id_=stanza.id or "", to=str(session.jid), from_=_text(stanza.to), content=answer)
        )


def answer_other(home: Home, user: User, stanza: Stanza, now: float) -> None:
    """Answer somebody else's request to the account of a user here (RFC 6121 section 8.5.2.1.3)."""
    asker = stanza.from_
    if asker is None or not check(stanza):
        return
    table = TO_CONTACT if user.shows_presence_to(asker.bare) else TO_STRANGER
    answer = _answer(table, home, stanza, now, None, user)
    home.outlet.route(iq_result(id_=stanza.id or "", to=str(asker), from_=str(user.jid), content=answer), asker)


def _answer(
    table: dict[Key, Callable[[Request], bytes]],
    home: Home,
    stanza: Stanza,
    now: float,
    session: Session | None,
    user: User,
) -> bytes:
    tree = stanza.tree
    if len(tree) != 1:
        raise Refusal("bad-request", "A request has exactly one child")
    payload = tree[0]
    namespace, _, name = payload.tag.rpartition("}")
    query = table.get((stanza.type or "", namespace[1:], name))
    if query is None:
        raise Refusal("service-unavailable")
    return query(Request(home, stanza, payload, now, session, user))


def _text(jid: JID | None) -> str | None:
    return None if jid is None else str(jid)
