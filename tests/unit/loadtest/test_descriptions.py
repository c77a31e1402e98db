"""Targets, accounts and settings: what they accept, and what they say about what they do not."""

import ipaddress
from pathlib import Path

import pytest

from loadtest.swarm import Accounts, AccountsError, Settings, SwarmError, Target, TargetError

# --- targets ---


def test_source_addresses_are_expanded() -> None:
    target = Target(
        host="127.0.0.1", ports=(5222, 5223), domain="a.test", source_addresses=("127.0.1.0/30", "127.9.9.9")
    )
    assert [str(ipaddress.ip_address(each)) for each in target.sources()] == ["127.0.1.1", "127.0.1.2", "127.9.9.9"]
    assert target.addresses() == [(b"\x7f\0\0\1", 5222), (b"\x7f\0\0\1", 5223)]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ports": ()}, "no ports"),
        ({"ports": (70_000,)}, "no ports between"),
        ({"security": "ssl"}, "plain, starttls or tls"),
        ({"domain": "a'b"}, "not the domain"),
        ({"domain": ""}, "not the domain"),
    ],
)
def test_a_target_that_cannot_be(changes: dict[str, object], message: str) -> None:
    fields: dict[str, object] = {"host": "127.0.0.1", "ports": (5222,), "domain": "a.test"}
    with pytest.raises(TargetError, match=message):
        Target(**{**fields, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize("sources", [("nowhere",), ("10.0.0.0/8",), ("127.0.0.0/16", "127.1.0.0/16")])
def test_sources_that_cannot_be(sources: tuple[str, ...]) -> None:
    with pytest.raises(TargetError, match="address"):
        Target(host="127.0.0.1", ports=(5222,), domain="a.test", source_addresses=sources).sources()


# --- accounts ---


def test_accounts_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "accounts"
    path.write_text("# jid password\nanna@a.test one\n\nbert two words\n carla@a.test three\n", encoding="utf-8")
    assert Accounts.from_file(path, "PLAIN").listed == (("anna", "one"), ("bert", "two words"), ("carla", "three"))
    assert Accounts.from_file(path, part=1, parts=2).listed == (("bert", "two words"),)
    assert Accounts.from_file(path, part=1, parts=2).count == 1
    with pytest.raises(AccountsError, match="no accounts for part 3 of 4"):
        Accounts.from_file(path, part=3, parts=4)


def test_accounts_that_cannot_be(tmp_path: Path) -> None:
    path = tmp_path / "accounts"
    path.write_text("anna@a.test one\nbert\n", encoding="utf-8")
    with pytest.raises(AccountsError, match="line 2: expected `jid password`"):
        Accounts.from_file(path)
    with pytest.raises(AccountsError, match="cannot read"):
        Accounts.from_file(tmp_path / "missing")
    with pytest.raises(AccountsError, match="not 'ANONYMOUS'"):
        Accounts.generated(1, "secret", "ANONYMOUS")
    with pytest.raises(AccountsError, match="not a password"):
        Accounts.generated(1, "")
    with pytest.raises(AccountsError, match="not a name"):
        Accounts.generated(1, "secret", prefix="x" * 1023)
    with pytest.raises(AccountsError, match="no accounts"):
        Accounts.generated(0, "secret")


# --- settings ---


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"keep_alive": "always"}, "none, space or ping"),
        ({"chat_per_second": -1.0}, "chat_per_second is 0 to"),
        ({"keep_alive_seconds": 0.0}, "keep_alive_seconds is more than 0"),
        ({"body_bytes": 10}, "body_bytes is 40 to 8192"),
        ({"slow_bytes_per_second": -1}, "slow_bytes_per_second"),
        ({"hostile_timeout_seconds": 1e9}, "hostile_timeout_seconds"),
    ],
)
def test_settings_that_cannot_be(changes: dict[str, object], message: str) -> None:
    with pytest.raises(SwarmError, match=message):
        Settings(**changes)  # type: ignore[arg-type]
