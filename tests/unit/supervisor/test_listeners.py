"""Listening sockets: one per worker and address, shared ports, and clear words when an address cannot be had."""

import errno
import socket

import pytest

from megaphone.config.schema import Listen
from megaphone.errors import ConfigError
from megaphone.supervisor import listeners
from megaphone.supervisor.listeners import open_listeners

HAS_IPV6 = socket.has_ipv6 and listeners._has_ipv6()


def opened(*addresses: str, workers: int = 2) -> listeners.Listeners:
    return open_listeners([Listen(address=address) for address in addresses], workers=workers, file="m.toml")


def port_of(bound: listeners.Bound) -> int:
    return int(bound.address.rpartition(":")[2])


def test_each_worker_has_a_socket_of_its_own_on_the_same_port() -> None:
    found = opened("127.0.0.1:0", "127.0.0.1:0", workers=3)
    try:
        assert [len(bound.sockets) for bound in found.bound] == [3, 3]
        for bound in found.bound:
            assert {listening.getsockname()[1] for listening in bound.sockets} == {port_of(bound)}
        assert port_of(found.bound[0]) != port_of(found.bound[1])
        for worker in range(3):
            assert [index for index, _ in found.of_worker(worker)] == [0, 1]
        descriptors = [descriptor for worker in range(3) for _, descriptor in found.of_worker(worker)]
        assert len(set(descriptors)) == 6
    finally:
        found.close()


def test_connections_reach_all_sockets_and_wait_there_unaccepted() -> None:
    found = opened("127.0.0.1:0", workers=2)
    clients = [socket.create_connection(("127.0.0.1", port_of(found.bound[0])), timeout=5) for _ in range(64)]
    accepted = []
    try:
        for listening in found.bound[0].sockets:
            count = 0
            while True:
                try:
                    connection, _ = listening.accept()
                except BlockingIOError:
                    break
                connection.close()
                count += 1
            accepted.append(count)
    finally:
        for client in clients:
            client.close()
        found.close()
    assert sum(accepted) == 64
    assert min(accepted) > 0


@pytest.mark.skipif(not HAS_IPV6, reason="this machine has no IPv6")
def test_all_interfaces_are_ipv4_and_ipv6_side_by_side() -> None:
    found = opened("[::1]:0", ":0", workers=1)
    try:
        assert [bound.address.rpartition(":")[0] for bound in found.bound] == ["[::1]", "0.0.0.0", "[::]"]
        assert [bound.listen_index for bound in found.bound] == [0, 1, 1]
        assert found.bound[2].sockets[0].getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY) == 1
        socket.create_connection(("::1", port_of(found.bound[0])), timeout=5).close()
    finally:
        found.close()


def test_sockets_do_not_block_and_are_not_inherited_by_accident() -> None:
    found = opened("127.0.0.1:0", workers=1)
    (listening,) = found.bound[0].sockets
    try:
        assert not listening.getblocking()
        assert not listening.get_inheritable()
    finally:
        found.close()


def test_an_address_in_use_is_named_also_when_the_other_one_shares_ports() -> None:
    first = opened("127.0.0.1:0", workers=2)
    taken = f"127.0.0.1:{port_of(first.bound[0])}"
    try:
        with pytest.raises(ConfigError) as caught:
            opened("127.0.0.1:0", taken)
    finally:
        first.close()
    assert str(caught.value) == (
        f"m.toml: listen[1].address: cannot listen on {taken}: "
        "the address is already in use by another program (or another Megaphone)"
    )


def test_after_an_error_nothing_stays_open() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(ConfigError):
        opened(f"127.0.0.1:{port}", "203.0.113.1:5222")
    opened(f"127.0.0.1:{port}").close()


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("203.0.113.1:5222", "cannot listen on 203.0.113.1:5222: this machine does not have that address"),
        ("no-such-host.invalid:5222", 'cannot listen on "no-such-host.invalid:5222": '),
        ("::1:5222", "an IPv6 address stands in brackets"),
        ("127.0.0.1", "there is no port"),
    ],
)
def test_what_cannot_be_listened_on_names_the_reason(address: str, reason: str) -> None:
    with pytest.raises(ConfigError) as caught:
        opened(address)
    assert caught.value.key == "listen[0].address"
    assert reason in caught.value.reason


def test_a_port_that_is_not_permitted(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(socket.socket, "bind", refuse)
    with pytest.raises(ConfigError, match="ports below 1024 need root or CAP_NET_BIND_SERVICE"):
        opened("127.0.0.1:443")
