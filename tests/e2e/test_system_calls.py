"""The chat service under the restrictions of its systemd unit: it makes no system call that the unit's filter refuses.

systemd does not run here, so strace counts what a real node calls from its start to its end, as an ordinary user and
with a /proc that holds processes alone (ProcSubset=pid), and systemd-analyze says what the unit allows.
"""

import asyncio
import configparser
import os
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.scenarios.light import LightClient
from tests.servers import megaphone
from tests.servers.certificates import CertificateAuthority
from tests.servers.embedded import Embedded
from tests.servers.model import ALICE, BOB
from tests.servers.process import Process

UNIT = Path(__file__).parents[2] / "deploy" / "systemd" / "megaphone.service"
PROC = "mount -t proc -o subset=pid,hidepid=invisible proc /proc"
END_SECONDS = 60.0

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a /proc and trace as another user"),
    pytest.mark.skipif(
        bool(subprocess.run(["unshare", "--mount", "sh", "-c", PROC], capture_output=True, check=False).returncode),
        reason="no /proc can be mounted here",
    ),
    pytest.mark.skipif(not (shutil.which("strace") and shutil.which("systemd-analyze")), reason="no strace or systemd"),
]


@cache
def calls_of(group: str) -> frozenset[str]:
    """System calls of one of systemd's groups, such as @system-service, and of the groups in it."""
    shown = subprocess.run(["systemd-analyze", "syscall-filter", group], capture_output=True, text=True, check=True)
    words = [line.strip() for line in shown.stdout.splitlines()[1:] if line.strip() and "#" not in line]
    return frozenset().union(*(calls_of(word) if word.startswith("@") else {word} for word in words))


def allowed() -> frozenset[str]:
    """What the unit's SystemCallFilter= lines leave, in their order."""
    found: frozenset[str] = frozenset()
    for line in re.findall(r"^SystemCallFilter=(.*)$", UNIT.read_text(), re.MULTILINE):
        named = frozenset().union(*(calls_of(word) for word in line.removeprefix("~").split()))
        found = found - named if line.startswith("~") else found | named
    return found


@pytest.fixture
def directory() -> Iterator[Path]:
    """One that the user nobody may use, unlike pytest's own."""
    made = Path(tempfile.mkdtemp(prefix="megaphone-"))
    yield made
    shutil.rmtree(made)


def test_nothing_is_called_that_the_unit_refuses(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counted = directory / "calls"

    class Traced(Process):
        def __init__(self, command: list[str], **options: object) -> None:
            strace = ["strace", "-f", "-c", "-o", str(counted), "-u", "nobody", *command]
            super().__init__(["unshare", "--mount", "sh", "-c", f'{PROC} && exec "$@"', "sh", *strace], **options)

    monkeypatch.setattr(megaphone, "Process", Traced)
    authority = CertificateAuthority(directory / "ca")
    service = Embedded(directory / "service", authority)
    service.register()
    for path in (directory, *directory.rglob("*")):
        os.chown(path, 65_534, 65_534)

    async def talk() -> None:
        alice = await LightClient.login(service.direct, ALICE, authority.certificate)
        bob = await LightClient.login(service.starttls, BOB, authority.certificate)
        alice.message(bob.jid, "hello")
        while (await bob.next()).findtext("{jabber:client}body") != "hello":
            pass
        await bob.close()
        alice.message(BOB.jid, "are you there?")  # to the disk
        await alice.ping()
        await alice.close()

    try:
        service.start()
        asyncio.run(talk())
        assert service.metric("megaphone_worker_resident_memory_bytes") > 0
        assert service.metric("megaphone_worker_open_fds") > 0
        assert service.request("POST", "/reload")["accepted"]
        strace = service.process.pid
        (supervisor,) = Path(f"/proc/{strace}/task/{strace}/children").read_text().split()
        os.kill(int(supervisor), signal.SIGTERM)
        assert service.process.wait(END_SECONDS) == 0
    finally:
        service.stop()
    rows = [line.split() for line in counted.read_text().splitlines()]
    called = {row[-1] for row in rows if len(row) >= 5 and row[0].replace(".", "").isdigit()} - {"total"}
    assert {"accept4", "epoll_ctl", "fdatasync", "memfd_create"} <= called  # they were counted
    assert called <= allowed()


def test_the_filter_refuses_what_a_service_does_not_need() -> None:
    refused = {"mount", "ptrace", "setuid", "chown", "init_module", "reboot", "bpf", "keyctl", "sched_setscheduler"}
    assert not refused & allowed()
    parser = configparser.RawConfigParser(strict=False)
    parser.read(UNIT)
    assert parser["Service"]["ProcSubset"] == "pid"  # as it was traced
