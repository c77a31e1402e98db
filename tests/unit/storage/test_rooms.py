"""Rooms on SQLite: any sequence of writes is read back as from the dictionaries of the rooms' own tests."""

import shutil
from dataclasses import replace
from tempfile import TemporaryDirectory

from hypothesis import given, settings
from hypothesis import strategies as st

from megaphone.rooms.ports import (
    Affiliated,
    Affiliation,
    AllowPM,
    Role,
    RoomConfig,
    RoomRecord,
    RoomStore,
    Subject,
    Whois,
)
from megaphone.storage.database import database_path
from megaphone.storage.rooms import SQLiteRooms
from megaphone.storage.storage import Storage
from megaphone.stream.jid import JID
from tests.unit.rooms.memory_store import MemoryStore
from tests.unit.storage.conftest import JULIET, ROMEO

DOMAIN = "rooms.montague.example"
HALL, ORCHARD = JID("hall", DOMAIN), JID("örchard", DOMAIN)
ROOMS = st.sampled_from([HALL, ORCHARD])
TEXTS = st.text(st.characters(codec="utf-8"), max_size=10)
CONFIGS = st.builds(
    RoomConfig,
    name=TEXTS,
    description=TEXTS,
    persistent=st.booleans(),
    public=st.booleans(),
    members_only=st.booleans(),
    moderated=st.booleans(),
    password=TEXTS,
    max_users=st.integers(0, 10**6),
    whois=st.sampled_from(Whois),
    change_subject=st.booleans(),
    allow_pm=st.sampled_from(AllowPM),
    allow_invites=st.booleans(),
    presence_broadcast=st.lists(st.sampled_from(Role), unique=True).map(tuple),
    history_length=st.integers(0, 200),
)
RECORDS = st.builds(
    RoomRecord,
    room=ROOMS,
    config=CONFIGS,
    creator=st.sampled_from([ROMEO, JULIET]),
    created=st.floats(0, 2e9),
    secret=st.binary(min_size=32, max_size=32),
    subject=st.none() | st.builds(Subject, message=st.binary(max_size=20), time=st.floats(0, 2e9)),
)
AFFILIATED = st.builds(
    Affiliated, jid=st.sampled_from([ROMEO, JULIET]), affiliation=st.sampled_from(Affiliation), reason=TEXTS
)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("put_room"), RECORDS),
        st.tuples(st.just("put_affiliation"), ROOMS, AFFILIATED),
        st.tuples(st.just("delete_room"), ROOMS),
        st.tuples(st.sampled_from(["read", "flush", "reopen"])),
    ),
    max_size=30,
)


def everything(store: RoomStore) -> object:
    return (
        sorted((record for record in store.rooms()), key=lambda record: record.room),
        [sorted(store.affiliations(room), key=lambda each: each.jid) for room in (HALL, ORCHARD)],
    )


@settings(max_examples=60, deadline=None)
@given(steps=STEPS)
def test_what_is_written_is_read(with_accounts: str, steps: list[tuple[object, ...]]) -> None:
    twin = MemoryStore()
    with TemporaryDirectory() as directory:
        shutil.copy(database_path(with_accounts), directory)
        storage = Storage(directory)
        for name, *values in steps:
            store = SQLiteRooms(storage, DOMAIN)
            match name:
                case "read":
                    assert everything(store) == everything(twin)
                case "flush":
                    assert storage.writer.flush()
                case "reopen":
                    assert storage.close() == 0
                    storage = Storage(directory)
                case "put_affiliation":
                    if values[0] in twin.records:
                        store.put_affiliation(*values)
                        twin.put_affiliation(*values)
                case _:
                    getattr(store, name)(*values)
                    getattr(twin, name)(*values)
        assert everything(SQLiteRooms(storage, DOMAIN)) == everything(twin)
        assert storage.close() == 0
        assert storage.writer.dropped == 0
        storage = Storage(directory)
        assert everything(SQLiteRooms(storage, DOMAIN)) == everything(twin)
        assert storage.close() == 0


def test_the_rooms_follow_the_name_of_their_domain(storage: Storage) -> None:
    record = RoomRecord(HALL, RoomConfig(), ROMEO, 1.0, b"s" * 32)
    SQLiteRooms(storage, DOMAIN).put_room(record)
    renamed = JID("hall", "other.example")
    assert SQLiteRooms(storage, "other.example").rooms() == [replace(record, room=renamed)]


def test_nobody_is_affiliated_with_a_room_that_is_not_kept(storage: Storage) -> None:
    store = SQLiteRooms(storage, DOMAIN)
    store.put_affiliation(HALL, Affiliated(ROMEO, Affiliation.OWNER))
    assert store.affiliations(HALL) == []
