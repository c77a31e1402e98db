"""Whatever is written where, lost, cut, deleted or rolled back: when it is over, all nodes have the same rows."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis.strategies as st
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from megaphone.rooms.ports import Affiliated, Affiliation, RoomConfig, RoomRecord, Subject
from megaphone.service.ports import RosterItem
from megaphone.storage.database import prepare
from megaphone.stream.jid import JID
from tests.unit.storage.conftest import CREDENTIALS, DOMAIN
from tests.unit.storage.replicas import ROOMS_DOMAIN, Node, Store, settle

if TYPE_CHECKING:
    import pytest

NODES = st.integers(0, 2)
# few of each, so that writes meet
USERS = st.just("romeo")
CONTACTS = st.sampled_from([JID("romeo", DOMAIN), JID("nurse", DOMAIN)])
ROOMS = st.just(JID("hall", ROOMS_DOMAIN))
FEW = st.integers(1, 4)


class Cluster(RuleBasedStateMachine):
    """Three nodes and one store."""

    template: Path

    def __init__(self) -> None:
        super().__init__()
        self.directory = tempfile.mkdtemp(prefix="rows-")
        self.store = self.backup = Store()
        self.nodes: list[Node] = []
        self.time = 1000.0

    @initialize(clocks=st.lists(st.integers(-5000, 5000), min_size=3, max_size=3))
    def start(self, clocks: list[int]) -> None:
        for number, ahead in enumerate(clocks):
            directory = Path(self.directory) / str(number)
            shutil.copytree(self.template, directory)
            node = Node(str(directory), number)
            self.nodes.append(node)
            node.join()
            node.connection.execute("UPDATE row_clock SET last = last + ?", (ahead << 16,))
            node.back_up(self.copy_of(number))
        self.backup = self.store.copy()

    def teardown(self) -> None:
        try:
            if self.nodes:
                settle(self.nodes, self.store)
                first = self.nodes[0]
                for node in self.nodes:
                    assert node.rows() == first.rows()
                    assert node.versions() == first.versions()
                    assert node.count("unsent = 1") == 0
                    # what belongs to a room or an account is held while that is nowhere: lost by store and nodes
                    parents = "(SELECT name FROM account UNION ALL SELECT name FROM room)"
                    assert node.count(f"held IS NOT NULL AND owner IN {parents}") == 0
                    assert node.connection.execute("PRAGMA foreign_key_check").fetchall() == []
        finally:
            for node in self.nodes:
                node.close()
            shutil.rmtree(self.directory)

    # --- writes ------------------------------------------------------------

    def now(self) -> float:
        self.time += 1.0
        return self.time

    @rule(node=NODES, user=USERS)
    def add_account(self, node: int, user: str) -> None:
        self.nodes[node].book.add(user, CREDENTIALS, self.now())

    @rule(node=NODES, user=USERS, salt=st.sampled_from([b"a" * 16, b"b" * 16]))
    def change_password(self, node: int, user: str, salt: bytes) -> None:
        other = replace(CREDENTIALS, sha1=replace(CREDENTIALS.sha1, salt=salt))
        self.nodes[node].book.change(user, other, self.now())

    @rule(node=NODES, user=USERS, disabled=st.booleans())
    def disable(self, node: int, user: str, disabled: bool) -> None:
        self.nodes[node].book.disable(user, disabled)

    @rule(node=NODES, user=USERS)
    def remove_account(self, node: int, user: str) -> None:
        self.nodes[node].book.remove(JID(user, DOMAIN))

    @rule(node=NODES, user=USERS, contact=CONTACTS, name=st.sampled_from(["", "a", "b"]))
    def put_contact(self, node: int, user: str, contact: JID, name: str) -> None:
        self.nodes[node].users.put_roster_item(JID(user, DOMAIN), RosterItem(contact, name, subscription="both"), 1)

    @rule(node=NODES, user=USERS, contact=CONTACTS)
    def remove_contact(self, node: int, user: str, contact: JID) -> None:
        self.nodes[node].users.remove_roster_item(JID(user, DOMAIN), contact, 1)

    @rule(node=NODES, user=USERS, contact=CONTACTS, blocked=st.booleans())
    def block(self, node: int, user: str, contact: JID, blocked: bool) -> None:
        users = self.nodes[node].users
        (users.put_blocked if blocked else users.remove_blocked)(JID(user, DOMAIN), contact)

    @rule(node=NODES, user=USERS, element=st.sampled_from([b"<a/>", b"<b/>"]))
    def put_elements(self, node: int, user: str, element: bytes) -> None:
        self.nodes[node].users.put_private(JID(user, DOMAIN), "{urn:a}a", element)
        self.nodes[node].users.put_vcard(JID(user, DOMAIN), element)

    @rule(node=NODES, room=ROOMS, title=st.sampled_from(["", "a", "b"]), subject=st.booleans())
    def put_room(self, node: int, room: JID, title: str, subject: bool) -> None:
        """As a room does it: what it is goes with it, but for what is changed."""
        rooms = self.nodes[node].rooms
        now = self.now()
        known = next((record for record in rooms.rooms() if record.room == room), None)
        if known is None:
            creator = JID(f"creator{node}", DOMAIN)
            rooms.put_room(RoomRecord(room, RoomConfig(name=title), creator, now, bytes([node]) * 32))
            rooms.put_affiliation(room, Affiliated(creator, Affiliation.OWNER))
        elif subject:
            rooms.put_room(replace(known, subject=Subject(title.encode(), now)))
        else:
            rooms.put_room(replace(known, config=RoomConfig(name=title)))

    @rule(node=NODES, room=ROOMS)
    def delete_room(self, node: int, room: JID) -> None:
        self.nodes[node].rooms.delete_room(room)

    @rule(node=NODES, room=ROOMS, user=CONTACTS, affiliation=st.sampled_from(list(Affiliation)))
    def affiliate(self, node: int, room: JID, user: JID, affiliation: Affiliation) -> None:
        self.nodes[node].rooms.put_affiliation(room, Affiliated(user, affiliation))

    # --- the store ------------------------------------------------------------

    @rule(node=NODES, limit=FEW)
    def hear_some(self, node: int, limit: int) -> None:
        self.nodes[node].hear(self.store, limit)

    @rule(node=NODES, limit=FEW, answers=st.booleans())
    def tell_some(self, node: int, limit: int, answers: bool) -> None:
        self.nodes[node].tell(self.store, limit, answers=answers)

    @rule(node=NODES)
    def hear_and_tell_all(self, node: int) -> None:
        self.nodes[node].hear(self.store)
        self.nodes[node].tell(self.store)

    @rule(node=NODES)
    def cut(self, node: int) -> None:
        self.nodes[node].reachable = False

    @rule(node=NODES)
    def heal(self, node: int) -> None:
        self.nodes[node].reachable = True
        self.nodes[node].begin()

    def copy_of(self, node: int) -> str:
        return str(Path(self.directory) / f"copy-{node}")

    @rule(node=NODES)
    def back_up_node(self, node: int) -> None:
        self.nodes[node].back_up(self.copy_of(node))

    @rule(node=NODES)
    def roll_back_node(self, node: int) -> None:
        self.nodes[node].restore(self.copy_of(node))

    def in_doubt(self) -> None:
        for node in self.nodes:
            node.begin()

    @rule()
    def back_up(self) -> None:
        self.backup = self.store.copy()

    @rule()
    def roll_back(self) -> None:
        self.store = self.backup.copy()
        self.in_doubt()

    @rule()
    def delete_store(self) -> None:
        self.store = Store()
        self.in_doubt()

    @rule(at=st.integers(0, 100))
    def lose_a_key(self, at: int) -> None:
        if self.store.keys:
            del self.store.keys[sorted(self.store.keys)[at % len(self.store.keys)]]
            self.in_doubt()


def test_all_nodes_end_with_the_same_rows(tmp_path_factory: pytest.TempPathFactory) -> None:
    template = tmp_path_factory.mktemp("template")
    prepare(str(template))
    Cluster.template = template
    run_state_machine_as_test(
        Cluster,
        settings=settings(
            max_examples=60, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
