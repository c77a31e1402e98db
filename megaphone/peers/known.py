"""What a user knows of peers: where they were last met (table `peers`), and which key is whose (table `pins`).

A small file beside the history's, which may be damaged, put aside and mended without anybody's key being forgotten.
Writes are small and rare: a peer was met.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from typing import TYPE_CHECKING, Final, NamedTuple

from megaphone.errors import StorageError
from megaphone.history.entry import Origin
from megaphone.peers.pins import Pin

if TYPE_CHECKING:
    from collections.abc import Iterator

    from megaphone.peers.connection import Address

ADDRESSES_LIMIT: Final = 256  # the one seen longest ago is forgotten first
BUSY_SECONDS: Final = 2.0

_TABLES: Final = (
    """\
CREATE TABLE IF NOT EXISTS peers (
    host TEXT NOT NULL,
    port INTEGER NOT NULL,
    key BLOB NOT NULL,
    name TEXT NOT NULL,
    seen REAL NOT NULL,
    PRIMARY KEY (host, port)
) STRICT, WITHOUT ROWID""",
    """\
CREATE TABLE IF NOT EXISTS pins (
    name TEXT PRIMARY KEY,
    shown TEXT NOT NULL,
    key BLOB NOT NULL
) STRICT, WITHOUT ROWID""",
    """\
CREATE TABLE IF NOT EXISTS listening (
    id INTEGER PRIMARY KEY CHECK (id = 0),
    port INTEGER NOT NULL
) STRICT""",
)


class Met(NamedTuple):
    """Where a peer was met; `seen` is in seconds since 1970."""

    address: Address
    key: Origin
    name: str
    seen: float


class Known:
    """The tables in a file, which is made if there is none. Every method: StorageError if the file cannot be used."""

    def __init__(self, path: str) -> None:
        self._path = path
        with self._words():
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))  # for nobody else's eyes
            self._connection = sqlite3.connect(path, isolation_level=None, timeout=BUSY_SECONDS)
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("PRAGMA synchronous = NORMAL")
            for table in _TABLES:
                self._connection.execute(table)

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def peers(self) -> list[Met]:
        """Return where peers were met, the last one first."""
        with self._words():
            rows = self._connection.execute("SELECT host, port, key, name, seen FROM peers ORDER BY seen DESC")
            return [Met((host, port), Origin(key), name, seen) for host, port, key, name, seen in rows]

    def met(self, peer: Met) -> None:
        """Remember where a peer was met, in place of whoever was there before."""
        with self._words():
            self._connection.execute(
                "INSERT OR REPLACE INTO peers (host, port, key, name, seen) VALUES (?, ?, ?, ?, ?)",
                (*peer.address, peer.key, peer.name, peer.seen),
            )
            self._connection.execute(
                "DELETE FROM peers WHERE (host, port) IN"
                " (SELECT host, port FROM peers ORDER BY seen DESC LIMIT -1 OFFSET ?)",
                (ADDRESSES_LIMIT,),
            )

    def pins(self) -> dict[str, Pin]:
        """Return the pins by name."""
        with self._words():
            rows = self._connection.execute("SELECT name, shown, key FROM pins")
            return {name: Pin(shown, Origin(key)) for name, shown, key in rows}

    def put_pin(self, name: str, pin: Pin) -> None:
        """Keep a pin, in place of the one there was."""
        with self._words():
            self._connection.execute("INSERT OR REPLACE INTO pins (name, shown, key) VALUES (?, ?, ?)", (name, *pin))

    @property
    def port(self) -> int | None:
        """The port that this user listened on last, where peers will look for it."""
        with self._words():
            row = self._connection.execute("SELECT port FROM listening").fetchone()
            return None if row is None else int(row[0])

    def put_port(self, port: int) -> None:
        """Remember the port."""
        with self._words():
            self._connection.execute("INSERT OR REPLACE INTO listening (id, port) VALUES (0, ?)", (port,))

    @contextlib.contextmanager
    def _words(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise StorageError(self._path, str(error)) from error
