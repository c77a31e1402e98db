"""The store in memory keeps the contract of all stores, and forgets what it is told to."""

from pathlib import Path

from megaphone.history.entry import FIRST
from megaphone.history.memory import MemoryStore
from megaphone.history.ports import EntryStore, Span
from tests.unit.history.store_contract import ANNA, ROOM, Author, StoreContract, digests_of, put


class TestMemoryStore(StoreContract):
    def make(self, directory: Path) -> EntryStore:
        return MemoryStore()


def test_what_is_dropped_can_be_put_again() -> None:
    store = MemoryStore()
    store.put_room(ROOM)
    author = Author(ANNA)
    written = [author.write(1, 2, 3), author.write(4, 5)]
    put(store, *written)
    placed = [each for one in written for each in one.placed]
    store.drop(ROOM.id, ANNA, 3, 4)
    left = [*placed[:2], placed[4]]
    assert store.newest(ROOM.id, 9) == left
    assert store.digests(ROOM.id) == digests_of(left)
    assert store.spans(ROOM.id) == {ANNA: [Span(1, 2, FIRST, placed[1].id), Span(5, 5, placed[3].id, placed[4].id)]}
    assert store.seal(ROOM.id, ANNA, 1) == (5, written[1].batch.seal)
    put(store, *written)
    assert store.newest(ROOM.id, 9) == placed
    assert store.digests(ROOM.id) == digests_of(placed)
