"""What a partner makes of the numbers that come: every lost, repeated and early message is noticed."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.swarm import Accounts, Settings, Swarm, Target
from loadtest.swarm.engine import heard

WINDOW = 32


def counted(numbers: list[int]) -> tuple[int, int, int]:
    """Missed, repeated and reordered, as the swarm counts them."""
    found = heard(numbers)
    late = sum(what == "late" for what, _ in found)
    return sum(missing for _, missing in found) - late, sum(what == "again" for what, _ in found), late


@pytest.mark.parametrize(
    ("numbers", "missed", "repeated", "reordered"),
    [
        ([1, 2, 3], 0, 0, 0),
        ([2, 3], 1, 0, 0),  # the first one is lost
        ([1, 2, 4], 1, 0, 0),
        ([1, 1], 0, 1, 0),
        ([1, 2, 3, 2], 0, 1, 0),
        ([2, 1], 0, 0, 1),
        ([1, 3, 2, 4], 0, 0, 1),
        ([1, 4, 3, 3, 5], 1, 1, 1),
        ([1, 2, 35, 3], 31, 0, 1),  # as late as can be told
        ([1, 2, 36, 3], 33, 1, 0),  # too late to be told from one that came before
        ([1, 1 + WINDOW, 1], WINDOW - 1, 1, 0),
    ],
)
def test_what_is_noticed(numbers: list[int], missed: int, repeated: int, reordered: int) -> None:
    assert counted(numbers) == (missed, repeated, reordered)


@given(count=st.integers(1, 200), seed=st.integers(0, 1_000), jitter=st.integers(0, WINDOW // 2), data=st.data())
def test_against_a_set(count: int, seed: int, jitter: int, data: st.DataObject) -> None:
    """Lost, repeated and shuffled at random: the same sums as of somebody who remembers everything."""
    lost = data.draw(st.sets(st.integers(1, count), max_size=count))
    chance = random.Random(seed)
    sent = [number for number in range(1, count + 1) if number not in lost]
    sent += [number for number in sent if chance.random() < 0.1]
    sent.sort(key=lambda number: number + chance.random() * jitter)
    seen: set[int] = set()
    repeated = reordered = 0
    for number in sent:
        repeated += number in seen
        reordered += number not in seen and number < max(seen, default=0)
        seen.add(number)
    highest = max(seen, default=0)
    assert counted(sent) == (highest - len(seen), repeated, reordered)


def test_pairs_without_partners_say_nothing() -> None:
    target = Target(host="127.0.0.1", ports=(9,), domain="a.test")
    with Swarm(target, Accounts.anonymous(), Settings(pairs=True, chat_per_second=1000.0), limit=10) as swarm:
        swarm.peers(b"a@a.test/1")
        swarm.peers(b"b@a.test/2")  # nobody has talked yet
        assert swarm.wait(lambda: swarm.counters()["chat_unsent"] >= 10, 10)
        assert swarm.counters()["chat_sent"] == 0
        assert swarm.longest_deliveries().count == 0
