"""Accounts: seen by a running node at once, removed with everything, opened by tokens without a password."""

from dataclasses import replace

import pytest

from megaphone.rooms.ports import Affiliated, Affiliation, RoomConfig, RoomRecord
from megaphone.service.accounts import PasswordCheck, make_credentials
from megaphone.service.ports import OfflineMessage, RosterItem, StoredUser
from megaphone.storage.accounts import Account, AccountBook, SQLiteAccounts
from megaphone.storage.database import connect, database_path
from megaphone.storage.rooms import SQLiteRooms
from megaphone.storage.storage import Storage
from megaphone.storage.users import SQLiteUsers
from megaphone.stream.jid import JID
from tests.unit.storage.conftest import CREDENTIALS, DOMAIN, JULIET, ROMEO

NURSE = JID("nurse", DOMAIN)


@pytest.fixture
def book(directory: str) -> AccountBook:
    return AccountBook(directory)


def test_a_running_node_sees_changes_at_once(book: AccountBook, storage: Storage) -> None:
    accounts = SQLiteAccounts(storage)
    assert accounts.credentials(NURSE) is None
    assert book.add("nurse", CREDENTIALS, 5.0)
    assert accounts.credentials(NURSE) == CREDENTIALS
    others = make_credentials("honey nurse", b"s" * 16, 4096)
    assert book.disable("nurse")
    assert accounts.credentials(NURSE) == replace(CREDENTIALS, disabled=True)
    assert book.change("nurse", others, 6.0)
    assert accounts.credentials(NURSE) == replace(others, disabled=True)
    assert book.disable("nurse", False)
    assert accounts.credentials(NURSE) == others
    assert book.find("nurse") == Account("nurse", 5.0, 6.0, False, 0)
    assert book.remove(NURSE)
    assert accounts.credentials(NURSE) is None


def test_what_is_not_there_cannot_be_changed(book: AccountBook) -> None:
    assert not book.add("romeo", CREDENTIALS, 1.0)
    assert not book.change("nurse", CREDENTIALS, 1.0)
    assert not book.disable("nurse")
    assert not book.remove(NURSE)
    assert book.find("nurse") is None
    assert [account.name for account in book.all()] == ["juliet", "romeo"]


def test_a_removed_account_leaves_nothing(book: AccountBook, storage: Storage, directory: str) -> None:
    users, rooms = SQLiteUsers(storage), SQLiteRooms(storage, "rooms.example")
    users.put_roster_item(ROMEO, RosterItem(JULIET), 3)
    users.put_blocked(ROMEO, NURSE)
    users.put_offline_message(ROMEO, b"<message/>", 1.0)
    users.spool_add(ROMEO, b"<message/>", 1.0)
    users.put_private(ROMEO, "{a}b", b"<b/>")
    users.put_vcard(ROMEO, b"<vCard/>")
    users.put_roster_item(JULIET, RosterItem(ROMEO), 7)
    users.put_roster_item(JULIET, RosterItem(NURSE), 8)
    halls = [JID(name, "rooms.example") for name in ("hall", "cell")]
    for room, affiliation in zip(halls, (Affiliation.OWNER, Affiliation.OUTCAST), strict=True):
        rooms.put_room(RoomRecord(room, RoomConfig(), JULIET, 1.0, b"s" * 32))
        rooms.put_affiliation(room, Affiliated(ROMEO, affiliation))
        rooms.put_affiliation(room, Affiliated(JULIET, Affiliation.MEMBER))
    assert storage.writer.flush()
    found = book.find("romeo")
    assert found is not None
    assert found.offline_messages == 2
    assert book.remove(ROMEO)
    connection = connect(database_path(directory))
    for table in ("block", "spool", "private", "vcard"):
        assert connection.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,)
    connection.close()
    assert users.load(ROMEO) is None
    left = users.load(JULIET)
    assert left is not None
    assert left.roster == (RosterItem(NURSE),)
    assert left.roster_version > 8
    assert [[each.jid for each in rooms.affiliations(room)] for room in halls] == [[JULIET], [JULIET, ROMEO]]
    # a worker that still has the roster in memory writes a version that it has counted to itself
    users.put_roster_item(JULIET, RosterItem(NURSE, name="Nurse"), 9)
    after = users.load(JULIET)
    assert after is not None
    assert after.roster_version == left.roster_version
    book.add("romeo", CREDENTIALS, 2.0)
    assert users.load(ROMEO) == StoredUser()


def test_what_is_still_queued_for_a_removed_account_is_passed_over(book: AccountBook, directory: str) -> None:
    storage = Storage(directory, gather_seconds=600.0)
    users = SQLiteUsers(storage)
    users.put_offline_message(ROMEO, b"<message/>", 1.0)
    users.put_offline_message(JULIET, b"<message/>", 1.0)
    assert book.remove(ROMEO)
    assert storage.writer.flush()
    assert users.load(ROMEO) is None
    assert [message.stanza for message in users.offline_messages(JULIET)] == [b"<message/>"]
    assert storage.close() == 0
    assert storage.writer.dropped == 0


def test_who_comes_with_a_token_gets_an_account_that_no_password_opens(book: AccountBook, storage: Storage) -> None:
    accounts, users = SQLiteAccounts(storage), SQLiteUsers(storage)
    given = iter(range(1, 100))

    def random(count: int) -> bytes:
        return bytes([next(given)]) * count

    position = accounts.ensure(NURSE, 9.0, random=random)
    assert position == storage.writer.position == 1
    assert users.load(NURSE) == StoredUser()
    assert accounts.ensure(NURSE, 10.0, random=random) == 1
    users.put_offline_message(NURSE, b"<message/>", 11.0)
    assert users.offline_messages(NURSE) == [OfflineMessage(storage._last_id, 11.0, b"<message/>")]
    kept = accounts.credentials(NURSE)
    assert kept is not None
    assert not PasswordCheck("", kept.sha256).holds()
    assert len({kept.sha1.stored_key, kept.sha1.server_key, kept.sha256.stored_key, kept.sha256.server_key}) == 4
    assert book.find("nurse") == Account("nurse", 9.0, 0.0, False, 1)
    assert book.disable("nurse")
    kept = accounts.credentials(NURSE)
    assert kept is not None
    assert kept.disabled
    accounts.ensure(ROMEO, 10.0, random=random)
    assert accounts.credentials(ROMEO) == CREDENTIALS


def test_a_secret_is_the_same_for_everybody(storage: Storage, directory: str) -> None:
    other = Storage(directory, worker=1)
    secret = storage.secret("rooms")
    assert len(secret) == 32
    assert other.secret("rooms") == secret
    assert other.secret("logins") != secret
    assert storage.secret("logins") == other.secret("logins")
    assert other.close() == 0
