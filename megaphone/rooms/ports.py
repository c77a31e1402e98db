"""What rooms need from outside: an outlet for stanzas, a store for what outlives a process, and their data and limits.

Stanzas are bytes that stand below a stream header with RFC 6120's declarations. Everything that a room says to one
occupant, by whichever call, arrives in the order of the calls: that is what makes a room one order for all.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from enum import Enum, StrEnum
from typing import TYPE_CHECKING, Any, Protocol

from megaphone.stream.jid import JID

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence


class Affiliation(StrEnum):
    """What a bare JID is to a room, whether it is there or not (XEP-0045 section 5.2)."""

    OWNER = "owner"
    ADMIN = "admin"
    MEMBER = "member"
    NONE = "none"
    OUTCAST = "outcast"


class Role(StrEnum):
    """What an occupant may do while it is there (XEP-0045 section 5.1); NONE is somebody who is not, or no longer."""

    MODERATOR = "moderator"
    PARTICIPANT = "participant"
    VISITOR = "visitor"
    NONE = "none"


class Whois(StrEnum):
    """Who sees the occupants' real JIDs (muc#roomconfig_whois)."""

    ANYONE = "anyone"
    MODERATORS = "moderators"


class AllowPM(StrEnum):
    """Who may send private messages (muc#roomconfig_allowpm)."""

    ANYONE = "anyone"
    PARTICIPANTS = "participants"
    MODERATORS = "moderators"
    NONE = "none"


class Audience(Enum):
    """Which occupants a stanza is for."""

    ALL = "all"
    MODERATORS = "moderators"
    OTHERS = "others"
    """All but moderators."""


# --- out ---


class Outlet(Protocol):
    """Where a room's words go; every call returns at once and never calls back into the rooms."""

    def route(self, stanza: bytes, to: JID) -> None:
        """Send one stanza, whose `to` is written in it, to the home of `to`: a user, or another room or domain."""

    def route_many(self, stanzas: Sequence[bytes], to: JID) -> None:
        """Send several stanzas that have no `to` to one full JID, in this order; the host writes `to` into each.

        What a new occupant gets: as many presences as the room has occupants, the same bytes objects for everybody.
        """

    def fan_out(
        self, room: JID, stanza: bytes, *, audience: Audience = Audience.ALL, except_: Collection[JID] = ()
    ) -> None:
        """Send one stanza that has no `to` to the occupants that `occupant_…` has told of; the host writes `to`.

        `except_` holds the few full JIDs that do not get it: the sessions of one occupant.
        """

    def occupant_added(self, room: JID, occupant: JID, *, moderator: bool) -> None:
        """Add a full JID to those that `fan_out` reaches from now on."""

    def occupant_changed(self, room: JID, occupant: JID, *, moderator: bool) -> None:
        """Say that an occupant has become, or is no longer, a moderator."""

    def occupant_removed(self, room: JID, occupant: JID) -> None:
        """Remove a full JID from those that `fan_out` reaches."""

    def listed(self, room: JID, name: str, occupants: int) -> None:
        """Tell the home of the rooms' domain (`Rooms.listed` there) that a public room exists, anew when it changes.

        `occupants` is about how many there are: it is told at each doubling or halving, not at each join.
        """

    def unlisted(self, room: JID) -> None:
        """Tell the home of the rooms' domain (`Rooms.unlisted` there) that a room is gone, or public no longer."""


# --- what outlives a process ---


@dataclass(frozen=True, slots=True)
class RoomConfig:
    """What the owner of a room has configured (XEP-0045 section 15.5.3); limits are `RoomSettings`' affair."""

    name: str = ""
    description: str = ""
    persistent: bool = False
    public: bool = True
    members_only: bool = False
    moderated: bool = False
    password: str = ""
    """Empty: none is needed."""
    max_users: int = 0
    """Sessions in the room at most; 0: as many as the service allows."""
    whois: Whois = Whois.MODERATORS
    change_subject: bool = False
    """Whether participants may change the subject, not only moderators."""
    allow_pm: AllowPM = AllowPM.ANYONE
    allow_invites: bool = True
    """Whether occupants who are no admins may invite into a members-only room."""
    presence_broadcast: tuple[Role, ...] = (Role.MODERATOR, Role.PARTICIPANT, Role.VISITOR)
    history_length: int = 20
    """Messages that a new occupant gets at most."""

    def values(self) -> dict[str, object]:
        """Return it as strings, numbers, booleans and lists of strings, for JSON."""
        found: dict[str, object] = {each.name: getattr(self, each.name) for each in fields(self)}
        found |= {"whois": str(self.whois), "allow_pm": str(self.allow_pm)}
        found["presence_broadcast"] = [str(role) for role in self.presence_broadcast]
        return found

    @classmethod
    def of(cls, values: Mapping[str, object]) -> RoomConfig:
        """Return what `values` gave; keys of another version are passed over, ValueError for a value that is none."""
        given: dict[str, Any] = {each.name: values[each.name] for each in fields(cls) if each.name in values}
        if "whois" in given:
            given["whois"] = Whois(given["whois"])
        if "allow_pm" in given:
            given["allow_pm"] = AllowPM(given["allow_pm"])
        if "presence_broadcast" in given:
            given["presence_broadcast"] = tuple(Role(each) for each in given["presence_broadcast"])
        return cls(**given)


@dataclass(frozen=True, slots=True)
class Subject:
    """The subject of a room, or that it has been emptied."""

    message: bytes
    """The message that set it, as it was reflected, without `to`."""
    time: float
    """Unix seconds."""


@dataclass(frozen=True, slots=True)
class RoomRecord:
    """A persistent room, without its affiliations and messages."""

    room: JID
    config: RoomConfig
    creator: JID
    """A bare JID, whose rooms are counted."""
    created: float
    """Unix seconds."""
    secret: bytes
    """The key of the room's occupant-ids (XEP-0421): 32 bytes that never leave the service."""
    subject: Subject | None = None


@dataclass(frozen=True, slots=True)
class Affiliated:
    """One bare JID's affiliation with a room: never NONE in a store."""

    jid: JID
    affiliation: Affiliation
    reason: str = ""
    """Why, as the admin said, for the ban list."""


class RoomStore(Protocol):
    """Persistent rooms. A `put_…` returns at once; reads see what has been put before them by the same process.

    What was said in them is in a `stream.archive.Archive`, by the rooms' bare JIDs.
    """

    def rooms(self) -> Iterable[RoomRecord]:
        """Return every room: those of other workers too, `Rooms.load` chooses."""

    def room(self, room: JID) -> RoomRecord | None:
        """Return one room; None if it is not kept."""

    def ended(self, room: JID) -> float:
        """Return when the last room of this name was deleted, on whichever node: Unix seconds, 0.0 if not known.

        Whatever was made until then is over; what is kept now was made later.
        """

    def affiliations(self, room: JID) -> Iterable[Affiliated]:
        """Return every affiliation of a room."""

    def put_room(self, record: RoomRecord) -> object:
        """Keep a room in place of what was kept of it; its affiliations stay."""

    def put_affiliation(self, room: JID, affiliated: Affiliated) -> object:
        """Keep one affiliation in place of this JID's former one; with NONE, drop it."""

    def delete_room(self, room: JID) -> object:
        """Drop a room with its affiliations."""


# --- what the operator sets ---


def everybody(user: JID) -> bool:
    """Let everybody make rooms."""
    return True


@dataclass(frozen=True, slots=True)
class RoomSettings:
    """The limits of the rooms at home on one worker, and what a new room is like."""

    secret: bytes
    """At least 16 bytes that stay the same over restarts: new rooms' secrets are made from it."""
    name: str = "Rooms"
    """Of the service, in disco#info."""
    defaults: RoomConfig = field(default_factory=RoomConfig)
    """Of a new room."""
    join_without_x: bool = False
    """Whether presence without `<x xmlns='…/muc'/>` enters (groupchat 1.0); else only those who ask for it do."""
    may_create: Callable[[JID], bool] = everybody
    """Whether the user with this bare JID may make rooms; who may not is answered with not-allowed."""
    rooms_limit: int = 100_000
    rooms_per_user_limit: int = 100
    """Created by one bare JID."""
    room_name_limit_bytes: int = 128
    """Of the local part of a room's JID."""
    occupants_limit: int = 20_000
    """Sessions in one room, also for its owners."""
    sessions_per_occupant_limit: int = 10
    """Resources of one user under one nick."""
    nick_limit_bytes: int = 128
    presence_limit_bytes: int = 16_384
    """Of one presence: each occupant's is kept."""
    title_limit_characters: int = 200
    description_limit_characters: int = 2_000
    password_limit_characters: int = 200
    reason_limit_characters: int = 500
    """Reasons of kicks, bans, invitations and destructions are cut to it."""
    subject_limit_bytes: int = 4_096
    """Of the whole stanza that sets it."""
    affiliations_limit: int = 2_000
    """Of one room."""
    items_limit: int = 500
    """Of one request to change roles or affiliations."""
    invitations_limit: int = 10
    """Of one message."""
    history_limit: int = 200
    """Entries of one room's archive in memory, and what an owner may set as history length at most."""
    history_limit_bytes: int = 1_048_576
    """Of one room's entries in memory."""
    page_limit: int = 100
    """Entries in one page of an archive (XEP-0313)."""
    list_limit: int = 500
    """Items of one answer to disco#items: the fullest rooms, the first occupants."""
    asked_limit: int = 64
    """Requests of others that one occupant has not answered yet."""
    late_limit: int = 100
    """Messages of other nodes that are shown in a minute although they are old; the rest is in the archive."""
    messages_per_second: float = 0.0
    """Of one room on one node, bursts of ten seconds' worth included; 0: not limited."""
