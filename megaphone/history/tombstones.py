"""Tombstones: entries that erase the content of another one (XEP-0424, XEP-0425), whichever of the two comes first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from megaphone.history.content import decode
from megaphone.history.entry import EntryID, Kind, stanza_id

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from megaphone.history.entry import Origin
    from megaphone.history.manifest import RoomID
    from megaphone.history.ports import EntryStore, Placed

TOMBSTONES: Final = frozenset({int(Kind.RETRACTION), int(Kind.MODERATION)})
CONTENTS: Final = frozenset(map(int, Kind))
"""Kinds whose content is read; that of others is only kept."""
MAX_WAITING: Final = 65_536
"""Targets remembered that are not here; if there are more, the store is asked for each entry that comes."""


def counts(tombstone: Placed, target: Placed, moderates: Callable[[Origin], bool]) -> bool:
    """Tell whether a tombstone erases its target: because of who it is from.

    A moderation counts if its origin may moderate. A retraction counts if it is by the same author at the same origin,
    or by the same author's key, whose signature over it names the target; both signatures were checked when they came.
    Nothing erases a tombstone. Of a target without content the author is not known: who has seen it had judged.
    """
    if tombstone.entry.content is None or target.entry.kind in TOMBSTONES:
        return False
    by = decode(tombstone.entry.content)
    if by.target != target.id:
        return False
    if tombstone.entry.kind == Kind.MODERATION:
        return moderates(tombstone.origin)
    same_origin = tombstone.origin == target.origin
    signed = by.author_key is not None and stanza_id(target.id).encode() in by.stanza
    if target.entry.content is None or target.entry.kind not in CONTENTS:
        return same_origin or signed
    of = decode(target.entry.content)
    return (same_origin and by.author == of.author) or (signed and by.author_key == of.author_key)


class Tombstones:
    """Those of one room whose target is not here yet, and the effect of those whose target is."""

    def __init__(self, room: RoomID, store: EntryStore, moderates: Callable[[Origin], bool]) -> None:
        self._room = room
        self._store = store
        self._moderates = moderates
        self._waiting: set[EntryID] = set()
        self._too_many = False
        for tombstone in store.tombstones(room):
            self._await(target_of(tombstone))

    def _await(self, target: EntryID) -> None:
        """Remember a target that is not here."""
        self._too_many = self._too_many or len(self._waiting) >= MAX_WAITING
        if not self._too_many:
            self._waiting.add(target)

    def awaits(self, id_: EntryID) -> bool:
        """Tell whether there may be tombstones for an entry that comes now."""
        return self._too_many or id_ in self._waiting

    def erases(self, target: Placed) -> bool:
        """Tell whether a tombstone for an entry is here, and counts."""
        found = self._store.tombstones(self._room, target.id)
        return any(counts(tombstone, target, self._moderates) for tombstone in found)

    def came(self, targets: Iterable[Placed]) -> None:
        """Forget that entries were waited for; call it when they have been stored."""
        if self._waiting:
            self._waiting.difference_update([target.id for target in targets])

    def target(self, tombstone: Placed) -> Placed | None:
        """Return what a tombstone erases that was just stored; None if it does not count, or its target is awaited."""
        target = self._store.find(self._room, target_of(tombstone))
        if target is None:
            self._await(target_of(tombstone))
            return None
        return target if counts(tombstone, target, self._moderates) else None


def target_of(tombstone: Placed) -> EntryID:
    """Return the id that a tombstone with its content names."""
    return EntryID(decode(tombstone.entry.content or b"").target or b"")
