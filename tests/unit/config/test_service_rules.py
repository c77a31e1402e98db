"""The tables of the embedded service: only without upstreams, one domain, names and paths made whole."""

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from megaphone.config.changes import restart_needed
from megaphone.config.load import check_environment, parse
from megaphone.config.rules import SMALLEST_CONFIG, SMALLEST_SERVICE
from megaphone.config.schema import Config, Rooms, Service
from megaphone.config.token_keys import read_token_keys
from megaphone.errors import ConfigError
from megaphone.storage import database
from tests.unit.config.test_environment import without_privileges

FILE = "/etc/megaphone/megaphone.toml"


def read(more: str = "", base: str = SMALLEST_SERVICE) -> Config:
    return parse(base + more, FILE)


def refusal(more: str, base: str = SMALLEST_SERVICE) -> tuple[str, str]:
    with pytest.raises(ConfigError) as caught:
        read(more, base)
    return caught.value.key, caught.value.reason


def test_the_smallest_service_has_the_defaults() -> None:
    config = read()
    assert config.embedded
    assert config.service == Service()
    assert (config.domain[0].name, config.domain[0].upstreams) == ("localhost", ())
    assert config.rooms == Rooms(domain="conference.localhost")
    assert not parse(SMALLEST_CONFIG, FILE).embedded


def test_paths_start_at_the_file() -> None:
    config = read('[service]\ndata = "data"\n[[token_key]]\nid = "a"\nsecret_file = "a.key"\n')
    assert config.service.data == "/etc/megaphone/data"
    assert config.token_key[0].secret_file == "/etc/megaphone/a.key"
    assert read('[rooms]\ndomain = "Rooms.Bücher.example"').rooms.domain == "rooms.bücher.example"


def key(**changes: str) -> str:
    table = {"id": "a", "secret_file": "a.key"} | changes
    return "[[token_key]]\n" + "".join(f"{name} = {json.dumps(value)}\n" for name, value in table.items())


@pytest.mark.parametrize(
    ("more", "key", "reason"),
    [
        ('[[domain]]\nname = "other.example"', "domain[1]", "Megaphone serves one domain itself"),
        ('[service]\ndata = ""', "service.data", "must be the path of a directory"),
        ('[service]\nresource_conflict = "replac"', "service.resource_conflict", 'did you mean "replace"?'),
        ("[service]\nscram_iterations = 4095", "service.scram_iterations", "must be from 4096 to 10000000, not 4095"),
        ("[limits]\nstanza_bytes = 2097153", "limits.stanza_bytes", "at most 2097152 at once"),
        ("[service]\nanonymous = 1", "service.anonymous", "must be true or false"),
        ('[service]\ncreate = "anyone"', "service.create", 'did you mean "create" in [rooms]?'),
        ('[rooms]\ndomain = "localhost"', "rooms.domain", '"localhost" is the domain of the users'),
        ('[rooms]\ndomain = "a b"', "rooms.domain", "'a b'"),
        ("[rooms]\nhistory_messages = 201", "rooms.history_messages", "must be from 0 to 200, not 201"),
        (key(id="a b"), "token_key[0].id", "must be 1 to 32 letters"),
        (key(id=""), "token_key[0].id", "must be 1 to 32 letters"),
        (key() + key(), "token_key[1].id", '"a" is also the id of token_key[0]'),
        (key(secret_file=""), "token_key[0].secret_file", "must be the path of a file with the secret"),
        ("".join(key(id=str(n)) for n in range(17)), "token_key", "there are 17; at most 16 are possible"),
    ],
)
def test_rules(more: str, key: str, reason: str) -> None:
    found_key, found_reason = refusal(more)
    assert found_key == key
    assert reason in found_reason


def test_rooms_of_an_address_need_a_name() -> None:
    base = SMALLEST_SERVICE.replace("localhost", "[2001:db8::1]")
    assert refusal("", base)[0] == "rooms.domain"
    assert parse(base + '[rooms]\ndomain = "rooms.example"', FILE).rooms.domain == "rooms.example"


@pytest.mark.parametrize(
    ("more", "key"),
    [
        ("[service]\nanonymous = true", "service.anonymous"),
        ("[rooms]\nmax_occupants = 7", "rooms.max_occupants"),
        (key(), "token_key"),
    ],
)
def test_an_edge_has_no_service(more: str, key: str) -> None:
    reason = "is for the embedded service, which there is only without any [[upstream]]"
    assert refusal(more, SMALLEST_CONFIG) == (key, reason)


def test_domains_with_and_without_upstreams_do_not_mix() -> None:
    key, reason = refusal('[[domain]]\nname = "other.example"\n', SMALLEST_CONFIG)
    assert key == "domain[1].upstreams"
    assert "only in a configuration without any [[upstream]]" in reason
    key, reason = refusal('upstreams = ["server"]\n')
    assert key == "domain[0].upstreams[0]"
    assert reason.startswith('there is no [[upstream]] "server"; leave out "upstreams"')


@pytest.mark.parametrize(
    ("more", "keys"),
    [
        ("[service]\nanonymous = true\nresume_seconds = 5\n[rooms]\nmax_occupants = 5\n" + key(), ()),
        ('[service]\ndata = "/data"', ("service.data",)),
        ('[rooms]\ndomain = "rooms.example"', ("rooms.domain",)),
    ],
)
def test_what_a_reload_takes(more: str, keys: tuple[str, ...]) -> None:
    assert restart_needed(read(), read(more)) == keys
    assert restart_needed(read(more), read()) == keys


def test_neither_the_domain_nor_the_kind_of_node_changes_with_a_reload() -> None:
    other = parse(SMALLEST_SERVICE.replace("localhost", "other.example"), FILE)
    assert set(restart_needed(read(), other)) == {"domain[0].name", "rooms.domain"}
    assert "upstream[0]" in restart_needed(read(), parse(SMALLEST_CONFIG, FILE))


# --- files ------------------------------------------------------------


def environment(directory: Path, more: str = "") -> tuple[str, ...]:
    admin = f'[admin]\naddress = ""\nsocket = "{directory}/admin.sock"\n'
    service = "" if "[service]" in more else '[service]\ndata = "data"\n'
    file = str(directory / "megaphone.toml")
    return check_environment(parse(SMALLEST_SERVICE + admin + service + more, file), file)


def environment_refusal(directory: Path, more: str = "") -> tuple[str, str]:
    with pytest.raises(ConfigError) as caught:
        environment(directory, more)
    return caught.value.key, caught.value.reason


def test_looking_makes_nothing(tmp_path: Path) -> None:
    assert environment(tmp_path) == ()
    assert list(tmp_path.iterdir()) == []
    database.prepare(str(tmp_path / "data"))
    made = {path.name: path.read_bytes() for path in (tmp_path / "data").iterdir()}
    assert environment(tmp_path) == ()
    assert {path.name: path.read_bytes() for path in (tmp_path / "data").iterdir()} == made


def test_a_data_directory_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert environment_refusal(tmp_path, '[service]\ndata = "file/data"') == (
        "service.data",
        f"cannot be {tmp_path}/file/data: {tmp_path}/file is not a directory",
    )
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "megaphone.sqlite3").write_text("no database" * 100)
    found_key, reason = environment_refusal(tmp_path)
    assert found_key == "service.data"
    assert reason == f"{tmp_path}/data/megaphone.sqlite3: is not a database"


def test_a_data_directory_of_somebody_else() -> None:
    with without_privileges():
        key, reason = environment_refusal(Path("/usr"))
    assert key == "service.data"
    assert reason == "this user may not create files in /usr, and /usr/data does not exist"


@pytest.mark.parametrize(
    ("content", "mode", "reason"),
    [
        (None, 0o600, "cannot be read: No such file or directory"),
        (b"x" * 32, 0o604, "can be read by every user of this machine; use chmod 600"),
        (b"x" * 31 + b"\n", 0o600, "a token key has at least 32 bytes"),
        (b"x" * 5000, 0o600, "is larger than 4096 bytes"),
    ],
)
def test_token_keys_that_cannot_be_used(content: bytes | None, mode: int, reason: str, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "a.key").write_bytes(content)
        (tmp_path / "a.key").chmod(mode)
    assert environment_refusal(tmp_path, key()) == ("token_key[0].secret_file", f"{tmp_path}/a.key: {reason}")


def test_token_keys_are_read_in_order(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / f"{name}.key").write_text(name * 32 + "\n")
        (tmp_path / f"{name}.key").chmod(0o600)
    more = key() + key(id="b", secret_file="b.key")
    assert environment(tmp_path, more) == ()
    config = parse(SMALLEST_SERVICE + more, str(tmp_path / "megaphone.toml"))
    assert [(each.name, each.secret) for each in read_token_keys(config, FILE)] == [("a", b"a" * 32), ("b", b"b" * 32)]


def settings(config: Config) -> Mapping[str, object]:
    return {name: getattr(config.service, name) for name in Service.__struct_fields__}


def test_every_key_of_the_service_can_be_set() -> None:
    text = """
    [service]
    data = "/data"
    anonymous = true
    plain_without_tls = true
    scram_iterations = 4096
    failed_logins_per_address = 5
    failed_logins_per_account = 6
    sessions_per_user = 7
    resource_conflict = "rename"
    resume_seconds = 0
    resume_stanzas = 8
    resume_bytes = 9
    offline_messages = 0
    offline_bytes = 10
    roster_items = 11
    """
    given, usual = settings(read(text)), settings(read())
    assert [name for name in usual if given[name] == usual[name]] == []


NATS = '[cluster]\nservers = ["nats://127.0.0.1:4222"]\n'


@pytest.mark.parametrize(
    ("more", "key", "reason"),
    [
        ("[cluster]", "cluster.servers", "is required here and missing"),
        ("[cluster]\nservers = []", "cluster.servers", "must name 1 to 64 servers"),
        ('[cluster]\nservers = ["http://nats"]', "cluster.servers[0]", "no URL of a NATS server"),
        ('[cluster]\nservers = ["na ts"]', "cluster.servers[0]", "no URL of a NATS server"),
        ('[cluster]\nservers = ["nats://a", "nats://u:p@b"]', "cluster.servers[1]", "no user or password"),
        ('[cluster]\nservers = ["nats://a,nats://b"]', "cluster.servers[0]", "names several"),
        (NATS + 'name = "two words"', "cluster.name", "no name of a cluster"),
        (NATS + 'node_name = "a, b"', "cluster.node_name", "without a comma"),
        (NATS + 'user = "u"', "cluster.password_file", "belong together"),
        (NATS + 'password_file = "p"', "cluster.user", "belong together"),
        (NATS + 'token_file = "t"\nnkey_file = "n"', "cluster.nkey_file", "another"),
        (NATS + 'certificate = "c"', "cluster.key", "belong together"),
        (NATS + "lease_seconds = 1", "cluster.lease_seconds", "must be from 2 to 3600, not 1"),
        (NATS + "keeper = 1", "cluster.keeper", 'did you mean "keepers"?'),
    ],
)
def test_a_mistake_in_the_cluster_names_its_key(more: str, key: str, reason: str) -> None:
    named, said = refusal(more)
    assert named == key
    assert reason in said


def test_a_cluster_is_for_the_embedded_service_and_a_change_of_it_needs_a_restart() -> None:
    assert refusal(NATS, SMALLEST_CONFIG)[0] == "cluster"
    alone, together = read(), read(NATS + 'token_file = "nats.token"')
    assert alone.cluster is None
    assert together.cluster is not None
    assert together.cluster.token_file == "/etc/megaphone/nats.token"
    assert restart_needed(alone, together) == ("cluster",)
    assert restart_needed(together, together) == ()
    assert restart_needed(read(NATS), together) == ("cluster.token_file",)


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("token_file", None, "No such file"),
        ("token_file", "\nsecond", "the first line is empty"),
        ("nkey_file", "SU", "not an nkey seed"),
        ("ca", "no certificate", ""),
    ],
)
def test_secrets_of_the_cluster_must_be_there(tmp_path: Path, name: str, content: str | None, reason: str) -> None:
    if content is not None:
        (tmp_path / "secret").write_text(content)
    text = f'{SMALLEST_SERVICE}\n[service]\ndata = "data"\n{NATS}{name} = "secret"\n'
    file = str(tmp_path / "megaphone.toml")
    with pytest.raises(ConfigError) as caught:
        check_environment(parse(text, file), file)
    assert caught.value.key == f"cluster.{name}"
    assert reason in caught.value.reason


def test_a_nats_that_can_be_overheard_is_warned_of(tmp_path: Path) -> None:
    servers = json.dumps(["nats://nats.example", "tls://nats.example", "nats://[::1]"])
    text = f'{SMALLEST_SERVICE}\n[service]\ndata = "data"\n[cluster]\nservers = {servers}\n'
    file = str(tmp_path / "megaphone.toml")
    warnings = [each for each in check_environment(parse(text, file), file) if each.startswith("cluster")]
    assert len(warnings) == 1
    assert warnings[0].startswith(
        "cluster.servers[0]: unless NATS asks for TLS, what is said to nats://nats.example:4222"
    )
