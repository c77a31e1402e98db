"""The server sides under test, each started on loopback with the same small limits; one class per kind."""

import asyncio
import contextlib
import os
import signal
import socket
import threading
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Protocol

from tests.link.serve import bridge
from tests.link.server import ReferenceServer
from tests.servers.certificates import CertificateAuthority
from tests.servers.ejabberd_link import SECRET as EJABBERD_SECRET
from tests.servers.ejabberd_link import EjabberdLink
from tests.servers.hub import Hub
from tests.servers.megaphone import upstream_of
from tests.servers.model import DOMAIN
from tests.servers.process import wait_until
from tests.servers.prosody import Prosody
from tests.servers.prosody_link import SECRET, ProsodyLink

GRACE_SECONDS = 8
STREAMS = 200
LINKS = 8
WINDOW_BYTES = 8_192  # less than one frame may hold, so that one frame can overstep it
START_SECONDS = 60.0
NO_ARCHIVE = "default_archive_policy = false\n"  # archives in files take longer with each message


class ServerSide(Protocol):
    """A server with a link listener. ALICE, BOB and CAROL of tests/servers/model.py have accounts at `domain`."""

    name: str
    domain: str
    secret: bytes
    address: tuple[str, int]
    channel_binding: bool  # whether its SCRAM-PLUS works with what OPEN tells

    def start(self) -> None:
        """Return when the link listener accepts."""

    def stop(self) -> None:
        """End it in order."""

    def restart(self) -> None:
        """Stop, and start on the same ports."""

    def kill(self) -> None:
        """End it at once, as SIGKILL does."""


class ReferenceSide:
    """The reference server side in a thread of its own; it bridges to a stock Prosody, as a hub would."""

    name = "reference"
    domain = DOMAIN
    channel_binding = False

    def __init__(self, directory: Path, authority: CertificateAuthority) -> None:
        self.secret = os.urandom(32)
        self.prosody = Prosody(directory, authority, "edge")
        self.prosody.register()
        configuration = directory / "prosody.cfg.lua"
        configuration.write_text(NO_ARCHIVE + configuration.read_text())
        self.address = ("127.0.0.1", 0)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._server: ReferenceServer | None = None

    def _run(self, task: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(task, self._loop).result(START_SECONDS)

    def start(self) -> None:
        if not self._thread.is_alive():
            self.prosody.start()
            self._thread.start()
        server = ReferenceServer(
            self.secret,
            serve=bridge((self.prosody.plain.host, self.prosody.plain.port)),
            listen=self.address,
            window=WINDOW_BYTES,
            streams=STREAMS,
            links=LINKS,
            grace_seconds=GRACE_SECONDS,
        )
        self._run(server.start())
        assert isinstance(server.address, tuple)
        self.address = server.address
        self._server = server

    def kill(self) -> None:
        if self._server is not None:
            self._run(self._server.stop())
            self._server = None

    def restart(self) -> None:
        self.kill()
        self.start()

    def stop(self) -> None:
        self.kill()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(START_SECONDS)
        self._loop.close()
        self.prosody.stop()


class ProsodySide:
    """Stock Prosody with mod_megaphone."""

    name = "prosody"
    domain = DOMAIN
    channel_binding = True

    def __init__(self, directory: Path, authority: CertificateAuthority) -> None:
        self.secret = SECRET
        self.server = ProsodyLink(
            directory,
            authority,
            options=NO_ARCHIVE
            + "; ".join(
                f"megaphone_{name} = {value}"
                for name, value in (
                    ("grace", GRACE_SECONDS),
                    ("max_streams", STREAMS),
                    ("max_links", LINKS),
                    ("window", WINDOW_BYTES),
                )
            ),
        )
        self.server.register()
        self.address = self.server.link

    def start(self) -> None:
        self.server.start()
        wait_until(lambda: accepts(self.address), "the link port")

    def stop(self) -> None:
        self.server.stop()

    def restart(self) -> None:
        self.stop()
        self.start()

    def kill(self) -> None:
        self.server.process.signal(signal.SIGKILL)
        self.server.process.wait(START_SECONDS)


class EjabberdSide:
    """Stock ejabberd with ejabberd_megaphone."""

    name = "ejabberd"
    domain = DOMAIN
    channel_binding = True

    def __init__(self, directory: Path, authority: CertificateAuthority) -> None:
        self.secret = EJABBERD_SECRET
        self.server = EjabberdLink(
            directory,
            authority,
            options={
                "grace": GRACE_SECONDS,
                "max_streams": STREAMS,
                "max_links": LINKS,
                "window": WINDOW_BYTES,
            },
        )
        self.address = self.server.link

    def start(self) -> None:
        self.server.start()
        wait_until(lambda: accepts(self.address), "the link port")

    def stop(self) -> None:
        self.server.stop()

    def restart(self) -> None:
        self.server.restart()

    def kill(self) -> None:
        self.server.process.signal(signal.SIGKILL)
        self.server.process.wait(START_SECONDS)


class HubSide:
    """`megaphone hub` in front of a stock Prosody without any module."""

    name = "hub"
    domain = DOMAIN
    channel_binding = False

    def __init__(self, directory: Path, authority: CertificateAuthority) -> None:
        self.prosody = Prosody(directory / "prosody", authority, "edge")
        self.prosody.register()
        configuration = directory / "prosody" / "prosody.cfg.lua"
        configuration.write_text(NO_ARCHIVE + configuration.read_text())
        self.hub = Hub(
            directory,
            [upstream_of(self.prosody)],
            grace_seconds=GRACE_SECONDS,
            max_streams=STREAMS,
            max_links=LINKS,
            window_bytes=WINDOW_BYTES,
        )
        self.hub.tables["drain"] = {"deadline_seconds": 1.0}
        self.secret = self.hub.secret
        assert isinstance(self.hub.link, tuple)
        self.address = self.hub.link

    def start(self) -> None:
        if not self.prosody.running:
            self.prosody.start()
        self.hub.start()

    def stop(self) -> None:
        self.hub.stop()
        self.prosody.stop()

    def restart(self) -> None:
        self.hub.restart()

    def kill(self) -> None:
        self.hub.kill()


def accepts(address: tuple[str, int]) -> bool:
    """Whether somebody listens there."""
    with contextlib.suppress(OSError), socket.create_connection(address, timeout=2.0):
        return True
    return False


SIDES: dict[str, Callable[[Path, CertificateAuthority], ServerSide]] = {
    "reference": ReferenceSide,
    "prosody": ProsodySide,
    "ejabberd": EjabberdSide,
    "hub": HubSide,
}
