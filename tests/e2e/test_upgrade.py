"""Another version of the program takes over a running node, and the one before takes it back; clients stay."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import megaphone
from tests.scenarios.light import LightClient
from tests.servers.certificates import CertificateAuthority
from tests.servers.hub import Hub
from tests.servers.linked import edge_with_links
from tests.servers.megaphone import Edge, Node, upstream_of
from tests.servers.model import ALICE
from tests.servers.process import wait_until
from tests.servers.prosody import Prosody

PACKAGE = Path(megaphone.__file__).parent
NEXT = "9.9.9"
CLIENTS = 12


class Installed:
    """A copy of the program, in a directory that only PYTHONPATH leads to."""

    def __init__(self, directory: Path, version: str) -> None:
        self.directory = directory
        self.package = directory / "megaphone"
        shutil.copytree(PACKAGE, self.package, ignore=shutil.ignore_patterns("__pycache__", "*.c", "*.pyx"))
        init = self.package / "__init__.py"
        init.write_text(init.read_text().replace(f'"{megaphone.__version__}"', f'"{version}"'))

    def run(self, edge: Node, *words: str) -> subprocess.CompletedProcess[str]:
        """One command of this program about a node."""
        return command(edge, *words, python_path=str(self.directory), directory=self.directory)


def command(edge: Node, *words: str, python_path: str, directory: Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": python_path}
    return subprocess.run(
        [sys.executable, "-P", "-m", "megaphone", *words, "-c", str(edge.config_path)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env=environment,
        cwd=directory,
    )


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """The next version."""
    return Installed(tmp_path_factory.mktemp("next"), NEXT)


@pytest.fixture
def edge(tmp_path: Path, authority: CertificateAuthority, prosody_behind_edge: Prosody) -> Iterator[Edge]:
    """Megaphone in front of Prosody."""
    edge = Edge(tmp_path, authority, [upstream_of(prosody_behind_edge)])
    try:
        edge.start()
        yield edge
    finally:
        edge.stop()


def versions(edge: Edge) -> set[str]:
    status = edge.request("GET", "/status")
    return {status["version"], *(worker["version"] for worker in status["workers"])}


def test_to_another_version_and_back(
    edge: Edge, installed: Installed, authority: CertificateAuthority, tmp_path: Path
) -> None:
    async def session() -> None:
        clients = [
            await LightClient.login((edge.starttls, edge.direct)[number % 2], ALICE, authority.certificate)
            for number in range(CLIENTS)
        ]
        supervisor, workers = edge.process.pid, edge.workers()
        for version, run in (
            (NEXT, lambda: installed.run(edge, "upgrade")),
            # as `systemctl reload` does it: the program on disk is another one than the running one
            (
                megaphone.__version__,
                lambda: command(edge, "reload", python_path=str(PACKAGE.parent), directory=tmp_path),
            ),
        ):
            done = await asyncio.to_thread(run)
            assert (done.returncode, done.stderr) == (0, ""), done.stdout
            assert f"upgraded to Megaphone {version}: {CLIENTS} connections moved, 0 ended" in done.stdout
            assert versions(edge) == {version}
            assert edge.process.pid == supervisor
            assert not set(workers) & set(edge.workers())
            workers = edge.workers()
            for client in clients:
                await client.ping()
            newcomer = await LightClient.login(edge.direct, ALICE, authority.certificate)
            await newcomer.ping()
            await newcomer.close()
            gone = lambda: edge.metric("megaphone_connections") == CLIENTS  # noqa: E731
            await asyncio.to_thread(wait_until, gone, "the newcomer has gone")
        assert edge.metric("megaphone_upgrades_total", result="done") == 2
        assert edge.metric("megaphone_upgrade_connections_total", result="moved") == 2 * CLIENTS
        assert edge.metric("megaphone_connections_accepted_total") >= CLIENTS + 2, "counted on, not anew"
        for client in clients:
            await client.close()

    asyncio.run(session())


def test_a_version_that_lacks_a_module_is_refused_and_changes_nothing(
    edge: Edge, authority: CertificateAuthority, tmp_path: Path
) -> None:
    broken = Installed(tmp_path / "broken", NEXT)
    (module,) = broken.package.glob("sockets/receiver.*.so")
    module.unlink()

    async def session() -> None:
        client = await LightClient.login(edge.direct, ALICE, authority.certificate)
        before = edge.workers()
        done = await asyncio.to_thread(broken.run, edge, "upgrade")
        assert (done.returncode, done.stdout) == (2, "")
        assert "refused, nothing has changed: a worker of this program cannot be started" in done.stderr
        assert "receiver" in done.stderr
        assert "Traceback" not in done.stderr
        assert edge.workers() == before
        assert versions(edge) == {megaphone.__version__}
        await client.ping()
        await client.close()

    asyncio.run(session())


def test_a_configuration_that_the_other_version_does_not_take_is_its_reason_to_refuse(
    edge: Edge, tmp_path: Path
) -> None:
    strict = Installed(tmp_path / "strict", NEXT)
    schema = strict.package / "config" / "schema.py"
    text = schema.read_text()
    assert "timeout_seconds: Seconds = 4.0" in text
    schema.write_text(text.replace("timeout_seconds: Seconds = 4.0", "patience_seconds: Seconds = 4.0"))
    done = strict.run(edge, "upgrade")
    assert done.returncode == 2
    assert "health.timeout_seconds" in done.stderr
    assert str(edge.config_path) in done.stderr
    assert versions(edge) == {megaphone.__version__}


def test_a_hub_gets_a_new_supervisor_and_keeps_its_links(
    installed: Installed, authority: CertificateAuthority, prosody_behind_edge: Prosody, tmp_path: Path
) -> None:
    hub = Hub(tmp_path / "hub", [upstream_of(prosody_behind_edge)])
    beside = tmp_path / "edge"
    beside.mkdir()

    async def session(edge: Edge) -> None:
        client = await LightClient.login(edge.direct, ALICE, authority.certificate)
        before = hub.process.pid, hub.workers()
        done = await asyncio.to_thread(installed.run, hub, "upgrade")
        assert (done.returncode, done.stderr) == (0, "")
        assert "worker 0: stays as it is; a hub's connections do not move" in done.stdout
        assert (hub.process.pid, hub.workers()) == before
        status = hub.request("GET", "/status")
        assert (status["version"], status["workers"][0]["version"]) == (NEXT, megaphone.__version__)
        await client.ping()
        (worker,) = hub.workers()
        hub.request("POST", "/kick", {"address": "192.0.2.1"})  # the channel to it goes on
        os.kill(worker, signal.SIGKILL)
        await asyncio.to_thread(
            wait_until, lambda: hub.request("GET", "/status")["workers"][0]["version"] == NEXT, "it was replaced"
        )

    try:
        hub.start()
        assert isinstance(hub.link, tuple)
        with edge_with_links(beside, authority, hub.link, hub.secret) as edge:
            asyncio.run(session(edge))
    finally:
        hub.stop()
