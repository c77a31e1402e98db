"""Who is in one room: occupants by nick, by session and by bare JID.

Several sessions of one user may share a nick: to the others they are one occupant, whose presence is that of the
session that spoke last. The nick of somebody else is a conflict (XEP-0045 section 7.2.8).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

    from megaphone.rooms.events import Origin
    from megaphone.rooms.ports import Role
    from megaphone.rooms.presence import Why
    from megaphone.stream.jid import JID


class Asked(NamedTuple):
    """A request that one occupant was sent for another: who answers it, who asked, and with which id."""

    by: JID
    """The full JID that it was sent to; a request that goes to the account may be answered by the bare one."""
    session: JID
    """Who asked."""
    id: str


class Occupant:
    """One nick in the room."""

    __slots__ = ("asked", "bare", "jid", "mark", "nick", "plain", "revealing", "role", "sessions")

    def __init__(self, nick: str, jid: JID, bare: JID, role: Role, mark: bytes) -> None:
        self.nick = nick
        self.jid = jid
        """The occupant JID: room/nick."""
        self.bare = bare
        self.role = role
        self.mark = mark
        """Its occupant-id (XEP-0421), as it stands in everything that it says."""
        self.sessions: dict[JID, bytes] = {}
        """The presence of each full JID, without addresses and without what the room adds; the current one is last."""
        self.plain: bytes | None = None
        """The presence as others see it, once rendered, and as those who see real JIDs do."""
        self.revealing: bytes | None = None
        self.asked: dict[str, Asked] = {}

    @property
    def session(self) -> JID:
        """The full JID whose presence is shown."""
        return next(reversed(self.sessions))

    @property
    def presence(self) -> bytes:
        """The presence that is shown."""
        return self.sessions[self.session]

    def asked_of(self, session: JID) -> dict[str, Asked]:
        """Take out, and return, the requests that this session was to answer."""
        found = {id_: asked for id_, asked in self.asked.items() if asked.by == session}
        for id_ in found:
            del self.asked[id_]
        return found

    def renew(self) -> None:
        """Forget what was rendered: something of it has changed."""
        self.plain = self.revealing = None


class Occupants:
    """The occupants of one room; iterating gives them in the order of their coming."""

    __slots__ = ("by_bare", "by_nick", "by_session", "remote", "touched")

    def __init__(self) -> None:
        self.by_nick: dict[str, Occupant] = {}
        self.by_session: dict[JID, Occupant] = {}
        self.by_bare: dict[JID, list[Occupant]] = {}
        self.remote: dict[JID, Origin] = {}
        """The sessions that are connected to other nodes, and whose they are."""
        self.touched: dict[JID, tuple[bytes, Why] | None] | None = None
        """In a cluster, sessions of which the other nodes are to be told; of one that has gone, with what and why."""

    def __len__(self) -> int:
        return len(self.by_nick)

    def __iter__(self) -> Iterator[Occupant]:
        return iter(self.by_nick.values())

    def enter(self, occupant: Occupant, session: JID, presence: bytes) -> None:
        """Add a session to an occupant, who may be new, or make its presence the one that is shown."""
        if occupant.nick not in self.by_nick:
            self.by_nick[occupant.nick] = occupant
            self.by_bare.setdefault(occupant.bare, []).append(occupant)
        occupant.sessions.pop(session, None)
        occupant.sessions[session] = presence
        self.by_session[session] = occupant
        occupant.renew()
        if self.touched is not None:
            self.touched[session] = None

    def leave(self, session: JID, said: tuple[bytes, Why] | None = None) -> bool:
        """Remove a session; returns whether its occupant has gone with it. `said` is for other nodes."""
        occupant = self.by_session.pop(session)
        del occupant.sessions[session]
        occupant.renew()
        self.remote.pop(session, None)
        if self.touched is not None:
            self.touched[session] = said
        if occupant.sessions:
            return False
        del self.by_nick[occupant.nick]
        others = self.by_bare[occupant.bare]
        others.remove(occupant)
        if not others:
            del self.by_bare[occupant.bare]
        return True

    def rename(self, occupant: Occupant, nick: str, jid: JID) -> None:
        """Give an occupant another nick, which nobody has."""
        del self.by_nick[occupant.nick]
        occupant.nick = nick
        occupant.jid = jid
        self.by_nick[nick] = occupant
        occupant.renew()
        self.touch(occupant)

    def touch(self, occupant: Occupant, said: tuple[bytes, Why] | None = None) -> None:
        """Let other nodes be told of an occupant that has changed."""
        if self.touched is not None:
            self.touched |= dict.fromkeys(occupant.sessions, said)

    def local(self, occupant: Occupant) -> tuple[JID, ...]:
        """Return those of its sessions that are connected to this node."""
        remote = self.remote
        if not remote:
            return tuple(occupant.sessions)
        return tuple(session for session in occupant.sessions if session not in remote)

    def of(self, bare: JID) -> list[Occupant]:
        """Return the occupants that one user is; of a domain, all of its users."""
        if bare.local:
            return list(self.by_bare.get(bare, ()))
        return [occupant for occupant in self if occupant.bare.domain == bare.domain]
