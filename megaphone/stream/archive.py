"""An archive of messages: its entries, a page of them, and what those who fill and read it need of who keeps it.

    Said ── append ──► Archived ── page(Wanted) ──► Page

The order of an archive is that in which entries were appended; times may repeat, or go back with the clock. An entry
keeps its id and its place when its content is erased. What is dropped for age or number is the oldest, and ids are
never given twice (XEP-0313 section 3).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from megaphone.errors import ArchiveError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from megaphone.stream.jid import JID

PAGE_BYTES: Final = 1_048_576  # of the stanzas in one page, the first one aside
UNKNOWN_ID: Final = "the archive has no such message, or has it no more"


class Said(NamedTuple):
    """What is to be archived. `kind` is one of `history.entry.Kind`, `time` Unix seconds.

    `stanza` has no stanza-id of the archive, in rooms no `to`; it stands below a stream header with RFC 6120's
    declarations. `author` is the bare JID of who said it, `peer` that of the other side, whose resource may be given;
    in a room, `peer` is the author, and `resource` the nick. `message` is the id that the author's client gave it.
    """

    time: float
    kind: int
    author: str
    peer: str
    resource: str
    stanza: bytes
    message: str = ""


class Archived(NamedTuple):
    """An entry: `id` is its stanza-id (XEP-0359). Of an erased one the stanza is what stands in its place."""

    id: str
    said: Said
    erased: bool = False


class Erasure(NamedTuple):
    """Which entry another one erases, and the stanza that stands in its place from then on."""

    id: str
    placeholder: bytes

    def of(self, entry: Archived) -> Archived:
        """Return what is left of the entry."""
        return Archived(entry.id, entry.said._replace(stanza=self.placeholder), erased=True)


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which page: behind all ids of `after`, before all of `before`, and only what matches everything that is given.

    `max` is 0 for a count without entries. `start` and `end` are Unix seconds, both included; `backwards` means the
    last page of all that match, not the first.
    """

    max: int
    after: tuple[str, ...] = ()
    before: tuple[str, ...] = ()
    backwards: bool = False
    start: float = float("-inf")
    end: float = float("inf")
    peer: str | None = None
    resource: str | None = None
    ids: tuple[str, ...] | None = None

    @property
    def named(self) -> frozenset[str]:
        """All ids that must be in the archive, or the query is answered with item-not-found."""
        return frozenset((*self.after, *self.before, *(self.ids or ())))

    def matches(self, entry: Archived) -> bool:
        """Whether an entry that lies between the ids is wanted."""
        said = entry.said
        return (
            self.start <= said.time <= self.end
            and self.peer in (None, said.peer)
            and self.resource in (None, said.resource)
            and (self.ids is None or entry.id in self.ids)
        )


class Page(NamedTuple):
    """Entries in the archive's order. `complete`: nothing that matches is left behind (backwards: before) them.

    `total` of all that match is given where `max` was 0. `stable` is false while more may come into the middle of it.
    """

    entries: tuple[Archived, ...]
    complete: bool
    total: int | None = None
    stable: bool = True


class Archive(Protocol):
    """Archives by the bare JID of a room or user. A write returns at once; reads see all writes of this process."""

    def append(self, owner: JID, said: Said, *, erases: Erasure | None = None, erased: bool = False) -> Archived:
        """Keep an entry, and return it as it is kept; StorageError, and nothing is done, if it cannot be.

        `erases`: of a retraction or moderation, what it takes away for good. `erased`: it is one of those itself.
        """

    def find(self, owner: JID, id_: str) -> Archived | None:
        """Return the entry with an id."""

    def find_message(self, owner: JID, peer: str, author: str, message: str) -> Archived | None:
        """Return the newest entry that is not erased by who said it, to or from whom, and its client's id."""

    def page(self, owner: JID, wanted: Wanted) -> Page:
        """Return a page; ArchiveError("item-not-found") if an id that is named in it is not in the archive."""

    def tail(self, owner: JID, count: int) -> Sequence[Archived]:
        """Return the last `count` entries (1 or more), of any kind, oldest first."""

    def ends(self, owner: JID) -> tuple[Archived, Archived] | None:
        """Return the first and the last entry; None if there is none."""

    def forget(self, owner: JID) -> object:
        """Drop the whole archive; its owner is no more."""


class Counts:
    """What the archives of one worker have been used for."""

    __slots__ = ("appended", "erased", "given", "queries")

    def __init__(self) -> None:
        self.appended = 0
        self.erased = 0
        self.queries = 0
        """That were answered with a page."""
        self.given = 0
        """Entries in these pages."""

    def count_page(self, page: Page) -> None:
        """One more query has been answered."""
        self.queries += 1
        self.given += len(page.entries)


def page_of(entries: Sequence[Archived], wanted: Wanted, *, whole: bool) -> Page | None:
    """Return a page of what is in memory: of the last entries of an archive, oldest first, or of all (`whole`).

    None if entries before these might belong to it. ArchiveError("item-not-found") for an unknown id.
    """
    places = {entry.id: place for place, entry in enumerate(entries)}
    if not wanted.named <= places.keys():
        if whole:
            raise ArchiveError("item-not-found", UNKNOWN_ID)
        return None
    first = max((places[id_] + 1 for id_ in wanted.after), default=0)
    behind = min((places[id_] for id_ in wanted.before), default=len(entries))
    found = [entry for entry in entries[first:behind] if wanted.matches(entry)]
    if whole or wanted.after or wanted.ids is not None:
        return cut(found, wanted, total=len(found) if wanted.max == 0 else None)
    if wanted.backwards and 0 < wanted.max < len(found):
        return cut(found, wanted)
    return None


def cut(found: Sequence[Archived], wanted: Wanted, *, total: int | None = None) -> Page:
    """Return the page of entries that match, of which there may be more than wanted: they are too many then."""
    if wanted.max == 0:
        return Page((), complete=not found, total=total)
    sizes = [len(entry.said.stanza) for entry in found]
    taken = page_length(sizes[::-1] if wanted.backwards else sizes, wanted.max)
    chosen = found[len(found) - taken :] if wanted.backwards else found[:taken]
    return Page(tuple(chosen), complete=taken == len(found))


def page_length(sizes: Sequence[int], maximum: int) -> int:
    """Return how many entries of these sizes one page has: at least one, and no more bytes than PAGE_BYTES."""
    total = 0
    for taken, size in enumerate(sizes):
        total += size
        if taken == maximum or (taken and total > PAGE_BYTES):
            return taken
    return len(sizes)
