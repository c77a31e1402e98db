"""The command line without a node: help, typos, exit codes, and never a traceback."""

import argparse
import json
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from megaphone.cli import control, filters, main
from megaphone.cli.connections import STATES
from megaphone.cli.main import COMMANDS, with_actions
from megaphone.cli.output import age, printable, size, table
from megaphone.cli.paragraphs import Paragraphs
from megaphone.metrics.edge import CONNECTION_STATES
from megaphone.supervisor import admin

REFERENCE = Path(__file__).parents[3] / "docs" / "reference" / "command-line.md"


def run(*words: str, code: int, **options: object) -> subprocess.CompletedProcess[str]:
    """Runs the command in a process of its own and checks its exit code."""
    done = subprocess.run(
        [sys.executable, "-m", "megaphone", *words], capture_output=True, text=True, timeout=60, check=False, **options
    )
    assert "Traceback" not in done.stderr
    assert done.returncode == code, done.stderr
    return done


def test_help_names_every_command_and_exit_code() -> None:
    shown = run("--help", code=0).stdout
    for name in COMMANDS:
        assert re.search(rf"^    {name} ", shown, re.MULTILINE)
    for code in range(4):
        assert re.search(rf"^  {code}  ", shown, re.MULTILINE)


def test_help_fits_into_eighty_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    parser = main.build_parser()
    commands = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    parsers = [each for action in commands for command in action.choices.values() for each in with_actions(command)]
    assert len(parsers) > len(COMMANDS)  # those of actions, too
    for each in [parser, *parsers]:
        assert [line for line in each.format_help().splitlines() if len(line) > 79] == [], each.prog


def test_paragraphs_stay_paragraphs_and_lists_lists() -> None:
    shown = Paragraphs("megaphone", width=30)
    shown.add_text("One two three four five six seven\neight.\n\ncodes:\n  0  a line longer than the others\n  1  one")
    assert shown.format_help() == (
        "One two three four five six\nseven eight.\n\ncodes:\n  0  a line longer than the\n     others\n  1  one\n"
    )


def test_clients_are_picked_by_what_they_are_known_by() -> None:
    parse = main.build_parser(["connections", "kick"]).parse_args
    assert parse(["connections", "--address", "2001:DB8:0::1"]).address == "2001:db8::1"
    assert parse(["kick", "--jid", "Juliet@EXAMPLE.org/Balcony"]).jid == "juliet@example.org/Balcony"
    assert set(STATES) == set(CONNECTION_STATES)
    assert filters.LIST_LIMIT == admin.LIST_LIMIT


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_has_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exited:
        main.main([name, "--help"])
    assert exited.value.code == 0
    assert capsys.readouterr().out.startswith(f"usage: megaphone {name} ")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "the following arguments are required: COMMAND"),
        (["stauts"], "did you mean 'status'?"),
        (["conections"], "did you mean 'connections'?"),
        (["connections", "--state", "autenticated"], "did you mean 'authenticated'?"),
        (["xyzzy"], "invalid choice: 'xyzzy'"),
        (["kick"], "one of the arguments --connection --address --jid is required"),
        (["kick", "--jid", "a@b", "--address", "::1"], "not allowed with argument"),
        (["drain", "--worker", "one"], "invalid int value"),
        (["connections", "--address", "1.2.3"], "argument --address: '1.2.3' is no IP address"),
        (["connections", "--jid", "@example.org"], "'@example.org' is no JID: the local part before @ is empty"),
        (["connections", "--limit", "0"], "argument --limit: '0' is no number from 1 to 10000"),
        (["kick", "--address", "localhost"], "argument --address: 'localhost' is no IP address"),
        (["kick", "--connection", "alice"], "'alice' is no id of a connection: up to 16 hexadecimal digits"),
        (["status", "extra"], "unrecognized arguments: extra"),
    ],
)
def test_wrong_usage_is_exit_code_2(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exited:
        main.main(words)
    assert exited.value.code == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("words", [["-c", "{}", "status"], ["status", "-c", "{}"], ["status", "--config={}"]])
def test_the_config_option_may_stand_on_either_side(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "m.toml"
    config.write_text('[admin]\nsocket = "/nowhere/of.sock"\n[nonsense]\n')
    assert main.main([word.format(config) for word in words]) == 3
    assert "/nowhere/of.sock" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "there is no such file (or use --socket PATH)"),
        (b"[admin", "is not TOML"),
        (b"\xff", "is not TOML"),
        (b"[admin]\nsocket = 5\n", "admin.socket: there is no control socket to ask"),
        (b'[admin]\nsocket = ""\n', "admin.socket: there is no control socket to ask"),
    ],
)
def test_a_file_that_does_not_tell_the_socket(
    content: bytes | None, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "m.toml"
    if content is not None:
        config.write_bytes(content)
    assert main.main(["status", "-c", str(config)]) == 2
    assert said in capsys.readouterr().err


def test_nobody_there_or_nobody_who_speaks_http(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(tmp_path / "s")
    assert main.main(["status", "--socket", path]) == 3
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(path)
        assert main.main(["status", "--socket", path]) == 3
        silent.listen(1)
        peer = subprocess.Popen([sys.executable, "-m", "megaphone", "status", "--socket", path], stderr=subprocess.PIPE)
        accepted, _ = silent.accept()
        accepted.recv(100)
        accepted.sendall(b"220 smtp.example.org\r\n")
        accepted.close()
        _, err = peer.communicate(timeout=60)
    assert peer.returncode == 3
    assert err.decode() == f"megaphone: error: no answer from Megaphone on {path}: 220 smtp.example.org\r\n\n"
    assert capsys.readouterr().err.count("Megaphone is not running, or not on") == 2


def test_a_node_that_never_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(control, "ANSWER_SECONDS", 0.1)
    path = str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(path)
        silent.listen(1)
        assert main.main(["status", "--socket", path]) == 3
    assert capsys.readouterr().err == f"megaphone: error: no answer from Megaphone on {path}: timed out\n"


def test_serve_without_the_configuration_named_shows_the_smallest_ones(tmp_path: Path) -> None:
    from megaphone.config.rules import SMALLEST_CONFIG, SMALLEST_SERVICE

    path = tmp_path / "none.toml"
    shown = run("serve", "-c", str(path), code=2).stderr
    assert f"{path}: there is no configuration file" in shown
    assert f"\n\n{SMALLEST_SERVICE}\n" in shown
    assert f"\n\n{SMALLEST_CONFIG}\n" in shown


def test_serve_and_check_with_a_configuration_that_cannot_be_used(tmp_path: Path) -> None:
    path = tmp_path / "m.toml"
    path.write_text("[nod]\nworkers = 1\n")
    for name in ("serve", "check"):
        said = run(name, "-c", str(path), code=2).stderr
        assert said.startswith(f"megaphone: error: {path}: nod: ")
        assert "node" in said
    (tmp_path / "directory.toml").mkdir()
    assert "Is a directory" in run("serve", "-c", str(tmp_path / "directory.toml"), code=2).stderr


def test_a_service_whose_database_cannot_be_used(tmp_path: Path) -> None:
    from megaphone.config.rules import SMALLEST_SERVICE

    path = tmp_path / "m.toml"
    admin = f'[admin]\naddress = ""\nsocket = "{tmp_path}/admin.sock"\n'
    path.write_text(SMALLEST_SERVICE + '[service]\ndata = "data"\n' + admin)
    shown = run("check", "-c", str(path), code=0).stdout
    assert shown == f"{path}: ok, listens on 127.0.0.1:5222 (none), serves localhost\n"
    assert not (tmp_path / "data").exists()
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "megaphone.sqlite3").write_bytes(b"\xa5" * 8192)
    for name in ("serve", "check"):
        said = run(name, "-c", str(path), code=2).stderr
        assert said == f"megaphone: error: {path}: service.data: {tmp_path}/data/megaphone.sqlite3: is not a database\n"


def test_check_of_a_good_configuration(tmp_path: Path) -> None:
    path = tmp_path / "m.toml"
    path.write_text(
        '[[listen]]\naddress = "127.0.0.1:5222"\ntls = "none"\n[[domain]]\nname = "example.org"\nupstreams = ["a"]\n'
        '[[upstream]]\nname = "a"\naddress = "127.0.0.1:5232"\n'
    )
    shown = run("check", "-c", str(path), code=0).stdout
    assert shown.splitlines()[-1] == f"{path}: ok, listens on 127.0.0.1:5222 (none), fronts example.org"
    answer = json.loads(run("check", "--json", "-c", str(path), code=0).stdout)
    assert (answer["ok"], answer["domains"], answer["upstreams"]) == (True, ["example.org"], ["a (127.0.0.1:5232)"])
    path.write_text("[node]\nworkers = -1\n")
    answer = json.loads(run("check", "--json", "-c", str(path), code=2).stdout)
    assert (answer["ok"], answer["file"], answer["key"]) == (False, str(path), "node.workers")


def test_a_reader_that_goes_away(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as closed:
        done = subprocess.run(
            [sys.executable, "-m", "megaphone", "check", "--json", "-c", str(tmp_path / "none.toml")],
            stdout=closed,
            stderr=subprocess.PIPE,
            timeout=60,
            check=False,
        )
    assert (done.returncode, done.stderr) == (1, b"")


def _heed_ctrl_c() -> None:
    """Also where these tests run in the background, whose processes ignore it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def test_ctrl_c(tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(path)
        silent.listen(1)
        peer = subprocess.Popen(
            [sys.executable, "-m", "megaphone", "status", "--socket", path],
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=_heed_ctrl_c,
        )
        accepted, _ = silent.accept()
        accepted.recv(1)
        peer.send_signal(signal.SIGINT)
        _, err = peer.communicate(timeout=60)
        accepted.close()
    assert (peer.returncode, err) == (130, "")


def test_commands_load_no_event_loop() -> None:
    code = (
        "import sys\nfrom megaphone.cli.main import main\nmain(['status', '--socket', '/nowhere'])\n"
        "print(sorted({'asyncio', 'trio', 'uvloop', 'slixmpp'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "[]\n"


def test_the_supervisor_loads_no_worker() -> None:
    code = (
        "import sys\nimport megaphone.cli.serve, megaphone.supervisor.node\n"
        "print(sorted({'uvloop', 'megaphone.worker', 'slixmpp'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "[]\n"


# What the commands print with


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (None, "-"),
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (12_345, "12.3 kB"),
        (999_999, "1000.0 kB"),
        (10**6, "1.0 MB"),
        (5 * 10**9, "5.0 GB"),
        (10**18, "1000000.0 TB"),
    ],
)
def test_sizes(count: int | None, text: str) -> None:
    assert size(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, "-"), (0, "0 s"), (59.9, "59 s"), (60, "1 m"), (3605, "1 h 5 s"), (90_061, "1 d 1 h"), (172_800, "2 d")],
)
def test_ages(seconds: float | None, text: str) -> None:
    assert age(seconds) == text


def test_a_table_lines_up_and_shows_what_could_steer_the_terminal() -> None:
    shown = table(("NAME", "N"), [("a", "1"), ("long name", "22"), ("\x1b[2J", "\n")])
    assert shown.splitlines() == ["NAME       N", "a          1", "long name  22", "\\u001b[2J  \\u000a"]


def test_printable_keeps_letters_of_all_languages() -> None:
    assert printable("Zo\u00eb \u6f22\u5b57") == "Zo\u00eb \u6f22\u5b57"
    assert printable("a\u202eb\x00") == "a\\u202eb\\u0000"


# The reference


def test_the_reference_documents_every_command_and_option() -> None:
    text = REFERENCE.read_text()
    sections = dict(re.findall(r"^## `megaphone (\w+)`\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL))
    assert list(sections) == list(COMMANDS)
    parser = main.build_parser()
    (subparsers,) = [action for action in parser._actions if action.dest == "command"]
    for name, subparser in subparsers.choices.items():
        actions = [action for each in main.with_actions(subparser) for action in each._actions]
        known = {option for action in actions for option in action.option_strings} - {"-h", "--help"}
        everywhere = {"-c", "--config", "--socket", "--json"}
        described = set(re.findall(r"`(--?[a-z][a-z-]*)", sections[name]))
        assert known - everywhere <= described, name
        assert described <= known, name
