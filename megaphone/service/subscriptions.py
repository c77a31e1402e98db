"""Subscriptions to presence (RFC 6121 section 3): a table of states, and what is said when one becomes another.

A state is (subscription, ask, request): what the roster says, whether the user has asked the contact ("Pending Out"),
whether the contact has asked the user ("Pending In"). The tables are those of RFC 6121 appendix A.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from megaphone.service import presence, roster
from megaphone.service.ports import Fate, RosterItem, What
from megaphone.service.refusal import BLOCKED, Refusal
from megaphone.wire.stanza_writer import presence as write_presence

if TYPE_CHECKING:
    from megaphone.service.home import Home
    from megaphone.service.ports import Reply
    from megaphone.service.session import Session, User
    from megaphone.stream.jid import JID
    from megaphone.stream.stanza import Stanza

SUBSCRIPTION_TYPES = frozenset({"subscribe", "subscribed", "unsubscribe", "unsubscribed"})


class State(NamedTuple):
    """Where a contact and a user stand with each other."""

    subscription: str
    ask: bool
    request: bool


NONE = State("none", False, False)
NONE_OUT = State("none", True, False)
NONE_IN = State("none", False, True)
NONE_OUT_IN = State("none", True, True)
TO = State("to", False, False)
TO_IN = State("to", False, True)
FROM = State("from", False, False)
FROM_OUT = State("from", True, False)
BOTH = State("both", False, False)

# What the user sends (appendix A.2): the state after it, where it is passed on to the contact. `subscribe` and
# `unsubscribe` always are; a state that is not named stays as it is.
OUTBOUND: dict[str, dict[State, State]] = {
    "subscribe": {NONE: NONE_OUT, NONE_IN: NONE_OUT_IN, FROM: FROM_OUT},
    "unsubscribe": {NONE_OUT: NONE, NONE_OUT_IN: NONE_IN, TO: NONE, TO_IN: NONE_IN, FROM_OUT: FROM, BOTH: FROM},
    "subscribed": {NONE_IN: FROM, NONE_OUT_IN: FROM_OUT, TO_IN: BOTH},
    "unsubscribed": {NONE_IN: NONE, NONE_OUT_IN: NONE_OUT, TO_IN: TO, FROM: NONE, FROM_OUT: NONE_OUT, BOTH: TO},
}

# What comes from the contact (appendix A.3): the state after it, where it is delivered. What does not change the state
# is not delivered.
INBOUND: dict[str, dict[State, State]] = {
    "subscribe": {NONE: NONE_IN, NONE_OUT: NONE_OUT_IN, TO: TO_IN},
    "unsubscribe": {NONE_IN: NONE, NONE_OUT_IN: NONE_OUT, TO_IN: TO, FROM: NONE, FROM_OUT: NONE_OUT, BOTH: TO},
    "subscribed": {NONE_OUT: TO, NONE_OUT_IN: TO_IN, FROM_OUT: BOTH},
    "unsubscribed": {NONE_OUT: NONE, NONE_OUT_IN: NONE_IN, TO: NONE, TO_IN: NONE_IN, FROM_OUT: FROM, BOTH: FROM},
}


def state_of(item: RosterItem | None) -> State:
    """Return the state of a contact; one who is not in the roster has none."""
    return NONE if item is None else State(item.subscription, item.ask, item.request is not None)


def send(home: Home, session: Session, stanza: Stanza, type_: str) -> None:
    """Take a subscription stanza from a client here (RFC 6121 sections 3.1.2, 3.1.5, 3.2.1 and 3.3.2)."""
    user = session.user
    if stanza.to is None:
        raise Refusal("bad-request", f"Presence of type {type_} needs an address")
    contact = stanza.to.bare
    if user.blocks(contact):
        raise Refusal("not-acceptable", detail=BLOCKED)
    if not home.reaches(contact):
        raise Refusal("remote-server-not-found")
    if contact in (user.jid, home.domain_jid):
        return
    item = user.roster.get(contact)
    before = state_of(item)
    after = OUTBOUND[type_].get(before)
    if after is None and type_ in ("subscribed", "unsubscribed"):
        return
    if item is None and after is not None:
        roster.check_room(home, user)
    if after is not None:
        keep(home, user, item or RosterItem(contact), after)
    home.outlet.route(stanza.stamped(to=contact, from_=user.jid), contact)
    if after is None:
        return
    if type_ == "subscribed":
        presence.show_all(home, user, contact)
    elif type_ == "unsubscribed" and before.subscription in ("from", "both"):
        presence.show_all(home, user, contact, gone=True)


def receive(home: Home, stanza: Stanza, to: JID, type_: str, *, asks: bool = True) -> None:
    """Take a subscription stanza for a user (RFC 6121 sections 3.1.3, 3.1.6, 3.2.3 and 3.3.3).

    Where the user has sessions the roster is newer than its rows here may be; so it `asks` for them first.
    """
    if home.elsewhere is not None and asks and to.local not in home.users:

        def answered(reply: Reply, _: float) -> None:
            if reply.fate is not Fate.TAKEN:
                receive(home, stanza, to, type_, asks=False)

        home.ask(What.ROUTED, to, stanza, answered)
        return
    user = home.user(to.local)
    contact = stanza.from_
    if user is None or contact is None or contact.bare == user.jid:
        return  # nothing tells whether there is such a user
    # Who is blocked cannot ask and is not heard (XEP-0191 section 3.6), but the two rosters have to stay in step.
    blocked = user.blocks(contact)
    if blocked and type_ == "subscribe":
        return
    contact = contact.bare
    item = user.roster.get(contact)
    before = state_of(item)
    after = INBOUND[type_].get(before)
    if after is None:
        if type_ == "subscribe" and before.subscription in ("from", "both"):
            # section 3.1.3: the contact asks for what it has already
            home.outlet.route(write_presence(to=str(contact), from_=str(user.jid), type_="subscribed"), contact)
            presence.show_everywhere(home, user, contact)
        return
    request = None
    if type_ == "subscribe":
        if item is None and len(user.roster) >= home.settings.roster_items:
            home.outlet.route(write_presence(to=str(contact), from_=str(user.jid), type_="unsubscribed"), contact)
            return
        request = stanza.stamped(to=user.jid, from_=contact)
        if len(request) > home.settings.request_bytes:
            request = write_presence(to=str(user.jid), from_=str(contact), type_="subscribe")
    said = request or stanza.stamped(to=user.jid, from_=contact)
    if not blocked:
        _show(home, user, said, type_)
        if home.elsewhere is not None and home.elsewhere.others(user):
            home.elsewhere.tell(What.SUBSCRIPTION, user.jid, said)
    keep(home, user, item or RosterItem(contact, listed=False), after, request=request)
    if type_ == "unsubscribe" and not blocked and before.subscription in ("from", "both"):
        presence.show_all(home, user, contact, gone=True)


def _show(home: Home, user: User, said: bytes, type_: str) -> None:
    for session in user.sessions:
        if session.available if type_ == "subscribe" else session.interested:
            home.deliver(session, said)


def received_elsewhere(home: Home, user: User, stanza: Stanza) -> None:
    """Show a subscription stanza that the roster has taken on another node; the item is told by itself."""
    contact, type_ = stanza.from_, stanza.type
    if contact is None or type_ is None or user.blocks(contact):
        return
    _show(home, user, stanza.data, type_)


def keep(home: Home, user: User, item: RosterItem, after: State, *, request: bytes | None = None) -> None:
    """Bring a contact into a state, and tell the user's clients if they see a difference."""
    changed = replace(
        item,
        subscription=after.subscription,
        ask=after.ask,
        request=(request or item.request) if after.request else None,
        # a request alone is no entry of the roster, everything else is
        listed=item.listed or after.ask or after.subscription != "none",
    )
    if not changed.listed and changed.request is None:
        if item.jid in user.roster:
            home.remove_item(user, item)
        return
    visible = changed.listed and replace(changed, request=None) != replace(item, request=None)
    visible = visible or (changed.listed and item.jid not in user.roster)
    home.put_item(user, changed, changed=visible)
    if visible:
        roster.push(home, user, changed)
