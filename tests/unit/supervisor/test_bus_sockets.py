"""The sockets between workers: nobody else's, and there as long as the supervisor is."""

import os
import socket
import stat
from pathlib import Path

from megaphone.supervisor.bus_sockets import BusSockets


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
