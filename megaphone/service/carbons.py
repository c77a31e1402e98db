"""Message carbons (XEP-0280): the user's other clients see what one of them sends and gets."""

from __future__ import annotations

from typing import TYPE_CHECKING

from megaphone.service.contents import (
    CARBONS,
    HINTS,
    MUC_USER,
    has,
    has_body,
    is_invitation,
    message_type,
    only_chat_state,
)
from megaphone.service.ports import What
from megaphone.stream.forwarded import forwarded
from megaphone.wire.stanza_writer import message

if TYPE_CHECKING:
    from collections.abc import Container

    from megaphone.service.home import Home
    from megaphone.service.session import Session, User
    from megaphone.stream.stanza import Stanza


def is_eligible(stanza: Stanza, *, received: bool) -> bool:
    """Whether a message is copied at all (XEP-0280 section 6.1): what people write, and nobody has excepted.

    A private message from a room comes to each client that is in the room by itself; an invitation is for all of them.
    """
    kind = message_type(stanza)
    if kind not in ("chat", "normal") or has(stanza, CARBONS, "private") or has(stanza, HINTS, "no-copy"):
        return False
    invitation = is_invitation(stanza)
    if received and not invitation and has(stanza, MUC_USER, "x"):
        return False
    return kind == "chat" or invitation or has_body(stanza)


def sent(home: Home, session: Session, stanza: Stanza) -> None:
    """Copy what a session has sent to the user's other sessions that want carbons."""
    user = session.user
    others = [each for each in user.sessions if each.carbons and each is not session]
    elsewhere = home.elsewhere if home.elsewhere is not None and home.elsewhere.others(user) else None
    if (others or elsewhere is not None) and is_eligible(stanza, received=False):
        if others:
            _copy(home, user, stanza, "sent", others)
        if elsewhere is not None:
            elsewhere.tell(What.SENT, user.jid, stanza.data)


def sent_elsewhere(home: Home, user: User, stanza: Stanza) -> None:
    """Copy what the user has sent from another node to the sessions here that want carbons."""
    others = [each for each in user.sessions if each.carbons]
    if others:
        _copy(home, user, stanza, "sent", others)


def received(home: Home, user: User, stanza: Stanza, got: Container[Session]) -> None:
    """Copy what some sessions have got to the others that want carbons."""
    others = [each for each in user.sessions if each.carbons and each not in got and each.jid != stanza.from_]
    if others and is_eligible(stanza, received=True):
        _copy(home, user, stanza, "received", others)


def received_elsewhere(home: Home, user: User, stanza: Stanza, what: What, *, got: bytes = b"") -> None:
    """Let other nodes copy what some sessions have got; not the node that has delivered it, which is named by `got`."""
    elsewhere = home.elsewhere
    if elsewhere is None or not (got or what is What.UNTAKEN or elsewhere.others(user)):
        return
    if is_eligible(stanza, received=True):
        elsewhere.tell(what, user.jid, stanza.data, got=got)


def is_carbon(stanza: Stanza) -> bool:
    """Whether a message is such a copy."""
    return has(stanza, CARBONS, "sent", "received")


def _copy(home: Home, user: User, stanza: Stanza, direction: str, sessions: list[Session]) -> None:
    name = direction.encode()
    content = b"<%b xmlns='urn:xmpp:carbons:2'>%b</%b>" % (name, forwarded(stanza.data), name)
    kind = message_type(stanza)
    waits = only_chat_state(stanza)
    for session in sessions:
        copy = message(from_=str(user.jid), to=str(session.jid), type_=kind, content=content)
        if waits and stanza.from_ is not None:
            home.deliver_when_active(session, copy, direction, stanza.from_)
        else:
            home.deliver(session, copy)
