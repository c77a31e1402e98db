"""Replicated rows on SQLite: every writer counts, deletions last, and what comes in any order is put together."""

from __future__ import annotations

import shutil
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from megaphone.rooms.ports import Affiliated, Affiliation, RoomConfig, RoomRecord, Subject
from megaphone.service.accounts import make_credentials
from megaphone.service.ports import RosterItem
from megaphone.storage import replicated
from megaphone.storage.replicated import Found, Heard
from megaphone.storage.replicated_row import Row
from megaphone.storage.replicated_tables import PRIVATE, VCARD
from megaphone.stream.jid import JID
from tests.unit.storage.conftest import CREDENTIALS, DOMAIN, JULIET, ROMEO
from tests.unit.storage.replicas import ROOMS_DOMAIN, Node, Store, settle

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NURSE = JID("nurse", DOMAIN)
HALL = JID("hall", ROOMS_DOMAIN)
OTHERS = make_credentials("honey nurse", b"s" * 16, 4096)
MINUTE_MS = 60_000


@pytest.fixture
def nodes(tmp_path: Path, with_accounts: str) -> Iterator[list[Node]]:
    """Three nodes, the first of them with the accounts romeo and juliet; none is in a cluster yet."""
    shutil.copytree(with_accounts, tmp_path / "0")
    for number in (1, 2):
        shutil.copytree(with_accounts, tmp_path / str(number))
    made = [Node(str(tmp_path / str(number)), number) for number in range(3)]
    for node in made[1:]:
        for user in (ROMEO, JULIET):
            node.book.remove(user)
    yield made
    for node in made:
        node.close()


@pytest.fixture
def cluster(nodes: list[Node]) -> list[Node]:
    for node in nodes:
        node.join()
    settle(nodes, Store())
    return nodes


def meet(nodes: list[Node]) -> None:
    """Let all nodes hear of each other, over a store that knows nothing."""
    settle(nodes, Store())
    assert all(node.rows() == nodes[0].rows() for node in nodes)
    assert all(node.versions() == nodes[0].versions() for node in nodes)
    assert all(node.count("unsent = 1 OR held IS NOT NULL") == 0 for node in nodes)


def test_a_node_that_was_never_in_a_cluster_counts_nothing(nodes: list[Node]) -> None:
    node = nodes[0]
    node.users.put_roster_item(ROMEO, RosterItem(JULIET), 1)
    node.book.change("romeo", OTHERS, 2.0)
    node.book.remove(JULIET)
    assert node.writer.flush()
    assert node.count("true") == 0


def test_rows_from_before_the_cluster_are_told_too(nodes: list[Node]) -> None:
    first = nodes[0]
    first.users.put_roster_item(ROMEO, RosterItem(JULIET, "Juliet", ("a", "b"), "both"), 1)
    first.users.put_blocked(ROMEO, NURSE)
    first.users.put_private(ROMEO, "archive preferences", b"<prefs/>")
    first.users.put_vcard(JULIET, b"<vCard/>")
    subject = Subject(b"<message/>", 3.0)
    first.rooms.put_room(RoomRecord(HALL, RoomConfig(name="Hall"), ROMEO, 2.0, b"s" * 32, subject))
    first.rooms.put_affiliation(HALL, Affiliated(ROMEO, Affiliation.OWNER))
    secret = first.storage.secret("logins")
    first.storage.secret("rooms")
    for node in nodes:
        node.join()
    before = first.rows()
    meet(nodes)
    assert nodes[2].rows() == before
    assert nodes[2].storage.secret("logins") == secret
    assert nodes[2].storage.secret("rooms") != first.storage.secret("rooms")
    assert [len(found) for found in before.values()] == [2, 1, 1, 1, 1, 1, 1, 1, 1]


def test_all_rows_get_a_version_however_many_there_are(nodes: list[Node]) -> None:
    node = nodes[0]
    names = [f"user{number}" for number in range(2 * replicated.PARENTS_AT_ONCE + 1)]
    for name in names:
        node.book.add(name, CREDENTIALS, 1.0)
    node.perform(replicated.enable, node.origin)
    rounds = 0
    while node.perform(replicated.give_versions):
        rounds += 1
    assert rounds >= 3
    assert node.count("kind = 1") == len(names) + 2
    assert not node.perform(replicated.give_versions)


def test_every_writer_counts_and_applying_does_not(cluster: list[Node]) -> None:
    first, second, _ = cluster
    store = Store()
    settle(cluster, store)
    first.book.add("nurse", CREDENTIALS, 1.0)  # as `megaphone user add` does
    first.users.put_vcard(ROMEO, b"<vCard/>")  # as a worker does
    assert first.writer.flush()
    assert first.count("unsent = 1") == 2
    assert first.tell(store) == 2
    assert second.hear(store) == 2
    assert second.count("unsent = 1") == 0
    assert second.book.find("nurse") is not None
    second.users.put_vcard(ROMEO, b"<vCard>2</vCard>")
    assert second.writer.flush()
    assert second.count("unsent = 1") == 1


def test_the_version_of_a_roster_changes_with_it(cluster: list[Node]) -> None:
    first, second, _ = cluster
    first.users.put_roster_item(ROMEO, RosterItem(NURSE), 1)
    meet(cluster)
    loaded = second.users.load(ROMEO)
    assert loaded is not None
    assert loaded.roster == (RosterItem(NURSE),)
    before = loaded.roster_version
    assert 1 < before < 1 << 62
    first.users.remove_roster_item(ROMEO, NURSE, 2)
    meet(cluster)
    loaded = second.users.load(ROMEO)
    assert loaded is not None
    assert loaded.roster == ()
    assert loaded.roster_version > before


def test_who_is_told_of_changes(cluster: list[Node]) -> None:
    first, second, _ = cluster
    first.users.put_blocked(ROMEO, NURSE)
    first.users.put_vcard(JULIET, b"<vCard/>")
    first.rooms.put_room(RoomRecord(HALL, RoomConfig(), ROMEO, 2.0, b"s" * 32))
    assert first.writer.flush()
    told = replicated.unsent(first.connection, 10)
    applied = second.apply([Heard(each.row, 1) for each in told])
    assert [found for found, _ in applied.found] == [Found.THEIRS] * 3
    assert (applied.users, applied.rooms, applied.secrets) == ({"romeo"}, {"hall"}, set())
    applied = second.apply([Heard(each.row, 1) for each in told])
    assert [found for found, _ in applied.found] == [Found.SAME] * 3
    assert not applied.users | applied.rooms


def test_a_removed_account_is_gone_everywhere_with_all_that_was_its_users(cluster: list[Node]) -> None:
    first, second, third = cluster
    first.users.put_roster_item(ROMEO, RosterItem(JULIET), 1)
    first.users.put_roster_item(JULIET, RosterItem(ROMEO), 1)
    first.users.put_vcard(ROMEO, b"<vCard/>")
    meet(cluster)
    third.users.put_offline_message(ROMEO, b"<message/>", 1.0)
    assert third.writer.flush()
    second.book.remove(ROMEO)
    meet(cluster)
    for node in cluster:
        assert node.users.load(ROMEO) is None
        assert node.rows()["roster"] == node.rows()["vcard"] == []
    assert third.connection.execute("SELECT count(*) FROM spool").fetchone() == (0,)


def test_nobody_gets_what_belonged_to_a_former_owner_of_the_name(cluster: list[Node]) -> None:
    first, second, third = cluster
    third.reachable = False
    store = Store()
    settle([first, second], store)
    first.book.remove(ROMEO)
    first.book.add("romeo", OTHERS, 9.0)
    third.users.put_roster_item(ROMEO, RosterItem(NURSE), 1)  # of the romeo that is gone, and later than that
    third.book.change("romeo", CREDENTIALS, 10.0)
    meet(cluster)
    for node in cluster:
        loaded = node.users.load(ROMEO)
        assert loaded is not None
        assert loaded.roster == ()
        found = node.book.find("romeo")
        assert found is not None
        assert found.created == 9.0


def test_of_two_accounts_of_one_name_the_earlier_counts_with_the_contacts_of_both(cluster: list[Node]) -> None:
    first, second, third = cluster
    first.book.add("nurse", CREDENTIALS, 5.0)
    first.users.put_roster_item(NURSE, RosterItem(ROMEO), 1)
    second.book.add("nurse", OTHERS, 6.0)
    second.users.put_roster_item(NURSE, RosterItem(JULIET), 1)
    meet(cluster)
    found = third.book.find("nurse")
    assert found is not None
    assert found.created == 5.0
    loaded = third.users.load(NURSE)
    assert loaded is not None
    assert {item.jid for item in loaded.roster} == {ROMEO, JULIET}


def test_a_room_made_on_two_nodes_has_one_creator_and_two_owners(cluster: list[Node]) -> None:
    first, second, third = cluster
    for node, creator, created in ((first, JULIET, 6.0), (second, ROMEO, 5.0)):
        node.rooms.put_room(
            RoomRecord(HALL, RoomConfig(name=creator.local), creator, created, creator.local.encode() * 8)
        )
        node.rooms.put_affiliation(HALL, Affiliated(creator, Affiliation.OWNER))
        assert node.writer.flush()
    meet(cluster)
    (record,) = third.rooms.rooms()
    assert (record.creator, record.created, record.secret) == (ROMEO, 5.0, b"romeo" * 8)
    assert record.config.name == "romeo"  # the later write
    assert set(third.rooms.affiliations(HALL)) == {
        Affiliated(ROMEO, Affiliation.OWNER),
        Affiliated(JULIET, Affiliation.OWNER),
    }


def test_configuration_and_subject_do_not_undo_each_other(cluster: list[Node]) -> None:
    first, second, third = cluster
    record = RoomRecord(HALL, RoomConfig(), ROMEO, 2.0, b"s" * 32)
    first.rooms.put_room(record)
    meet(cluster)
    first.rooms.put_room(replace(record, config=RoomConfig(name="Hall")))
    second.rooms.put_room(replace(record, subject=Subject(b"<message/>", 3.0)))
    meet(cluster)
    (found,) = third.rooms.rooms()
    assert found.config.name == "Hall"
    assert found.subject == Subject(b"<message/>", 3.0)


def test_a_destroyed_room_is_gone_though_it_was_used_elsewhere(cluster: list[Node]) -> None:
    first, second, third = cluster
    first.rooms.put_room(RoomRecord(HALL, RoomConfig(), ROMEO, 2.0, b"s" * 32))
    meet(cluster)
    first.rooms.delete_room(HALL)
    second.rooms.put_affiliation(HALL, Affiliated(NURSE, Affiliation.OUTCAST))
    meet(cluster)
    assert third.rooms.rooms() == []
    third.rooms.put_room(RoomRecord(HALL, RoomConfig(), JULIET, 4.0, b"s" * 32))
    meet(cluster)
    (record,) = first.rooms.rooms()
    assert record.creator == JULIET
    assert first.rooms.affiliations(HALL) == []
    ended = first.rooms.ended(HALL)
    assert abs(ended - time.time()) < 60
    assert all(node.rooms.ended(HALL) == ended for node in cluster)
    assert first.rooms.ended(JID.parse("another@rooms.example.org")) == 0.0


def test_what_comes_before_its_account_is_held_until_that_comes(cluster: list[Node]) -> None:
    first, second, _ = cluster
    first.book.add("nurse", CREDENTIALS, 5.0)
    first.users.put_roster_item(NURSE, RosterItem(ROMEO, "Romeo"), 1)
    assert first.writer.flush()
    rows = [Heard(each.row, 1) for each in replicated.unsent(first.connection, 10)]
    assert len(rows) == 2
    second.apply(rows[1:])
    assert second.count("held IS NOT NULL") == 1
    assert second.users.load(NURSE) is None
    second.apply(rows[:1])
    assert second.count("held IS NOT NULL") == 0
    loaded = second.users.load(NURSE)
    assert loaded is not None
    assert loaded.roster == (RosterItem(ROMEO, "Romeo"),)
    assert loaded.roster_version > 0


def test_a_clock_that_is_ahead_is_refused(cluster: list[Node]) -> None:
    node = cluster[0]
    now_ms = time.time_ns() // 1_000_000
    rows = [
        Row(VCARD, "romeo", "", 0, (now_ms + ahead) << 16, b"x" * 8, (b"<vCard/>",))
        for ahead in (MINUTE_MS + 1, MINUTE_MS - 1)
    ]
    applied = node.apply([Heard(row, 1) for row in rows], now_ms)
    assert [found for found, _ in applied.found] == [Found.REFUSED, Found.THEIRS]
    assert applied.refusals == ["clock ahead"]
    # what is written here next is later than what was heard
    node.users.put_vcard(ROMEO, b"<vCard>2</vCard>")
    assert node.writer.flush()
    (written,) = replicated.unsent(node.connection, 10)
    assert written.row.clock > rows[1].clock


def test_a_row_that_the_database_refuses_costs_no_other(cluster: list[Node]) -> None:
    node = cluster[0]
    clock = time.time_ns() // 1_000_000 << 16
    bad = Row(VCARD, "romeo", "", 0, clock, b"x" * 8, ("text",))
    good = Row(PRIVATE, "romeo", "{urn:a}a", 0, clock, b"x" * 8, (b"<a/>",))
    applied = node.apply([Heard(bad, 1), Heard(good, 2)])
    assert [found for found, _ in applied.found] == [Found.REFUSED, Found.THEIRS]
    assert node.users.private(ROMEO, "{urn:a}a") == b"<a/>"
    assert node.users.vcard(ROMEO) is None


def test_deletions_are_forgotten_after_a_month(cluster: list[Node]) -> None:
    node = cluster[0]
    node.users.put_blocked(ROMEO, NURSE)
    node.users.remove_blocked(ROMEO, NURSE)
    assert node.writer.flush()
    (deleted,) = replicated.unsent(node.connection, 10)
    assert deleted.row.columns is None
    month_ms = 30 * 86_400_000
    now_ms = time.time_ns() // 1_000_000
    assert node.perform(replicated.drop_deleted, now_ms + month_ms - MINUTE_MS, 100) == 0
    assert node.perform(replicated.drop_deleted, now_ms + month_ms + MINUTE_MS, 100) == 1
    applied = node.apply([Heard(deleted.row, 1)], now_ms + month_ms + MINUTE_MS)
    assert [found for found, _ in applied.found] == [Found.SAME]
    assert node.count("deleted = 1") == 0


def test_what_changes_while_it_is_told_is_told_again(cluster: list[Node]) -> None:
    first, second, _ = cluster
    store = Store()
    settle(cluster, store)
    first.users.put_vcard(ROMEO, b"<vCard/>")
    assert first.writer.flush()
    (unsent,) = replicated.unsent(first.connection, 10)
    first.users.put_vcard(ROMEO, b"<vCard>2</vCard>")
    first.perform(replicated.told, [replicated.Told(unsent.number, 7, unsent.row)])
    assert first.count("unsent = 1") == 1
    meet(cluster)
    assert second.users.vcard(ROMEO) == b"<vCard>2</vCard>"
