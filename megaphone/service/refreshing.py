"""A user's rows have changed in the store, by another node or an operator: what the clients here learn of it.

    before (memory) ─┬─ items, block list differ ─► pushes to the clients (RFC 6121 section 2.1.6, XEP-0191 section 3.3)
    after (store)   ─┴─ who may see presence ─────► presence of the sessions here, to them or no longer

Whatever else follows from a change (subscription stanzas, presence of contacts) is told by the node that made it.

Of two versions of a row the one that was written later counts. A node whose disk is slow may write later what another
one, that was told of it at once (`take_contact`), has changed further already. So a row that says what an item was
before our own change, with no word of anybody's since, is not taken: ours is written again, and is the later one then.
Once for each change, or two nodes that have missed each other's words would go on writing for good.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from megaphone.service import blocking, presence, roster
from megaphone.service.session import NO_ITEMS

if TYPE_CHECKING:
    from megaphone.service.home import Home
    from megaphone.service.ports import RosterItem, StoredUser
    from megaphone.service.session import User
    from megaphone.stream.jid import JID


def refresh(home: Home, user: User, stored: StoredUser) -> None:
    """Bring a user with sessions here in line with what the store has."""
    user.preferences = None  # read again by who needs them
    after = {item.jid: item for item in stored.roster}
    _write_again(home, user, after)
    _refresh_roster(home, user, after, stored.roster_version)
    blocking.refresh(home, user, frozenset(stored.blocked))


def _write_again(home: Home, user: User, after: dict[JID, RosterItem]) -> None:
    """Hold on to the changes of ours that rows written late would undo."""
    replaced = user.replaced or {}
    for jid, before in list(replaced.items()):
        ours = user.roster.get(jid)
        if after.get(jid) != before or ours == before:
            continue
        del replaced[jid]
        if ours is None:
            del after[jid]
            home.store.remove_roster_item(user.jid, jid, user.roster_version)
        else:
            after[jid] = ours
            home.store.put_roster_item(user.jid, ours, user.roster_version)


def take_contact(home: Home, user: User, item: RosterItem) -> None:
    """Another node has changed this item; one that is neither listed nor a request is gone."""
    if user.replaced is not None:
        user.replaced.pop(item.jid, None)
    after = {jid: each for jid, each in user.roster.items() if jid != item.jid}
    if item.listed or item.request is not None:
        after[item.jid] = item
    _refresh_roster(home, user, after, user.roster_version + 1)


def _refresh_roster(home: Home, user: User, after: dict[JID, RosterItem], version: int) -> None:
    before = user.roster
    user.roster_version = max(user.roster_version, version)
    if before == after:
        return
    home.touch(user.local, contacts=True)
    user.roster = after or NO_ITEMS
    for jid, item in before.items():
        if item.listed and not (jid in after and after[jid].listed):
            roster.push_removed(home, user, jid)
    for jid, item in after.items():
        if item.listed and _visible(item) != _visible(before.get(jid)):
            roster.push(home, user, item)
    for jid in before.keys() | after.keys():
        if user.blocks(jid):
            continue
        saw, sees = _sees(before.get(jid)), _sees(after.get(jid))
        if saw != sees:
            presence.show_all(home, user, jid, gone=saw)


def _visible(item: RosterItem | None) -> RosterItem | None:
    """Return what clients see of an item."""
    return None if item is None or not item.listed else replace(item, request=None)


def _sees(item: RosterItem | None) -> bool:
    return item is not None and item.subscription in ("from", "both")
