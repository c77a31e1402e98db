"""Who is what to one room, there or not: affiliations by bare JID (XEP-0045 section 5.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from megaphone.rooms.ports import Affiliated, Affiliation
from megaphone.stream.jid import JID

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


class Affiliations:
    """The affiliations of one room. A domain, too, may be an outcast: all its users are then."""

    __slots__ = ("_entries", "owners")

    def __init__(self, entries: Iterable[Affiliated] = ()) -> None:
        self._entries = {entry.jid: entry for entry in entries}
        self.owners = sum(entry.affiliation is Affiliation.OWNER for entry in self._entries.values())

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[Affiliated]:
        return iter(self._entries.values())

    def of(self, jid: JID) -> Affiliation:
        """Return the affiliation of a bare JID, or of a full one's."""
        entry = self._entries.get(jid.bare)
        if entry is None:
            entry = self._entries.get(JID("", jid.domain))
            if entry is None or entry.affiliation is not Affiliation.OUTCAST:
                return Affiliation.NONE
        return entry.affiliation

    def entered(self, jid: JID) -> Affiliation:
        """Return what was entered for exactly this bare JID: a ban of its domain does not show."""
        entry = self._entries.get(jid)
        return Affiliation.NONE if entry is None else entry.affiliation

    def put(self, affiliated: Affiliated) -> None:
        """Enter an affiliation in place of the former one; NONE takes it out."""
        self.owners -= self.entered(affiliated.jid) is Affiliation.OWNER
        self._entries.pop(affiliated.jid, None)
        if affiliated.affiliation is not Affiliation.NONE:
            self._entries[affiliated.jid] = affiliated
            self.owners += affiliated.affiliation is Affiliation.OWNER
