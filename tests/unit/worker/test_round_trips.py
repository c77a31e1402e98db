"""The round trips of clients on a worker's board: what was measured, and a real worker that looks by itself."""

from __future__ import annotations

import random
import socket
from itertools import pairwise

import pytest

from megaphone.dispatch.counters import BOARD_BYTES, Board
from megaphone.dispatch.gauges import gauge_slots
from megaphone.dispatch.round_trip_slots import BUCKETS_SECONDS, GAUGES, RoundTripSlot
from megaphone.worker.round_trips import note
from tests.unit.worker.worker_under_test import CONFIG, Node, WorkerUnderTest, until


@pytest.fixture
def board() -> Board:
    return Board(bytearray(BOARD_BYTES))


def gauges_us(board: Board) -> list[float]:
    return [board.get(slot) / 1000 for slot in GAUGES]


def buckets(board: Board) -> list[int]:
    return [board.get(RoundTripSlot.BUCKETS + place) for place in range(len(BUCKETS_SECONDS) + 1)]


@pytest.mark.parametrize(
    ("measured", "shown"),
    [
        ([], [0, 0, 0]),
        ([7], [7, 7, 7]),
        ([9, 5], [5, 9, 9]),
        ([3, 1, 2], [2, 3, 3]),
        (list(range(10, 0, -1)), [5, 9, 10]),
        (list(range(1, 257)), [128, 231, 256]),
    ],
)
def test_half_nine_tenths_and_all_are_within(board: Board, measured: list[int], shown: list[int]) -> None:
    note(board, [1_000_000])  # what was before is forgotten
    note(board, measured)
    assert gauges_us(board) == shown


def test_each_look_is_counted_in_the_bucket_it_fits(board: Board) -> None:
    measured = [1, 999, 1000, 1001, 25_000, 1_600_000, 1_600_001, 80_000_000]
    for _ in range(2):
        note(board, measured)
    assert buckets(board) == [6, 2, 0, 2, 0, 0, 0, 0, 0, 2, 4]
    assert board.get(RoundTripSlot.SUM_NS) == 2 * sum(measured) * 1000


def test_buckets_hold_everything_that_was_measured(board: Board) -> None:
    chance = random.Random(9)
    measured = [round(10 ** chance.uniform(0, 8)) for _ in range(256)]
    note(board, measured)
    bounds_us = [0, *(bound * 1e6 for bound in BUCKETS_SECONDS), 1e12]
    wanted = [sum(low < each <= high for each in measured) for low, high in pairwise(bounds_us)]
    assert buckets(board) == wanted
    assert sum(wanted) == 256


def test_the_gauges_are_of_one_process() -> None:
    assert set(GAUGES) <= set(gauge_slots())
    assert RoundTripSlot.SUM_NS not in set(gauge_slots())


def test_a_worker_looks_at_its_connections_by_itself() -> None:
    node = Node()
    worker = WorkerUnderTest(node, CONFIG.format(upstream="127.0.0.1:1", more=""))
    client = None
    try:
        worker.expect("ready")
        assert gauges_us(node.board) == [0, 0, 0]
        client = socket.create_connection(node.address)
        until(lambda: node.board.get(RoundTripSlot.WORST_NS), "a look at the connection")
        (row,) = worker.connections()
        assert 0 < row["round_trip_seconds"] < 1
        assert gauges_us(node.board) == [pytest.approx(row["round_trip_seconds"] * 1e6)] * 3
        (row,) = worker.ask(type="talkers", limit=3)
        assert 0 < row["round_trip_seconds"] < 1
        (row,) = worker.ask(type="page", search="127.", state=None, from_slot=0, limit=3)
        assert 0 < row["round_trip_seconds"] < 1
        client.close()
        until(lambda: not node.board.get(RoundTripSlot.WORST_NS), "a look when nobody is there")
        assert sum(buckets(node.board)) >= 1
    finally:
        if client is not None:
            client.close()
        worker.close()
        node.close()
