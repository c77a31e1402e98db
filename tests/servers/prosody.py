"""A throw-away Prosody 0.12: either with its own public TLS listeners, or as it stands behind the edge."""

import os
import shutil
import subprocess
from pathlib import Path
from string import Template

from tests.servers.certificates import CertificateAuthority, CertificateFiles
from tests.servers.model import ACCOUNTS, DOMAIN, ROOMS, SECOND_DOMAIN, Account, Endpoint
from tests.servers.process import LOOPBACK, Process, ServerError, answers, free_port

# Public: the baseline that clients reach without Megaphone.
PUBLIC_FRONT = Template("""\
c2s_interfaces = { "$address" }
c2s_ports = { $starttls_port }
c2s_direct_tls_interfaces = { "$address" }
c2s_direct_tls_ports = { $direct_port }
c2s_require_encryption = true
ssl = { certificate = "$chain"; key = "$key" }
""")

# Behind the edge, which has ended TLS already: the socket is plain, so what Prosody otherwise refuses on plain sockets
# is allowed, and mod_tls stays unloaded because it would offer a second STARTTLS inside the client's TLS.
EDGE_FRONT = Template("""\
c2s_interfaces = { "$address" }
c2s_ports = { $plain_port }
c2s_require_encryption = false
allow_unencrypted_plain_auth = true
""")


class Prosody:
    """One running Prosody. `behind_edge` chooses its one kind of c2s listener; accounts and all else are the same."""

    name = "prosody"

    def __init__(
        self,
        directory: Path,
        authority: CertificateAuthority | None = None,
        *,
        behind_edge: bool,
        certificate: CertificateFiles | None = None,
        accounts: tuple[Account, ...] = ACCOUNTS,
        domain: str = DOMAIN,
        log_level: str = "info",
    ) -> None:
        if not behind_edge and authority is None:
            raise ValueError("a public Prosody needs a certificate authority")
        self.directory = directory
        self.domain = domain
        self.accounts = accounts
        self._process: Process | None = None
        self._config = directory / "prosody.cfg.lua"
        for name in ("data", "certs"):
            (directory / name).mkdir(parents=True, exist_ok=True)
        if behind_edge:
            self.plain: Endpoint | None = Endpoint(LOOPBACK, free_port(), "none")
            self.starttls: Endpoint | None = None
            self.direct: Endpoint | None = None
            front = EDGE_FRONT.substitute(address=LOOPBACK, plain_port=self.plain.port)
        else:
            assert authority is not None
            files = certificate or authority.issue(DOMAIN, ROOMS, SECOND_DOMAIN)
            self.plain = None
            self.starttls = Endpoint(LOOPBACK, free_port(), "starttls")
            self.direct = Endpoint(LOOPBACK, free_port(), "direct")
            front = PUBLIC_FRONT.substitute(
                address=LOOPBACK,
                starttls_port=self.starttls.port,
                direct_port=self.direct.port,
                chain=files.chain,
                key=files.key,
            )
        template = Template(Path(__file__).with_suffix(".cfg.lua").read_text())
        self._config.write_text(
            template.substitute(
                run_as_root="true" if os.geteuid() == 0 else "false",
                directory=directory,
                log_level=log_level,
                tls_module="" if behind_edge else '"tls";',
                front=front,
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
        first = self.plain or self.starttls
        assert first is not None
        self._process.wait_until(lambda: answers((first.host, first.port), self.domain), "prosody")

    def stop(self) -> None:
        """Stop it as `systemctl stop` would; clients get system-shutdown."""
        if self._process is not None:
            self._process.stop()

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
