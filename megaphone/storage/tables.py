"""The tables of the database, as the migrations that made them; `PRAGMA user_version` counts those that were applied.

A migration that was released is never changed: a newer one follows it. An empty line ends a statement.

    account ◄── roster, block, private, vcard, spool        by the account's number; they go with their account
    account ◄── archive                                     what was said to and by users, if that is kept
    room ◄── affiliation                                    by the room's number; they go with their room
    history                                                 by the room's name: it may outlive the room's configuration

People in rooms are kept by their JID: they need not have an account here. Accounts and rooms are kept by the local part
of their JID: a database has one domain of users and one of rooms, whose names the configuration gives.
"""

from typing import Final

APPLICATION_ID: Final = 0x4D504731  # "MPG1", in the file's header: what `file` and we know the database by

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
)
