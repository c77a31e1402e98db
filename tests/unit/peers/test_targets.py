"""Addresses as users write them."""

import pytest

from megaphone.peers.names import hash_to_port
from megaphone.peers.targets import parse_peers


def test_hosts_and_names_of_the_workshop() -> None:
    assert parse_peers(["10.0.0.1:4000,[fe80::1]:5", "julia.local", "romeo.LOCAL:7", "10.0.0.1:4000"]) == [
        ("10.0.0.1", 4000),
        ("fe80::1", 5),
        ("julia.local", hash_to_port("julia")),
        ("romeo.LOCAL", 7),
    ]


@pytest.mark.parametrize(
    "text", ["", "julia", "10.0.0.1", ":4000", "10.0.0.1:0", "unix:/x", "a b:1", ".local", "a,,b:1"]
)
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        parse_peers([text])


def test_so_many_and_no_more() -> None:
    with pytest.raises(ValueError, match="more than 64"):
        parse_peers([f"10.0.0.1:{number}" for number in range(1, 100)])
