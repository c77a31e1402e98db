"""A throw-away Prosody 0.12, with one of three sets of client listeners."""

import os
import shutil
import subprocess
from pathlib import Path
from string import Template
from typing import Literal

from tests.servers.certificates import CertificateAuthority, CertificateFiles
from tests.servers.model import ACCOUNTS, DOMAIN, ROOMS, SECOND_DOMAIN, Account, Endpoint
from tests.servers.process import LOOPBACK, Process, ServerError, answers, free_port

PUBLIC_ADDRESS = "127.0.0.2"  # where the instance with both kinds of listeners has its public ones
MODULES = Path(__file__).parents[2] / "deploy" / "prosody"

Front = Literal["public", "edge", "both"]

FRONTS: dict[Front, Template] = {
    # The baseline that clients reach without Megaphone.
    "public": Template("""\
c2s_interfaces = { "$public_address" }
c2s_ports = { $port }
c2s_direct_tls_interfaces = { "$public_address" }
c2s_direct_tls_ports = { $direct_port }
c2s_require_encryption = true
ssl = { certificate = "$chain"; key = "$key" }
modules_enabled = { $modules "tls" }
"""),
    # Stock Prosody behind the edge, which has ended TLS already: what Prosody otherwise refuses on plain sockets is
    # allowed, and mod_tls stays unloaded because it would offer a second STARTTLS inside the client's TLS.
    "edge": Template("""\
c2s_interfaces = { "$edge_address" }
c2s_ports = { $port }
c2s_require_encryption = false
allow_unencrypted_plain_auth = true
modules_enabled = { $modules }
"""),
    # One Prosody with both, and with mod_tls as federation needs it: our module tells them apart.
    "both": Template("""\
plugin_paths = { "$module_directory" }
edge_interfaces = { "$edge_address" }
c2s_interfaces = { "$edge_address", "$public_address" }
c2s_ports = { $port }
c2s_direct_tls_interfaces = { "$public_address" }
c2s_direct_tls_ports = { $direct_port }
c2s_require_encryption = true
ssl = { certificate = "$chain"; key = "$key" }
modules_enabled = { $modules "tls"; "edge_interfaces" }
"""),
}
COMMON_MODULES = (
    *("blocklist", "carbons", "csi_simple", "disco", "mam", "pep", "ping", "private", "roster", "saslauth", "smacks"),
    *("time", "vcard4", "vcard_legacy", "version"),
)


class Prosody:
    """One running Prosody; whatever its listeners, accounts and all else are the same.

    `plain` is for the edge (fronts "edge" and "both"), `starttls` and `direct` are public ("public" and "both").
    """

    name = "prosody"

    def __init__(
        self,
        directory: Path,
        authority: CertificateAuthority,
        front: Front,
        *,
        certificate: CertificateFiles | None = None,
        accounts: tuple[Account, ...] = ACCOUNTS,
        domain: str = DOMAIN,
        log_level: str = "info",
    ) -> None:
        for name in ("data", "certs"):
            (directory / name).mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self.domain = domain
        self.accounts = accounts
        public_address = PUBLIC_ADDRESS if front == "both" else LOOPBACK
        port, direct_port = free_port(), free_port()
        self.plain = Endpoint(LOOPBACK, port, "none")
        self.starttls = Endpoint(public_address, port, "starttls")
        self.direct = Endpoint(public_address, direct_port, "direct")
        self._process: Process | None = None
        self._config = directory / "prosody.cfg.lua"
        files = certificate or authority.issue(DOMAIN, ROOMS, SECOND_DOMAIN)
        listeners = FRONTS[front].substitute(
            public_address=public_address,
            edge_address=LOOPBACK,
            port=port,
            direct_port=direct_port,
            chain=files.chain,
            key=files.key,
            modules=" ".join(f'"{name}";' for name in COMMON_MODULES),
            module_directory=MODULES,
        )
        template = Template(Path(__file__).with_suffix(".cfg.lua").read_text())
        self._config.write_text(
            template.substitute(
                run_as_root="true" if os.geteuid() == 0 else "false",
                directory=directory,
                log_level=log_level,
                listeners=listeners,
                domain=domain,
                second_domain=SECOND_DOMAIN,
                rooms=f"rooms.{domain}",
            )
        )

    def register(self) -> None:
        """Create the accounts (while it does not run: prosodyctl writes its files)."""
        control = shutil.which("prosodyctl")
        if control is None:
            raise ServerError("prosodyctl is not installed")
        for account in self.accounts:
            done = subprocess.run(
                [control, "--config", str(self._config), "register", account.user, account.domain, account.password],
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode != 0:
                raise ServerError(f"prosodyctl register {account.jid}: {done.stdout}{done.stderr}")

    def start(self) -> None:
        """Start and return when it opens streams; raises ServerError with its log's tail."""
        program = shutil.which("prosody")
        if program is None:
            raise ServerError("prosody is not installed")
        self._process = Process(
            [program, "-F", "--config", str(self._config)],
            directory=self.directory,
            log=self.directory / "prosody.log",
            environment=os.environ,
        )
        address = (self.starttls.host, self.starttls.port)  # with front "edge" it is that of `plain`
        self._process.wait_until(lambda: answers(address, self.domain), "prosody")

    def stop(self) -> None:
        """Stop it as `systemctl stop` would; clients get system-shutdown."""
        if self._process is not None:
            self._process.stop()

    @property
    def running(self) -> bool:
        """Whether it was started and not stopped."""
        return self._process is not None and self._process.running

    def restart(self) -> None:
        """Stop and start on the same ports."""
        self.stop()
        self.start()

    @property
    def process(self) -> Process:
        """The running process; ServerError before `start`."""
        if self._process is None:
            raise ServerError("prosody was not started")
        return self._process
