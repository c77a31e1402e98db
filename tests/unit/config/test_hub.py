"""The hub's configuration file: its rules, and that its reference says what the schema says."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from msgspec import NODEFAULT, inspect

from megaphone.config.hub import SMALLEST_HUB, Hub, HubAdmin, HubConfig, Server, parse, read_candidate, read_secret
from megaphone.config.shape import range_in_words
from megaphone.errors import ConfigError

PAGE = (Path(__file__).parents[3] / "docs" / "reference" / "hub-configuration.md").read_text("utf-8")
FILE = "/etc/megaphone/hub.toml"
TLS = 'certificate = "hub.pem"\nkey = "hub.key"\nclient_ca = "ca.pem"\n'


def with_hub(*lines: str, address: str = "127.0.0.1:5280") -> str:
    text = SMALLEST_HUB.replace("127.0.0.1:5280", address)
    return text.replace("[[upstream]]", "\n".join([*lines, "", "[[upstream]]"]))


def refused(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        parse(text, FILE)
    return f"{caught.value.key}: {caught.value.reason}"


def test_what_the_supervisor_runs_on() -> None:
    config = parse(SMALLEST_HUB, FILE)
    assert config.node.workers == 1
    assert config.node.max_connections == config.hub.max_connections
    assert [listen.address for listen in config.listen] == ["127.0.0.1:5280"]
    assert [(domain.name, domain.upstreams) for domain in config.domain] == [("localhost", ("server",))]
    assert config.hub.secret_file == "/etc/megaphone/link.secret"
    assert config.admin == HubAdmin()


@pytest.mark.parametrize("address", ["127.0.0.1:5280", "localhost:1", "[::1]:5280", "unix:/run/megaphone/hub.sock"])
def test_addresses_that_need_no_tls(address: str) -> None:
    assert parse(with_hub(address=address), FILE).hub.address == address


@pytest.mark.parametrize("address", ["192.0.2.1:5280", "0.0.0.0:5280", "*:5280", "[2001:db8::1]:5280", "hub.test:5280"])
def test_addresses_that_need_mutual_tls(address: str) -> None:
    assert refused(with_hub(address=address)).startswith("hub.address: ")
    config = parse(with_hub(TLS, address=address), FILE)
    assert config.hub.client_ca == "/etc/megaphone/ca.pem"


@pytest.mark.parametrize("left_out", ["certificate", "key", "client_ca"])
def test_half_of_mutual_tls(left_out: str) -> None:
    lines = [line for line in TLS.splitlines() if not line.startswith(left_out)]
    assert refused(with_hub(*lines)).startswith(f"hub.{left_out}: is missing")


def test_keys_of_links_are_not_for_the_servers_behind_a_hub() -> None:
    assert refused(SMALLEST_HUB + 'mode = "link"\n').startswith("upstream[0].mode: there is no such key")


def test_a_hub_sends_nobody_elsewhere() -> None:
    assert refused(SMALLEST_HUB + '[drain]\nsee_other_host = "other.test"\n').startswith("drain.see_other_host: has no")


def test_rules_of_an_edge_that_hold_here_too() -> None:
    assert refused(SMALLEST_HUB.replace("127.0.0.1:5232", "127.0.0.1")).startswith("upstream[0].address: ")
    assert refused(SMALLEST_HUB + '[admin]\nsocket = "here"\n').startswith("admin.socket: ")
    assert refused(with_hub(address="127.0.0.1")).startswith("hub.address: there is no port")
    assert refused(SMALLEST_HUB.replace('"localhost"', '"not a domain"')).startswith("hub.domain: ")


def test_secret(tmp_path: Path) -> None:
    path = tmp_path / "link.secret"
    config = parse(SMALLEST_HUB, str(tmp_path / "hub.toml"))
    path.write_bytes(bytes(range(33, 65)) + b"\n")
    path.chmod(0o600)
    assert read_secret(config, FILE) == bytes(range(33, 65))
    path.chmod(0o644)
    with pytest.raises(ConfigError, match=r"hub\.secret_file"):
        read_secret(config, FILE)


def test_reload(tmp_path: Path) -> None:
    path, secret = tmp_path / "hub.toml", tmp_path / "link.secret"
    secret.write_bytes(bytes(32))
    secret.chmod(0o600)
    path.write_text(SMALLEST_HUB + f'[admin]\nsocket = "{tmp_path}/admin.sock"\n')
    current = parse(path.read_text(), str(path))
    for line in ("connect_seconds = 1", "slow_seconds = 1", "close_seconds = 1"):
        path.write_text(with_hub(line) + f'[admin]\nsocket = "{tmp_path}/admin.sock"\n')
        candidate, _, _ = read_candidate(str(path), current)
        assert isinstance(candidate, HubConfig)
        assert candidate != current
    for key in ("max_links", "max_streams", "max_connections", "grace_seconds"):
        path.write_text(with_hub(f"{key} = 7") + f'[admin]\nsocket = "{tmp_path}/admin.sock"\n')
        with pytest.raises(ConfigError, match="cannot change while running") as caught:
            read_candidate(str(path), current)
        assert caught.value.key == f"hub.{key}"


def documented() -> dict[str, tuple[str, ...]]:
    """The rows of the page: dotted key to type, default and what is accepted."""
    rows, table = {}, ""
    for line in PAGE.splitlines():
        if heading := re.fullmatch(r"## `\[\[?(\w+)\]\]?`", line):
            table = heading[1]
        if row := re.match(r"\| `(\w+)` \| ([^|]+) \| ([^|]+) \| ([^|]+) \|", line):
            rows[f"{table}.{row[1]}"] = row.groups()[1:]
    return rows


def declared() -> dict[str, inspect.Field]:
    fields: dict[str, inspect.Field] = {}
    for name, table in (("hub", Hub), ("upstream", Server), ("admin", HubAdmin)):
        shape = inspect.type_info(table)
        assert isinstance(shape, inspect.StructType)
        fields |= {f"{name}.{field.name}": field for field in shape.fields}
    return fields


def test_every_key_is_documented_and_no_other() -> None:
    assert list(documented()) == list(declared())


def in_toml(value: Any) -> str:
    return "[]" if value == () else json.dumps(value)


@pytest.mark.parametrize("key", declared())
def test_default_and_range(key: str) -> None:
    field, (_, default, accepts) = declared()[key], documented()[key]
    assert default == ("required" if field.default is NODEFAULT else f"`{in_toml(field.default)}`")
    if isinstance(field.type, inspect.IntType | inspect.FloatType):
        assert accepts == range_in_words(field.type)


def test_the_smallest_configuration_is_the_one_in_the_error_message() -> None:
    assert f"```toml\n{SMALLEST_HUB}```" in PAGE
