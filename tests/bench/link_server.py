"""The server side of links for a benchmark, as a process of its own."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.bench.build import extension
from tests.servers.connections import listening
from tests.servers.process import LOOPBACK, Process, free_port

SOURCES = ("wire/link*.p*",)
MAIN = "from tests.bench.link_server import main; main()"


@contextmanager
def link_server(core: int, directory: Path, secret_file: Path) -> Iterator[int]:
    """Runs on `core`, echoes every stanza; yields its port."""
    extension("link_echo", SOURCES)  # before a process that has little time to answer has to compile it
    port = free_port()
    process = Process(
        ["taskset", "-c", str(core), sys.executable, "-c", MAIN, str(port), str(secret_file)],
        directory=Path.cwd(),
        log=directory / "link_server.log",
        environment=os.environ,
    )
    try:
        process.wait_until(lambda: listening(port), f"link server at {LOOPBACK}")
        yield port
    finally:
        process.stop()


def main() -> None:
    """Serve until killed; the arguments are the port and the file with the secret."""
    port, secret_file = sys.argv[1:]
    extension("link_echo", SOURCES).serve(int(port), Path(secret_file).read_bytes().removesuffix(b"\n"))
