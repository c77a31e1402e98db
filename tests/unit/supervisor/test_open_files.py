"""The limit of open files against what the configuration may need."""

import resource

import pytest

from megaphone.config.schema import Config, Node
from megaphone.supervisor import open_files


def test_the_soft_limit_becomes_the_hard_limit() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, hard) - 1, hard))
    try:
        assert open_files.raise_limit() == hard
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (hard, hard)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize(("limit", "enough_for"), [(2127, 999), (1024, 448), (100, 0)])
def test_a_shortage_says_how_many_connections_there_can_be(limit: int, enough_for: int) -> None:
    warning = open_files.shortage(Config(node=Node(max_connections=1000)), limit)
    assert warning is not None
    assert f"enough for {enough_for} connections per worker" in warning
    assert "needs 2128" in warning


def test_no_shortage() -> None:
    assert open_files.shortage(Config(node=Node(max_connections=1000)), 2128) is None
