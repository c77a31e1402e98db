"""`megaphone cluster up`: a NATS and several nodes on this machine, with two accounts, until Ctrl-C."""

import argparse
import contextlib
import json
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from megaphone.cli.control import ask
from megaphone.cli.output import FAILED, OK
from megaphone.errors import AdminError, BusError

NODES_LIMIT: Final = 16
DOMAIN: Final = "localhost"
USERS: Final = ("alice", "bob")
START_SECONDS: Final = 60.0
STOP_SECONDS: Final = 15.0
_POLL_SECONDS: Final = 0.1

CONFIG: Final = """\
[node]
workers = {workers}
max_connections = 1000

[[listen]]
address = "127.0.0.1:{port}"
tls = "none"

[[domain]]
name = "{domain}"

[service]
data = "data"
anonymous = true

[rooms]
create = "anyone"

[cluster]
servers = ["{nats}"]
node_name = "{name}"

[drain]
deadline_seconds = 5

[admin]
address = "127.0.0.1:0"
socket = {socket}
"""

PAGE: Final = """\

{count} nodes run as one chat service, {domain}. Chat in two more terminals:

  megaphone chat lobby --as Alice --server {first}
  megaphone chat lobby --as Bob --server {last}

{nodes}

  accounts   {accounts}
  guests     without an account (SASL ANONYMOUS)
  rooms      conference.{domain}; everybody may create one
  NATS       {nats}

What else to try: kill a node (its clients go on at another, given --server {all_servers}),
kill NATS, and look with

  megaphone cluster status -c {config}

Ctrl-C stops all.{forgotten}
"""


@dataclass
class Node:
    """One node: its directory, and the process that runs."""

    name: str
    directory: Path
    process: "subprocess.Popen[bytes] | None" = None
    address: str = ""

    @property
    def config(self) -> Path:
        """Its configuration file."""
        return self.directory / "megaphone.toml"

    @property
    def log(self) -> Path:
        """Its standard error."""
        return self.directory / "megaphone.log"

    def ask(self, path: str) -> Any:
        """What it answers; None if it does not."""
        args = argparse.Namespace(socket=str(self.directory / "admin.sock"), config=None)
        with contextlib.suppress(AdminError):
            return ask(args, "GET", path, accept=(200, 503), timeout_seconds=10)
        return None


def run(args: argparse.Namespace) -> int:
    """Run until Ctrl-C or SIGTERM (0), or until no node runs any more (1); BusError without a NATS that can be run."""
    before = {number: signal.signal(number, _interrupt) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        with _directory(args.directory) as directory:
            return _run(args, directory)
    except KeyboardInterrupt:
        return OK
    finally:
        for number, action in before.items():
            signal.signal(number, action)


def _interrupt(*_: object) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):  # once: who says it twice would leave NATS or a node behind
        signal.signal(number, lambda *_: None)
    raise KeyboardInterrupt


@contextlib.contextmanager
def _directory(given: str | None) -> Iterator[Path]:
    if given is not None:
        path = Path(given).absolute()
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise BusError(f"cannot keep the data in {path}: {error.strerror}") from None
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="megaphone-cluster-") as made:
        yield Path(made)


def _run(args: argparse.Namespace, directory: Path) -> int:
    from megaphone.bus.nats_server import NATSServer, Settings

    nats = NATSServer(Settings(directory / "nats", port=0 if args.free_ports else args.nats_port))
    nodes = [Node(chr(ord("a") + index), directory / chr(ord("a") + index)) for index in range(args.nodes)]
    try:
        nats.start()
        passwords = _prepare(args, nodes, nats.url, directory)
        for node in nodes:
            _start(node)
        for node in nodes:
            _await_ready(node)
        _await_view(nodes)
        _print_page(args, nodes, nats.url, passwords)
        return _follow(nodes)
    finally:
        _stop(nodes)
        nats.stop()


def _prepare(args: argparse.Namespace, nodes: list[Node], nats: str, directory: Path) -> dict[str, str]:
    """Write the configurations and make the accounts; return their passwords, which a kept directory keeps."""
    from megaphone.service.accounts import make_credentials
    from megaphone.storage.accounts import AccountBook
    from megaphone.storage.database import prepare

    kept = directory / "accounts.json"
    passwords: dict[str, str]
    if kept.exists():
        passwords = json.loads(kept.read_text())
    else:
        passwords = {user: secrets.token_hex(4) for user in USERS}
        kept.touch(mode=0o600)
        kept.write_text(json.dumps(passwords) + "\n")
    made = {user: make_credentials(password, secrets.token_bytes(16), 10_000) for user, password in passwords.items()}
    for index, node in enumerate(nodes):
        node.directory.mkdir(exist_ok=True)
        node.config.write_text(
            CONFIG.format(
                workers=args.workers,
                port=0 if args.free_ports else args.port + index,
                domain=DOMAIN,
                nats=nats,
                name=node.name,
                socket=json.dumps(str(node.directory / "admin.sock")),
            )
        )
        data = str(node.directory / "data")
        prepare(data)
        book = AccountBook(data)
        try:
            for user, credentials in made.items():
                book.add(user, credentials, time.time())  # False if it is there, of the last time
        finally:
            book.close()
    return passwords


def _start(node: Node) -> None:
    with node.log.open("ab") as output:
        node.process = subprocess.Popen(  # noqa: S603 - our own program
            [sys.executable, "-m", "megaphone", "serve", "--no-banner", "-c", str(node.config)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,  # Ctrl-C is for us
        )


def _await_ready(node: Node) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        status = node.ask("/status")
        if status is not None and status["ready"]:
            node.address = status["listen"][0]["address"]
            return
        ended = node.process is None or node.process.poll() is not None
        if ended or time.monotonic() > deadline:
            tail = " / ".join(node.log.read_text(errors="replace").splitlines()[-3:])
            raise AdminError(f"node {node.name} did not start: {tail}")
        time.sleep(_POLL_SECONDS)


def _await_view(nodes: list[Node]) -> None:
    """Return when each sees all."""
    names = [node.name for node in nodes]
    deadline = time.monotonic() + START_SECONDS
    while not all(_seen_by(node) == names for node in nodes):
        if time.monotonic() > deadline:
            raise AdminError(f"the nodes do not see each other; see {nodes[0].log}")
        time.sleep(_POLL_SECONDS)


def _seen_by(node: Node) -> list[str]:
    answer = node.ask("/nodes")
    views = [] if answer is None else answer["workers"]
    seen = [sorted(each["name"] for each in view["nodes"]) for view in views]
    return seen[0] if seen and all(each == seen[0] for each in seen) else []


def _print_page(args: argparse.Namespace, nodes: list[Node], nats: str, passwords: dict[str, str]) -> None:
    rows = [
        f"  node {node.name}     {node.address}, pid {node.process.pid if node.process else '-'}, log {node.log}"
        for node in nodes
    ]
    print(
        PAGE.format(
            count=len(nodes),
            domain=DOMAIN,
            first=nodes[0].address,
            last=nodes[-1].address,
            nodes="\n".join(rows),
            accounts=", ".join(f"{user}@{DOMAIN} password {password}" for user, password in passwords.items()),
            nats=nats,
            all_servers=",".join(node.address for node in nodes),
            config=nodes[0].config,
            forgotten="" if args.directory else " Everything said is forgotten then.",
        ),
        flush=True,
    )


def _follow(nodes: list[Node]) -> int:
    """Tell of nodes that end; 1 when none is left."""
    running = list(nodes)
    while running:
        time.sleep(_POLL_SECONDS)
        for node in list(running):
            if node.process is None or node.process.poll() is not None:
                running.remove(node)
                print(f"node {node.name} has ended; see {node.log}", flush=True)
    return FAILED


def _stop(nodes: list[Node]) -> None:
    running = [node.process for node in nodes if node.process is not None and node.process.poll() is None]
    for process in running:
        process.send_signal(signal.SIGTERM)
    deadline = time.monotonic() + STOP_SECONDS
    for process in running:
        try:
            process.wait(max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
