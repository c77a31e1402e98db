"""Rounds and bytes of a sync, on sets of some thousands: none of them depends on how large a set is."""

import pytest

from megaphone.history.messages import Symbols
from tests.bench.history_sets import CASES, ORIGINS, Case
from tests.unit.history.nodes import Link, assert_same, connected

ENTRIES = 4000


def synced(case: Case) -> tuple[Link, int]:
    one, other = case.nodes(ENTRIES)
    link = connected(one, other, case.now_ms)
    rounds = link.run(case.now_ms)
    assert_same(one, other)
    assert link.conversation(one).is_settled(one.log.room)
    assert link.conversation(other).is_settled(one.log.room)
    return link, rounds


@pytest.mark.parametrize("name", CASES)
def test_figures(name: str) -> None:
    case = CASES[name]
    link, rounds = synced(case)
    assert rounds <= case.rounds, link.dialogue
    counted = link.total_bytes - (link.payload_bytes if case.without_payload else 0)
    assert counted <= case.bytes, link.dialogue


def test_the_bytes_of_identical_sets_are_what_the_origins_take() -> None:
    link, _ = synced(CASES["identical"])
    assert link.total_bytes <= 64 + 12 * ORIGINS


def test_scattered_differences_are_found_by_symbols() -> None:
    link, _ = synced(CASES["scattered"])
    assert any(isinstance(message, Symbols) for _, message in link.messages)
