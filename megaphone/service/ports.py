"""What the service needs from outside, and nothing else: an outlet for stanzas, a store for what outlives sessions, and
in a cluster the same users' sessions on other nodes.

All are called from the thread of the service and answer at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, IntEnum
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from megaphone.service.session import Session, User
    from megaphone.stream.jid import JID


@dataclass(frozen=True, slots=True)
class RosterItem:
    """One contact of one user, in one of the states of RFC 6121 appendix A.1.

    `subscription` is "none", "to", "from" or "both"; `ask` says that the user has asked for a subscription ("Pending
    Out"); `request` is the contact's own request, a whole presence stanza, as long as it is unanswered ("Pending In").
    An item that is not `listed` is no part of the roster that clients see: only a request waits in it (section 3.1.3).
    """

    jid: JID
    name: str = ""
    groups: tuple[str, ...] = ()
    subscription: str = "none"
    ask: bool = False
    request: bytes | None = None
    listed: bool = True


@dataclass(frozen=True, slots=True)
class StoredUser:
    """What the service must know of a user as soon as anything happens to them; read in one go.

    `roster_version` is that of the newest change, 0 for a roster that never had one. `offline_messages` and
    `offline_bytes` count what waits for the user.
    """

    roster: Sequence[RosterItem] = ()
    roster_version: int = 0
    blocked: Sequence[JID] = ()
    offline_messages: int = 0
    offline_bytes: int = 0


@dataclass(frozen=True, slots=True)
class OfflineMessage:
    """One message that waits: `key` names it among the user's, `at` is when it came, in Unix seconds."""

    key: int
    at: float
    stanza: bytes


class UserStore(Protocol):
    """What outlives sessions, by bare JID. A read sees every earlier write; a write is queued and returns at once.

    What a write returns is between store and host.
    """

    def load(self, user: JID) -> StoredUser | None:
        """Return what is kept for a user; None if there is no such account."""

    def put_roster_item(self, user: JID, item: RosterItem, version: int) -> object:
        """Keep an item in place of the one with the same JID, and the roster's version."""

    def remove_roster_item(self, user: JID, jid: JID, version: int) -> object:
        """Forget an item, and keep the roster's version."""

    def put_blocked(self, user: JID, jid: JID) -> object:
        """Keep one more JID on the block list; it may have a resource or no local part. Once more is no change."""

    def remove_blocked(self, user: JID, jid: JID) -> object:
        """Take a JID off the block list."""

    def put_offline_message(self, user: JID, stanza: bytes, at: float) -> object:
        """Keep a message behind those that wait already."""

    def offline_messages(self, user: JID) -> Sequence[OfflineMessage]:
        """Return the messages that wait, oldest first."""

    def remove_offline_messages(self, user: JID, keys: Sequence[int]) -> object:
        """Forget messages that have been delivered; a key that is gone already is no error."""

    def private(self, user: JID, name: str) -> bytes | None:
        """Return the private XML (XEP-0049) called "{namespace}name", one whole element; None if there is none."""

    def private_bytes(self, user: JID) -> int:
        """Return the bytes of all private XML of a user."""

    def put_private(self, user: JID, name: str, element: bytes) -> object:
        """Keep private XML in place of what has the same name."""

    def vcard(self, user: JID) -> bytes | None:
        """Return the user's `<vCard/>` (XEP-0054), one whole element; None if there is none."""

    def put_vcard(self, user: JID, element: bytes) -> object:
        """Keep the user's `<vCard/>`."""


class Outlet(Protocol):
    """The host. No call comes back into the service before the service has returned."""

    def deliver(self, session: Session, stanza: bytes) -> None:
        """Send a stanza to the client of a session; it is the host's from here, with or without XEP-0198."""

    def deliver_stored(self, session: Session, stanza: bytes, key: int) -> None:
        """Send a message that was kept; as soon as it is safe with the client, call `Service.settled` with its key."""

    def route(self, stanza: bytes, to: JID) -> None:
        """Bring a stanza to the home of `to`: a user, a room or a domain, here or in another worker.

        In order for each `to`. What comes to a user at home here goes to `Service.receive_routed`, after the present
        call and before any other stanza of the same sender.
        """

    def close(self, session: Session, condition: str, text: str = "") -> None:
        """End the stream of a session with a stream error (RFC 6120 section 4.9.3)."""

    def token(self) -> str:
        """Return a text that nobody can guess, of lower case letters and digits: a resource for who asks for none."""


class What(IntEnum):
    """What the homes of a user on other nodes are told or asked; the numbers are those of the wire."""

    SESSION = 1
    """A stanza for the one session of a full JID."""
    TAKERS = 2
    """A message to the bare JID, for the sessions that take messages."""
    KEPT = 3
    """A message that has waited, for the same; it is no news."""
    AVAILABLE = 4
    """Presence for every available session."""
    PROBE = 5
    """Somebody who may see it wants to know the presence of every available session."""
    SENT = 6
    """What the user has sent, for sessions that want carbons (XEP-0280)."""
    RECEIVED = 7
    """What the user has got elsewhere, for the same; not for the node that has delivered it."""
    UNTAKEN = 8
    """What the user's takers have got, for the same, where there are no takers."""
    ROUTED = 9
    """A stanza for a user of whom others know more, such as a guest: one of them treats it as if it had come there."""
    SUBSCRIPTION = 10
    """A subscription stanza that the roster has taken already."""
    CLAIM = 11
    """A client wants to bind the resource of the full JID; there is no stanza."""
    CONTACT = 12
    """An item of the user's roster has changed; in place of a stanza there is a `service.contact.ContactSnapshot`."""
    LATE = 13
    """A stanza that came for the one session where it was before."""


class Fate(Enum):
    """What has become of what was asked."""

    TAKEN = "taken"
    NOBODY = "nobody"
    UNKNOWN = "unknown"
    """No answer: it may have been taken."""


class Reply(NamedTuple):
    """The first answer. `node` names who has taken it; `others`: the user has sessions on a third node, too."""

    fate: Fate
    node: bytes = b""
    others: bool = False


class Elsewhere(Protocol):
    """The other nodes of a cluster, as far as they have sessions of the users here. Its words arrive or are lost."""

    def changed(self, user: User) -> None:
        """Take note that sessions of a user have come, gone, or changed what they take."""

    def others(self, user: User) -> bool:
        """Whether a user with a session here has sessions on other nodes, as far as is known; True in doubt."""

    def available(self, user: User) -> bool:
        """Whether one of those is available."""

    def is_first(self, user: User) -> bool:
        """Whether of all nodes that have sessions of a user, as far as is known, this is the one that acts for them."""

    def tell(self, what: What, to: JID, stanza: bytes, *, got: bytes = b"") -> None:
        """Tell all nodes that have sessions of `to`, or the one with that session; `got` names who need not hear it."""

    def ask(
        self, what: What, to: JID, stanza: bytes, then: Callable[[Reply, float], None], *, keep: bool = False
    ) -> None:
        """Tell them likewise, and call `then` with the first answer and the time, once and later.

        Only if nobody of whom is asked has a session here: we would hear ourselves. `keep`: it counts as taken as soon
        as it is safe there, whoever has sent it; else that depends on the stanza under way.
        """
