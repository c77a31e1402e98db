"""How far a worker has taken for good what the others said to it: for them to ask, should it die before it says so.

    rows of what was taken ─┐
    note: this far          ┴─► one transaction ──► number: what the dead had taken, and need not be said again

Without that, a message whose row was committed a moment before `kill -9`, and not confirmed, would be said again to the
successor, and be kept twice.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from megaphone.errors import StorageError
from megaphone.storage.transaction import Statement

if TYPE_CHECKING:
    from megaphone.storage.storage import Storage

_NOTE: Final = Statement(
    "INSERT INTO taken (home, peer, instance, number) VALUES (?, ?, ?, ?)"
    " ON CONFLICT (home, peer) DO UPDATE SET instance = excluded.instance, number = excluded.number",
    stage=4,
)
_NUMBER: Final = "SELECT number FROM taken WHERE home = ? AND peer = ? AND instance = ?"


class SQLiteTaken:
    """What worker `home` has taken, and what others have."""

    def __init__(self, storage: Storage, home: int) -> None:
        self._storage = storage
        self._writer = storage.writer
        self._home = home

    @property
    def position(self) -> int:
        """The number of the last write that was queued."""
        return self._writer.position

    def note(self, peer: int, instance: bytes, number: int) -> None:
        """Frames of this process of a peer up to `number` are safe when what is queued now is; b"": not known whose."""
        if instance:
            self._writer.put_along(_NOTE, (self._home, peer, instance, number), key=("taken", peer))

    def number(self, peer: int, instance: bytes) -> int:
        """Return up to which frame a peer that is gone has taken what this process of ours said to it; 0: not known."""
        try:
            found = self._storage.read(_NUMBER, (peer, self._home, instance))
        except StorageError:
            return 0
        return found[0][0] if found else 0
