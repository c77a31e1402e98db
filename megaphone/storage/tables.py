"""The tables of the database, as the migrations that made them; `PRAGMA user_version` counts those that were applied.

A migration that was released is never changed: a newer one follows it. An empty line ends a statement.

    account ◄── roster, block, private, vcard, spool        by the account's number; they go with their account
    room ◄── affiliation                                    by the room's number; they go with their room
    history, archive                                        what was said before archives were logs, until it is moved
    log_*                                                   replicated histories, also in a file of their own: see LOG
    row_*                                                   versions of the rows that all nodes have: replicated_tables
    log_origin                                              the nodes whose entries are taken
    taken                                                   how far workers have taken what others have said to them

People in rooms are kept by their JID: they need not have an account here. Accounts and rooms are kept by the local part
of their JID: a database has one domain of users and one of rooms, whose names the configuration gives.
"""

from typing import Final

from megaphone.storage.replicated_tables import ROWS

APPLICATION_ID: Final = 0x4D504731  # "MPG1", in the file's header: what `file` and we know the database by

HISTORY_APPLICATION_ID: Final = 0x4D504748  # "MPGH": a file with histories and nothing else

LOG: Final = """\
CREATE TABLE log_room (
    number INTEGER PRIMARY KEY,
    id BLOB NOT NULL UNIQUE,
    kind TEXT NOT NULL,
    name TEXT NOT NULL
) STRICT;

CREATE TABLE log_feed (
    number INTEGER PRIMARY KEY,
    room INTEGER NOT NULL,
    origin BLOB NOT NULL,
    tip BLOB,
    excluded INTEGER,
    proof BLOB,
    suspect INTEGER NOT NULL DEFAULT 0,
    UNIQUE (room, origin)
) STRICT;

CREATE TABLE log_run (
    n INTEGER PRIMARY KEY,
    feed INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    count INTEGER NOT NULL,
    previous BLOB
) STRICT;

CREATE UNIQUE INDEX log_run_seq ON log_run (feed, seq);

CREATE TABLE log_entry (
    n INTEGER PRIMARY KEY,
    clock INTEGER NOT NULL,
    kind INTEGER NOT NULL,
    id BLOB NOT NULL,
    hash BLOB,
    content BLOB
) STRICT;

CREATE INDEX log_entry_id ON log_entry (substr(id, 1, 4));

CREATE TABLE log_seal (
    feed INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    signature BLOB NOT NULL,
    PRIMARY KEY (feed, seq)
) STRICT, WITHOUT ROWID;

CREATE TABLE log_day (
    feed INTEGER NOT NULL,
    day INTEGER NOT NULL,
    count INTEGER NOT NULL,
    sum BLOB NOT NULL,
    bytes INTEGER NOT NULL,
    PRIMARY KEY (feed, day)
) STRICT, WITHOUT ROWID;

CREATE TABLE log_tombstone (
    room INTEGER NOT NULL,
    target BLOB NOT NULL,
    n INTEGER NOT NULL,
    PRIMARY KEY (room, target, n)
) STRICT, WITHOUT ROWID;
"""
"""Replicated histories (docs/reference/history.md).

    log_room ◄── log_feed ◄── log_run ──► log_entry     a run: `count` entries from `seq` on, in the rows from `n` on
                    ▲
                    └── log_seal, log_day                signatures; the digest of each day; `bytes` are of contents

An entry's row has no room, origin, seq or previous id: runs say them, so that an entry takes 54 bytes beside its
content, and the index of its id (4 bytes of it are enough to find it) about 20. `hash` is there only when the content
is gone. `previous` is there where a run begins behind a gap. `tip`: seq, id and clock of the last entry that a feed
ever had here, with a checksum; it stays when that is lost or dropped, so that a node never says two things at one seq
of its own feed.
"""

ORIGINS: Final = """\
CREATE TABLE log_origin (
    origin BLOB PRIMARY KEY,
    name TEXT NOT NULL,
    seen REAL NOT NULL
) STRICT, WITHOUT ROWID;
"""
"""The keys of the nodes that were ever seen in the cluster: nobody else's entries are taken."""

TAKEN: Final = """\
CREATE TABLE taken (
    home INTEGER NOT NULL,
    peer INTEGER NOT NULL,
    instance BLOB NOT NULL,
    number INTEGER NOT NULL,
    PRIMARY KEY (home, peer)
) STRICT, WITHOUT ROWID;
"""
"""Up to which frame worker `home` has taken for good what this process of worker `peer` has said to it (bus.local)."""

MIGRATIONS: Final[tuple[str, ...]] = (
    """\
CREATE TABLE secret (
    name TEXT PRIMARY KEY,
    value BLOB NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE account (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL UNIQUE,
    created REAL NOT NULL,
    changed REAL NOT NULL,
    disabled INTEGER NOT NULL DEFAULT 0,
    sha1_salt BLOB NOT NULL,
    sha1_iterations INTEGER NOT NULL,
    sha1_stored_key BLOB NOT NULL,
    sha1_server_key BLOB NOT NULL,
    sha256_salt BLOB NOT NULL,
    sha256_iterations INTEGER NOT NULL,
    sha256_stored_key BLOB NOT NULL,
    sha256_server_key BLOB NOT NULL,
    roster_version INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE TABLE roster (
    account INTEGER NOT NULL REFERENCES account (id) ON DELETE CASCADE,
    jid TEXT NOT NULL,
    name TEXT NOT NULL,
    groups TEXT NOT NULL,
    subscription TEXT NOT NULL,
    ask INTEGER NOT NULL,
    request BLOB,
    listed INTEGER NOT NULL,
    PRIMARY KEY (account, jid)
) STRICT, WITHOUT ROWID;

CREATE TABLE block (
    account INTEGER NOT NULL REFERENCES account (id) ON DELETE CASCADE,
    jid TEXT NOT NULL,
    PRIMARY KEY (account, jid)
) STRICT, WITHOUT ROWID;

CREATE TABLE private (
    account INTEGER NOT NULL REFERENCES account (id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    element BLOB NOT NULL,
    PRIMARY KEY (account, name)
) STRICT;

CREATE TABLE vcard (
    account INTEGER PRIMARY KEY REFERENCES account (id) ON DELETE CASCADE,
    element BLOB NOT NULL
) STRICT;

CREATE TABLE spool (
    id INTEGER PRIMARY KEY,
    account INTEGER NOT NULL REFERENCES account (id) ON DELETE CASCADE,
    at REAL NOT NULL,
    held INTEGER NOT NULL,
    stanza BLOB NOT NULL
) STRICT;

CREATE INDEX spool_account ON spool (account);

CREATE TABLE room (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    config TEXT NOT NULL,
    creator TEXT NOT NULL,
    created REAL NOT NULL,
    secret BLOB NOT NULL,
    subject BLOB,
    subject_time REAL
) STRICT;

CREATE TABLE affiliation (
    room INTEGER NOT NULL REFERENCES room (id) ON DELETE CASCADE,
    jid TEXT NOT NULL,
    affiliation TEXT NOT NULL,
    reason TEXT NOT NULL,
    PRIMARY KEY (room, jid)
) STRICT, WITHOUT ROWID;

CREATE INDEX affiliation_jid ON affiliation (jid);

CREATE TABLE history (
    room TEXT NOT NULL,
    id INTEGER NOT NULL,
    time REAL NOT NULL,
    nick TEXT NOT NULL,
    stanza BLOB NOT NULL,
    PRIMARY KEY (room, id)
) STRICT, WITHOUT ROWID;
""",
    # Columns are added and none goes: while a node is upgraded, the processes before go on writing their rows.
    """\
ALTER TABLE history ADD COLUMN kind INTEGER NOT NULL DEFAULT 1;

ALTER TABLE history ADD COLUMN author TEXT NOT NULL DEFAULT '';

ALTER TABLE history ADD COLUMN message TEXT NOT NULL DEFAULT '';

ALTER TABLE history ADD COLUMN erased INTEGER NOT NULL DEFAULT 0;

CREATE TABLE archive (
    account INTEGER NOT NULL REFERENCES account (id) ON DELETE CASCADE,
    id INTEGER NOT NULL,
    time REAL NOT NULL,
    kind INTEGER NOT NULL,
    author TEXT NOT NULL,
    peer TEXT NOT NULL,
    resource TEXT NOT NULL,
    message TEXT NOT NULL,
    stanza BLOB NOT NULL,
    erased INTEGER NOT NULL,
    PRIMARY KEY (account, id)
) STRICT, WITHOUT ROWID;

CREATE INDEX archive_peer ON archive (account, peer, id);
""",
    LOG,
    ROWS,
    ORIGINS,
    TAKEN,
)
