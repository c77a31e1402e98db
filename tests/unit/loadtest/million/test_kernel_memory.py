"""How the kernel's memory for sockets is divided between both sides."""

from loadtest.million.kernel_memory import PAGE_BYTES, read_sockets, sockets_of, tcp_line

# objects per slab, pages per slab, slabs
BEFORE = {"TCP": (12, 8, 10), "sock_inode_cache": (19, 4, 20), "filp": (21, 1, 100), "dentry": (21, 1, 5_000)}
AFTER = {"TCP": (12, 8, 1_010), "sock_inode_cache": (19, 4, 820), "filp": (21, 1, 900), "dentry": (21, 1, 999_999)}


def line(count: int, pages: int) -> dict[str, int]:
    return {"alloc": count, "mem": pages}


def test_each_side_has_half_of_what_has_grown() -> None:
    before, after = sockets_of(BEFORE, line(50, 10)), sockets_of(AFTER, line(12_050, 110))
    slabs = (1_000 * 8 + 800 * 4 + 800 * 1) * PAGE_BYTES
    buffers = 100 * PAGE_BYTES
    # dentry is listed here; epoll's objects are not, and have the size that is known
    counted = 12_000 * (PAGE_BYTES // 21 + 128 + 72 + 16)
    assert after.server_bytes(before) == (slabs + buffers) // 2 + counted // 2
    assert after.client_bytes(before) == after.server_bytes(before) + 12_000 * (128 + 128) // 2


def test_nothing_has_grown() -> None:
    now = sockets_of(AFTER, line(100, 1))
    assert now.server_bytes(now) == now.client_bytes(now) == 0


def test_this_kernel_has_a_line_of_tcp() -> None:
    assert tcp_line().keys() >= {"inuse", "alloc", "mem"}


def test_real_connections_cost_some_kilobytes_each() -> None:
    import select
    import socket

    import pytest

    try:
        before = read_sockets()
    except PermissionError:
        pytest.skip("only root may read /proc/slabinfo")
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as server, select.epoll() as epoll:
        ends: list[socket.socket] = []
        try:
            for _ in range(400):
                ends.append(socket.create_connection(server.getsockname()))
                ends.append(server.accept()[0])
                for end in ends[-2:]:
                    epoll.register(end, select.EPOLLIN)
            after = read_sockets()
        finally:
            for end in ends:
                end.close()
    # Others open and close sockets meanwhile, and slabs come in whole ones: the order of magnitude has to be right.
    assert after.count - before.count > 0
    assert 1_000 < after.server_bytes(before) / ((after.count - before.count) / 2) < 20_000
