"""Who is connected to a port of this machine, as `ss` says: the kernel picks them out, however many there are else."""

import subprocess
from collections.abc import Iterable


def established(ports: Iterable[int]) -> int:
    """How many established TCP connections these ports have on their side."""
    return _count(["state", "established"], ports)


def listening(port: int) -> bool:
    """Whether somebody listens on this port; a connection would disturb whoever it is."""
    return _count(["state", "listening"], [port]) > 0


def _count(states: list[str], ports: Iterable[int]) -> int:
    sides = " or ".join(f"sport = :{port}" for port in ports)
    command = ["ss", "-Htn", *states, f"( {sides} )"]
    return len(subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines())
