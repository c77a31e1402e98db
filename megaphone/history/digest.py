"""The digest of a set of entries: how many, and the sum of their ids. Who has the same, has the same set.

Sums can be added and taken apart, in any order: a day's, a room's, what the other would have if it lacked nothing but
these. The first 16 bytes of an id count, as a number modulo 2^128. Whoever can choose ids freely may find other sets
with the same sum (Wagner, "A Generalized Birthday Problem", 2002); it would be entries that are signed, and that he
keeps from one replica only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from megaphone.history.entry import EntryID

ID_BYTES: Final = 16
"""How much of an id counts."""
MODULUS: Final = 1 << 8 * ID_BYTES


class Digest(NamedTuple):
    """Of a set of entries."""

    entries: int
    total: int
    """Sum of their ids, below 2^128."""

    def plus(self, other: Digest) -> Digest:
        """Return the digest of both sets together, which have nothing in common."""
        return Digest(self.entries + other.entries, (self.total + other.total) % MODULUS)

    def minus(self, other: Digest) -> Digest:
        """Return the digest of what is left without the other set, which is part of this one."""
        return Digest(self.entries - other.entries, (self.total - other.total) % MODULUS)


NOTHING: Final = Digest(0, 0)


def of(ids: Iterable[EntryID]) -> Digest:
    """Return the digest of the entries with these ids, each once."""
    numbers = [int.from_bytes(id_[:ID_BYTES]) for id_ in ids]
    return Digest(len(numbers), sum(numbers) % MODULUS)


def since(days: Mapping[int, tuple[int, int]], from_day: int = 0) -> Digest:
    """Return the digest of all days from `from_day` on."""
    chosen = [each for day, each in days.items() if day >= from_day]
    return Digest(sum(entries for entries, _ in chosen), sum(total for _, total in chosen) % MODULUS)
