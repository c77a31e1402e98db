"""The limit of open files against what the configuration may need."""

import resource

import pytest

from megaphone.config.schema import Config, Node, Upstream
from megaphone.supervisor import open_files


def test_the_soft_limit_becomes_the_hard_limit() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, hard) - 1, hard))
    try:
        assert open_files.raise_limit() == hard
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (hard, hard)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


CHAT = Config(node=Node(max_connections=1000, workers=1))
DIRECT = Config(node=CHAT.node, upstream=(Upstream(name="server", address="192.0.2.1:5222"),))
LINKS = Config(node=CHAT.node, upstream=(Upstream(name="server", address="192.0.2.1:5222", mode="link"),))


@pytest.mark.parametrize(("limit", "enough_for"), [(2127, 999), (1024, 448), (100, 0)])
def test_a_shortage_says_how_many_connections_there_can_be(limit: int, enough_for: int) -> None:
    warning = open_files.shortage(DIRECT, limit)
    assert warning is not None
    assert f"enough for {enough_for} connections per worker" in warning
    assert "needs 2128" in warning


@pytest.mark.parametrize(("config", "enough"), [(DIRECT, 2128), (LINKS, 1128), (CHAT, 1128)])
def test_a_connection_takes_a_second_socket_only_where_servers_take_one_for_each(config: Config, enough: int) -> None:
    assert open_files.shortage(config, enough) is None
    assert open_files.shortage(config, enough - 1) is not None


def test_workers_of_a_chat_service_have_sockets_for_each_other() -> None:
    config = Config(node=Node(max_connections=1000, workers=11))
    assert open_files.shortage(config, 1148) is None
    assert open_files.shortage(config, 1147) is not None


def test_a_hub_has_one_socket_for_each_stream() -> None:
    warning = open_files.shortage(DIRECT, 1127, hub=True)
    assert warning is not None
    assert "hub.max_connections = 1000 needs 1128" in warning
