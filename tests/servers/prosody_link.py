"""A throw-away Prosody that takes links: stock, with mod_megaphone and its shell, and public listeners beside them."""

import os
import shutil
import subprocess
from pathlib import Path

from tests.servers.certificates import CertificateAuthority
from tests.servers.connections import established
from tests.servers.model import ACCOUNTS, Account
from tests.servers.process import LOOPBACK, ServerError, free_port
from tests.servers.prosody import MODULES, Prosody

SECRET = bytes(range(33, 65))  # printable, as an operator's would be
SHELL_TIMEOUT_SECONDS = 30.0
TEST_MODULES = Path(__file__).with_name("prosody_modules")


class ProsodyLink(Prosody):
    """`link` is where edges connect. `options` are lines of the configuration, `modules` more modules to load;
    `secret` are other lines in place of the option that names the secret."""

    def __init__(
        self,
        directory: Path,
        authority: CertificateAuthority,
        *,
        options: str = "",
        secret: str | None = None,
        modules: tuple[str, ...] = (),
        accounts: tuple[Account, ...] = ACCOUNTS,
        log_level: str = "info",
    ) -> None:
        super().__init__(directory, authority, "public", accounts=accounts, log_level=log_level)
        self.link = (LOOPBACK, free_port())
        file = directory / "megaphone.secret"
        file.write_bytes(SECRET + b"\n")
        enabled = "".join(f'"{name}"; ' for name in ("megaphone", "admin_shell", *modules))
        text = self._config.read_text().replace("modules_enabled = { ", f"modules_enabled = {{ {enabled}", 1)
        text = text.replace(
            "\nVirtualHost ", f"\n{options}\nVirtualHost ", 1
        )  # behind all, so that it has the last word
        self._config.write_text(
            f'plugin_paths = {{ "{MODULES}", "{TEST_MODULES}" }}\n'
            f'admin_socket = "{directory}/prosody.sock"\n'
            f"megaphone_ports = {{ {self.link[1]} }}\n"
            f'megaphone_interfaces = {{ "{LOOPBACK}" }}\n'
            + (f'megaphone_secret_file = "{file}"\n' if secret is None else f"{secret}\n")
            + text
        )

    @property
    def configuration(self) -> Path:
        """The file it reads at its start."""
        return self._config

    def shell(self, command: str) -> str:
        """What the admin shell prints for a command such as `megaphone:links()`."""
        control = shutil.which("prosodyctl")
        if control is None:
            raise ServerError("prosodyctl is not installed")
        done = subprocess.run(
            [control, "--config", str(self._config), "shell", command],
            capture_output=True,
            text=True,
            check=False,
            timeout=SHELL_TIMEOUT_SECONDS,
            env={**os.environ, "TERM": "dumb"},
        )
        if done.returncode != 0:
            raise ServerError(f"prosodyctl shell {command}: {done.stdout}{done.stderr}")
        return done.stdout

    @property
    def sockets(self) -> int:
        """How many connections to the link port are open."""
        return established([self.link[1]])
