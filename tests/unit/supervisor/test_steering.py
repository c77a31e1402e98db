"""Steering: the program as arithmetic, and the kernel doing it with real sockets."""

import socket
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from megaphone.config.schema import Listen
from megaphone.supervisor.listeners import Bound, open_listeners
from megaphone.supervisor.steering import Instruction, program, steer_away


def interpret(instructions: list[Instruction], random: int) -> int:
    """Runs a program as the kernel would, with this random number."""
    accumulator, position = 0, 0
    while True:
        code, if_true, if_false, operand = instructions[position]
        position += 1
        match code:
            case 0x20:
                accumulator = random
            case 0x94:
                accumulator %= operand
            case 0x04:
                accumulator += operand
            case 0x35:
                position += if_true if accumulator >= operand else if_false
            case 0x16:
                return accumulator


@given(st.integers(2, 40).flatmap(lambda n: st.tuples(st.just(n), st.sets(st.integers(0, n - 1), max_size=n - 1))))
def test_every_worker_but_the_excluded_is_chosen_equally_often(case: tuple[int, set[int]]) -> None:
    workers, excluded = case
    instructions = program(workers, excluded)
    chosen = [interpret(instructions, random) for random in range(3 * (workers - len(excluded)))]
    assert {worker: chosen.count(worker) for worker in chosen} == {
        worker: 3 for worker in range(workers) if worker not in excluded
    }


def test_the_largest_program_is_one_the_kernel_takes() -> None:
    assert len(program(1023, range(1022))) <= 4096  # BPF_MAXINSNS


@pytest.fixture
def bound() -> Iterator[Bound]:
    listeners = open_listeners([Listen(address="127.0.0.1:0")], workers=4, file="m.toml")
    yield listeners.bound[0]
    listeners.close()


def spread(bound: Bound, count: int = 200) -> list[int]:
    """Opens connections and says how many each socket got."""
    port = int(bound.address.rpartition(":")[2])
    clients = [socket.create_connection(("127.0.0.1", port), timeout=5) for _ in range(count)]
    found = []
    for listening in bound.sockets:
        accepted = 0
        while True:
            try:
                listening.accept()[0].close()
            except BlockingIOError:
                break
            accepted += 1
        found.append(accepted)
    for client in clients:
        client.close()
    assert sum(found) == count
    return found


def test_the_kernel_steers_and_stops_steering(bound: Bound) -> None:
    if not steer_away(bound.sockets, {2}):
        pytest.skip("this kernel cannot attach a program to a group of sockets")
    found = spread(bound)
    assert found[2] == 0
    assert min(found[0], found[1], found[3]) > 0
    assert steer_away(bound.sockets, {0, 1, 3})
    assert spread(bound) == [0, 0, 200, 0]
    for nobody_special in ((), (0, 1, 2, 3)):
        assert steer_away(bound.sockets, nobody_special)
        assert min(spread(bound)) > 0


def test_a_socket_that_cannot_be_steered() -> None:
    with socket.socket(socket.AF_UNIX) as other:
        assert steer_away([other, other], {0}) is False
