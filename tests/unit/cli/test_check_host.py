"""`megaphone check --host`: the load of a configuration, the page, the JSON and the exit codes."""

import json
from pathlib import Path

import pytest

from megaphone.cli.check_host import load_of
from megaphone.cli.main import main
from megaphone.config.load import parse
from tests.unit.host.trees import proc_tree

ENOUGH = {
    "limits": "Max open files            1024                 1048576              files\n",
    "tcp_max_syn_backlog": "4096",
}
CHAT = """
[node]
workers = 2
max_connections = 5000
[[listen]]
address = "127.0.0.1:5222"
tls = "none"
[[domain]]
name = "example.org"
[service]
data = "data"
[admin]
socket = "/tmp/megaphone-of-a-test.sock"
"""


@pytest.fixture
def config(tmp_path: Path) -> str:
    path = tmp_path / "megaphone.toml"
    path.write_text(CHAT)
    return str(path)


def edge(upstreams: str) -> str:
    names = [line.partition('"')[2].rstrip('"') for line in upstreams.splitlines() if line.startswith("name")]
    return f"""
[node]
workers = 4
[[listen]]
address = "*:5222"
tls = "none"
backlog = 100
[[listen]]
address = "*:5223"
tls = "none"
backlog = 200
[[domain]]
name = "example.org"
upstreams = {json.dumps(names)}
{upstreams}
"""


def test_the_load_of_a_chat_service() -> None:
    load = load_of(parse(CHAT, "file"))
    assert (load.connections, load.workers, load.max_connections) == (10_000, 2, 5000)
    assert (load.embedded, load.direct, load.tls, load.upstream_addresses) == (True, False, False, 0)
    assert load_of(parse(CHAT, "file"), 77).connections == 77


def test_the_load_of_an_edge() -> None:
    two = """
[[upstream]]
name = "first"
address = "192.0.2.1:5222"
source_addresses = ["127.0.0.0/28"]
[[upstream]]
name = "second"
address = "192.0.2.2:5222"
source_addresses = ["127.0.0.1-127.0.0.3"]
[[upstream]]
name = "third"
address = "unix:/run/server.sock"
"""
    load = load_of(parse(edge(two), "file"))
    assert (load.connections, load.backlog) == (400_000, 200)
    assert (load.embedded, load.direct) == (False, True)
    assert (load.upstream_addresses, load.source_addresses) == (2, 3)


def test_the_load_of_an_edge_with_links() -> None:
    links = """
[[upstream]]
name = "linked"
address = "127.0.0.1:5270"
mode = "link"
secret_file = "secret"
"""
    load = load_of(parse(edge(links), "file"))
    assert (load.embedded, load.direct, load.upstream_addresses) == (False, False, 0)


def test_a_machine_that_can(config: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tree = proc_tree(tmp_path / "proc", **ENOUGH)
    assert main(["check", "--host", "--proc", str(tree), "-c", config]) == 0
    first, title, head, *rows = capsys.readouterr().out.splitlines()
    assert first.startswith(f"{config}: ok")
    assert title == "this machine for 10,000 connections: a chat service, 2 workers, no TLS"
    assert head.split() == ["WHAT", "FOUND", "NEEDED", "VERDICT", "REPAIR"]
    assert len(rows) == 14
    assert all(row.endswith(" ok") for row in rows)


def test_a_machine_that_cannot(config: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tree = proc_tree(tmp_path / "proc", nr_open="2000")
    words = ["check", "--proc", str(tree), "--connections", "9000", "-c", config]
    assert main(words) == 2
    shown = capsys.readouterr()
    assert "fs.nr_open  " in shown.out
    assert "short    sysctl -w fs.nr_open=4899" in shown.out
    assert shown.err == ""
    assert main([*words, "--json"]) == 2
    found = json.loads(capsys.readouterr().out)
    assert (found["ok"], found["host"]["ok"], found["host"]["connections"]) == (True, False, 9000)
    (short,) = (line for line in found["host"]["findings"] if line["verdict"] == "short")
    assert short == {
        "what": "fs.nr_open",
        "found": "2,000",
        "needed": "4,899",
        "verdict": "short",
        "repair": "sysctl -w fs.nr_open=4899",
    }


def test_without_the_option_nothing_is_said_of_the_machine(config: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "-c", config, "--json"]) == 0
    assert "host" not in json.loads(capsys.readouterr().out)


def test_this_machine(config: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--host", "--connections", "100", "-c", config]) == 0
    assert "this machine for 100 connections" in capsys.readouterr().out


def test_a_process_that_is_not_there(config: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tree = proc_tree(tmp_path / "proc")
    assert main(["check", "--pid", "4711", "--proc", str(tree), "-c", config]) == 1
    said = f"megaphone: error: there is no {tree}/4711/limits, so there is nothing to check\n"
    assert capsys.readouterr().err == said


@pytest.mark.parametrize("number", ["0", "-1", "many", "1e6", "1000000001"])
def test_numbers_that_are_none(number: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exited:
        main(["check", f"--connections={number}"])
    assert exited.value.code == 2
    assert f"'{number}' is not a number from 1 to 1,000,000,000" in capsys.readouterr().err
