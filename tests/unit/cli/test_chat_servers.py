"""The list of servers, and which one is tried when."""

import pytest

from megaphone.cli.chat_servers import DELAY_LIMIT_SECONDS, Rotation, parse_servers
from megaphone.sockets.endpoint import Endpoint

A, B, C = (Endpoint(name, 5222) for name in "abc")


def test_the_list_as_it_is_typed() -> None:
    assert parse_servers(["a", "b:1, [::1]", "[::1]:5222,a:5222"], 5222) == [A, Endpoint("b", 1), Endpoint("::1", 5222)]


@pytest.mark.parametrize("text", ["", "a,", ":5222", "a:0", "a:x", "unix:/a", "::1", "a b", "a:70000"])
def test_what_is_no_server(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - what it says is parse_address's
        parse_servers([text], 5222)


def test_too_many_servers() -> None:
    with pytest.raises(ValueError, match="more than 32 servers"):
        parse_servers([f"h{number}" for number in range(33)], 5222)


def test_one_round_at_once_then_growing_pauses() -> None:
    rotation = Rotation([A, B, C], lambda: 1.0)
    tried = [(rotation.current.host, rotation.failed()) for _ in range(9)]
    assert tried == [
        *(("a", 0.0), ("b", 0.0), ("c", 1.0)),
        *(("a", 1.0), ("b", 1.0), ("c", 2.0)),
        *(("a", 2.0), ("b", 2.0), ("c", 4.0)),
    ]
    rotation.served_well()
    assert rotation.failed() == 0.0


def test_chance_shortens_a_pause_by_half_at_most_and_none_is_endless() -> None:
    assert Rotation([A], lambda: 0.0).failed() == 0.5
    rotation = Rotation([A], lambda: 1.0)
    assert max(rotation.failed() for _ in range(5000)) == DELAY_LIMIT_SECONDS


def test_a_named_server_is_next_only_if_it_is_of_the_list() -> None:
    rotation = Rotation([A, B, C], lambda: 1.0)
    rotation.prefer("c:5222")
    rotation.failed()
    assert rotation.current == C
    rotation.prefer("evil.example:5222")
    rotation.failed()
    assert rotation.current == A
