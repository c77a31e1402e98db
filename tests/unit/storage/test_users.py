"""Users on SQLite: any sequence of writes is read back as from the dictionaries of the service's own tests."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from tempfile import TemporaryDirectory

from hypothesis import given, settings
from hypothesis import strategies as st

from megaphone.service.ports import OfflineMessage, RosterItem, StoredUser, UserStore
from megaphone.storage.database import database_path
from megaphone.storage.storage import Storage
from megaphone.storage.users import SQLiteUsers
from megaphone.stream.jid import JID
from tests.unit.service.twin_store import TwinStore
from tests.unit.storage.conftest import DOMAIN, JULIET, ROMEO

CONTACTS = [JID("nurse", DOMAIN), JID("lawrence", "bücher.example"), JID("", "capulet.example"), JULIET.at("balcony")]
USERS = st.sampled_from([ROMEO, JULIET])
JIDS = st.sampled_from(CONTACTS)
STANZAS = st.binary(min_size=1, max_size=40) | st.just(b"<message/>" * 1000)
TEXTS = st.text(st.characters(codec="utf-8"), max_size=10)
ITEMS = st.builds(
    RosterItem,
    jid=JIDS,
    name=TEXTS,
    groups=st.lists(TEXTS, max_size=3).map(tuple),
    subscription=st.sampled_from(["none", "to", "from", "both"]),
    ask=st.booleans(),
    request=st.none() | STANZAS,
    listed=st.booleans(),
)
NAMES = st.sampled_from(["{storage:bookmarks}storage", "{a}b", "{Ä}'\""])
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("put_roster_item"), USERS, ITEMS),
        st.tuples(st.just("remove_roster_item"), USERS, JIDS),
        st.tuples(st.just("put_blocked"), USERS, JIDS),
        st.tuples(st.just("remove_blocked"), USERS, JIDS),
        st.tuples(st.just("put_offline_message"), USERS, STANZAS, st.floats(0, 2e9)),
        st.tuples(st.just("remove_offline_messages"), USERS, st.sets(st.integers(0, 5))),
        st.tuples(st.just("put_private"), USERS, NAMES, STANZAS),
        st.tuples(st.just("put_vcard"), USERS, STANZAS),
        st.tuples(st.sampled_from(["read", "flush", "reopen"]), USERS),
    ),
    max_size=30,
)


@contextmanager
def opened(directory: str) -> Iterator[tuple[Storage, SQLiteUsers]]:
    storage = Storage(directory)
    try:
        yield storage, SQLiteUsers(storage)
    finally:
        assert storage.close() == 0
        assert storage.writer.dropped == 0


def everything(store: UserStore, user: JID) -> object:
    """All that can be read of a user, with the messages' numbers, which every store gives itself, left out."""
    found = store.load(user)
    assert found is not None
    return (
        sorted(found.roster, key=lambda item: item.jid),
        found.roster_version,
        sorted(found.blocked),
        (found.offline_messages, found.offline_bytes),
        [(message.at, message.stanza) for message in store.offline_messages(user)],
        [store.private(user, name) for name in ("{storage:bookmarks}storage", "{a}b", "{Ä}'\"")],
        store.private_bytes(user),
        store.vcard(user),
    )


@settings(max_examples=60, deadline=None)
@given(steps=STEPS)
def test_what_is_written_is_read(with_accounts: str, steps: list[tuple[object, ...]]) -> None:
    twin = TwinStore()
    version = 0
    with TemporaryDirectory() as directory:
        shutil.copy(database_path(with_accounts), directory)
        for user in (ROMEO, JULIET):
            twin.add(user)
        storage = Storage(directory)
        for name, user, *values in steps:
            assert isinstance(user, JID)
            store = SQLiteUsers(storage)
            if name == "read":
                assert everything(store, user) == everything(twin, user)
            elif name == "flush":
                assert storage.writer.flush()
            elif name == "reopen":
                assert storage.close() == 0
                storage = Storage(directory)
            elif name == "remove_offline_messages":
                (places,) = values
                for each in (store, twin):
                    keys = [message.key for message in each.offline_messages(user)]
                    each.remove_offline_messages(user, [keys[place] for place in places if place < len(keys)])
            elif name in ("put_roster_item", "remove_roster_item"):
                version += 1
                if name == "put_roster_item" or values[0] in twin.users[user].roster:
                    getattr(store, name)(user, values[0], version)
                    getattr(twin, name)(user, values[0], version)
            else:
                getattr(store, name)(user, *values)
                getattr(twin, name)(user, *values)
        for user in (ROMEO, JULIET):
            assert everything(SQLiteUsers(storage), user) == everything(twin, user)
        assert storage.close() == 0
        assert storage.writer.dropped == 0
        with opened(directory) as (_, store):
            for user in (ROMEO, JULIET):
                assert everything(store, user) == everything(twin, user)


def test_whoever_has_no_account_has_nothing(storage: Storage) -> None:
    store, stranger = SQLiteUsers(storage), JID("8d7c6b", DOMAIN)
    store.put_roster_item(stranger, RosterItem(ROMEO), 1)
    store.put_blocked(stranger, ROMEO)
    store.put_offline_message(stranger, b"<message/>", 1.0)
    store.spool_add(stranger, b"<message/>", 1.0)
    store.put_private(stranger, "{a}b", b"<b/>")
    store.put_vcard(stranger, b"<vCard/>")
    assert store.load(stranger) is None
    assert store.offline_messages(stranger) == []
    assert (store.private(stranger, "{a}b"), store.vcard(stranger), store.private_bytes(stranger)) == (None, None, 0)
    assert storage.writer.dropped == 0


def test_new_accounts_are_empty(storage: Storage) -> None:
    assert SQLiteUsers(storage).load(ROMEO) == StoredUser()


# --- the spool ------------------------------------------------------------


def waiting(store: SQLiteUsers, user: JID = ROMEO) -> list[bytes]:
    messages = store.offline_messages(user)
    loaded = store.load(user)
    assert loaded is not None
    assert (loaded.offline_messages, loaded.offline_bytes) == (
        len(messages),
        sum(len(message.stanza) for message in messages),
    )
    return [message.stanza for message in messages]


def test_a_held_message_waits_only_when_it_is_released(storage: Storage) -> None:
    store = SQLiteUsers(storage)
    first = store.spool_add(ROMEO, b"1", 1.0)
    store.put_offline_message(ROMEO, b"2", 2.0)
    third = store.spool_add(ROMEO, b"3", 3.0)
    assert first < third
    assert waiting(store) == [b"2"]
    store.spool_release(ROMEO, [first])
    assert waiting(store) == [b"1", b"2"]
    assert store.offline_messages(ROMEO)[0] == OfflineMessage(first, 1.0, b"1")
    store.spool_remove(ROMEO, [first, third, third + 1])
    assert waiting(store) == [b"2"]


def test_a_held_message_waits_when_who_held_it_is_gone(directory: str) -> None:
    with opened(directory) as (_, store):
        store.spool_add(ROMEO, b"held", 1.0)
        delivered = store.spool_add(ROMEO, b"delivered", 2.0)
        store.put_offline_message(ROMEO, b"waits", 3.0)
        assert waiting(store) == [b"waits"]
        store.spool_remove(ROMEO, [delivered])
    with opened(directory) as (_, store):
        newest = store.spool_add(ROMEO, b"held by this one", 4.0)
        assert waiting(store) == [b"held", b"waits"]
        assert all(message.key < newest for message in store.offline_messages(ROMEO))


def test_a_message_that_is_delivered_at_once_never_reaches_the_disk(directory: str) -> None:
    storage = Storage(directory, gather_seconds=60.0)  # nothing is written before it is asked for
    store = SQLiteUsers(storage)
    for number in range(100):
        store.spool_remove(ROMEO, [store.spool_add(ROMEO, b"%d" % number, 1.0)])
    assert storage.writer.queued == 0
    kept = store.spool_add(ROMEO, b"kept", 1.0)
    assert storage.writer.queued == 1
    assert storage.writer.flush()
    assert storage.writer.committed == storage.writer.position == 101
    store.spool_release(ROMEO, [kept])
    assert waiting(store) == [b"kept"]
    assert storage.close() == 0


def test_numbers_of_workers_never_meet(directory: str) -> None:
    storages = [Storage(directory, worker=worker) for worker in (0, 1, 1023)]
    numbers = [storage.next_id() for _ in range(1000) for storage in storages]
    assert len(set(numbers)) == len(numbers)
    assert max(numbers) < 2**63
    for storage in storages:
        storage.close()


def test_numbers_grow_also_when_the_clock_goes_back(directory: str) -> None:
    far = (2**62 // 1024) * 1024
    with opened(directory) as (storage, store):
        storage._last_id = far
        store.put_offline_message(ROMEO, b"from the future", 1.0)
    with opened(directory) as (storage, store):
        assert storage.next_id() > far + 1024
        store.put_offline_message(ROMEO, b"later", 2.0)
        assert waiting(store) == [b"from the future", b"later"]
