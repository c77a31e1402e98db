"""A store of users in dictionaries: what the service's port promises, and nothing more."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING

from megaphone.service.ports import OfflineMessage, RosterItem, StoredUser

if TYPE_CHECKING:
    from collections.abc import Sequence

    from megaphone.stream.jid import JID


@dataclass
class Kept:
    roster: dict[JID, RosterItem] = field(default_factory=dict)
    version: int = 0
    blocked: dict[JID, None] = field(default_factory=dict)
    offline: dict[int, OfflineMessage] = field(default_factory=dict)
    private: dict[str, bytes] = field(default_factory=dict)
    vcard: bytes | None = None


class TwinStore:
    def __init__(self) -> None:
        self.users: dict[JID, Kept] = {}
        self.loads: dict[JID, int] = defaultdict(int)
        self._keys = count(1)

    def add(self, user: JID) -> None:
        self.users[user] = Kept()

    def load(self, user: JID) -> StoredUser | None:
        self.loads[user] += 1
        kept = self.users.get(user)
        if kept is None:
            return None
        return StoredUser(
            tuple(kept.roster.values()),
            kept.version,
            tuple(kept.blocked),
            len(kept.offline),
            sum(len(message.stanza) for message in kept.offline.values()),
        )

    def put_roster_item(self, user: JID, item: RosterItem, version: int) -> None:
        self.users[user].roster[item.jid] = item
        self.users[user].version = version

    def remove_roster_item(self, user: JID, jid: JID, version: int) -> None:
        del self.users[user].roster[jid]
        self.users[user].version = version

    def put_blocked(self, user: JID, jid: JID) -> None:
        self.users[user].blocked[jid] = None

    def remove_blocked(self, user: JID, jid: JID) -> None:
        self.users[user].blocked.pop(jid, None)

    def put_offline_message(self, user: JID, stanza: bytes, at: float) -> None:
        key = next(self._keys)
        self.users[user].offline[key] = OfflineMessage(key, at, stanza)

    def offline_messages(self, user: JID) -> Sequence[OfflineMessage]:
        return tuple(self.users[user].offline.values())

    def remove_offline_messages(self, user: JID, keys: Sequence[int]) -> None:
        for key in keys:
            self.users[user].offline.pop(key, None)

    def private(self, user: JID, name: str) -> bytes | None:
        return self.users[user].private.get(name)

    def private_bytes(self, user: JID) -> int:
        return sum(map(len, self.users[user].private.values()))

    def put_private(self, user: JID, name: str, element: bytes) -> None:
        self.users[user].private[name] = element

    def vcard(self, user: JID) -> bytes | None:
        return self.users[user].vcard

    def put_vcard(self, user: JID, element: bytes) -> None:
        self.users[user].vcard = element
