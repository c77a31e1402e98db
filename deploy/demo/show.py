"""How a demonstration runs: one at a time in a directory, on data that is thrown away, until Ctrl-C."""

import fcntl
import secrets
import shutil
import signal
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import FrameType
from typing import Final, NoReturn

from tests.servers.megaphone import Edge
from tests.servers.model import Account
from tests.servers.process import Process, ServerError

DIRECTORY: Final = Path("var/demo")
DOMAIN: Final = "localhost"  # so that a client finds the address by itself
PREFERRED_PORTS: Final = (5222, 5223, 9280)
FOLLOW_SECONDS: Final = 0.2


def run(task: str, serve: Callable[[Path], int]) -> int:
    """Let `serve` run in an empty directory; its result, 0 after Ctrl-C, or 1 with the reason said."""
    signal.signal(signal.SIGTERM, _stop)
    signal.signal(signal.SIGINT, _stop)  # also where a shell left it ignored
    DIRECTORY.mkdir(parents=True, exist_ok=True)
    with (DIRECTORY / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return _fail(task, "a demonstration already runs in this directory")
        for left_over in DIRECTORY.iterdir():
            if left_over.is_dir():
                shutil.rmtree(left_over)
        try:
            return serve(DIRECTORY.resolve())
        except KeyboardInterrupt:
            return 0
        except ServerError as error:
            return _fail(task, str(error))


def new_accounts() -> tuple[Account, ...]:
    """Alice and Bob, with new passwords."""
    return tuple(Account(user, secrets.token_hex(4), DOMAIN) for user in ("alice", "bob"))


def save_password(edge: Edge, account: Account) -> Path:
    """Write the password into a file that only we can read, and return its path from here."""
    path = edge.directory / f"{account.user}.password"
    path.touch(mode=0o600)
    path.write_text(account.password + "\n")
    return path.relative_to(Path.cwd())


def follow(task: str, log: Path, processes: Mapping[str, Process]) -> int:
    """Copy Megaphone's log to standard output until one of the processes ends."""
    with log.open(errors="replace") as opened:
        while True:
            for line in opened:
                print(line, end="", flush=True)
            for name, process in processes.items():
                if not process.running:
                    return _fail(task, f"{name} ended; see {process.log}")
            time.sleep(FOLLOW_SECONDS)


def _fail(task: str, reason: str) -> int:
    print(f"{task}: {reason}", file=sys.stderr)
    return 1


def _stop(number: int, frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt
