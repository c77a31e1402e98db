"""A throw-away ejabberd 23.01 with public TLS listeners, plain ones for the edge, and its HTTP API for the tests."""

import contextlib
import http.client
import json
import os
import shutil
import socket
from pathlib import Path
from string import Template
from typing import Any

from tests.servers.certificates import CertificateAuthority
from tests.servers.model import ACCOUNTS, DOMAIN, ROOMS, SECOND_DOMAIN, Account, Endpoint
from tests.servers.process import LOOPBACK, PROXY_V2_LOCAL, Process, ServerError, answers, free_port

UNIX_PATH_LIMIT_BYTES = 107  # sun_path without its final zero


class Ejabberd:
    """One running ejabberd: `starttls` and `direct` are public, `plain` and `socket` expect PROXY v2 from the edge."""

    name = "ejabberd"

    def __init__(
        self,
        directory: Path,
        authority: CertificateAuthority,
        *,
        accounts: tuple[Account, ...] = ACCOUNTS,
        log_level: str = "info",
    ) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self.domain = DOMAIN
        self.accounts = accounts
        self.starttls = Endpoint(LOOPBACK, free_port(), "starttls")
        self.direct = Endpoint(LOOPBACK, free_port(), "direct")
        self.plain = Endpoint(LOOPBACK, free_port(), "none")
        self.socket = directory / "c2s.sock"
        if len(os.fsencode(self.socket)) > UNIX_PATH_LIMIT_BYTES:
            raise ServerError(f"path too long for a Unix socket: {self.socket}")
        self._api_port = free_port()
        self._process: Process | None = None
        self.erl_options: tuple[str, ...] = ()  # as in ERL_OPTIONS of ejabberdctl.cfg
        files = authority.issue(DOMAIN, ROOMS, SECOND_DOMAIN)
        template = Template(Path(__file__).with_suffix(".yml").read_text())
        (directory / "ejabberd.yml").write_text(
            template.substitute(
                log_level=log_level,
                domain=DOMAIN,
                second_domain=SECOND_DOMAIN,
                certificate=files.combined,
                starttls_port=self.starttls.port,
                direct_port=self.direct.port,
                plain_port=self.plain.port,
                socket=self.socket,
                api_port=self._api_port,
            )
        )

    def start(self) -> None:
        """Start and return when it opens streams; raises ServerError with its log's tail.

        The Erlang VM is started as Debian's ejabberdctl does it, except that the node has no name: so there is no epmd,
        no clash with another node, and root is not refused. Commands go over the HTTP API instead.
        """
        program = shutil.which("erl")
        libraries = sorted(Path("/usr/lib").glob("*/ejabberd-*/ebin"))
        if program is None or not libraries:
            raise ServerError("ejabberd is not installed")
        self.socket.unlink(missing_ok=True)
        self._process = Process(
            [
                program,
                "-noinput",
                *("+K", "true", "+P", "250000", "+Q", "65536"),
                *("-mnesia", "dir", f'"{self.directory / "mnesia"}"'),
                *self.erl_options,
                *("-s", "ejabberd"),
            ],
            directory=self.directory,
            log=self.directory / "console.log",
            environment={
                **os.environ,
                "HOME": str(self.directory),
                "ERL_LIBS": str(libraries[-1].parent.parent),
                "ERL_CRASH_DUMP": str(self.directory / "crash.dump"),
                "ERL_CRASH_DUMP_BYTES": "0",
                "EJABBERD_CONFIG_PATH": str(self.directory / "ejabberd.yml"),
                "EJABBERD_LOG_PATH": str(self.directory / "ejabberd.log"),
                "CONTRIB_MODULES_PATH": str(self.directory / "modules"),
            },
        )
        self._process.wait_until(self._answers_everywhere, "ejabberd")
        registered = set(self.api("registered_users", host=DOMAIN)) | set(
            self.api("registered_users", host=SECOND_DOMAIN)
        )
        for account in self.accounts:
            if account.user not in registered:
                self.api("register", user=account.user, host=account.domain, password=account.password)

    def _answers_everywhere(self) -> bool:
        # The listeners start one by one in no fixed order, so one that answers says nothing about the others.
        return (
            answers((self.starttls.host, self.starttls.port), DOMAIN)
            and answers((self.plain.host, self.plain.port), DOMAIN, PROXY_V2_LOCAL)
            and answers(self.socket, DOMAIN, PROXY_V2_LOCAL)
            and self._accepts(self.direct.port)
            and self._accepts(self._api_port)
        )

    @staticmethod
    def _accepts(port: int) -> bool:
        with contextlib.suppress(OSError), socket.create_connection((LOOPBACK, port), timeout=2.0):
            return True
        return False

    def api(self, command: str, **arguments: Any) -> Any:
        """Run an ejabberd command (https://docs.ejabberd.im/developer/ejabberd-api/) and return its result."""
        connection = http.client.HTTPConnection(LOOPBACK, self._api_port, timeout=60)
        try:
            connection.request("POST", f"/api/{command}", json.dumps(arguments), {"Content-Type": "application/json"})
            response = connection.getresponse()
            body = response.read()
        except OSError as error:
            raise ServerError(f"ejabberd command {command}: {error}\n{self.process.log_tail()}") from None
        finally:
            connection.close()
        if response.status != http.HTTPStatus.OK:
            raise ServerError(f"ejabberd command {command}: {response.status} {body.decode(errors='replace')}")
        return json.loads(body)

    def stop(self) -> None:
        """Stop it in order; clients get system-shutdown."""
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
            raise ServerError("ejabberd was not started")
        return self._process
