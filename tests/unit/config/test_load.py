"""TOML to Config: every mistake is one ConfigError that names file, key and reason."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from megaphone.config.load import load, parse
from megaphone.config.rules import SMALLEST_CONFIG
from megaphone.config.schema import Config, Limits
from megaphone.config.shape import build
from megaphone.errors import ConfigError

FILE = "/etc/megaphone/megaphone.toml"


def refusal(text: str) -> tuple[str, str]:
    """Return key and reason of the mistake in `text`, checked to be named in the message together with the file."""
    with pytest.raises(ConfigError) as caught:
        parse(text, FILE)
    error = caught.value
    assert error.file == FILE
    assert str(error) == f"{FILE}: {error.key}: {error.reason}" if error.key else f"{FILE}: {error.reason}"
    return error.key, error.reason


def test_smallest_configuration_has_the_defaults() -> None:
    config = parse(SMALLEST_CONFIG, FILE)
    assert config.limits == Limits()
    assert [listen.address for listen in config.listen] == ["127.0.0.1:5222"]
    assert [(domain.name, domain.upstreams) for domain in config.domain] == [("localhost", ("server",))]


def test_every_table_can_be_written() -> None:
    config = parse(
        """
        [node]
        workers = 2
        [[listen]]
        address = "[::]:5223"
        tls = "direct"
        proxy_protocol_from = ["10.0.0.0/8"]
        [[certificate]]
        chain = "a.crt"
        key = "/keys/a.key"
        names = ["*.Example.org", "bücher.example"]
        [tls]
        minimum_version = "1.3"
        [[domain]]
        name = "EXAMPLE.org"
        upstreams = ["a", "b"]
        [[upstream]]
        name = "a"
        address = "unix:/run/a.sock"
        [[upstream]]
        name = "b"
        address = "b.internal:5222"
        source_addresses = ["127.0.0.0/28"]
        [health]
        interval_seconds = 10
        [limits]
        idle_seconds = 60
        [restart]
        intensity = 3
        [drain]
        deadline_seconds = 1.5
        [admin]
        address = ""
        [log]
        format = "json"
        """,
        FILE,
    )
    assert config.node.workers == 2
    assert config.limits.idle_seconds == 60.0
    assert config.domain[0].name == "example.org"
    assert config.certificate[0].chain == "/etc/megaphone/a.crt"
    assert config.certificate[0].key == "/keys/a.key"
    assert config.certificate[0].names == ("*.example.org", "xn--bcher-kva.example")


@pytest.mark.parametrize(
    ("text", "key", "reason"),
    [
        ("[node]\nworker = 1", "node.worker", 'did you mean "workers"?'),
        ("[nodes]", "nodes", 'did you mean "node"?'),
        ("[limits]\nworkers = 1", "limits.workers", 'did you mean "workers" in [node]?'),
        ("stanza_byte = 1", "stanza_byte", 'did you mean "stanza_bytes" in [limits]?'),
        ("[limits]\nbacklog = 1", "limits.backlog", 'did you mean "backlog" in [[listen]]?'),
        ("[zzzz]", "zzzz", "a configuration has node, listen, websocket, web, bosh, certificate"),
        ("[drain]\nqqqq = 1", "drain.qqqq", "drain has connections_per_second, deadline_seconds"),
        ("[[listen]]\naddress = '*:1'\ntlss = 'none'", "listen[0].tlss", 'did you mean "tls"?'),
        ("listen = []\n[[upstream]]\nname = 'a'", "upstream[0].address", "is required here and missing"),
        ("[listen]\naddress = '*:1'", "listen", "[[listen]]"),
        ("node = 3", "node", "must be a table, written [node], not a whole number (3)"),
        ("[[node]]", "node", "must be a table, written [node], not a list"),
        ("listen = [3]", "listen[0]", "must be a table"),
        ("[node]\nworkers = '2'", "node.workers", 'must be a whole number, not "2"'),
        ("[node]\nworkers = 2.0", "node.workers", "must be a whole number, not a number (2.0)"),
        ("[node]\nworkers = true", "node.workers", "must be a whole number, not true"),
        ("[node]\nworkers = -1", "node.workers", "must be from 0 to 1023, not -1"),
        ("[node]\nworkers = 1024", "node.workers", "must be from 0 to 1023, not 1024"),
        ("[limits]\nidle_seconds = 0", "limits.idle_seconds", "must be above 0 and at most 31536000, not 0"),
        ("[limits]\nidle_seconds = nan", "limits.idle_seconds", "must be above 0 and at most 31536000, not nan"),
        ("[limits]\nidle_seconds = inf", "limits.idle_seconds", "must be above 0 and at most 31536000, not inf"),
        ("[limits]\nidle_seconds = '1h'", "limits.idle_seconds", 'must be a number, not "1h"'),
        ("[limits]\nidle_seconds = true", "limits.idle_seconds", "must be a number, not true"),
        ("[limits]\nidle_seconds = 1979-05-27", "limits.idle_seconds", "must be a number, not a date"),
        ("[limits]\nstanza_bytes = 9999", "limits.stanza_bytes", "must be from 10000 to 1000000000, not 9999"),
        ("[limits]\nover_rate = 'throttled'", "limits.over_rate", 'did you mean "throttle"?'),
        ("[tls]\nminimum_version = '1.1'", "tls.minimum_version", 'must be "1.2" or "1.3", not "1.1"'),
        ("[tls]\nminimum_version = 1.2", "tls.minimum_version", 'must be "1.2" or "1.3", not a number (1.2)'),
        ("[tls]\nsession_tickets = 1", "tls.session_tickets", "must be true or false, not a whole number (1)"),
        ("[tls]\nciphers = ['a']", "tls.ciphers", "must be a text in quotes, not a list"),
        ("[limits]\ntrusted_networks = '10.0.0.0/8'", "limits.trusted_networks", "must be a list"),
        ("[limits]\ntrusted_networks = [1]", "limits.trusted_networks[0]", "must be a text in quotes"),
    ],
)
def test_shape(text: str, key: str, reason: str) -> None:
    found_key, found_reason = refusal(text)
    assert found_key == key
    assert reason in found_reason


@pytest.mark.parametrize(
    ("text", "key", "reason"),
    [
        ("[node]\nworkers 2", "line 2, column 9", "Expected '='"),
        ("[node]\nworkers = 2\nworkers = 3\n", "line 3, column 12", "Cannot overwrite a value"),
        ("[node", "end of document", "Expected ']'"),
        ("a = \0", "line 1, column 5", "Invalid value"),
        ("a = " + "[" * 5000, "", "nested too deeply"),
        ("a = " + "9" * 5000, "", "thousands of digits"),
    ],
)
def test_toml_mistakes_name_their_place(text: str, key: str, reason: str) -> None:
    found_key, found_reason = refusal(text)
    assert found_key == key
    assert reason in found_reason


@pytest.mark.parametrize(
    ("text", "tables"),
    [
        ("", "[[listen]] and no [[domain]]"),
        ("[[listen]]\naddress = ':1'\ntls = 'none'", "[[domain]]"),
    ],
)
def test_nothing_to_do_is_answered_with_the_smallest_configuration(text: str, tables: str) -> None:
    key, reason = refusal(text)
    assert key == ""
    assert f"there is no {tables}" in reason
    assert reason.endswith(SMALLEST_CONFIG)


def test_load_reads_the_file(tmp_path: Path) -> None:
    path = tmp_path / "megaphone.toml"
    path.write_text(SMALLEST_CONFIG)
    assert load(str(path)) == parse(SMALLEST_CONFIG, str(path))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"[node]\nworkers = 1\n# caf\xe9\n", "line 3: holds a byte that is not UTF-8"),
        (b"#" * 1_048_577, "larger than 1048576"),
    ],
)
def test_load_refuses_what_is_no_text(tmp_path: Path, data: bytes, reason: str) -> None:
    path = tmp_path / "megaphone.toml"
    path.write_bytes(data)
    with pytest.raises(ConfigError, match=reason):
        load(str(path))


def test_load_names_a_missing_file(tmp_path: Path) -> None:
    for path in (tmp_path / "absent.toml", tmp_path):
        with pytest.raises(ConfigError, match=f"^{path}: cannot be read: "):
            load(str(path))
    with pytest.raises(ConfigError, match="cannot be read"):
        load("a\0b")


KEYS = st.sampled_from([*Config.__struct_fields__, "address", "name", "workers", "tls", "x"]) | st.text(max_size=5)
TREES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(KEYS, TREES, max_size=4))
@example({"listen": [{"address": None}]})
def test_any_document_is_built_or_refused(document: dict[str, Any]) -> None:
    assume(document.get("cluster", {}) is not None)  # None is no [cluster] to msgspec, and nothing that TOML can say
    try:
        config = build(document, FILE, Config)
    except ConfigError:
        with pytest.raises(msgspec.ValidationError):  # msgspec's own, terser check agrees
            msgspec.convert(document, Config)
    else:
        assert isinstance(config, Config)


@given(st.text(max_size=60) | st.text("[]\"'=\n.#{}0ax", max_size=30))
def test_any_text_is_refused_with_a_reason(text: str) -> None:
    _, reason = refusal(text)
    assert reason
