"""Workers of the embedded service are replaced while clients talk: nobody is disconnected, nothing is lost or doubled."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from megaphone.dispatch.counters import Slot
from tests.unit.worker.embedded_workers import Client, House, read_all

OpenHouse = Callable[[int], House]


@pytest.fixture
def open_house(tmp_path: Path) -> Iterator[OpenHouse]:
    made: list[House] = []

    def make(workers: int) -> House:
        made.append(House(tmp_path, workers))
        return made[-1]

    yield make
    for house in made:
        faults = house.faults()
        house.close()
        assert faults == []


def test_sessions_go_on(open_house: OpenHouse) -> None:
    house = open_house(1)
    plain, managed = house.client("juliet/plain"), house.client("romeo/managed", managed=True)
    guest = house.client("")
    clients = (plain, managed, guest)
    for each in clients:
        each.stanza("<presence/>")
        each.await_("presence")
        each.got.clear()
    for round_ in range(3):
        for each in clients:
            for other in clients:
                if other is not each:
                    each.stanza(f"<message to='{other.jid}' type='chat'><body>{round_}</body></message>")
        assert house.hand_over(0) == {"type": "handed_over", "moved": 3, "ended": 0}
    read_all(*clients, until=lambda: all(len(each.numbers()) == 6 for each in clients))
    assert all(sorted(each.numbers()) == [0, 0, 1, 1, 2, 2] for each in clients)
    managed.ask()
    read_all(managed, until=lambda: managed.acked == managed.sent)
    assert house.count(Slot.SESSIONS) == 3
    for each in clients:
        each.close()
