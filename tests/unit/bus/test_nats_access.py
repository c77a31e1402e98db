"""Where the servers are and who we are: lists of URLs, names of clusters, nkey seeds."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

import pytest

from megaphone.bus.nats_access import Access, Server, check_cluster, encode_nkey, read_servers
from megaphone.errors import BusError

if TYPE_CHECKING:
    from pathlib import Path


def test_lists_of_servers() -> None:
    assert read_servers("nats://a.example:1, tls://[::1]:2,b") == (
        Server("a.example", 1),
        Server("::1", 2, tls=True),
        Server("b", 4222),
    )
    assert str(read_servers("tls://[::1]:2")[0]) == "tls://[::1]:2"


@pytest.mark.parametrize(
    "urls", ["", "http://a", "nats://", "nats://a:b", "nats://a:99999", "nats://a/b", "nats://a?b", "a,,b", "a," * 64]
)
def test_what_no_list_is(urls: str) -> None:
    with pytest.raises(BusError):
        read_servers(urls)


def test_secrets_do_not_belong_into_urls_and_are_not_shown() -> None:
    with pytest.raises(BusError, match="settings of their own") as raised:
        read_servers("nats://me:hush@a")
    assert "hush" not in str(raised.value)
    shown = repr(Access((), user="me", password="hush", token="psst"))
    assert "hush" not in shown
    assert "psst" not in shown


@pytest.mark.parametrize("name", ["", "a.b", "a b", "a" * 33, "*", "ä"])
def test_what_no_cluster_is(name: str) -> None:
    with pytest.raises(BusError):
        check_cluster(name)


def test_clusters() -> None:
    assert check_cluster("eu-1_A") == "eu-1_A"


def seed_of(raw: bytes, kind: int = 20 << 3) -> str:
    """As NATS's `nk -gen user` writes it."""
    return encode_nkey(bytes([18 << 3 | kind >> 5, (kind & 31) << 3]) + raw)


def test_an_nkey_signs_the_nonce(tmp_path: Path) -> None:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    raw = bytes(range(32))
    seed = seed_of(raw)
    assert seed.startswith("SU")
    path = tmp_path / "user.nk"
    path.write_text(seed + "\n")
    fields = Access((), nkey_file=str(path)).login("nonce")
    assert fields["nkey"].startswith("U")
    key = Ed25519PrivateKey.from_private_bytes(raw).public_key()
    key.verify(base64.urlsafe_b64decode(fields["sig"] + "=="), b"nonce")


@pytest.mark.parametrize("text", ["", "SU", "hello", seed_of(bytes(32), 2 << 3), seed_of(bytes(32))[:-1] + "A", "ä"])
def test_what_no_seed_is(tmp_path: Path, text: str) -> None:
    path = tmp_path / "user.nk"
    path.write_text(text)
    with pytest.raises(BusError, match=r"user\.nk"):
        Access((), nkey_file=str(path)).login("nonce")


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(BusError, match="No such file"):
        Access((), nkey_file=str(tmp_path / "none")).login("nonce")
    with pytest.raises(BusError, match="TLS"):
        Access((), ca=str(tmp_path / "none")).ssl_context()
