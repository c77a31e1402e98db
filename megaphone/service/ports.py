"""What the service needs from outside, and nothing else: an outlet for stanzas, and a store for what outlives sessions.

Both are called from the thread of the service and answer at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from megaphone.service.session import Session
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
