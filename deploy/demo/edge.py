"""What `make run-edge` starts: Megaphone before a throw-away Prosody, with two accounts and a page on how to use it."""

import sys
from pathlib import Path
from typing import Final

from deploy.demo import show
from tests.servers.certificates import CertificateAuthority
from tests.servers.megaphone import Edge, upstream_of
from tests.servers.model import Account
from tests.servers.prosody import Prosody

TASK: Final = "make run-edge"
ROOMS: Final = f"rooms.{show.DOMAIN}"

PAGE: Final = """\

Megaphone runs in front of a throw-away Prosody. Any XMPP client can log in:

  address    {address}, port {starttls} (STARTTLS) or port {direct} (direct TLS)
{accounts}
  rooms      {rooms}
  trust      {ca} (the certificate comes from an authority made for this run)

Try it in a second terminal, in this directory:

  .venv/bin/megaphone probe --host {address} --port {starttls} --ca {ca} --password-file {password_file} {jid}
  .venv/bin/megaphone status --config {config}
  .venv/bin/megaphone top --config {config}
  curl http://127.0.0.1:{admin}/metrics

How it is doing, in a browser: http://127.0.0.1:{admin}/

Ctrl-C stops everything. Megaphone's log follows.
"""


def main() -> int:
    """Run until Ctrl-C (0) or until one of the two ends by itself (1)."""
    return show.run(TASK, _serve)


def _serve(directory: Path) -> int:
    accounts = show.new_accounts()
    authority = CertificateAuthority(directory / "ca")
    prosody = Prosody(directory / "prosody", authority, "edge", accounts=accounts, domain=show.DOMAIN)
    edge = Edge(
        directory / "megaphone",
        authority,
        [upstream_of(prosody, "prosody")],
        domains=[show.DOMAIN],
        preferred_ports=show.PREFERRED_PORTS,
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
        return show.follow(TASK, edge.log, {"Megaphone": edge.process, "Prosody": prosody.process})
    finally:
        print("\nStopping", flush=True)
        edge.stop()
        prosody.stop()


def _print_page(edge: Edge, accounts: tuple[Account, ...], authority: CertificateAuthority) -> None:
    here = Path.cwd()
    print(
        PAGE.format(
            address=edge.starttls.host,
            starttls=edge.starttls.port,
            direct=edge.direct.port,
            admin=edge.admin_port,
            accounts="\n".join(f"  account    {each.jid}  password {each.password}" for each in accounts),
            rooms=ROOMS,
            ca=authority.certificate.relative_to(here),
            config=edge.config_path.relative_to(here),
            password_file=show.save_password(edge, accounts[0]),
            jid=accounts[0].jid,
        ),
        flush=True,
    )


if __name__ == "__main__":
    sys.exit(main())
