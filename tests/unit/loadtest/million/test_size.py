"""What N sessions need."""

from math import sqrt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.million.size import LOADER_OWN, SIGMAS, WORKER_OWN, TooManyError, size_of, spread

PORTS = 28_232


def test_a_million_with_twenty_thousand_files_a_process() -> None:
    size = size_of(1_000_000, descriptors=20_000, ports=PORTS, cores=2)
    assert (size.workers, size.loaders) == (53, 51)
    assert size.worker_sessions == pytest.approx(1_000_000 / 53 + 5 * sqrt(1_000_000 / 53 * 52 / 53), abs=1)
    assert size.worker_descriptors == size.worker_sessions + 52 + WORKER_OWN
    assert size.worker_descriptors <= 20_000
    assert size.open_files > 2_000_000
    # one worker less would not do
    with pytest.raises(TooManyError, match="52 workers need up to 20,"):
        size_of(1_000_000, descriptors=20_000, ports=PORTS, cores=2, workers=52)


def test_a_storm_leaves_room_for_those_who_come_back_to_others() -> None:
    # A quarter of 200,000 come back to all workers alike, and the three quarters that stayed have theirs already.
    size = size_of(200_000, descriptors=20_000, ports=PORTS, cores=2, moved=0.25)
    assert size.workers == 14
    assert spread(200_000, 14) * 1.25 <= size.max_connections
    assert size.max_connections == 20_000 - 13 - WORKER_OWN


def test_few_sessions_take_as_many_workers_as_there_are_cores() -> None:
    size = size_of(1_000, descriptors=20_000, ports=PORTS, cores=2)
    assert (size.workers, size.loaders, size.addresses) == (2, 2, 1)


def test_tls_takes_memory_and_nothing_else() -> None:
    plain, tls = (size_of(100_000, descriptors=20_000, ports=PORTS, cores=2, tls=tls) for tls in (0, 1))
    assert tls.memory_bytes == plain.memory_bytes + 100_000 * 800
    assert (tls.workers, tls.loaders, tls.open_files) == (plain.workers, plain.loaders, plain.open_files)
    assert (plain.has_tls, tls.has_tls) == (False, True)


def test_load_processes_have_tls_or_not() -> None:
    size = size_of(20_000, descriptors=20_000, ports=PORTS, cores=2, tls=0.8, tls12=0.05)
    assert size.shares == (("plain", 4_000), ("tls", 15_200), ("tls1.2", 800))
    assert size.loader_sessions == 15_200
    size = size_of(20_000, descriptors=20_000, ports=PORTS, cores=2, tls=0.8, loaders=5)
    assert [share.sessions for share in size.shares] == [4_000] * 5
    assert size.coming("tls") == 16_000
    with pytest.raises(TooManyError, match="1 load processes are too few for 2 ways in"):
        size_of(20_000, descriptors=20_000, ports=PORTS, cores=2, tls=0.8, loaders=1)


def test_what_is_asked_for_is_taken() -> None:
    size = size_of(20_000, descriptors=20_000, ports=PORTS, cores=2, workers=4, loaders=3)
    assert (size.workers, size.loaders) == (4, 3)
    assert size.shares == (("plain", 6_666), ("plain", 6_667), ("plain", 6_667))


def test_too_few_load_processes_are_refused() -> None:
    with pytest.raises(TooManyError, match="1 load processes need 25,064 open files each"):
        size_of(25_000, descriptors=20_000, ports=PORTS, cores=2, loaders=1)


def test_one_address_has_too_few_ports_for_many_sessions() -> None:
    assert size_of(50_000, descriptors=1_000_000, ports=PORTS, cores=1).addresses == 9


def test_a_limit_that_nothing_fits_in() -> None:
    with pytest.raises(TooManyError):
        size_of(1_000_000, descriptors=64, ports=PORTS, cores=2)


@given(
    sessions=st.integers(1, 5_000_000),
    descriptors=st.integers(1_024, 2_000_000),
    cores=st.integers(1, 128),
    tls=st.sampled_from((0.0, 0.3, 0.8, 1.0)),
    tls12=st.sampled_from((0.0, 0.1, 1.0)),
)
def test_every_part_fits(sessions: int, descriptors: int, cores: int, tls: float, tls12: float) -> None:
    try:
        size = size_of(sessions, descriptors=descriptors, ports=PORTS, cores=cores, tls=tls, tls12=tls12)
    except TooManyError:
        # 1023 workers are the most, and each of them has a socket to each other one
        assert spread(sessions, 1023) + 1022 + WORKER_OWN > descriptors
        return
    shares = [share.sessions for share in size.shares]
    assert sum(shares) == sessions
    assert min(shares) >= 1
    assert size.coming("tls") + size.coming("tls1.2") == round(sessions * tls)
    assert max(shares) == size.loader_sessions
    assert max(shares) + LOADER_OWN <= descriptors
    assert size.worker_descriptors <= descriptors
    assert size.addresses * PORTS > max(shares)


@given(sessions=st.integers(1, 2_000_000), workers=st.integers(1, 1023))
def test_the_spread_leaves_room_for_chance(sessions: int, workers: int) -> None:
    mean = sessions / workers
    most = spread(sessions, workers)
    assert mean <= most <= sessions
    assert most == sessions or most >= mean + SIGMAS * sqrt(mean * (1 - 1 / workers))
