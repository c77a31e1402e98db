"""Histories for tests: a room with two origins whose keys are real, so that every seal can be verified."""

import random
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from megaphone.history import forks
from megaphone.history.batch import Batch, ids, sealed
from megaphone.history.clock import Clock
from megaphone.history.content import Content
from megaphone.history.entry import FIRST, EntryID, Kind, Origin, entry
from megaphone.history.manifest import Manifest
from megaphone.history.ports import EntryStore, Placed
from megaphone.storage.history_file import HistoryFile
from megaphone.storage.node_key import NodeKey, verify

ROOM = Manifest("muc", "hall@rooms.example")
OTHER = Manifest("lan", "kitchen")
START_MS = 1_764_000_000_000
DAY_MS = 86_400_000


def key_of(name: str) -> NodeKey:
    """The same key for a name every time."""
    return NodeKey(Ed25519PrivateKey.from_private_bytes(name.encode().ljust(32, b"-")))


class Writing:
    """An origin that writes on in a room."""

    def __init__(self, name: str, room: Manifest = ROOM, at_ms: int = START_MS) -> None:
        self.key, self.room, self.name = key_of(name), room, name
        self.seq, self.previous, self.at_ms = 0, FIRST, at_ms

    @property
    def origin(self) -> Origin:
        return self.key.origin

    def batch(self, count: int, *, step_ms: int = 1000, text: str = "line") -> tuple[Batch, list[EntryID]]:
        """The next entries, sealed."""
        said = []
        for at in range(count):
            body = f"<message type='groupchat'><body>{text} {self.seq + at + 1}</body></message>"
            said.append((Kind.MESSAGE, Content(f"{self.name}@example", body.encode())))
        return self.say(said, step_ms=step_ms)

    def erase(self, target: EntryID) -> tuple[Batch, list[EntryID]]:
        """A tombstone."""
        return self.say([(Kind.MODERATION, Content(f"{self.name}@example", b"", target))])

    def say(self, said: Sequence[tuple[Kind, Content]], *, step_ms: int = 1000) -> tuple[Batch, list[EntryID]]:
        entries = []
        for kind, content in said:
            self.at_ms += step_ms
            entries.append(entry(Clock(self.at_ms << 16), kind, content.encode()))
        batch = Batch(self.room.id, self.origin, self.seq + 1, self.previous, tuple(entries), b"")
        found = ids(batch)
        self.seq, self.previous = batch.last, found[-1]
        return batch._replace(seal=self.key.sign(sealed(found[-1]))), found


class Written(NamedTuple):
    """A file, what was put into it, and who wrote."""

    path: Path
    entries: dict[tuple[bytes, Origin, int], Placed]
    batches: list[tuple[Batch, list[EntryID]]]

    def wrong(self, store: EntryStore) -> list[Placed]:
        """What a store gives out that was never put, or not like that (bare entries are like those they were)."""
        found = []
        for room in (ROOM, OTHER):
            given = store.newest(room.id, 10_000)
            for origin in store.spans(room.id):
                given += store.feed(room.id, origin, 1, 10_000)
            for each in given:
                put = self.entries.get((room.id, each.origin, each.seq))
                if (
                    put is None
                    or put not in (each, each._replace(entry=put.entry))
                    or (each.entry.content is not None and each != put)
                ):
                    found.append(each)
        return found


def forked(writer: Writing) -> tuple[Origin, int, bytes]:
    """Whom to exclude from where on, and why: two entries at the next seq."""
    before = writer.seq, writer.previous
    one, _ = writer.batch(1, text="one")
    writer.seq, writer.previous = before
    other, _ = writer.batch(2, text="other")
    proof = forks.prove(one, other, verify)
    assert proof is not None
    assert proof.seq == before[0] + 1
    return writer.origin, proof.seq, proof.encode()


def placed_of(batch: Batch, ids_: Sequence[EntryID]) -> list[Placed]:
    before = (batch.previous, *ids_)
    return [
        Placed(batch.origin, batch.seq + at, id_, before[at], each)
        for at, (id_, each) in enumerate(zip(ids_, batch.entries, strict=True))
    ]


def write_file(path: Path, *, batches: int = 12, seed: int = 5) -> Written:
    """Make a file with two rooms, three feeds, tombstones, an erased entry and several days."""
    choice = random.Random(seed)
    writers = [Writing("anna"), Writing("bert"), Writing("anna", OTHER)]
    store = HistoryFile(str(path), verifier=verify)
    store.put_room(ROOM)
    store.put_room(OTHER)
    entries: dict[tuple[bytes, Origin, int], Placed] = {}
    said = []
    for at in range(batches):
        writer = writers[at % 3]
        said.append(writer.batch(choice.randint(1, 9), step_ms=choice.choice((1, 1000, DAY_MS // 5))))
    target = said[0][1][0]
    said.append(writers[1].erase(target))
    for batch, ids_ in said:
        store.put(batch, ids_)
        entries |= {(batch.room, batch.origin, each.seq): each for each in placed_of(batch, ids_)}
    store.erase(ROOM.id, target)
    store.exclude(ROOM.id, *forked(writers[1]))
    assert store.flush()
    assert store.close() == 0
    return Written(path, entries, said)
