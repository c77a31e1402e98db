"""What `make run` starts: Megaphone as a chat service, with two accounts, a web chat, and a page on how to use it."""

import subprocess
import sys
from pathlib import Path
from typing import Final

from deploy.demo import show
from tests.servers.certificates import CertificateAuthority
from tests.servers.megaphone import Edge
from tests.servers.model import Account
from tests.servers.process import LOOPBACK, free_port

TASK: Final = "make run"
WORKERS: Final = 2  # so that one can be killed, and users of both can talk
MAX_CONNECTIONS: Final = 1000  # of each worker: a shell lets us open enough files for so many
ROOMS: Final = f"conference.{show.DOMAIN}"
PREFERRED_WEB_PORT: Final = 5280
# Without TLS: browsers trust what comes from their own machine, and not the certificate of this run.
WEB: Final = ("websocket", "bosh", "host-meta", "pages", "chat")

PAGE: Final = """\

Megaphone runs as a chat service. Chat in two more terminals, in this directory:

  .venv/bin/megaphone chat lobby --as Alice{server}
  .venv/bin/megaphone chat lobby --as Bob{server}

In a browser, which joins them in the lobby (for the second account take a private window):

  http://localhost:{web}/chat
{accounts}

A page that lives only while somebody looks at it: http://localhost:{web}/

Any XMPP client can log in with the same accounts:

  address    {address}, port {starttls} (STARTTLS) or port {direct} (direct TLS)
  guests     without an account (SASL ANONYMOUS)
  rooms      {rooms}, such as lobby@{rooms}; everybody may create one
  trust      {ca} (the certificate comes from an authority made for this run)

What else to try:

  .venv/bin/megaphone probe --host {address} --port {starttls} --ca {ca} --password-file {password_file} {jid}
  .venv/bin/megaphone status --config {config}
  .venv/bin/megaphone user list --config {config}
  .venv/bin/megaphone top --config {config}
  curl http://127.0.0.1:{admin}/metrics

How it is doing, in a browser: http://127.0.0.1:{admin}/

Ctrl-C stops it, and everything said is forgotten. Megaphone's log follows.
"""


def main() -> int:
    """Run until Ctrl-C (0) or until Megaphone ends by itself (1)."""
    return show.run(TASK, _serve)


def _serve(directory: Path) -> int:
    accounts = show.new_accounts()
    authority = CertificateAuthority(directory / "ca")
    node = Edge(
        directory / "megaphone",
        authority,
        (),
        workers=WORKERS,
        domains=(show.DOMAIN,),
        preferred_ports=show.PREFERRED_PORTS,
    )
    for table in ("upstream", "health", "limits"):  # the limits of a public server, not those of the tests
        del node.tables[table]
    node.tables["node"]["max_connections"] = MAX_CONNECTIONS
    node.tables["service"] = {"data": str(node.directory / "data"), "anonymous": True}
    node.tables["rooms"] = {"domain": ROOMS, "create": "anyone"}
    web_port = free_port([PREFERRED_WEB_PORT])
    node.tables["listen"].append({"address": f"{LOOPBACK}:{web_port}", "tls": "none", "web": list(WEB)})
    node.tables["chat"] = {"title": "Megaphone", "join": ["lobby"]}
    # Guests are welcome here, but not other sites that the same browser shows.
    node.tables["websocket"] = {"origins": [f"http://{host}:{web_port}" for host in (show.DOMAIN, LOOPBACK)]}
    node.write_config()
    try:
        print("Making accounts", flush=True)
        for account in accounts:
            _add(node, account)
        print("Starting Megaphone", flush=True)
        node.start()
        _print_page(node, accounts, authority, web_port)
        return show.follow(TASK, node.log, {"Megaphone": node.process})
    finally:
        print("\nStopping", flush=True)
        node.stop()


def _add(node: Edge, account: Account) -> None:
    """As an operator would."""
    command = ("user", "add", account.jid, "--password-file", "-", "--config", str(node.config_path))
    subprocess.run(  # noqa: S603 - our own command, with words of ours
        [sys.executable, "-m", "megaphone", *command],
        input=account.password + "\n",
        stdout=subprocess.DEVNULL,
        text=True,
        check=True,
    )


def _print_page(node: Edge, accounts: tuple[Account, ...], authority: CertificateAuthority, web_port: int) -> None:
    here = Path.cwd()
    usual = node.starttls.port == show.PREFERRED_PORTS[0]
    print(
        PAGE.format(
            server="" if usual else f" --server {node.starttls.host}:{node.starttls.port}",
            address=node.starttls.host,
            starttls=node.starttls.port,
            direct=node.direct.port,
            admin=node.admin_port,
            web=web_port,
            accounts="\n".join(f"  account    {each.jid}  password {each.password}" for each in accounts),
            rooms=ROOMS,
            ca=authority.certificate.relative_to(here),
            config=node.config_path.relative_to(here),
            password_file=show.save_password(node, accounts[0]),
            jid=accounts[0].jid,
        ),
        flush=True,
    )


if __name__ == "__main__":
    sys.exit(main())
