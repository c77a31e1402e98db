"""Presence (RFC 6121 section 4): who is there, who is told, who asks. Only the presence of users here is kept.

In a cluster each node keeps that of its own sessions: presence for a user goes to all nodes that have sessions of them,
and a probe is answered by each of those.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from megaphone.service import offline
from megaphone.service.ports import Fate, What
from megaphone.service.refusal import BLOCKED, Refusal
from megaphone.stream.stanza import CLIENT_NAMESPACE
from megaphone.wire.rendered import Rendered
from megaphone.wire.stanza_writer import presence

if TYPE_CHECKING:
    from collections.abc import Callable

    from megaphone.service.home import Home
    from megaphone.service.ports import Reply
    from megaphone.service.session import Session, User
    from megaphone.stream.jid import JID
    from megaphone.stream.stanza import Stanza

UNAVAILABLE = b"<presence type='unavailable'/>"

# XEP-0045 section 15.6.2: 110 is for the occupant themself, 332 says that the room's host is gone.
_ROOM_GONE = (
    b"<x xmlns='http://jabber.org/protocol/muc#user'><item affiliation='none' role='none'/>"
    b"<status code='110'/><status code='332'/></x>"
)


# --- what a client says ---


def send(home: Home, session: Session, stanza: Stanza) -> None:
    """Take presence from a client here: of type None or unavailable to everybody concerned, or directed to somebody."""
    if stanza.to is not None:
        _send_directed(home, session, stanza, stanza.to)
    elif stanza.type is None:
        _become_available(home, session, stanza)
    elif stanza.type == "unavailable":
        leave(home, session, stanza.stamped(to=None, from_=None))
        home.refresh(session.user)
    else:
        raise Refusal("bad-request", f"Presence of type {stanza.type} needs an address")


def _become_available(home: Home, session: Session, stanza: Stanza) -> None:
    """Tell everybody; the first time, learn in return what they have to say (RFC 6121 sections 4.2 and 4.4)."""
    if len(stanza.data) > home.settings.presence_bytes:
        raise Refusal("not-acceptable", "This presence is too long")
    session.priority = _priority(stanza)
    first = session.presence is None
    said = home.kept_once(stanza.stamped(to=None, from_=None, id_=None))
    session.presence = said
    user = session.user
    rendered = Rendered(said)
    _broadcast(home, user, rendered, session.jid)
    for other in user.sessions:
        if other.available:
            _show(home, other, rendered, session.jid)
    _show_elsewhere(home, user, rendered, session.jid)
    if first:
        _learn(home, session)
    if session.priority >= 0 and user.inbox is not None:
        offline.deliver(home, session)
    home.refresh(user)


def _priority(stanza: Stanza) -> int:
    """Return the priority of a presence (RFC 6121 section 4.7.2.3); Refusal if it is no integer from -128 to 127."""
    if b"priority" not in stanza.data:
        return 0
    element = stanza.child(CLIENT_NAMESPACE, "priority")
    if element is None:
        return 0
    text = (element.text or "").strip()
    if len(text) <= 4 and text.isascii() and text.lstrip("+-").isdigit() and text.count("-") + text.count("+") <= 1:
        priority = int(text)
        if -128 <= priority <= 127:
            return priority
    raise Refusal("bad-request", "A priority is an integer from -128 to 127")


def _learn(home: Home, session: Session) -> None:
    """Ask the contacts, show the user's other sessions and the requests that wait (RFC 6121 sections 4.3.1, 3.1.3)."""
    user = session.user
    for other in user.sessions:
        if other is not session and other.presence is not None:
            _show(home, session, Rendered(other.presence), other.jid)
    if home.elsewhere is not None:
        asked = presence(to=str(user.jid), from_=str(session.jid), type_="probe")
        home.elsewhere.tell(What.PROBE, user.jid, asked)
    for item in user.roster.values():
        if item.subscription in ("to", "both"):
            probe(home, session, item.jid)
        if item.request is not None:
            home.deliver(session, item.request)


def probe(home: Home, session: Session, contact: JID) -> None:
    """Ask a contact's home for their presence; the answer is for this session only."""
    if not session.user.blocks(contact):
        home.outlet.route(presence(to=str(contact), from_=str(session.jid), type_="probe"), contact)


def _broadcast(home: Home, user: User, rendered: Rendered, source: JID) -> None:
    sender = str(source)
    for item in user.roster.values():
        if item.subscription in ("from", "both") and not user.blocks(item.jid):
            home.outlet.route(rendered.stanza(str(item.jid), sender), item.jid)


def _show(home: Home, session: Session, rendered: Rendered, source: JID) -> None:
    home.deliver_when_active(session, rendered.stanza(str(session.jid), str(source)), "presence", source)


def _show_elsewhere(home: Home, user: User, rendered: Rendered, source: JID) -> None:
    """Show one of the user's sessions to those on other nodes."""
    if home.elsewhere is not None and home.elsewhere.others(user):
        home.elsewhere.tell(What.AVAILABLE, user.jid, rendered.stanza(str(user.jid), str(source)))


def vanished(home: Home, user: User, source: JID) -> None:
    """Speak for a session of a user here that was on another node, and is gone with it."""
    rendered = Rendered(UNAVAILABLE)
    _broadcast(home, user, rendered, source)
    for session in user.sessions:
        if session.available:
            _show(home, session, rendered, source)
    _show_elsewhere(home, user, rendered, source)


def leave(home: Home, session: Session, said: bytes = UNAVAILABLE) -> None:
    """Tell everybody who knows of a session that it is not available any more (RFC 6121 sections 4.5 and 4.6.3).

    The caller brings the home up to date.
    """
    user = session.user
    rendered = Rendered(said)
    was_available, session.presence = session.available, None
    session.priority = 0
    direct, session.direct = session.direct, None
    if was_available:
        _broadcast(home, user, rendered, session.jid)
        for other in user.sessions:
            if other is not session and other.available:
                _show(home, other, rendered, session.jid)
        _show_elsewhere(home, user, rendered, session.jid)
    for jid in direct or ():
        if not (was_available and user.shows_presence_to(jid.bare)):
            home.outlet.route(rendered.stanza(str(jid), str(session.jid)), jid)


def _send_directed(home: Home, session: Session, stanza: Stanza, to: JID) -> None:
    """Send presence to one JID, and remember who must hear of its end (RFC 6121 section 4.6)."""
    if session.user.blocks(to):
        raise Refusal("not-acceptable", detail=BLOCKED)
    if not home.reaches(to):
        raise Refusal("remote-server-not-found")
    if to == home.domain_jid:
        return  # the server has no use for it
    if stanza.type is None:
        direct = session.direct
        if direct is None:
            direct = session.direct = set()
        if to not in direct and len(direct) >= home.settings.directed_presence_targets:
            raise Refusal("resource-constraint", "Directed presence has gone to too many already")
        direct.add(to)
    elif stanza.type == "unavailable" and session.direct is not None:
        session.direct.discard(to)
        session.direct = session.direct or None
    home.outlet.route(stanza.data, to)


# --- what comes for a user ---


def receive(home: Home, stanza: Stanza, to: JID) -> None:
    """Bring presence to a user; nothing is kept and nobody gets an error (RFC 6121 section 8.5)."""
    elsewhere = home.elsewhere
    if elsewhere is not None:
        user = home.users.get(to.local)
        if to.resource:
            if user is None or user.session(to.resource) is None:
                elsewhere.tell(What.SESSION, to, stanza.data)
        elif stanza.type != "error" and (user is None or elsewhere.others(user)):
            elsewhere.tell(What.AVAILABLE, to, stanza.data)
    receive_here(home, stanza, to)


def receive_here(home: Home, stanza: Stanza, to: JID) -> None:
    """Deliver presence to the sessions here; their user's block list says from whom."""
    source = stanza.from_
    user = home.users.get(to.local)
    if user is None or source is None or user.blocks(source):
        return
    if to.resource:
        session = user.session(to.resource)
        sessions: tuple[Session, ...] = () if session is None else (session,)
    elif stanza.type == "error":
        return
    else:
        sessions = tuple(session for session in user.sessions if session.available)
    # an error and a client's own entrance into a room are answers: they do not wait
    answer = stanza.type == "error" or (b"muc#user" in stanza.data and b"110" in stanza.data)
    for session in sessions:
        if answer:
            home.deliver(session, stanza.data)
        else:
            home.deliver_when_active(session, stanza.data, "presence", source)


def receive_probe(home: Home, stanza: Stanza, to: JID) -> None:
    """Answer a probe with the presence of every available session (RFC 6121 section 4.3.2)."""
    source = stanza.from_
    if source is None:
        return
    user = home.user(to.local)
    if user is None and home.elsewhere is not None:

        def answered(reply: Reply, _: float) -> None:
            if reply.fate is Fate.NOBODY:
                _refuse_probe(home, to, source)

        home.ask(What.ROUTED, to, stanza, answered)
        return
    if user is not None and user.blocks(source):
        return
    if user is None or not user.shows_presence_to(source.bare):
        _refuse_probe(home, to, source)
        return
    shown = show_all(home, user, source)
    if home.elsewhere is not None:
        _probe_elsewhere(home, user, stanza, shown=shown)
    elif not shown:
        _nobody_there(home, user.jid, source)


def _refuse_probe(home: Home, to: JID, source: JID) -> None:
    home.outlet.route(presence(to=str(source.bare), from_=str(to.bare), type_="unsubscribed"), source.bare)


def _nobody_there(home: Home, user: JID, source: JID) -> None:
    if source.bare != user:
        home.outlet.route(presence(to=str(source), from_=str(user), type_="unavailable"), source)


def _probe_elsewhere(home: Home, user: User, stanza: Stanza, *, shown: bool) -> None:
    """Let other nodes answer for their sessions; if nobody is available anywhere, that is the answer."""
    elsewhere, jid, source = home.elsewhere, user.jid, stanza.from_
    assert elsewhere is not None  # noqa: S101 - or there are no others
    assert source is not None  # noqa: S101 - or nobody asks
    if user.sessions:
        if not shown and not elsewhere.available(user):
            _nobody_there(home, jid, source)
        elif elsewhere.others(user):
            elsewhere.tell(What.PROBE, jid, stanza.data)
        return

    def answered(reply: Reply, _: float) -> None:
        if reply.fate is Fate.NOBODY:
            _nobody_there(home, jid, source)

    home.ask(What.PROBE, jid, stanza, answered)


def show_everywhere(home: Home, user: User, to: JID) -> None:
    """Send the presence of every available session, on whatever node, to somebody."""
    show_all(home, user, to)
    if home.elsewhere is not None:
        home.elsewhere.tell(What.PROBE, user.jid, presence(to=str(user.jid), from_=str(to), type_="probe"))


def show_all(home: Home, user: User, to: JID, *, gone: bool = False) -> bool:
    """Send the presence of every available session to somebody, or that it is `gone`; False if there is no session."""
    shown = False
    for session in user.sessions:
        if session.presence is not None:
            said = Rendered(UNAVAILABLE if gone else session.presence)
            home.outlet.route(said.stanza(str(to), str(session.jid)), to)
            shown = True
    return shown


def home_lost(home: Home, is_lost: Callable[[JID], bool]) -> None:
    """Tell the users here that contacts and rooms are gone whose home has died; `is_lost` is asked of bare JIDs."""
    for user in home.users.values():
        lost = [item.jid for item in user.roster.values() if item.subscription in ("to", "both") and is_lost(item.jid)]
        for contact in lost:
            tell_gone(home, user, contact)
        for session in user.sessions:
            gone = {jid for jid in session.direct or () if is_lost(jid.bare)}
            if session.direct is not None and gone:
                session.direct = (session.direct - gone) or None
            for jid in gone:
                if jid.domain != home.domain:
                    _tell_gone(home, session, jid, _ROOM_GONE if jid.resource else b"")


def tell_gone(home: Home, user: User, contact: JID) -> None:
    """Let the user's clients know that nothing of a contact is there any more."""
    for session in user.sessions:
        if session.available:
            _tell_gone(home, session, contact, b"")


def _tell_gone(home: Home, session: Session, jid: JID, content: bytes) -> None:
    gone = presence(to=str(session.jid), from_=str(jid), type_="unavailable", content=content)
    home.deliver_when_active(session, gone, "presence", jid)
