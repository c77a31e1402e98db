"""The migration that lets rows be replicated between nodes: which version each row has, and triggers that count writes.

    row_clock     one row once the node has been in a cluster: its hybrid clock, its name as origin of writes, how far
                  the rows from before that have got a version
    row_version   the version of every replicated row, also of rows that are gone; `unsent`: the others do not know yet

Triggers see every writer: all workers and the operators' commands. They do nothing as long as `row_clock` is empty, and
nothing while `applying` is 1, which it is within a transaction that applies what other nodes have written.

What belongs to an account or a room has its parent's `life`: 0, and from each deletion of the parent on the clock of
that. So a row that was written to the former life is never taken for one of the next (storage.replicated_row).

Like every migration it is never changed once it was released; a newer one drops its triggers and makes others.
"""

from __future__ import annotations

from typing import Final

# The numbers of the kinds of rows; see storage.replicated_kinds. Parents come first: they are sent first.
ACCOUNT: Final = 1
ROOM: Final = 2
ROSTER: Final = 3
BLOCK: Final = 4
PRIVATE: Final = 5
VCARD: Final = 6
SUBJECT: Final = 7
AFFILIATION: Final = 8
SECRET: Final = 9

# The name of the one secret that is the same on every node: what unknown users look like. It is made before the node
# is in a cluster, and never again, so that it needs no trigger.
SHARED_SECRET: Final = "logins"  # noqa: S105

_TABLES: Final = """\
CREATE TABLE row_clock (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    last INTEGER NOT NULL,
    origin BLOB NOT NULL,
    applying INTEGER NOT NULL DEFAULT 0,
    accounts INTEGER NOT NULL DEFAULT 0,
    rooms INTEGER NOT NULL DEFAULT 0,
    whole INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE TABLE row_version (
    number INTEGER PRIMARY KEY,
    kind INTEGER NOT NULL,
    owner TEXT NOT NULL,
    item TEXT NOT NULL,
    life INTEGER NOT NULL,
    clock INTEGER NOT NULL,
    origin BLOB NOT NULL,
    deleted INTEGER NOT NULL,
    unsent INTEGER NOT NULL,
    revision INTEGER NOT NULL DEFAULT 0,
    held BLOB,
    UNIQUE (kind, owner, item)
) STRICT;

CREATE INDEX row_unsent ON row_version (kind, number) WHERE unsent = 1;

CREATE INDEX row_deleted ON row_version (clock) WHERE deleted = 1;

CREATE INDEX row_held ON row_version (owner) WHERE held IS NOT NULL;
"""

_COUNTS: Final = "(SELECT applying FROM row_clock) = 0"
_TICK: Final = (
    "UPDATE row_clock SET last = max(last + 1, CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER) << 16);"
)


def _life(parent: int, owner: str) -> str:
    return (
        "ifnull((SELECT parent.life FROM row_version AS parent"  # noqa: S608
        f" WHERE parent.kind = {parent} AND parent.owner = {owner} AND parent.item = ''), 0)"
    )


def _version(kind: int, owner: str, item: str, life: str, deleted: str, more: str = "") -> str:
    """Return the statements that give a row its next version."""
    return (
        f"{_TICK}\n"  # noqa: S608
        "    INSERT INTO row_version (kind, owner, item, life, clock, origin, deleted, unsent)"
        f" SELECT {kind}, {owner}, {item}, {life}, row_clock.last, row_clock.origin, {deleted}, 1 FROM row_clock"
        f"{more or ' WHERE true'}\n"
        "    ON CONFLICT (kind, owner, item) DO UPDATE SET life = excluded.life, clock = excluded.clock,"
        " origin = excluded.origin, deleted = excluded.deleted, unsent = 1, held = NULL;"
    )


def _trigger(name: str, event: str, when: str, *work: str) -> str:
    body = "\n    ".join(work)
    return f"CREATE TRIGGER row_{name} {event}\nWHEN {when}\nBEGIN\n    {body}\nEND;\n"


def _child(table: str, kind: int, item: str, parent: int, parent_table: str) -> list[str]:
    """Return the triggers of a table whose rows belong to an account or a room, by the column of its name."""
    triggers = []
    for event, row, deleted in (("INSERT", "NEW", 0), ("UPDATE", "NEW", 0), ("DELETE", "OLD", 1)):
        owner = f"{parent_table}.name"
        work = _version(
            kind,
            owner,
            f"{row}.{item}" if item else "''",
            _life(parent, owner),
            str(deleted),
            f" CROSS JOIN {parent_table} ON {parent_table}.id = {row}.{parent_table} WHERE true",
        )
        triggers.append(_trigger(f"{table}_{event.lower()}", f"AFTER {event} ON {table}", _COUNTS, work))
    return triggers


def _parent(
    table: str, kind: int, columns: str, changed: str, children: tuple[str, ...], kinds: str, also: str = ""
) -> list[str]:
    written = _version(kind, "NEW.name", "''", _life(kind, "NEW.name"), "0")
    removed = _version(kind, "OLD.name", "''", "row_clock.last", "1")
    emptied = [f"DELETE FROM {child} WHERE {table} = OLD.id;" for child in children]  # noqa: S608
    held = (
        "UPDATE row_version SET deleted = 1, held = NULL, unsent = 1"  # noqa: S608
        f" WHERE owner = OLD.name AND held IS NOT NULL AND kind IN ({kinds});"
    )
    # Their triggers need the parent's name, so they go before it and not by the foreign key.
    return [
        _trigger(f"{table}_insert", f"AFTER INSERT ON {table}", _COUNTS, written),
        _trigger(f"{table}_update", f"AFTER UPDATE OF {columns} ON {table}", f"{_COUNTS} AND ({changed})", written),
        _trigger(f"{table}_empty", f"BEFORE DELETE ON {table}", _COUNTS, *emptied, *([also] if also else [])),
        _trigger(f"{table}_delete", f"AFTER DELETE ON {table}", _COUNTS, removed, held),
    ]


def _subject(row: str, deleted: str) -> str:
    return _version(SUBJECT, f"{row}.name", "''", _life(ROOM, f"{row}.name"), deleted, f" WHERE {row}.name IS NOT NULL")


_ACCOUNT_COLUMNS: Final = (
    "created, changed, disabled, sha1_salt, sha1_iterations, sha1_stored_key, sha1_server_key,"
    " sha256_salt, sha256_iterations, sha256_stored_key, sha256_server_key"
)


def _changed(columns: str) -> str:
    return " OR ".join(f"OLD.{column} IS NOT NEW.{column}" for column in columns.split(", "))


_TRIGGERS: Final = (
    *_parent("account", ACCOUNT, _ACCOUNT_COLUMNS, "true", ("roster", "block", "private", "vcard"), "3, 4, 5, 6"),
    *_parent(
        "room",
        ROOM,
        "config, creator, created, secret",
        _changed("config, creator, created, secret"),
        ("affiliation",),
        "7, 8",
        f"{_subject('OLD', '1')}",
    ),
    _trigger("subject_insert", "AFTER INSERT ON room", f"{_COUNTS} AND NEW.subject IS NOT NULL", _subject("NEW", "0")),
    _trigger(
        "subject_update",
        "AFTER UPDATE OF subject, subject_time ON room",
        f"{_COUNTS} AND ({_changed('subject, subject_time')})",
        _subject("NEW", "NEW.subject IS NULL"),
    ),
    *_child("roster", ROSTER, "jid", ACCOUNT, "account"),
    *_child("block", BLOCK, "jid", ACCOUNT, "account"),
    *_child("private", PRIVATE, "name", ACCOUNT, "account"),
    *_child("vcard", VCARD, "", ACCOUNT, "account"),
    *_child("affiliation", AFFILIATION, "jid", ROOM, "room"),
)

ROWS: Final = "\n".join((_TABLES, *_TRIGGERS))
