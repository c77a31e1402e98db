"""What a socket takes in the kernel, and whose it is."""

import select
import socket

import pytest

from loadtest.million.kernel_memory import PAGE_BYTES, Slab, read_sockets, sockets_of, tcp_line

SLABS = {
    "TCP": Slab(objects=13, pages=8),
    "UNIX": Slab(objects=15, pages=4),
    "sock_inode_cache": Slab(objects=19, pages=4),
    "filp": Slab(objects=21, pages=1),
    "dentry": Slab(objects=21, pages=1),
}


def line(count: int, pages: int) -> dict[str, int]:
    return {"alloc": count, "mem": pages}


def test_an_end_of_a_connection() -> None:
    sockets = sockets_of(SLABS, line(8_000, 0))
    # epoll's objects are not listed and have the size that is known
    shared = 4 * PAGE_BYTES / 19 + 2 * PAGE_BYTES / 21 + 128 + 72 + 16
    assert sockets.tcp_each == pytest.approx(shared + 8 * PAGE_BYTES / 13)
    assert sockets.unix_each == pytest.approx(shared + 4 * PAGE_BYTES / 15)
    assert sockets.server_bytes(1_000, 12) == pytest.approx(1_000 * sockets.tcp_each + 12 * sockets.unix_each, abs=1)
    assert sockets.client_bytes(1_000) == pytest.approx(1_000 * (sockets.tcp_each + 256), abs=1)


def test_buffers_are_divided_among_all_sockets() -> None:
    empty, full = sockets_of(SLABS, line(8_000, 0)), sockets_of(SLABS, line(8_000, 500))
    assert full.server_bytes(4_000, 0) - empty.server_bytes(4_000, 0) == pytest.approx(250 * PAGE_BYTES, abs=1)


def test_nobody_is_connected() -> None:
    sockets = sockets_of({}, line(0, 0))
    assert sockets.server_bytes(0, 0) == sockets.client_bytes(0) == 0


def test_this_kernel_has_a_line_of_tcp() -> None:
    assert tcp_line().keys() >= {"inuse", "alloc", "mem"}


def test_a_real_connection_costs_some_kilobytes() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname()) as one,
        server.accept()[0] as other,
        select.epoll() as epoll,
    ):
        epoll.register(one, select.EPOLLIN)
        epoll.register(other, select.EPOLLIN)
        try:
            sockets = read_sockets()
        except PermissionError:
            pytest.skip("only root may read /proc/slabinfo")
    assert sockets.count >= 3
    assert 3_000 < sockets.tcp_each < 6_000
    assert 1_500 < sockets.unix_each < sockets.tcp_each
