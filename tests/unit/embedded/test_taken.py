"""A home that is killed between its commit and its word of it: what it has kept is not said again to its successor."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from megaphone.storage.accounts import AccountBook
from megaphone.storage.database import prepare
from megaphone.storage.storage import Storage
from megaphone.storage.taken import SQLiteTaken
from megaphone.storage.users import SQLiteUsers
from megaphone.stream.stanza import Stanza
from tests.unit.embedded.mesh import NOW, Home, Town, user_at
from tests.unit.storage.conftest import CREDENTIALS

NEVER = 600.0  # seconds: nothing is written before it is asked for
SENDER, TO = user_at(0).at("phone"), user_at(1)


class Node:
    """Three homes with one database; whatever comes for TO is kept there, unless it says "refused"."""

    def __init__(self, directory: Path) -> None:
        self.data = str(directory / "data")
        prepare(self.data)
        book = AccountBook(self.data)
        assert book.add(TO.local, CREDENTIALS, NOW)
        book.close()
        self.town = Town(directory)
        self.storages: list[Storage] = []
        self.storage = [self.give_storage(self.town.homes[index]) for index in range(3)]

    def give_storage(self, home: Home) -> Storage:
        """Let a worker open the database."""
        storage = Storage(self.data, worker=len(self.storages), gather_seconds=NEVER)
        self.storages.append(storage)
        users = SQLiteUsers(storage)

        def keep(stanza: Stanza) -> None:
            home.writes.position = storage.writer.position
            if b"refused" not in stanza.data:
                home.writes.position = users.put_offline_message(TO, stanza.data, NOW)

        home.core.on_stanza = keep
        home.router.taken = SQLiteTaken(storage, home.index)
        return storage

    def say(self, text: str) -> None:
        """SENDER says something, and will be told when it is safe."""
        router = self.town.homes[0].router
        router.keeping = True
        router.route(f"<message from='{SENDER}' to='{TO}' type='chat' id='{text}'/>".encode(), TO)
        router.keeping = False
        router.drain()

    def heard(self) -> list[str]:
        """The ids of what the home of TO has taken."""
        heard = self.town.homes[1].heard
        return [str(Stanza.read(each[2]).id) for each in heard if each[0] == "user"]

    def replace(self) -> None:
        """The home of TO is killed; another takes its place."""
        here = self.town.homes[0]
        losses = here.heard.count(("relay lost", 1))
        self.town.kill(1)
        self.town.until(lambda: here.heard.count(("relay lost", 1)) > losses)
        self.storage[1] = self.give_storage(self.town.start(1))
        self.town.until(lambda: here.bus.is_up(1))

    def kept(self) -> list[str]:
        """The ids of what waits for TO."""
        return [str(Stanza.read(each.stanza).id) for each in SQLiteUsers(self.storage[1]).offline_messages(TO)]


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    made = Node(tmp_path)
    yield made
    made.town.close()
    for storage in made.storages:
        storage.close()
    assert made.town.faults == []


def test_what_was_committed_is_not_said_again(node: Node) -> None:
    safe = list[int]()
    node.say("1")
    node.say("2")
    node.town.homes[0].promises.when_safe(lambda: safe.append(1))
    node.town.until(lambda: node.heard() == ["1", "2"])
    assert node.storage[1].writer.flush()  # and nobody is told
    assert safe == []
    node.replace()
    assert safe == [1]  # the sender's home has found it in the store
    node.say("3")
    node.town.until(lambda: node.heard()[-1:] == ["3"])
    assert node.heard() == ["3"]
    assert node.kept() == ["1", "2", "3"]


def test_what_was_not_committed_is_said_again(node: Node) -> None:
    node.say("1")
    node.town.until(lambda: node.heard() == ["1"])
    assert node.storage[1].writer.flush()
    node.say("2")
    node.town.until(lambda: node.heard() == ["1", "2"])
    node.replace()
    node.town.until(lambda: node.heard() == ["2"])
    assert node.kept() == ["1", "2"]


def test_what_wrote_nothing_is_said_again(node: Node) -> None:
    """Its answer may have died with the home: that the message behind it was committed does not tell."""
    node.say("refused")
    node.say("1")  # in one batch
    node.town.until(lambda: node.heard() == ["refused", "1"])
    assert node.storage[1].writer.flush()
    node.replace()
    node.town.until(lambda: node.heard() == ["refused", "1"])  # the second is kept twice: it is at least once


def test_each_time_a_home_is_killed(node: Node) -> None:
    for number in range(4):
        node.say(str(number))
        node.town.until(lambda number=number: node.heard()[-1:] == [str(number)])  # type: ignore[misc]
        if number % 2:
            assert node.storage[1].writer.flush()
        node.replace()
    node.town.until(lambda: len(node.kept()) == 4)
    assert node.kept() == ["0", "1", "2", "3"]


def test_another_process_of_the_sender_is_not_meant(node: Node) -> None:
    """Numbers begin anew with each process; what one has said tells nothing of another's."""
    for number in range(5):
        node.say(f"old {number}")
    node.town.until(lambda: len(node.heard()) == 5)
    assert node.storage[1].writer.flush()
    node.town.kill(0)
    node.town.until(lambda: ("relay lost", 0) in node.town.homes[1].heard)
    node.storage[0] = node.give_storage(node.town.start(0))
    node.town.until(lambda: node.town.homes[0].bus.is_up(1))
    node.say("new")
    node.town.until(lambda: len(node.heard()) == 6)
    node.replace()
    node.town.until(lambda: node.heard() == ["new"])


def test_a_note_costs_no_transaction(node: Node) -> None:
    """A message whose recipient has acknowledged it in time is never written, nor is how far that was."""
    node.say("1")
    node.town.until(lambda: node.heard() == ["1"])
    users, storage = SQLiteUsers(node.storage[1]), node.storage[1]
    users.remove_offline_messages(TO, [storage.last_id])
    assert storage.writer.flush()
    assert storage.read("SELECT count(*) FROM taken") == [(0,)]
