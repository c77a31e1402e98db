"""What is announced, and what is made of what others announce."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from megaphone.peers.discovery import Advertised, advertised, instance_name

NODE = "0123456789abcdef" * 2


def test_a_service_of_ours() -> None:
    found = advertised({"v": "1", "node": NODE}, ["fe80::1%2", "10.0.0.1"], 4000)
    assert found == Advertised(NODE, (("10.0.0.1", 4000), ("fe80::1%2", 4000)))


@pytest.mark.parametrize(
    ("properties", "hosts", "port"),
    [
        ({}, ["10.0.0.1"], 4000),
        ({"node": None}, ["10.0.0.1"], 4000),
        ({"node": NODE[:-1]}, ["10.0.0.1"], 4000),
        ({"node": NODE.upper()}, ["10.0.0.1"], 4000),
        ({"node": NODE}, [], 4000),
        ({"node": NODE}, ["10.0.0.1"], 0),
        ({"node": NODE}, ["10.0.0.1"], None),
        ({"node": NODE}, ["0.0.0.0", "224.0.0.251", "ff02::fb", "fe80::1", "julia"], 4000),
    ],
)
def test_what_cannot_be_dialled(properties: dict[str, str | None], hosts: list[str], port: int | None) -> None:
    assert advertised(properties, hosts, port) is None


def test_so_many_addresses_and_no_more() -> None:
    found = advertised({"node": NODE}, [f"10.0.0.{number}" for number in range(1, 30)], 1)
    assert found is not None
    assert len(found.addresses) == 8


@given(st.text())
def test_any_name_fits_into_a_label(name: str) -> None:
    label = instance_name(name, NODE)
    assert label.endswith(" 01234567")
    assert "." not in label
    assert label.isprintable()
    assert len(label.encode()) <= 63


def test_the_name_is_readable() -> None:
    assert instance_name("Julia C.", NODE) == "Julia C- 01234567"
