"""The archives of users (XEP-0313): what goes into them, who is told its id, and the answers to their own clients.

A message between two users here stands in two archives, each by its owner's home, under different ids. The recipient
learns its id from the `<stanza-id/>` in it (XEP-0359); the sender's other clients from their carbon.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from megaphone.errors import ArchiveError
from megaphone.history.entry import Kind
from megaphone.service.archive_preferences import archives
from megaphone.service.contents import is_archived
from megaphone.service.refusal import Refusal
from megaphone.stream import mam
from megaphone.stream.archive import Erasure, Said
from megaphone.stream.jid import JID
from megaphone.stream.retraction import RETRACT, TOMBSTONE, placeholder, retracts
from megaphone.stream.stanza import Stanza, with_child, without_children
from megaphone.wire.stanza_writer import message
from megaphone.wire.writer import escape

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

    from megaphone.service.home import Home
    from megaphone.service.session import Session, User
    from megaphone.stream.archive import Archived
    from megaphone.stream.stanza import Child

STANZA_ID = "urn:xmpp:sid:0"
FEATURES = (*mam.FEATURES, RETRACT, TOMBSTONE, STANZA_ID)

_NO_ARCHIVE = "There is no archive"


def has_archive(home: Home, user: User) -> bool:
    """Whether what a user says and hears is archived."""
    return home.settings.archive and not user.anonymous


# --- what goes in ---


def sent(home: Home, session: Session, stanza: Stanza, to: JID, now: float) -> Stanza:
    """Archive what a client sends to somebody else; returns it as the user's other clients are to see it."""
    user = session.user
    if not has_archive(home, user) or not is_archived(stanza) or not archives(home, user, to):
        return stanza
    return _marked(user, stanza, _keep(home, user, stanza, to, now, author=str(user.jid)))


def received(home: Home, user: User, stanza: Stanza, now: float) -> Stanza:
    """Archive what somebody has said to a user; returns it as the user's clients are to get it.

    Nobody else may say under which id it is archived (XEP-0359 section 5).
    """
    sender = stanza.from_
    if not has_archive(home, user) or sender is None:
        return stanza
    stanza = without_claims(user, stanza)
    if not is_archived(stanza) or not archives(home, user, sender):
        return stanza
    return _marked(user, stanza, _keep(home, user, stanza, sender, now, author=str(sender.bare)))


def without_claims(user: User, stanza: Stanza) -> Stanza:
    """Return a stanza without stanza-ids that claim to be by the user's archive."""
    if b"stanza-id" not in stanza.data:
        return stanza
    found = iter(stanza.tree)
    own = user.jid

    def claimed(child: Child) -> bool:
        element = next(found)
        is_id = (child.namespace, child.name) == (STANZA_ID, "stanza-id")
        return is_id and _is(own, element.get("by"))

    data = without_children(stanza.data, claimed)
    return stanza if data is stanza.data else _with_data(stanza, data)


def _is(jid: JID, text: str | None) -> bool:
    try:
        return text is not None and JID.parse(text) == jid
    except ValueError:
        return False


def _keep(home: Home, user: User, stanza: Stanza, other: JID, now: float, *, author: str) -> str:
    """Archive a message, and do what it says if it takes another one back (XEP-0424); returns its id.

    Between occupants of a room nobody knows here who it was that had this nick: nothing is erased.
    """
    archive, peer = home.archive, str(other.bare)
    target = retracts(stanza)
    kind = Kind.MESSAGE if target is None else Kind.RETRACTION
    said = Said(now, kind, author, peer, other.resource, stanza.data, _client_id(stanza))
    entry = erases = None
    if target is not None and other.domain == home.domain:
        entry = archive.find_message(user.jid, peer, author, target)
    if entry is not None:
        erases = Erasure(entry.id, placeholder(entry.said.stanza, stanza.id or "", now))
        home.counts.erased += 1
    try:
        id_ = archive.append(user.jid, said, erases=erases).id
    except ArchiveError as error:
        raise Refusal(error.condition, error.text) from None
    home.counts.appended += 1
    return id_


def _client_id(stanza: Stanza) -> str:
    """Return what the author's client calls a message: its origin-id (XEP-0359), or else its id."""
    if b"origin-id" in stanza.data:
        element = stanza.child(STANZA_ID, "origin-id")
        if element is not None and element.get("id"):
            return element.get("id", "")
    return stanza.id or ""


def _marked(user: User, stanza: Stanza, id_: str) -> Stanza:
    mark = b"<stanza-id xmlns='urn:xmpp:sid:0' by='%b' id='%b'/>" % (escape(str(user.jid)), escape(id_))
    return _with_data(stanza, with_child(stanza.data, mark))


def _with_data(stanza: Stanza, data: bytes) -> Stanza:
    return Stanza(data, stanza.kind, to=stanza.to, from_=stanza.from_, type_=stanza.type, id_=stanza.id)


# --- what comes out ---


def answer_query(home: Home, session: Session, payload: Element) -> bytes:
    """Send a client the entries of the page that it asks for, and return what ends the answer."""
    user = check_owner(home, session)
    try:
        query = mam.read_query(payload, home.settings.archive_page)
        wanted = query.wanted
        if query.with_ is not None:
            other = query.with_
            wanted = replace(wanted, peer=str(other.bare), resource=other.resource or None)
        page = home.archive.page(user.jid, wanted)
    except ArchiveError as error:
        raise Refusal(error.condition, error.text) from None
    for entry in mam.in_sending_order(page, query):
        content = mam.result(entry, entry.said.stanza, query)
        home.deliver(session, message(from_=str(user.jid), to=str(session.jid), content=content))
    home.counts.count_page(page)
    return mam.fin(page)


def form(home: Home, session: Session) -> bytes:
    """Return what a query may have in it."""
    check_owner(home, session)
    return mam.FORM


def metadata(home: Home, session: Session) -> bytes:
    """Return the first and the last entry (section 5)."""
    ends: tuple[Archived, Archived] | None = home.archive.ends(check_owner(home, session).jid)
    return mam.metadata(ends)


def check_owner(home: Home, session: Session) -> User:
    """Return whose archive a client may read; Refusal if there is none."""
    if not has_archive(home, session.user):
        raise Refusal("service-unavailable", _NO_ARCHIVE)
    return session.user
