"""Compiles the load generator and the echo server (C, tests/bench/swarm) when their sources have changed."""

import os
import shlex
import subprocess
from pathlib import Path

SOURCES = Path(__file__).parent / "swarm"
BUILD = Path(__file__).parents[2] / "build" / "bench"


def program(name: str) -> Path:
    """The compiled program `name`.c, built if need be; CalledProcessError if the compiler refuses."""
    BUILD.mkdir(parents=True, exist_ok=True)
    target = BUILD / name
    newest = max(path.stat().st_mtime for path in SOURCES.iterdir())
    if not target.exists() or target.stat().st_mtime < newest:
        compiler = shlex.split(os.environ.get("CC", "cc"))
        source = SOURCES / f"{name}.c"
        subprocess.run([*compiler, "-O2", "-Wall", "-Wextra", "-o", target, source, "-lssl", "-lcrypto"], check=True)
    return target
