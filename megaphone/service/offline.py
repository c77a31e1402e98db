"""Messages for users who are not there: kept with the time they came, delivered later (XEP-0160, XEP-0203).

In a cluster they are kept where it was found out that nobody is there, and forwarded as soon as somebody is, on
whatever node: one after the other, each forgotten when it is safe there.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from megaphone.service.contents import may_be_stored, only_chat_state
from megaphone.service.ports import Fate, What
from megaphone.service.refusal import Refusal
from megaphone.service.session import Inbox, Session
from megaphone.stream.mam import timestamp
from megaphone.stream.stanza import with_child

if TYPE_CHECKING:
    from megaphone.service.home import Home
    from megaphone.service.ports import OfflineMessage, Reply
    from megaphone.service.session import User
    from megaphone.stream.stanza import Stanza

DELAY = "urn:xmpp:delay"


def may_keep(home: Home, user: User, stanza: Stanza, now: float) -> bool:
    """Whether a message is to be kept; Refusal if it may not be or there is no room for it."""
    if only_chat_state(stanza) and not may_be_stored(stanza):
        return False  # of no use later, and no answer is expected (XEP-0160 section 3)
    if user.anonymous or not may_be_stored(stanza):
        raise Refusal("service-unavailable")
    inbox = user.inbox or Inbox(0, 0)
    length = len(delayed(home, stanza, now))
    if (
        inbox.messages >= home.settings.offline_messages_per_user
        or inbox.bytes + length > home.settings.offline_bytes_per_user
    ):
        raise Refusal("resource-constraint", "Too many messages wait for this user")
    return True


def keep(home: Home, user: User, stanza: Stanza, now: float) -> None:
    """Keep a message for later, which `may_keep` has allowed, perhaps without what an archive says of it."""
    data = delayed(home, stanza, now)
    inbox = user.inbox or Inbox(0, 0)
    home.store.put_offline_message(user.jid, data, now)  # which may fail: nothing has changed then
    inbox.messages += 1
    inbox.bytes += len(data)
    user.inbox = inbox


def delayed(home: Home, stanza: Stanza, now: float) -> bytes:
    """Return a message with the time at which it came; no other time in it claims to be from this domain."""
    data = stanza.data
    if DELAY.encode() in data:
        kept = bytearray()
        at = 0
        for child, element in zip(stanza.children, stanza.tree, strict=True):
            if child.namespace == DELAY and element.get("from") == home.domain:
                kept += data[at : child.begin]
                at = child.end
        data = bytes(kept) + data[at:]
    stamp = timestamp(now).encode()
    return with_child(data, b"<delay xmlns='urn:xmpp:delay' from='%b' stamp='%b'/>" % (home.domain.encode(), stamp))


def deliver(home: Home, session: Session) -> None:
    """Give a session that has become able to get messages all that waits and is not under way to another."""
    inbox = session.user.inbox
    if inbox is None:
        return
    for message in home.store.offline_messages(session.user.jid):
        if message.key not in inbox.given:
            inbox.given[message.key] = (session, len(message.stanza))
            home.outlet.deliver_stored(session, message.stanza, message.key)


def settled(home: Home, user: User, key: int) -> None:
    """Forget a message that a client has safely got; one that is forgotten already is no error."""
    inbox = user.inbox
    if inbox is None or key not in inbox.given:
        return
    _, length = inbox.given.pop(key)
    inbox.messages -= 1
    inbox.bytes -= length
    if inbox.messages <= 0:
        user.inbox = None
    home.store.remove_offline_messages(user.jid, (key,))


def abandoned(home: Home, session: Session) -> None:
    """Give what a session has not got before its end to another of the user."""
    inbox = session.user.inbox
    if inbox is None or not inbox.given:
        return
    inbox.given = {key: given for key, given in inbox.given.items() if given[0] is not session}
    for other in session.user.sessions:
        if other.takes_messages:
            deliver(home, other)
            return


def forward(home: Home, local: str) -> None:
    """Send what waits for a user to other nodes, if somebody takes it there; while that goes on: no change."""
    if home.elsewhere is None or local in home.forwarded:
        return
    user = home.user(local)
    if user is None or user.inbox is None or any(session.takes_messages for session in user.sessions):
        return
    inbox = user.inbox
    waiting = deque(message for message in home.store.offline_messages(user.jid) if message.key not in inbox.given)
    stand_in = Session(user, "", None, None)  # for those elsewhere, so that nobody here is given the same
    for message in waiting:
        inbox.given[message.key] = (stand_in, len(message.stanza))
    home.touch(local)
    home.forwarded[local] = user
    _forward_next(home, stand_in, waiting)


def _forward_next(home: Home, stand_in: Session, waiting: deque[OfflineMessage]) -> None:
    user = stand_in.user
    if not waiting or home.elsewhere is None:
        _stop_forwarding(home, stand_in)
        return
    message = waiting.popleft()

    def answered(reply: Reply, _: float) -> None:
        home.touch(user.local)
        if reply.fate is Fate.TAKEN:
            settled(home, user, message.key)
            _forward_next(home, stand_in, waiting)
        else:
            _stop_forwarding(home, stand_in)

    home.elsewhere.ask(What.KEPT, user.jid, message.stanza, answered, keep=True)


def _stop_forwarding(home: Home, stand_in: Session) -> None:
    """What is left waits on, or is given to who takes it here by now."""
    home.forwarded.pop(stand_in.user.local, None)
    abandoned(home, stand_in)
