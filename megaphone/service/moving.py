"""What moves when the home of users becomes another process: snapshots of users, and users made, or changed, by them.

    predecessor   Moving ─► everybody() ─► …goes on… ─► changed() ─► nothing more happens here
    successor                  restore                restore, remove ─► answers from here on

A snapshot of a user who was restored before changes user and sessions in place: whoever refers to a session need not
look again. What is in the store alone, and users without a session, are read again by who needs them.

Snapshots are arrays (MessagePack). A later version adds fields at the end, with a default; readers pass over what they
do not know.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from megaphone.service.contact import ContactSnapshot
from megaphone.service.home import key_of
from megaphone.service.session import NO_ITEMS, NO_JIDS, Inbox, Session, User
from megaphone.stream.jid import JID

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from megaphone.service.home import Home


class ContactsSnapshot(msgspec.Struct, array_like=True, frozen=True):
    """The roster, its version, and the block list."""

    version: int
    items: tuple[ContactSnapshot, ...]
    blocked: tuple[JID, ...]


class SessionSnapshot(msgspec.Struct, array_like=True, frozen=True):
    """One session. `held` is what waits while it is inactive: kind, sender, stanza, in order."""

    resource: str
    presence: bytes | None
    priority: int
    carbons: bool
    inactive: bool
    interested: bool
    blocklist: bool
    direct: tuple[JID, ...]
    held: tuple[tuple[str, JID, bytes], ...]


class InboxSnapshot(msgspec.Struct, array_like=True, frozen=True):
    """What waits in the store: how much, and what of it is under way: key, resource of who gets it, bytes."""

    messages: int
    bytes: int
    given: tuple[tuple[int, str, int], ...]


class UserSnapshot(msgspec.Struct, array_like=True, frozen=True):
    """One user with all sessions, in the order in which they were bound; without `contacts` these stay as they are."""

    local: str
    anonymous: bool
    sessions: tuple[SessionSnapshot, ...]
    inbox: InboxSnapshot | None
    contacts: ContactsSnapshot | None


class Moving:
    """The users of a predecessor on their way; `end` it, whatever comes of it."""

    def __init__(self, home: Home) -> None:
        self._home = home
        home.touched = {}

    def everybody(self) -> Iterator[User]:
        """Yield each user who has a session, while that goes on changing."""
        for local in list(self._home.users):
            user = self._home.users.get(local)
            if user is not None:
                yield user

    def changed(self) -> Iterator[tuple[str, User | None, bool]]:
        """Yield who has changed since: local part, None if without a session now, whether the contacts have, too."""
        touched, self._home.touched = self._home.touched or {}, {}
        for local, contacts in touched.items():
            yield local, self._home.users.get(local), contacts

    def end(self) -> None:
        """Note no more who changes."""
        self._home.touched = None


def snapshot(user: User, *, contacts: bool = True) -> UserSnapshot:
    """Return all there is to know of a user; without `contacts`, all but roster and block list."""
    inbox = user.inbox
    return UserSnapshot(
        user.local,
        user.anonymous,
        tuple(map(snapshot_session, user.sessions)),
        None
        if inbox is None
        else InboxSnapshot(
            inbox.messages,
            inbox.bytes,
            tuple((key, session.resource, length) for key, (session, length) in inbox.given.items()),
        ),
        _contacts(user) if contacts else None,
    )


def restore(home: Home, moved: UserSnapshot, stream_of: Callable[[str], object]) -> User:
    """Make a user at `home` what the snapshot says; `stream_of` gives the stream of each resource."""
    user = home.users.get(moved.local)
    if user is None:
        jid = JID(moved.local, home.domain)
        user = home.users[moved.local] = User(moved.local, home.domain, key_of(jid), anonymous=moved.anonymous)
        home.forget(moved.local)
    user.anonymous = moved.anonymous
    former = {session.resource: session for session in user.sessions}
    sessions = []
    for each in moved.sessions:
        session = former.pop(each.resource, None)
        if session is None:
            session = Session(user, each.resource, key_of(user.jid.at(each.resource)), None)
        session.stream = stream_of(each.resource)
        _change(home, session, each)
        sessions.append(session)
    for gone in former.values():
        _forget(home, gone)
    user.sessions = tuple(sessions)
    inbox = moved.inbox
    user.inbox = None if inbox is None else Inbox(inbox.messages, inbox.bytes)
    if user.inbox is not None and inbox is not None:
        user.inbox.given = {
            key: (session, length)
            for key, resource, length in inbox.given
            if (session := user.session(resource)) is not None
        }
    if moved.contacts is not None:
        _change_contacts(user, moved.contacts)
    home.refresh(user)
    return user


def adopt(home: Home, user: User, moved: SessionSnapshot, stream: object) -> Session:
    """Go on with one session that was on another node; everybody who has seen it sees it still."""
    session = Session(user, moved.resource, key_of(user.jid.at(moved.resource)), stream)
    _change(home, session, moved)
    home.add(session)
    return session


def give_away(home: Home, session: Session) -> None:
    """Let a session go that goes on at another node: nobody is told anything."""
    session.presence = session.direct = None
    home.remove(session)


def remove(home: Home, local: str) -> None:
    """Forget a user who was restored and has no session any more."""
    user = home.users.pop(local, None)
    if user is not None:
        for session in user.sessions:
            _forget(home, session)
        user.sessions = ()
        if home.elsewhere is not None:
            home.elsewhere.changed(user)
        if user.key is not None:
            home.plain_targets.pop(user.key, None)


def snapshot_session(session: Session) -> SessionSnapshot:
    """Return all there is to know of one session."""
    return SessionSnapshot(
        session.resource,
        session.presence,
        session.priority,
        session.carbons,
        session.inactive,
        session.interested,
        session.blocklist,
        tuple(session.direct or ()),
        tuple((what, source, stanza) for (what, source), stanza in (session.held or {}).items()),
    )


def _contacts(user: User) -> ContactsSnapshot:
    return ContactsSnapshot(
        user.roster_version,
        tuple(map(ContactSnapshot.of, user.roster.values())),
        tuple(user.blocked),
    )


def _change(home: Home, session: Session, moved: SessionSnapshot) -> None:
    session.presence = None if moved.presence is None else home.kept_once(moved.presence)
    session.priority = moved.priority
    session.carbons = moved.carbons
    session.inactive = moved.inactive
    session.interested = moved.interested
    session.blocklist = moved.blocklist
    session.direct = set(moved.direct) or None
    session.held = {(what, source): stanza for what, source, stanza in moved.held} or None


def _change_contacts(user: User, moved: ContactsSnapshot) -> None:
    user.roster_version = moved.version
    user.roster = {item.jid: item.item() for item in moved.items} or NO_ITEMS
    user.blocked = frozenset(moved.blocked) or NO_JIDS


def _forget(home: Home, session: Session) -> None:
    session.ended = True
    session.held = None
    home.node_watchers.pop(session, None)
    if session.key is not None:
        home.plain_targets.pop(session.key, None)
