"""Ports for test servers: no two processes that run tests at the same time hand out the same."""

import subprocess
import sys
from pathlib import Path

from tests.servers import process
from tests.servers.process import BLOCK_PORTS, PORT_RANGE, free_port

PORTS = BLOCK_PORTS + 50  # more than one block has
ASK = f"from tests.servers.process import free_port; print(*(free_port() for _ in range({PORTS}))); input()"


def test_processes_hand_out_different_ports() -> None:
    """Nobody listens on any of them."""
    asked = [
        subprocess.Popen([sys.executable, "-c", ASK], cwd=Path.cwd(), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        for _ in range(3)
    ]
    ports = [free_port() for _ in range(PORTS)]
    try:
        for process in asked:
            assert process.stdout is not None
            ports += map(int, process.stdout.readline().split())
    finally:
        for process in asked:
            process.communicate(b"\n", timeout=20)
    assert len(ports) == (1 + len(asked)) * PORTS
    assert len(set(ports)) == len(ports)
    assert all(port in PORT_RANGE for port in ports)


def test_a_preferred_port_is_taken_once() -> None:
    preferred = free_port()  # of our block: any other may be somebody's at this moment
    process._handed_out.discard(preferred)
    assert free_port((preferred,)) == preferred
    assert free_port((preferred,)) in PORT_RANGE
