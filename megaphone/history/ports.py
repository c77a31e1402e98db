"""What history needs of the world: signatures, and a place for entries."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from megaphone.history.batch import Batch
    from megaphone.history.clock import Clock
    from megaphone.history.entry import Entry, EntryID, Origin
    from megaphone.history.manifest import Manifest, RoomID


class Signer(Protocol):
    """The private key of this node."""

    @property
    def origin(self) -> Origin:
        """The public key."""
        ...

    def sign(self, data: bytes) -> bytes:
        """Return the Ed25519 signature, 64 bytes."""
        ...


class Verifier(Protocol):
    """Ed25519 verification."""

    def __call__(self, key: bytes, signature: bytes, data: bytes) -> bool:
        """Tell whether `signature` is one over `data` by `key`."""
        ...


class Placed(NamedTuple):
    """An entry with its place: what a store gives out."""

    origin: Origin
    seq: int
    id: EntryID
    previous: EntryID
    entry: Entry


class Span(NamedTuple):
    """A run of entries of one feed that are here, none missing: `first` to `last` seq, both included."""

    first: int
    last: int
    before: EntryID
    """Previous id of the first."""
    head: EntryID
    """Id of the last."""


class Tip(NamedTuple):
    """The furthest entry of a feed that was ever put into a store, whether it is there still or not."""

    seq: int
    id: EntryID
    clock: Clock


class EntryStore(Protocol):
    """Where the entries of all rooms lie. Writes are durable when `position` says so; reads see all writes."""

    def rooms(self) -> Sequence[Manifest]:
        """Return the manifests of all rooms of which something is kept."""
        ...

    def put_room(self, manifest: Manifest) -> None:
        """Keep a room's manifest; entries of unknown rooms cannot be put."""
        ...

    def put(self, batch: Batch, ids: Sequence[EntryID]) -> int:
        """Keep the entries of a batch, whose ids are `ids`, and its seal if it has one; returns the write's position.

        None of them is here already, and none is excluded: the log sees to that.
        """
        ...

    def seal(self, room: RoomID, origin: Origin, seq: int) -> tuple[int, bytes] | None:
        """Return the first seal at `seq` or after: the seq of its entry, and the signature; None if there is none."""
        ...

    def spans(self, room: RoomID) -> dict[Origin, list[Span]]:
        """Return which entries of each feed are here, in order, apart by at least one entry."""
        ...

    def tip(self, room: RoomID, origin: Origin) -> Tip | None:
        """Return the entry with the greatest seq of a feed that was ever put, also if it is lost, dropped or excluded.

        It is never before the last span, and never goes back as long as the store itself stays: a node's own feed goes
        on behind it. None if nothing was put, or if the store itself is not the one that it was put into.
        """
        ...

    def feed(self, room: RoomID, origin: Origin, first: int, last: int) -> list[Placed]:
        """Return the entries of a feed that are here from seq `first` to `last`, both included, in order."""
        ...

    def mentions(self, room: RoomID, origin: Origin, first: int, last: int, mention: bytes) -> list[int]:
        """Return which of these entries that are here have certain bytes in their content, or no content: their seqs.

        They rise; it takes a fraction of the time that reading the entries takes.
        """
        ...

    def newest(self, room: RoomID, count: int, before: tuple[Clock, Origin, int] | None = None) -> list[Placed]:
        """Return the last `count` entries of the log (before a place in it), oldest first."""
        ...

    def find(self, room: RoomID, id_: EntryID) -> Placed | None:
        """Return the entry with an id."""
        ...

    def ids(self, room: RoomID, day: int | None = None) -> Iterable[EntryID]:
        """Return the ids of a room's entries (of one day), in no particular order."""
        ...

    def digests(self, room: RoomID) -> dict[int, tuple[int, int]]:
        """Return by day how many entries there are, and the sum of the first 16 bytes of their ids modulo 2^128."""
        ...

    def erase(self, room: RoomID, id_: EntryID) -> int:
        """Drop an entry's content, keep its place; returns the write's position."""
        ...

    def restore(self, room: RoomID, id_: EntryID, content: bytes) -> int:
        """Give a bare entry its content back, whose hash has been checked; returns the write's position."""
        ...

    def tombstones(self, room: RoomID, target: EntryID | None = None) -> list[Placed]:
        """Return the retractions and moderations of an entry (those that have their contents).

        Without a target: those whose target is not here.
        """
        ...

    def exclude(self, room: RoomID, origin: Origin, seq: int, proof: bytes) -> int:
        """Take an origin's entries and seals from `seq` on out of the room, and keep the proof why.

        Another proof for the same origin takes the place of the one before; the lower seq is the one that comes last.
        """
        ...

    def exclusions(self, room: RoomID) -> dict[Origin, tuple[int, bytes]]:
        """Return which origins are excluded from which seq on, with the proof."""
        ...
