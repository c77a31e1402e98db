"""The arithmetic: by hand, and by properties that must hold for any load."""

import dataclasses
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from megaphone.host import needs
from megaphone.host.needs import Load

HOW_TO = Path(__file__).parents[3] / "docs" / "how-to" / "tune-linux-for-a-million.md"
MILLION = Load(
    connections=1_000_000,
    workers=53,
    max_connections=20_000,
    embedded=True,
    direct=False,
    tls=False,
    backlog=4096,
)
EDGE = dataclasses.replace(MILLION, embedded=False, direct=True, upstream_addresses=1, max_connections=1_000_000)


def loads() -> st.SearchStrategy[Load]:
    return st.builds(
        Load,
        connections=st.integers(1, 10_000_000),
        workers=st.integers(1, 1023),
        max_connections=st.integers(1, 4_194_303),
        embedded=st.booleans(),
        direct=st.booleans(),
        tls=st.booleans(),
        backlog=st.integers(1, 65_535),
        upstream_addresses=st.integers(0, 64),
        source_addresses=st.integers(1, 4096),
    )


def test_a_million_sessions_by_hand() -> None:
    # 18,868 on the average, 4 standard deviations of 137 more; two bus sockets for each of the 52 others.
    assert MILLION.of_worker == 19_418
    assert needs.descriptors(MILLION) == 19_418 + 128 + 104
    assert needs.tcp_pages(MILLION) == (750_000, 1_000_000, 2_000_000)
    assert needs.kernel_bytes(MILLION) == 5 * 10**9
    assert needs.process_bytes(MILLION) == 4 * 10**9 + 54 * 35_000_000
    assert needs.conntrack_entries(MILLION) == 1_250_000
    assert needs.ports(MILLION) == 0
    assert needs.most_buffer_bytes(MILLION, 2_000_000, 4096) == 819_200


def test_a_million_clients_of_an_edge_by_hand() -> None:
    assert needs.descriptors(EDGE) == 2 * 19_418 + 128
    assert needs.tcp_pages(EDGE) == (1_500_000, 2_000_000, 4_000_000)
    assert needs.conntrack_entries(EDGE) == 2_500_000
    assert needs.ports(EDGE) == 1_000_000
    assert needs.ports(dataclasses.replace(EDGE, upstream_addresses=2, source_addresses=10)) == 50_000
    assert needs.source_addresses(EDGE, 55_296) == 19


def test_the_fullest_worker_has_no_more_than_it_may() -> None:
    assert dataclasses.replace(MILLION, max_connections=19_000).of_worker == 19_000
    assert dataclasses.replace(MILLION, workers=1, max_connections=10).of_worker == 1_000_000


@given(loads())
def test_the_limit_of_open_files_and_its_inverse_agree(load: Load) -> None:
    how = {"direct": load.direct, "embedded": load.embedded, "workers": load.workers}
    limit = needs.descriptors_of_worker(load.of_worker, **how)
    assert needs.connections_within(limit, **how) == load.of_worker
    assert needs.connections_within(limit - 1, **how) == load.of_worker - 1


@given(loads())
def test_workers_together_have_room_for_all(load: Load) -> None:
    assert load.of_worker * load.workers >= load.connections
    assert needs.files(load) > load.sockets


@given(loads(), st.integers(1, 100_000))
def test_more_connections_never_need_less(load: Load, more: int) -> None:
    larger = dataclasses.replace(load, connections=load.connections + more)
    for need in (needs.files, needs.tcp_pages, needs.conntrack_entries, needs.ports, needs.kernel_bytes):
        assert need(larger) >= need(load)
    assert needs.process_bytes(larger) > needs.process_bytes(load)


@given(loads())
def test_that_many_source_addresses_are_enough_and_one_less_is_not(load: Load) -> None:
    if not load.upstream_addresses:
        return
    ports = 28_232
    sources = needs.source_addresses(load, ports)
    assert needs.ports(dataclasses.replace(load, source_addresses=sources)) <= ports
    if sources > 1:
        assert needs.ports(dataclasses.replace(load, source_addresses=sources - 1)) > ports


def test_the_how_to_has_these_figures() -> None:
    text = HOW_TO.read_text()
    four = dataclasses.replace(EDGE, workers=4)
    pages = [number for load in (MILLION, EDGE) for number in needs.tcp_pages(load)[1:]]
    costs = (
        needs.SOCKET_BYTES,
        needs.CONNECTION_BYTES,
        needs.SESSION_BYTES,
        needs.TLS_BYTES,
        needs.OPENSSL_BYTES,
        needs.PROCESS_BYTES,
    )
    for number in (needs.descriptors(MILLION), needs.descriptors(four), *pages, *costs):
        assert f"{number:,}" in text, number
    assert f"= {needs.source_addresses(EDGE, 55_296)} source addresses" in text
    assert f"{needs.most_buffer_bytes(MILLION, pages[1], 4096):,} bytes" in text
