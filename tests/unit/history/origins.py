"""Origins for tests: real keys, made from a name, and what they write; also what no honest node would."""

from __future__ import annotations

from copy import copy
from functools import cache
from hashlib import sha256

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from megaphone.history.batch import Batch, ids, sealed
from megaphone.history.clock import Clock
from megaphone.history.content import Content, statement
from megaphone.history.entry import FIRST, Entry, EntryID, Kind, Origin, entry
from megaphone.history.log import Log
from megaphone.history.manifest import Manifest
from megaphone.history.memory import MemoryStore
from megaphone.history.ports import EntryStore

NOW_MS = 1_790_000_000_000
ROOM = Manifest("muc", "verona@rooms.example")


class Key:
    """A Signer whose private key is the hash of its name."""

    def __init__(self, name: str) -> None:
        self._key = Ed25519PrivateKey.from_private_bytes(sha256(name.encode()).digest())
        self.origin = Origin(self._key.public_key().public_bytes_raw())

    def sign(self, data: bytes) -> bytes:
        return self._key.sign(data)


@cache
def key(name: str) -> Key:
    return Key(name)


def verify(key: bytes, signature: bytes, data: bytes) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, data)
    except (InvalidSignature, ValueError):
        return False
    return True


class Writer:
    """Writes one feed. `other()` is the same origin at the same place, which forgets what is said from here on."""

    def __init__(self, name: str, room: Manifest = ROOM) -> None:
        self.key = key(name)
        self.origin = self.key.origin
        self.room = room
        self.seq, self.previous, self.ms = 0, FIRST, NOW_MS

    def other(self) -> Writer:
        return copy(self)

    def say(self, *texts: str, seal: bool = True) -> Batch:
        """A batch with one message for each text, a millisecond apart."""
        return self.put(*(Content("romeo@example", text.encode()) for text in texts), seal=seal)

    def put(self, *contents: Content, kind: int = Kind.MESSAGE, seal: bool = True) -> Batch:
        entries = []
        for content in contents:
            self.ms += 1
            entries.append(entry(Clock(self.ms << 16), kind, content.encode()))
        return self.put_entries(*entries, seal=seal)

    def put_entries(self, *entries: Entry, seal: bool = True) -> Batch:
        batch = Batch(self.room.id, self.origin, self.seq + 1, self.previous, entries, b"")
        self.previous = ids(batch)[-1]
        self.seq += len(entries)
        return self.sealed(batch) if seal else batch

    def sealed(self, batch: Batch) -> Batch:
        return batch._replace(seal=self.key.sign(sealed(ids(batch)[-1])))


def signed(name: str, author: str, stanza: bytes, target: EntryID | None = None, room: Manifest = ROOM) -> Content:
    """A content with the author's own signature."""
    author_key = key(name)
    signature = author_key.sign(statement(room.id, author, stanza))
    return Content(author, stanza, target, author_key.origin, signature)


def split(batch: Batch, *lengths: int) -> list[Batch]:
    """The same entries as several batches, of which only the last has the seal."""
    pieces = []
    start = 0
    known = (batch.previous, *ids(batch))
    for length in (*lengths, len(batch.entries)):
        end = min(start + length, len(batch.entries))
        if start < end:
            seal = batch.seal if end == len(batch.entries) else b""
            pieces.append(
                Batch(batch.room, batch.origin, batch.seq + start, known[start], batch.entries[start:end], seal)
            )
        start = end
    return pieces


def log(store: EntryStore | None = None, own: str | None = None, room: Manifest = ROOM) -> Log:
    """A log that trusts everybody whose name does not begin with "stranger"."""
    stranger = key("stranger").origin
    return Log(
        room,
        store if store is not None else MemoryStore(),
        verify,
        lambda origin: origin != stranger,
        own=key(own).origin if own is not None else None,
    )


def texts(log: Log) -> list[str | None]:
    """What is in a log, in order; None for what is erased."""
    found = []
    for placed in log.page(100_000):
        content = log.content(placed)
        found.append(content.stanza.decode() if content is not None else None)
    return found


def state(log: Log) -> tuple[object, ...]:
    """All that replicas agree on."""
    return (
        [(each.id, each.entry) for each in log.page(100_000)],
        {origin: list(spans) for origin, spans in log.spans.items() if spans},
        dict(log.exclusions),
        log.digests,
    )
