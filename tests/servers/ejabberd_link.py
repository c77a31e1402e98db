"""A throw-away ejabberd that takes links: stock, with our module on its code path or as an installed package."""

import fcntl
import functools
import hashlib
import shutil
import subprocess
import tempfile
from pathlib import Path

from tests.servers.certificates import CertificateAuthority, CertificateFiles
from tests.servers.connections import established
from tests.servers.ejabberd import Ejabberd
from tests.servers.model import ACCOUNTS, Account
from tests.servers.process import LOOPBACK, ServerError, free_port

SOURCE = Path(__file__).parents[2] / "deploy" / "ejabberd"
SECRET = bytes(range(33, 65))  # printable, as an operator's would be
COMPILED = Path(__file__).parents[2] / "build" / "ejabberd"
TEST_MODULES = Path(__file__).with_name("ejabberd_modules")
COMPILE_TIMEOUT_SECONDS = 120.0


@functools.cache
def compiled_module() -> Path:
    """The directory of our module, compiled as an operator does it, and of the commands that only tests use.

    Sources that were compiled once, by whatever process, are not compiled again.
    """
    headers = sorted(Path("/usr/lib").glob("*/ejabberd-*/include/ejabberd_commands.hrl"))[-1].parent
    digest = hashlib.sha256(str(headers).encode())
    for source in (
        SOURCE / "Makefile",
        *sorted([*SOURCE.rglob("*.erl"), *SOURCE.rglob("*.hrl"), *TEST_MODULES.iterdir()]),
    ):
        digest.update(f"\n{source.name}\n".encode() + source.read_bytes())
    ebin = COMPILED / digest.hexdigest()[:16]
    COMPILED.mkdir(parents=True, exist_ok=True)
    with (COMPILED / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not ebin.exists():
            with tempfile.TemporaryDirectory(dir=COMPILED) as directory:
                made = Path(directory) / "ebin"
                _compile_module(made)
                _compile_test_modules(made, headers)
                made.rename(ebin)
    return ebin


def _compile_module(ebin: Path) -> None:
    done = subprocess.run(
        ["make", "--no-print-directory", "-C", str(SOURCE), f"EBIN={ebin}"],
        capture_output=True,
        text=True,
        check=False,
        timeout=COMPILE_TIMEOUT_SECONDS,
    )
    if done.returncode != 0:
        raise ServerError(f"the module does not compile:\n{done.stdout}{done.stderr}")


def _compile_test_modules(ebin: Path, headers: Path) -> None:
    for source in TEST_MODULES.glob("*.erl"):
        subprocess.run(
            ["erlc", "-I", str(headers), "-o", str(ebin), str(source)],
            check=True,
            capture_output=True,
            timeout=COMPILE_TIMEOUT_SECONDS,
        )


class EjabberdLink(Ejabberd):
    """Three listeners for edges: `link` (TCP), `link_socket` (Unix), `link_tls` (TLS, wants a certificate).

    `options` are lines for each of them. SCRAM-SHA-1-PLUS is offered. With `packaged` the module is neither compiled
    nor configured; `copy_package` puts its sources where `module_install` finds them, `configure` adds the listeners.
    Without `archive` no message is kept in one: Mnesia takes longer to add to an archive the more it holds, which tests
    with many messages are not about.
    """

    def __init__(
        self,
        directory: Path,
        authority: CertificateAuthority,
        *,
        options: dict[str, str | int] | None = None,
        packaged: bool = False,
        archive: bool = False,
        accounts: tuple[Account, ...] = ACCOUNTS,
        log_level: str = "info",
    ) -> None:
        super().__init__(directory, authority, accounts=accounts, log_level=log_level)
        self.link = (LOOPBACK, free_port())
        self.link_tls = (LOOPBACK, free_port())
        self.link_socket = directory / "link.sock"
        self.link_certificate: CertificateFiles = authority.issue(LOOPBACK)
        secret = directory / "megaphone.secret"
        secret.write_bytes(SECRET + b"\n")
        secret.chmod(0o600)
        lines: dict[str, str | int] = {"module": "ejabberd_megaphone", "secret": f'"file:{secret}"', **(options or {})}
        tls: dict[str, str | int] = {
            "port": self.link_tls[1],
            "tls": "true",
            "certfile": f'"{self.link_certificate.combined}"',
            "cafile": f'"{authority.certificate}"',
        }
        self._listeners = "".join(
            _listener({**lines, **more})
            for more in (dict[str, str | int](port=self.link[1]), {"port": f'"unix:{self.link_socket}"'}, tls)
        )
        self.config = directory / "ejabberd.yml"
        text = self.config.read_text().replace('  - "SCRAM-SHA-1-PLUS"\n', "")
        if not archive:
            text = text.replace("default: always", "default: never")
        self.config.write_text(text)
        if not packaged:
            self.erl_options = ("-pa", str(compiled_module()))
            self.config.write_text(text.replace("modules:\n", "modules:\n  mod_test_megaphone: {}\n"))
            self.configure()

    def configure(self) -> None:
        """Add the listeners to the configuration, which ejabberd reads at its start and at `reload_config`."""
        self.config.write_text(self.config.read_text().replace("listen:\n", f"listen:\n{self._listeners}", 1))

    def copy_package(self) -> None:
        """Put the sources where `module_install` looks for them."""
        shutil.copytree(SOURCE / "ejabberd_megaphone", self.directory / "modules" / "sources" / "ejabberd_megaphone")

    def sockets(self) -> int:
        """How many sockets of ejabberd have an edge at the other end; Unix sockets do not count."""
        return established(port for _, port in (self.link, self.link_tls))


def _listener(lines: dict[str, str | int]) -> str:
    (first, *others) = [f"{key}: {value}" for key, value in ({"ip": f'"{LOOPBACK}"'} | lines).items()]
    return f"  - {first}\n" + "".join(f"    {line}\n" for line in others)
