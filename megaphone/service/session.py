"""A session, one bound resource of one user, and the user with what is known of them. Small: there may be a million."""

from __future__ import annotations

from typing import TYPE_CHECKING

from megaphone.stream.jid import JID

if TYPE_CHECKING:
    from collections.abc import Mapping

    from megaphone.service.archive_preferences import Preferences
    from megaphone.service.ports import RosterItem

# What most users have of most things, shared by all of them; replaced, never changed.
NO_ITEMS: Mapping[JID, RosterItem] = {}
NO_JIDS: frozenset[JID] = frozenset()


class Session:
    """One bound resource. The host may read everything and changes nothing; `stream` is the host's own.

    `presence` is the last undirected available presence, without addresses and id; None for a session that is not
    available. `key` is the JID as it stands in markup, None where that differs from its text. Addresses are made when
    they are asked for: a tuple of them would take a tenth of all that a session takes.
    """

    __slots__ = (
        "blocklist",
        "carbons",
        "direct",
        "ended",
        "held",
        "inactive",
        "interested",
        "key",
        "plain_sender",
        "presence",
        "priority",
        "resource",
        "stream",
        "user",
    )

    def __init__(self, user: User, resource: str, key: bytes | None, stream: object) -> None:
        self.user = user
        self.resource = resource
        self.key = key
        self.stream = stream
        self.presence: bytes | None = None
        self.priority = 0
        self.carbons = False  # XEP-0280 enabled
        self.inactive = False  # XEP-0352: nobody looks at the client
        self.interested = False  # has asked for the roster, and gets pushes (RFC 6121 section 2.1.6)
        self.blocklist = False  # has asked for the block list, and gets pushes (XEP-0191 section 3.3)
        self.plain_sender = False  # nothing is to be done for a message it sends to somebody else
        self.ended = False
        self.direct: set[JID] | None = None  # who has got directed presence (RFC 6121 section 4.6.3)
        self.held: dict[tuple[str, JID], bytes] | None = None  # what waits while it is inactive

    def __repr__(self) -> str:
        return f"Session({str(self.jid)!r})"

    @property
    def jid(self) -> JID:
        """The full JID."""
        return JID(self.user.local, self.user.domain, self.resource)

    @property
    def available(self) -> bool:
        """Whether it has sent presence (RFC 6121 section 4.2)."""
        return self.presence is not None

    @property
    def takes_messages(self) -> bool:
        """Whether it gets messages to the bare JID: available, of no negative priority (RFC 6121 section 8.5.2.1.1)."""
        return self.presence is not None and self.priority >= 0


class Inbox:
    """What waits for a user in the store: how much, and what of it is under way to which session."""

    __slots__ = ("bytes", "given", "messages")

    def __init__(self, messages: int, bytes_: int) -> None:
        self.messages = messages
        self.bytes = bytes_
        self.given: dict[int, tuple[Session, int]] = {}  # by key: who is getting it, and its length


class User:
    """One user at home here: account, sessions, roster, block list."""

    __slots__ = (
        "_sessions",
        "anonymous",
        "blocked",
        "domain",
        "inbox",
        "key",
        "local",
        "preferences",
        "replaced",
        "roster",
        "roster_version",
    )

    def __init__(self, local: str, domain: str, key: bytes | None, *, anonymous: bool = False) -> None:
        self.local = local
        self.domain = domain
        self.key = key
        self.anonymous = anonymous  # nothing of it is stored
        self._sessions: Session | tuple[Session, ...] = ()  # most users have one
        self.roster = NO_ITEMS
        self.roster_version = 0
        self.blocked: frozenset[JID] = NO_JIDS
        self.inbox: Inbox | None = None
        self.preferences: Preferences | None = None  # of its archive, once they were needed
        self.replaced: dict[JID, RosterItem | None] | None = None  # in a cluster: see `refreshing`

    def __repr__(self) -> str:
        return f"User({str(self.jid)!r})"

    @property
    def jid(self) -> JID:
        """The bare JID."""
        return JID(self.local, self.domain)

    @property
    def sessions(self) -> tuple[Session, ...]:
        """The sessions, in the order in which they were bound."""
        sessions = self._sessions
        return (sessions,) if isinstance(sessions, Session) else sessions

    @sessions.setter
    def sessions(self, sessions: tuple[Session, ...]) -> None:
        self._sessions = sessions[0] if len(sessions) == 1 else sessions

    def session(self, resource: str) -> Session | None:
        """Return the session of a resource, available or not."""
        for session in self.sessions:
            if session.resource == resource:
                return session
        return None

    def blocks(self, jid: JID) -> bool:
        """Whether the block list has a JID, in any of the four forms of RFC 3921 section 10.1 (XEP-0191 section 2)."""
        blocked = self.blocked
        if not blocked or (jid.local == self.local and jid.domain == self.domain):
            return False
        domain = jid.at("")._replace(local="")
        return jid in blocked or jid.bare in blocked or domain in blocked or domain.at(jid.resource) in blocked

    def shows_presence_to(self, contact: JID) -> bool:
        """Whether a bare JID is subscribed to the user's presence; the user themself is."""
        item = self.roster.get(contact)
        return (contact.local, contact.domain) == (self.local, self.domain) or (
            item is not None and item.subscription in ("from", "both")
        )
