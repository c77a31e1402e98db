"""The address sketch: never too low, rarely too high, and of one mind across workers."""

import random

import pytest

from megaphone.edge.sketch import Sketch, sketch_bytes

WORKERS = 3


@pytest.fixture
def memory() -> bytearray:
    return bytearray(sketch_bytes(WORKERS))


@pytest.fixture
def sketches(memory: bytearray) -> list[Sketch]:
    return [Sketch(memory, worker, WORKERS) for worker in range(WORKERS)]


def test_connections_of_all_workers_are_counted_together(sketches: list[Sketch]) -> None:
    assert [sketch.opened(b"a") for sketch in sketches] == [1, 2, 3]
    assert sketches[0].opened(b"b") == 1
    assert sketches[0].closed(b"a") == 2
    assert sketches[2].opened(b"a") == 3
    assert [sketches[worker].closed(b"a") for worker in (1, 2, 2)] == [2, 1, 0]


def test_estimates_are_never_too_low_and_the_end_is_zero(sketches: list[Sketch]) -> None:
    choice = random.Random(11)
    keys = [choice.randbytes(choice.choice((8, 15, 16))) for _ in range(2000)]
    true: dict[bytes, int] = dict.fromkeys(keys, 0)
    opened: list[tuple[Sketch, bytes]] = []
    too_high = 0
    for _ in range(20_000):
        if opened and choice.random() < 0.4:
            sketch, key = opened.pop(choice.randrange(len(opened)))
            true[key] -= 1
            estimate = sketch.closed(key)
        else:
            sketch, key = choice.choice(sketches), choice.choice(keys)
            opened.append((sketch, key))
            true[key] += 1
            estimate = sketch.opened(key)
        assert estimate >= true[key]
        too_high += estimate > true[key]
    assert too_high == 0, "2000 keys in 65,536 cells of four rows"
    for sketch, key in opened:
        sketch.closed(key)
    assert all(sketches[0].opened(key) == 1 and sketches[0].closed(key) == 0 for key in keys)


def test_a_successor_clears_its_own_rows_only(memory: bytearray, sketches: list[Sketch]) -> None:
    for sketch in sketches:
        sketch.opened(b"a")
        sketch.rate(b"a", 5000)
    successor = Sketch(memory, 1, WORKERS)
    assert successor.opened(b"a") == 3
    assert successor.rate(b"a", 5000) == 3


def test_the_seed_decides_who_shares_cells() -> None:
    """Keys that collide under one seed do not under another: nobody can aim at a stranger's cells."""
    choice = random.Random(5)
    keys = [choice.randbytes(16) for _ in range(30_000)]

    def sharing(seed: bytes) -> set[bytes]:
        memory = bytearray(sketch_bytes(1))
        memory[:8] = seed
        sketch = Sketch(memory, 0, 1)
        for key in keys:
            sketch.opened(key)
        return {key for key in keys if sketch.opened(key) > 2 or sketch.closed(key) > 1}

    first, second = sharing(b"\1" * 8), sharing(b"\2" * 8)
    assert len(first) < 1500
    assert len(second) < 1500
    assert len(first & second) < 100


# --- rates ---


def test_a_rate_is_that_of_the_last_second(sketches: list[Sketch]) -> None:
    sketch = sketches[0]
    assert [sketch.rate(b"a", 10_000 + step) for step in (0, 100, 999)] == [1, 2, 3]
    # 11.000: all of the last second still counts; 11.500: half of it
    assert sketch.rate(b"a", 11_000) == 4
    assert sketch.rate(b"a", 11_500) == 2 + 3 // 2
    assert sketch.rate(b"a", 11_999) == 3
    # two seconds later nothing is left
    assert sketch.rate(b"a", 14_000) == 1


def test_a_rate_is_that_of_all_workers(sketches: list[Sketch]) -> None:
    for step in range(4):
        for worker, sketch in enumerate(sketches):
            assert sketch.rate(b"a", 10_000 + step) == step * WORKERS + worker + 1
    # a worker that has not turned its windows yet counts with what it had in the last second, and no longer
    assert sketches[0].rate(b"a", 11_000) == 13
    assert sketches[0].rate(b"a", 12_000) == 2
    assert sketches[0].rate(b"a", 13_000) == 2


def test_a_rate_holds_though_another_worker_looked_at_its_clock_later(sketches: list[Sketch]) -> None:
    for _ in range(5):
        sketches[1].rate(b"a", 10_999)
    sketches[1].rate(b"b", 11_000)
    assert sketches[0].rate(b"a", 10_999) == 6


def test_a_rate_saturates_instead_of_wrapping() -> None:
    sketch = Sketch(bytearray(sketch_bytes(1)), 0, 1)
    for _ in range(70_000):
        rate = sketch.rate(b"a", 10_000)
    assert rate == 65_535


def test_memory_that_is_too_small_is_refused() -> None:
    with pytest.raises(ValueError, match="2 workers need"):
        Sketch(bytearray(sketch_bytes(1)), 0, 2)
    with pytest.raises(ValueError, match="1 workers need"):
        Sketch(bytearray(sketch_bytes(1)), 1, 1)
    with pytest.raises(BufferError):
        Sketch(bytes(sketch_bytes(1)), 0, 1)
