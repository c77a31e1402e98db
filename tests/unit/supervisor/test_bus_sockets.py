"""The sockets between workers: nobody else's, and there as long as the supervisor is."""

import os
import socket
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from megaphone.supervisor.bus_sockets import BusSockets, remove_abandoned


def test_one_worker_needs_none() -> None:
    sockets = BusSockets(1)
    assert (sockets.directory, sockets.of_worker(0)) == ("", ())
    sockets.close()


def test_what_is_dialled_waits_for_whoever_comes() -> None:
    sockets = BusSockets(2)
    directory = Path(sockets.directory)
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    dialled = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    dialled.connect(str(directory / "1.frames"))
    dialled.sendall(b"x")
    with socket.socket(fileno=os.dup(sockets.of_worker(1)[0])) as listening:
        accepted, _ = listening.accept()
    assert accepted.recv(1) == b"x"
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as connections:
        connections.connect(str(directory / "0.connections"))
    accepted.close()
    dialled.close()
    sockets.close()
    assert not directory.exists()


def test_what_a_killed_supervisor_leaves_is_removed_and_what_another_uses_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with tempfile.TemporaryDirectory(prefix="mp") as directory:  # a Unix socket's path is at most 107 bytes long
        look_at_what_is_left(Path(directory), monkeypatch)


def look_at_what_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    program = (
        "from megaphone.supervisor.bus_sockets import BusSockets; print(BusSockets(2).directory, flush=True); input()"
    )
    used = BusSockets(2)
    with subprocess.Popen(
        [sys.executable, "-c", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    ) as killed:
        assert killed.stdout is not None
        left = Path(killed.stdout.readline().decode().strip())
        assert left.parent == tmp_path
        remove_abandoned(tmp_path)
        assert left.exists()
        killed.kill()
        killed.wait()
    being_made = tmp_path / "megaphone-bus-new"
    being_made.mkdir()
    another = BusSockets(2)
    assert {path.name for path in tmp_path.iterdir()} == {
        Path(used.directory).name,
        Path(another.directory).name,
        being_made.name,
    }
    another.close()
    used.close()
