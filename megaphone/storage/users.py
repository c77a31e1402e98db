"""What outlives the sessions of users, on SQLite: rosters, block lists, messages that wait, private XML, vCards.

Writes for a user without an account, such as an anonymous one, are passed over.

A message in the spool is either waiting for its user or *held*: the process that has put it there is delivering it to
a session, and keeps it only in case that process or the client dies. A held message has the number of that process'
opening of the database (`Storage.opening`); held by any other than ours, it waits: the process that held it is gone,
since a user has one home.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from megaphone.service.ports import OfflineMessage, RosterItem, StoredUser
from megaphone.storage.transaction import Statement
from megaphone.stream.jid import JID

if TYPE_CHECKING:
    from collections.abc import Sequence

    from megaphone.storage.storage import Storage

_PUT_ITEM: Final = Statement(
    "INSERT INTO roster (account, jid, name, groups, subscription, ask, request, listed)"
    " SELECT id, ?, ?, ?, ?, ?, ?, ? FROM account WHERE name = ?"
    " ON CONFLICT (account, jid) DO UPDATE SET name = excluded.name, groups = excluded.groups,"
    " subscription = excluded.subscription, ask = excluded.ask, request = excluded.request, listed = excluded.listed"
)
_REMOVE_ITEM: Final = Statement(
    "DELETE FROM roster WHERE account = (SELECT id FROM account WHERE name = ?) AND jid = ?"
)
# max: an operator who removes a contact sets the version far ahead, and that has to last
_PUT_VERSION: Final = Statement("UPDATE account SET roster_version = max(roster_version, ?) WHERE name = ?")
_PUT_BLOCKED: Final = Statement(
    "INSERT INTO block (account, jid) SELECT id, ? FROM account WHERE name = ? ON CONFLICT DO NOTHING"
)
_REMOVE_BLOCKED: Final = Statement(
    "DELETE FROM block WHERE account = (SELECT id FROM account WHERE name = ?) AND jid = ?"
)
_PUT_PRIVATE: Final = Statement(
    "INSERT INTO private (account, name, element) SELECT id, ?, ? FROM account WHERE name = ?"
    " ON CONFLICT (account, name) DO UPDATE SET element = excluded.element"
)
_PUT_VCARD: Final = Statement(
    "INSERT INTO vcard (account, element) SELECT id, ? FROM account WHERE name = ?"
    " ON CONFLICT (account) DO UPDATE SET element = excluded.element"
)
_SPOOL: Final = Statement(
    "INSERT INTO spool (account, id, at, held, stanza)"
    " SELECT account.id, given.column2, given.column3, given.column4, given.column5 FROM (VALUES ",
    "(?, ?, ?, ?, ?)",
    ") AS given CROSS JOIN account ON account.name = given.column1",  # CROSS: in this order, not account by account
    stage=1,
    padding=(None,) * 5,
)
_RELEASE_SPOOLED: Final = Statement("UPDATE spool SET held = 0 WHERE id IN (", "?", ")", stage=2, padding=(None,))
_REMOVE_SPOOLED: Final = Statement("DELETE FROM spool WHERE id IN (", "?", ")", stage=3, padding=(None,))

_ACCOUNT: Final = "(SELECT id FROM account WHERE name = ?)"
_WAITING: Final = f"account = {_ACCOUNT} AND held <> ?"
_USERS_WAITING: Final = (
    "SELECT id, name FROM account WHERE id IN"
    " (SELECT DISTINCT account FROM spool WHERE account > ? AND held <> ? ORDER BY account LIMIT ?) ORDER BY id"
)
_USERS_AT_ONCE: Final = 256


class SQLiteUsers:
    """`service.ports.UserStore`, and the spool of the host. Every write returns its position."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._writer = storage.writer

    def load(self, user: JID) -> StoredUser | None:
        """Return what is kept for a user; None if there is no such account."""
        name = user.local
        account = self._read(user, "SELECT id, roster_version FROM account WHERE name = ?", name)
        if not account:
            return None
        number, version = account[0]
        read = self._storage.read
        roster = read(
            "SELECT jid, name, groups, subscription, ask, request, listed FROM roster WHERE account = ?", (number,)
        )
        blocked = read("SELECT jid FROM block WHERE account = ?", (number,))
        ((messages, size),) = read(
            f"SELECT count(*), ifnull(sum(length(stanza)), 0) FROM spool WHERE {_WAITING}",  # noqa: S608
            (name, self._storage.opening),
        )
        return StoredUser(
            roster=tuple(map(_roster_item, roster)),
            roster_version=version,
            blocked=tuple(JID.parse(jid) for (jid,) in blocked),
            offline_messages=messages,
            offline_bytes=size,
        )

    # --- roster ------------------------------------------------------------

    def put_roster_item(self, user: JID, item: RosterItem, version: int) -> int:
        """Keep an item in place of the one with the same JID, and the roster's version."""
        values = (
            *(str(item.jid), item.name, json.dumps(item.groups), item.subscription),
            *(int(item.ask), item.request, int(item.listed), user.local),
        )
        self._writer.put(_PUT_ITEM, values, owner=user.local, key=("roster", user.local, item.jid))
        return self._put_version(user, version)

    def remove_roster_item(self, user: JID, jid: JID, version: int) -> int:
        """Forget an item, and keep the roster's version."""
        self._writer.remove(_REMOVE_ITEM, (user.local, str(jid)), owner=user.local)
        return self._put_version(user, version)

    def _put_version(self, user: JID, version: int) -> int:
        return self._writer.put(
            _PUT_VERSION, (version, user.local), owner=user.local, key=("roster version", user.local)
        )

    # --- block list ------------------------------------------------------------

    def put_blocked(self, user: JID, jid: JID) -> int:
        """Keep one more JID on the block list. Once more is no change."""
        return self._writer.put(_PUT_BLOCKED, (str(jid), user.local), owner=user.local)

    def remove_blocked(self, user: JID, jid: JID) -> int:
        """Take a JID off the block list."""
        return self._writer.remove(_REMOVE_BLOCKED, (user.local, str(jid)), owner=user.local)

    # --- messages ------------------------------------------------------------

    def put_offline_message(self, user: JID, stanza: bytes, at: float) -> int:
        """Keep a message behind those that wait already."""
        number = self._storage.next_id()
        return self._writer.put(_SPOOL, (user.local, number, at, 0, stanza), owner=user.local, key=number)

    def offline_messages(self, user: JID) -> Sequence[OfflineMessage]:
        """Return the messages that wait, oldest first."""
        rows = self._read(
            user,
            f"SELECT id, at, stanza FROM spool WHERE {_WAITING} ORDER BY id",  # noqa: S608
            user.local,
            self._storage.opening,
        )
        return [OfflineMessage(*row) for row in rows]

    def remove_offline_messages(self, user: JID, keys: Sequence[int]) -> int:
        """Forget messages, waiting or held, that have been delivered; one that is gone already is no error."""
        for key in keys:
            self._writer.remove(_REMOVE_SPOOLED, (key,), owner=user.local, key=key)
        return self._writer.position

    def waiting_users(self, after: int) -> Sequence[tuple[int, str]]:
        """Return the next users for whom messages wait: number beyond `after`, in order, and local part.

        The first are beyond 0; there are none beyond the last.
        """
        return self._storage.read(_USERS_WAITING, (after, self._storage.opening, _USERS_AT_ONCE))

    def spool_add(self, user: JID, stanza: bytes, at: float) -> int:
        """Hold a message while a session of this process gets it; returns its number, not its position.

        It is safe when the writer has committed `writer.position` as it is right after this call.
        """
        number = self._storage.next_id()
        self._writer.put(_SPOOL, (user.local, number, at, self._storage.opening, stanza), owner=user.local, key=number)
        return number

    def spool_release(self, user: JID, keys: Sequence[int]) -> int:
        """Let messages wait for the user that no session of this process has taken."""
        for key in keys:
            self._writer.remove(_RELEASE_SPOOLED, (key,), owner=user.local)
        return self._writer.position

    spool_take = offline_messages
    spool_remove = remove_offline_messages

    # --- what clients keep ------------------------------------------------------------

    def private(self, user: JID, name: str) -> bytes | None:
        """Return the private XML (XEP-0049) called "{namespace}name", one whole element; None if there is none."""
        return _one(
            self._read(
                user,
                f"SELECT element FROM private WHERE account = {_ACCOUNT} AND name = ?",  # noqa: S608
                user.local,
                name,
            )
        )

    def private_bytes(self, user: JID) -> int:
        """Return the bytes of all private XML of a user."""
        query = f"SELECT ifnull(sum(length(element)), 0) FROM private WHERE account = {_ACCOUNT}"  # noqa: S608
        return int(self._read(user, query, user.local)[0][0])

    def put_private(self, user: JID, name: str, element: bytes) -> int:
        """Keep private XML in place of what has the same name."""
        return self._writer.put(
            _PUT_PRIVATE, (name, element, user.local), owner=user.local, key=("private", user.local, name)
        )

    def vcard(self, user: JID) -> bytes | None:
        """Return the user's `<vCard/>` (XEP-0054), one whole element; None if there is none."""
        return _one(self._read(user, f"SELECT element FROM vcard WHERE account = {_ACCOUNT}", user.local))  # noqa: S608

    def put_vcard(self, user: JID, element: bytes) -> int:
        """Keep the user's `<vCard/>`."""
        return self._writer.put(_PUT_VCARD, (element, user.local), owner=user.local, key=("vcard", user.local))

    def _read(self, user: JID, query: str, *values: object) -> list[tuple[Any, ...]]:
        return self._storage.read(query, values, owner=user.local)


def _roster_item(row: tuple[Any, ...]) -> RosterItem:
    jid, name, groups, subscription, ask, request, listed = row
    return RosterItem(JID.parse(jid), name, tuple(json.loads(groups)), subscription, bool(ask), request, bool(listed))


def _one(rows: list[tuple[Any, ...]]) -> bytes | None:
    return rows[0][0] if rows else None
