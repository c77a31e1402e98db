"""What `make run` starts: Megaphone in front of a throw-away Prosody, with two accounts and a page on how to use it."""

import fcntl
import secrets
import shutil
import signal
import sys
import time
from pathlib import Path
from types import FrameType
from typing import Final, NoReturn

from tests.servers.certificates import CertificateAuthority
from tests.servers.megaphone import Edge, upstream_of
from tests.servers.model import Account
from tests.servers.process import ServerError
from tests.servers.prosody import Prosody

DIRECTORY: Final = Path("var/demo")
DOMAIN: Final = "localhost"  # so that a client finds the address by itself
PREFERRED_PORTS: Final = (5222, 5223, 9280)
FOLLOW_SECONDS: Final = 0.2

PAGE: Final = """\

Megaphone runs in front of a throw-away Prosody. Any XMPP client can log in:

  address    {address}, port {starttls} (STARTTLS) or port {direct} (direct TLS)
{accounts}
  rooms      {rooms}
  trust      {ca} (the certificate comes from an authority made for this run)

Try it in a second terminal, in this directory:

  .venv/bin/megaphone probe --host {address} --port {starttls} --ca {ca} --password-file {password_file} {jid}
  .venv/bin/megaphone status --config {config}
  curl http://127.0.0.1:{admin}/metrics

Ctrl-C stops everything. Megaphone's log follows.
"""


def main() -> int:
    """Run until Ctrl-C (0) or until one of the two ends by itself (1)."""
    signal.signal(signal.SIGTERM, _stop)
    signal.signal(signal.SIGINT, _stop)  # also where a shell left it ignored
    DIRECTORY.mkdir(parents=True, exist_ok=True)
    with (DIRECTORY / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("make run: it already runs in this directory", file=sys.stderr)
            return 1
        for left_over in DIRECTORY.iterdir():
            if left_over.is_dir():
                shutil.rmtree(left_over)
        try:
            return _serve(DIRECTORY.resolve())
        except KeyboardInterrupt:
            return 0
        except ServerError as error:
            print(f"make run: {error}", file=sys.stderr)
            return 1


def _stop(number: int, frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


def _serve(directory: Path) -> int:
    accounts = tuple(Account(user, secrets.token_hex(4), DOMAIN) for user in ("alice", "bob"))
    authority = CertificateAuthority(directory / "ca")
    prosody = Prosody(directory / "prosody", authority, "edge", accounts=accounts, domain=DOMAIN)
    edge = Edge(
        directory / "megaphone",
        authority,
        [upstream_of(prosody, "prosody")],
        domains=[DOMAIN],
        preferred_ports=PREFERRED_PORTS,
    )
    edge.tables["limits"] = {}  # the limits of a public server, not those of the tests
    edge.tables["health"] = {}
    try:
        print("Starting Prosody", flush=True)
        prosody.register()
        prosody.start()
        print("Starting Megaphone", flush=True)
        edge.start()
        _print_page(edge, accounts, authority)
        return _follow(edge, prosody)
    finally:
        print("\nStopping", flush=True)
        edge.stop()
        prosody.stop()


def _print_page(edge: Edge, accounts: tuple[Account, ...], authority: CertificateAuthority) -> None:
    password_file = edge.directory / "alice.password"
    password_file.touch(mode=0o600)
    password_file.write_text(accounts[0].password + "\n")
    here = Path.cwd()
    print(
        PAGE.format(
            address=edge.starttls.host,
            starttls=edge.starttls.port,
            direct=edge.direct.port,
            admin=edge.admin_port,
            accounts="\n".join(f"  account    {each.jid}  password {each.password}" for each in accounts),
            rooms=f"rooms.{DOMAIN}",
            ca=authority.certificate.relative_to(here),
            config=edge.config_path.relative_to(here),
            password_file=password_file.relative_to(here),
            jid=accounts[0].jid,
        ),
        flush=True,
    )


def _follow(edge: Edge, prosody: Prosody) -> int:
    """Copy Megaphone's log to standard output until one of the processes ends."""
    with edge.log.open(errors="replace") as log:
        while True:
            for line in log:
                print(line, end="", flush=True)
            for name, process in (("Megaphone", edge.process), ("Prosody", prosody.process)):
                if not process.running:
                    print(f"make run: {name} ended; see {process.log}", file=sys.stderr)
                    return 1
            time.sleep(FOLLOW_SECONDS)


if __name__ == "__main__":
    sys.exit(main())
