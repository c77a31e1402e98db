"""Messages: what a client sends, and what comes for a user here, by type and priority (RFC 6121 sections 5 and 8).

    to              nobody there     none takes messages      some do
    bare            refused          chat, normal: kept       chat, normal: those of the highest priority
                                     groupchat: refused       groupchat: refused
                                     headline: dropped        headline: all of them
    full, is there  as it is to that one, available or not, whatever its priority
    full, is not    refused          chat: as to the bare JID; normal, groupchat: refused; headline: dropped

A session takes messages if it is available with a priority that is not negative. Errors go to a full JID that is there
and nowhere else. What is passed on to somebody's clients, or kept for them, is archived before (archive.py).

In a cluster the home on the sender's node does all of this: "there" is then on any node, and what a full JID's session,
or the takers, are on other nodes is found out by telling them. The highest priority is that of each node.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from megaphone.service import archive, carbons, offline
from megaphone.service.contents import is_archive_result, message_type, only_chat_state
from megaphone.service.ports import Fate, What
from megaphone.service.refusal import BLOCKED, Refusal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from megaphone.service.home import Home
    from megaphone.service.ports import Reply
    from megaphone.service.session import Session, User
    from megaphone.stream.jid import JID
    from megaphone.stream.stanza import Stanza


def send(home: Home, session: Session, stanza: Stanza, now: float) -> None:
    """Pass on a message that a client here has sent; without `to` it is for the user (RFC 6120 section 8.1.1.1)."""
    user = session.user
    to = stanza.to
    data = stanza.data
    if to is None:
        to = user.jid
        data = stanza.stamped(to=to)
    if user.blocks(to):
        raise Refusal("not-acceptable", detail=BLOCKED)
    if not home.reaches(to):
        raise Refusal("remote-server-not-found")
    if to.domain == home.domain:
        if not to.local:
            raise Refusal("service-unavailable", "Nobody reads what is sent to the server itself")
        if to.local == user.local:  # the other clients get it, or a copy, anyway
            home.outlet.route(data, to)
            return
    if not session.plain_sender:
        carbons.sent(home, session, archive.sent(home, session, stanza, to, now))
    home.outlet.route(data, to)


def receive(home: Home, stanza: Stanza, to: JID, now: float) -> None:
    """Deliver a message for a user whose home is here, keep it, or refuse it."""
    user = home.user(to.local)
    if user is None and home.elsewhere is not None:
        home.ask(What.ROUTED, to, stanza, refuse_unless_taken)
        return
    if user is None or (user.blocked and stanza.from_ is not None and user.blocks(stanza.from_)):
        raise Refusal("service-unavailable")
    session = user.session(to.resource) if to.resource else None
    if session is not None:
        said = archive.received(home, user, stanza, now)
        deliver(home, user, said, (session,))
        carbons.received_elsewhere(home, user, said, What.RECEIVED)
    elif to.resource and home.elsewhere is not None:
        _send_elsewhere(home, user, stanza, to, now)
    else:
        _to_user(home, user, stanza, to, now)


def _send_elsewhere(home: Home, user: User, stanza: Stanza, to: JID, now: float) -> None:
    """Bring a message to a session that may be on another node; if it is not, it is as if it were nowhere."""
    assert home.elsewhere is not None  # noqa: S101 - there are other nodes
    said = archive.received(home, user, stanza, now)
    if message_type(stanza) in ("error", "headline"):
        home.elsewhere.tell(What.SESSION, to, said.data)
        return

    def answered(reply: Reply, now: float) -> None:
        user = home.user(to.local)
        if user is None:
            refuse_unless_taken(reply, now)
        elif reply.fate is not Fate.TAKEN:
            _to_user(home, user, stanza, to, now, said=said, asks=reply.fate is Fate.NOBODY)
        else:
            carbons.received(home, user, said, ())
            if reply.others:
                carbons.received_elsewhere(home, user, said, What.RECEIVED, got=reply.node)

    home.ask(What.SESSION, to, said, answered)


def _to_user(
    home: Home, user: User, stanza: Stanza, to: JID, now: float, *, said: Stanza | None = None, asks: bool = True
) -> None:
    """Deliver a message to whoever takes it, unless there is the session that it is for.

    `said` is the message as it was archived, if it was; it `asks` for takers elsewhere, where there is an elsewhere.
    """
    kind = message_type(stanza)
    if kind in ("error", "headline") and (to.resource or kind == "error"):
        return
    if kind == "groupchat" or (to.resource and kind != "chat"):
        raise Refusal("service-unavailable")
    takers = takers_of(user, everybody=kind == "headline")
    if takers:
        said = said or archive.received(home, user, stanza, now)
        deliver(home, user, said, takers)
        if home.elsewhere is not None and home.elsewhere.others(user):
            home.elsewhere.tell(What.TAKERS, to.bare, said.data)
            carbons.received_elsewhere(home, user, said, What.UNTAKEN)
    elif home.elsewhere is not None and asks:
        _ask_takers(home, stanza, said or archive.received(home, user, stanza, now), to)
    elif kind != "headline" and offline.may_keep(home, user, stanza, now):
        offline.keep(home, user, said or archive.received(home, user, stanza, now), now)


def _ask_takers(home: Home, stanza: Stanza, said: Stanza, to: JID) -> None:
    """Bring a message to the takers on other nodes; if there are none, go on here."""

    def answered(reply: Reply, now: float) -> None:
        user = home.user(to.local)
        if user is None:
            refuse_unless_taken(reply, now)
        elif reply.fate is not Fate.TAKEN:
            _to_user(home, user, stanza, to, now, said=said, asks=False)
        else:
            carbons.received(home, user, said, ())
            if reply.others:
                carbons.received_elsewhere(home, user, said, What.UNTAKEN)

    home.ask(What.TAKERS, to.bare, said, answered)


def refuse_unless_taken(reply: Reply, _: float) -> None:
    """Refuse what nobody has taken; what may have been taken could be tried again."""
    if reply.fate is not Fate.TAKEN:
        raise Refusal("service-unavailable" if reply.fate is Fate.NOBODY else "remote-server-timeout")


def takers_of(user: User, *, everybody: bool = False) -> Sequence[Session]:
    """Return the sessions that get a message to the bare JID: those of the highest priority, or all that take any."""
    takers = [session for session in user.sessions if session.takes_messages]
    if everybody or len(takers) < 2:
        return takers
    highest = max(session.priority for session in takers)
    return [session for session in takers if session.priority == highest]


def give_back(home: Home, session: Session, stanza: Stanza, now: float) -> None:
    """Find another place for a message that was delivered to a session and never got to its client.

    It goes to the user's other sessions, who may have seen it as a carbon, or is kept. What is of no use later, or can
    be asked for again, is dropped: presence, headlines, what a room has said, copies of other messages, archives.
    """
    user = home.current(session.user)
    if user is None or (stanza.kind == "iq" and stanza.type in ("get", "set")):
        raise Refusal("service-unavailable")
    if stanza.kind != "message" or message_type(stanza) not in ("chat", "normal"):
        return
    if carbons.is_carbon(stanza) or is_archive_result(stanza):
        return
    takers = [each for each in user.sessions if each is not session and each.takes_messages]
    if takers:
        late = offline.delayed(home, stanza, now)
        for taker in takers:
            home.deliver(taker, late)
    elif offline.may_keep(home, user, stanza, now):
        offline.keep(home, user, stanza, now)
        if home.elsewhere is not None:
            offline.forward(home, user.local)


def deliver(home: Home, user: User, stanza: Stanza, sessions: Sequence[Session]) -> None:
    """Give sessions a message, and a copy to the user's others here that want carbons."""
    waits = any(session.inactive for session in sessions) and only_chat_state(stanza)
    for session in sessions:
        if waits and stanza.from_ is not None:
            home.deliver_when_active(session, stanza.data, "message", stanza.from_)
        else:
            home.deliver(session, stanza.data)
    if len(user.sessions) > len(sessions):
        carbons.received(home, user, stanza, sessions)
