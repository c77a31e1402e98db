"""Guessed passwords count for all workers of a node, wherever they were tried."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from megaphone.bus.subjects import Subjects
from megaphone.embedded.guesses import Guesses
from megaphone.errors import SASLError
from megaphone.service.authenticator import Authenticator
from megaphone.stream.jid import JID
from tests.unit.embedded.mesh import DOMAIN, NOW, Home, Town
from tests.unit.service.clients import Accounts

ROMEO = JID("romeo", DOMAIN)
ADDRESS, FREE = "192.0.2.7", 8


class Node:
    """The authenticators of a town's homes."""

    def __init__(self, town: Town) -> None:
        self.town = town
        self.waiting: deque[Callable[[], None]] = deque()
        self.authenticators: dict[int, Authenticator] = {}
        for home in town.homes.values():
            self.start(home)

    def start(self, home: Home) -> None:
        made = Authenticator(DOMAIN, Accounts(), token=lambda length: b"t" * length, secret=b"s" * 16)
        subjects = Subjects(home.bus, later=self.waiting.append, fault=self.town.faults.append)
        home.router.subjects = subjects
        Guesses(subjects, made, home.index, lambda: NOW)
        self.authenticators[home.index] = made

    def rest(self) -> None:
        self.town.rest()
        while self.waiting:
            self.waiting.popleft()()

    def locked(self, address: str, account: JID | None = None) -> list[int]:
        """The workers that refuse."""
        refusing = []
        for index, authenticator in self.authenticators.items():
            try:
                authenticator.check_locks(address, account, NOW)
            except SASLError:
                refusing.append(index)
        return refusing


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    town = Town(tmp_path)
    made = Node(town)
    made.rest()
    yield made
    town.close()
    assert town.faults == []


def test_failures_of_an_account_at_different_workers_add_up(node: Node) -> None:
    for number in range(FREE):
        node.authenticators[number % 3].failed("", ROMEO, NOW)
        node.rest()
    assert node.locked(ADDRESS, ROMEO) == []
    node.authenticators[2].failed("", ROMEO, NOW)
    assert node.locked(ADDRESS, ROMEO) == [2]  # at once where it happened
    node.rest()
    assert node.locked(ADDRESS, ROMEO) == [0, 1, 2]
    assert node.locked(ADDRESS, JID("juliet", DOMAIN)) == []


def test_failures_of_an_address_add_up(node: Node) -> None:
    for number in range(21):
        node.authenticators[number % 3].failed(ADDRESS, None, NOW)
    node.rest()
    assert node.locked(ADDRESS) == [0, 1, 2]
    assert node.locked("192.0.2.8") == []


def test_who_logs_in_is_forgiven_everywhere(node: Node) -> None:
    for _ in range(FREE):
        node.authenticators[0].failed("", ROMEO, NOW)
    node.rest()
    node.authenticators[1].succeeded(ROMEO)
    node.rest()
    before = node.town.homes[1].bus.frames_out
    node.authenticators[1].succeeded(ROMEO)  # there is nothing to forget: nobody is told
    assert node.town.homes[1].bus.frames_out == before
    for number in range(FREE):
        node.authenticators[number % 3].failed("", ROMEO, NOW)
    node.rest()
    assert node.locked("", ROMEO) == []


def test_a_successor_hears_what_fails_from_then_on(node: Node) -> None:
    node.town.kill(2)
    del node.authenticators[2]
    node.town.until(lambda: not node.town.homes[0].bus.is_up(2) and not node.town.homes[1].bus.is_up(2))
    node.start(node.town.start(2))
    node.town.until(lambda: all(home.bus.is_up(peer) for home in node.town.homes.values() for peer in range(3)))
    node.rest()
    for _ in range(FREE + 1):
        node.authenticators[0].failed("", ROMEO, NOW)
    node.rest()
    assert node.locked("", ROMEO) == [0, 1, 2]
