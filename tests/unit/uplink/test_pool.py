"""The pool: addresses, shares of limits, and the choice among upstreams."""

import socket

import pytest

from megaphone.config.schema import Config, Domain
from megaphone.config.schema import Upstream as UpstreamTable
from megaphone.dispatch.counters import BOARD_BYTES, Board, UpstreamSlot
from megaphone.errors import ConfigError
from megaphone.uplink.pool import Pool, Upstream, resolve, socket_address


@pytest.fixture
def board() -> Board:
    return Board(bytearray(BOARD_BYTES))


def pool_of(board: Board, count: int, *, workers: int = 1, limit: int = 10) -> Pool:
    tables = tuple(
        UpstreamTable(name=f"u{index}", address=f"127.0.0.1:{5000 + index}", max_connections=limit)
        for index in range(count)
    )
    names = tuple(table.name for table in tables)
    return Pool(Config(upstream=tables, domain=(Domain(name="Example.ORG", upstreams=names),)), board, workers)


def name_of(choice: Upstream | str) -> str:
    return choice if isinstance(choice, str) else choice.name


@pytest.mark.parametrize(
    ("address", "family", "packed"),
    [
        ("127.0.0.1:5222", socket.AF_INET, b"\x14\x66\x7f\0\0\1" + bytes(8)),
        (
            "[2001:db8::1]:5222",
            socket.AF_INET6,
            b"\x14\x66" + bytes(4) + b"\x20\x01\x0d\xb8" + bytes(11) + b"\1" + bytes(4),
        ),
        ("unix:/run/xmpp.sock", socket.AF_UNIX, b"/run/xmpp.sock\0"),
    ],
)
def test_addresses_are_those_of_connect(address: str, family: int, packed: bytes) -> None:
    expected = family.to_bytes(2, "little") + packed
    found, target = resolve(UpstreamTable(name="u", address=address))
    assert (found, socket_address(found, target)) == (family, expected)


def test_a_packed_address_is_what_the_kernel_connects_to() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        assert socket_address(socket.AF_INET, ("127.0.0.1", port))[2:4] == port.to_bytes(2)


def test_a_host_name_without_address_is_a_configuration_error() -> None:
    with pytest.raises(ConfigError, match=r"node.toml: upstream u: cannot resolve no-such-host\.invalid"):
        resolve(UpstreamTable(name="u", address="no-such-host.invalid:5222"), "node.toml")


def test_the_one_with_fewest_open_connections_is_chosen(board: Board) -> None:
    pool = pool_of(board, 3)
    for upstream, count in zip(pool.upstreams, (4, 2, 3), strict=True):
        upstream.open = count
    assert name_of(pool.choose("example.org")) == "u1"
    assert name_of(pool.choose("example.org", tried=0b010)) == "u2"
    assert name_of(pool.choose("example.org", tried=0b110)) == "u0"
    assert pool.choose("example.org", tried=0b111) == "remote-connection-failed"
    assert pool.choose("example.net") == "remote-connection-failed"


def test_full_ones_are_passed_over_and_counted(board: Board) -> None:
    pool = pool_of(board, 2, limit=5)
    pool.upstreams[0].open = 5
    pool.upstreams[1].open = 4
    assert name_of(pool.choose("example.org")) == "u1"
    pool.upstreams[1].open = 5
    assert pool.choose("example.org") == "resource-constraint"
    refused = [board.get(board.upstream_slot(index, UpstreamSlot.UP_REFUSED_FULL)) for index in (0, 1)]
    assert refused == [2, 1]


def test_unhealthy_ones_are_passed_over(board: Board) -> None:
    pool = pool_of(board, 2)
    pool.mark(pool.upstreams[0], healthy=False)
    assert name_of(pool.choose("example.org")) == "u1"
    pool.mark(pool.upstreams[1], healthy=False)
    assert pool.choose("example.org") == "remote-connection-failed"
    pool.mark(pool.upstreams[0], healthy=True)
    assert name_of(pool.choose("example.org")) == "u0"
    assert [board.get(board.upstream_slot(index, UpstreamSlot.UP_HEALTHY)) for index in (0, 1)] == [1, 0]


@pytest.mark.parametrize(("limit", "workers", "share"), [(10, 1, 10), (10, 4, 2), (3, 4, 1), (1_000_000, 3, 333_333)])
def test_a_worker_has_its_share_of_a_limit(board: Board, limit: int, workers: int, share: int) -> None:
    assert pool_of(board, 1, workers=workers, limit=limit).upstreams[0].limit == share


def test_source_addresses_go_round() -> None:
    upstream = Upstream(0, "u", socket.AF_INET, ("127.0.0.1", 5222), False, 1, sources=(b"a", b"b", b"c"))
    assert sorted(upstream.source() or b"" for _ in range(3)) == [b"a", b"b", b"c"]
    assert upstream.source() == b"b"
    assert Upstream(0, "u", socket.AF_INET, ("127.0.0.1", 5222), False, 1).source() is None


def test_domains_can_be_served_anew(board: Board) -> None:
    pool = pool_of(board, 2)
    before = pool.upstreams
    pool.serve(Config(domain=(Domain(name="example.net", upstreams=("u1",)),)))
    assert pool.upstreams is before
    assert pool.choose("example.org") == "remote-connection-failed"
    assert name_of(pool.choose("example.net")) == "u1"
