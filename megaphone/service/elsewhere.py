"""What a home does of what the user's homes on other nodes tell and ask it (service.ports.What).

The data part, such as block lists and archives, has been done there; here it is brought to the sessions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from megaphone.service import carbons, messages, presence, subscriptions
from megaphone.service.contents import message_type
from megaphone.service.ports import What

if TYPE_CHECKING:
    from collections.abc import Callable

    from megaphone.service.home import Home
    from megaphone.service.session import User
    from megaphone.stream.jid import JID
    from megaphone.stream.stanza import Stanza


def _session(home: Home, user: User, stanza: Stanza, to: JID) -> bool:
    session = user.session(to.resource)
    if session is None:
        return False
    if stanza.kind == "message":
        messages.deliver(home, user, stanza, (session,))
    elif stanza.kind == "presence":
        presence.receive_here(home, stanza, to)
    else:
        home.deliver(session, stanza.data)
    return True


def _late(home: Home, user: User, stanza: Stanza, to: JID) -> bool:
    session = user.session(to.resource)
    if session is not None:
        home.deliver(session, stanza.data)
    return session is not None


def _takers(home: Home, user: User, stanza: Stanza, _: JID) -> bool:
    takers = messages.takers_of(user, everybody=message_type(stanza) == "headline")
    if takers:
        messages.deliver(home, user, stanza, takers)
    return bool(takers)


def _kept(home: Home, user: User, stanza: Stanza, _: JID) -> bool:
    takers = messages.takers_of(user)
    for session in takers:
        home.deliver(session, stanza.data)
    return bool(takers)


def _available(home: Home, _: User, stanza: Stanza, to: JID) -> bool:
    presence.receive_here(home, stanza, to)
    return True


def _probe(home: Home, user: User, stanza: Stanza, _: JID) -> bool:
    source = stanza.from_
    if source is None or user.blocks(source):
        return False
    shown = presence.show_all(home, user, source)
    return shown or (home.elsewhere is not None and home.elsewhere.available(user))


def _sent(home: Home, user: User, stanza: Stanza, _: JID) -> bool:
    carbons.sent_elsewhere(home, user, stanza)
    return True


def _received(home: Home, user: User, stanza: Stanza, _: JID) -> bool:
    carbons.received(home, user, stanza, ())
    return True


def _untaken(home: Home, user: User, stanza: Stanza, _: JID) -> bool:
    if not any(session.takes_messages for session in user.sessions):
        carbons.received(home, user, stanza, ())
    return True


def _subscription(home: Home, user: User, stanza: Stanza, _: JID) -> bool:
    subscriptions.received_elsewhere(home, user, stanza)
    return True


REFUSED_IF_BLOCKED = frozenset({What.SESSION, What.TAKERS, What.KEPT})

TABLE: dict[What, Callable[[Home, User, Stanza, JID], bool]] = {
    What.SESSION: _session,
    What.TAKERS: _takers,
    What.KEPT: _kept,
    What.AVAILABLE: _available,
    What.PROBE: _probe,
    What.SENT: _sent,
    What.RECEIVED: _received,
    What.UNTAKEN: _untaken,
    What.SUBSCRIPTION: _subscription,
    What.LATE: _late,
}
"""For a user with sessions here; whether somebody has taken it. ROUTED, CLAIM and CONTACT are the service's own."""


def vanished(home: Home, session: JID) -> None:
    """A session on another node of a user with sessions here is gone with its node: say so in its place."""
    user = home.users.get(session.local)
    if user is not None:
        home.touch(user.local)
        presence.vanished(home, user, session)


def ask_anew(home: Home, local: str) -> int:
    """Ask for the presence of all contacts of a user here again; returns how many were asked."""
    user = home.users.get(local)
    asked = 0
    if user is not None:
        contacts = [item.jid for item in user.roster.values() if item.subscription in ("to", "both")]
        for session in user.sessions:
            if session.available:
                for contact in contacts:
                    presence.probe(home, session, contact)
                asked += len(contacts)
    return asked
