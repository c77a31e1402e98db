"""Every mistake of an operator gets the exact line and exit code of docs/explanation/bad-input.md."""

import os
import shlex
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from string import Template

import pytest

from tests.adversity.rows_operator import COMMANDS, CONFIGURATION, GOOD, HUB, RELOADS, STARTING, Mistake
from tests.adversity.visitor import Visitor
from tests.adversity.watch import running
from tests.servers.certificates import CertificateAuthority
from tests.servers.megaphone import Edge
from tests.servers.model import DOMAIN, Endpoint
from tests.servers.process import LOOPBACK, free_port

TIMEOUT_SECONDS = 60.0  # on a busy machine; nothing waits this long when it works
PREFIX = "megaphone: error: "


class Running(Edge):
    """A Megaphone with the configuration that the rows change."""

    def __init__(self, directory: Path, authority: CertificateAuthority, names: Mapping[str, str]) -> None:
        super().__init__(directory, authority, [], domains=[DOMAIN])
        self.names = {
            **names,
            "FILE": str(self.config_path),
            "PORT": str(self.starttls.port),
            "SOCKET": str(self.admin_socket),
            "ADMIN": f"{LOOPBACK}:{self.admin_port}",
        }

    def write_config(self, text: str | None = None) -> None:
        """Write `text`, or what every row begins with."""
        super().write_config(Template(GOOD).substitute(self.names) if text is None else text)


@pytest.fixture(scope="module")
def names(
    tmp_path_factory: pytest.TempPathFactory, authority: CertificateAuthority, fake_server: Endpoint
) -> Iterator[dict[str, str]]:
    """What the $NAMES stand for, where nothing runs."""
    directory = tmp_path_factory.mktemp("mistakes")
    files, others = authority.issue(DOMAIN), authority.issue(DOMAIN)
    open_secret, short_secret = directory / "open.secret", directory / "short.secret"
    open_secret.write_bytes(bytes(32))
    open_secret.chmod(0o644)
    short_secret.write_bytes(b"fifteen bytes..\n")
    short_secret.chmod(0o600)
    secret = directory / "link.secret"
    secret.write_bytes(bytes(32))
    secret.chmod(0o600)
    with socket.socket() as taken:
        taken.bind((LOOPBACK, 0))
        taken.listen()
        yield {
            "FILE": str(directory / "megaphone.toml"),
            "CHAIN": str(files.chain),
            "KEY": str(files.key),
            "OTHER_KEY": str(others.key),
            "SECRET": str(secret),
            "OPEN_SECRET": str(open_secret),
            "SHORT_SECRET": str(short_secret),
            "PORT": str(free_port()),
            "SERVER_PORT": str(fake_server.port),
            "TAKEN_PORT": str(taken.getsockname()[1]),
            "SOCKET": str(directory / "admin.sock"),
            "ADMIN": "",
        }


@pytest.fixture(scope="module")
def edge(
    tmp_path_factory: pytest.TempPathFactory, authority: CertificateAuthority, names: dict[str, str]
) -> Iterator[Running]:
    """A Megaphone that is up."""
    with running(Running(tmp_path_factory.mktemp("running"), authority, names)) as edge:
        yield edge


def configuration(mistake: Mistake, names: Mapping[str, str]) -> str:
    """The text of the configuration with the mistake in it."""
    assert mistake.old in mistake.base
    return Template(mistake.base.replace(mistake.old, mistake.new) + mistake.add).substitute(names)


def run(mistake: Mistake, names: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Run the command on $FILE."""
    words = shlex.split(Template(mistake.command).substitute(names))
    return subprocess.run(
        [sys.executable, "-m", "megaphone", *words, "-c", names["FILE"]],
        capture_output=True,
        text=True,
        timeout=TIMEOUT_SECONDS,
        check=False,
        env={**os.environ, "COLUMNS": "200", "NO_COLOR": "1"},
    )


def checked(mistake: Mistake, names: Mapping[str, str]) -> None:
    """Run it and compare all that was printed."""
    done = run(mistake, names)
    expected = PREFIX + Template(mistake.error).substitute(names) + "\n"
    said = done.stderr
    if said.startswith("usage: "):  # argparse puts it before the mistake, and not every version quotes the choices
        said, expected = (PREFIX + text.partition(PREFIX)[2].replace("'", "") for text in (said, expected))
    assert (done.stdout, said, done.returncode) == ("", expected, mistake.code)


def named(mistake: Mistake) -> str:
    return f"{mistake.command.split()[0]}: {mistake.what}"


@pytest.mark.parametrize("mistake", [*CONFIGURATION, *STARTING, *HUB, *COMMANDS], ids=named)
def test_mistake(mistake: Mistake, names: dict[str, str], edge: Running) -> None:
    path = Path(names["FILE"])
    names = {**names, "RUNNING_SOCKET": str(edge.admin_socket)}
    path.unlink(missing_ok=True)
    if not mistake.no_file:
        path.write_text(configuration(mistake, names))
    checked(mistake, names)


@pytest.mark.parametrize(
    "mistake", [each for each in CONFIGURATION if each.command == "check" and not each.no_file], ids=named
)
def test_serve_says_the_same(mistake: Mistake, names: dict[str, str]) -> None:
    Path(names["FILE"]).write_text(configuration(mistake, names))
    checked(replace(mistake, command="serve"), names)


@pytest.mark.parametrize("mistake", RELOADS, ids=named)
def test_reload(mistake: Mistake, edge: Running) -> None:
    refused = edge.metric("megaphone_config_reloads_total", result="refused")
    with Visitor(edge.starttls.port) as visitor:
        visitor.open()
        edge.write_config(configuration(mistake, edge.names))
        checked(mistake, edge.names)
        assert visitor.leave().end == "FIN"
    edge.write_config()
    assert edge.metric("megaphone_config_reloads_total", result="refused") == refused + 1
    edge.request("POST", "/reload")


def test_nothing_was_broken(edge: Running) -> None:
    status = edge.request("GET", "/status")
    assert status["ready"]
    assert status["last_reload"]["accepted"]
    assert edge.metric("megaphone_worker_restarts_total") == 0
    assert "Traceback" not in edge.log.read_text()
