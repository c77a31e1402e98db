"""The supervisor together with its pages: opens every address first, then runs until the node has drained."""

import contextlib
import os
import socket
from collections.abc import Sequence
from typing import Final

import trio

from megaphone import __version__
from megaphone.config.schema import Config
from megaphone.errors import MegaphoneError
from megaphone.supervisor.admin import Admin
from megaphone.supervisor.banner import banner
from megaphone.supervisor.control_socket import open_control_socket
from megaphone.supervisor.listeners import Bound, open_address
from megaphone.supervisor.notify import Notifier
from megaphone.supervisor.reload import Reader, read_candidate
from megaphone.supervisor.supervisor import WORKER_COMMAND, Supervisor

_ADMIN_BACKLOG: Final = 64


class Node:
    """One machine's Megaphone, from the opened addresses to the end of the drain."""

    def __init__(
        self,
        config: Config,
        *,
        config_text: str,
        config_path: str,
        notifier: Notifier,
        worker_command: Sequence[str] = WORKER_COMMAND,
        read_candidate: Reader = read_candidate,
    ) -> None:
        """Opens the control socket, the admin address and the listeners; ConfigError when one cannot be opened."""
        with contextlib.ExitStack() as opened:
            # First of all: where another Megaphone is running, this is what says so most clearly.
            self._control = None
            if config.admin.socket:
                self._control = open_control_socket(config.admin.socket, file=config_path)
                opened.callback(self._control.close)
            self._admin: tuple[Bound, ...] = ()
            if config.admin.address:
                self._admin = open_address(
                    config.admin.address, key="admin.address", file=config_path, count=1, backlog=_ADMIN_BACKLOG
                )
                for bound in self._admin:
                    opened.callback(bound.close)
            self.supervisor = Supervisor(
                config,
                config_text=config_text,
                config_path=config_path,
                notifier=notifier,
                worker_command=worker_command,
                read_candidate=read_candidate,
            )
            self._opened = opened.pop_all()

    @property
    def admin_address(self) -> str:
        """Where the admin pages are, with the real port; "" when they are switched off."""
        return self._admin[0].address if self._admin else ""

    def banner(self) -> str:
        """What listens where, and what it fronts."""
        return banner(
            self.supervisor.config,
            self.supervisor.listeners.bound,
            version=__version__,
            pid=os.getpid(),
            workers=len(self.supervisor.seats),
            config_path=self.supervisor.config_path,
            admin=self.admin_address,
        )

    async def run(self) -> None:
        """Runs until the node has drained; raises what the supervisor raises."""
        failure: MegaphoneError | None = None
        admin = Admin(self.supervisor, admin_address=self.admin_address)
        with self._opened:
            async with trio.open_nursery() as nursery:
                listeners = [_listener(listening) for bound in self._admin for listening in bound.sockets]
                if listeners:
                    nursery.start_soon(trio.serve_listeners, admin.serve_tcp, listeners)
                if self._control is not None:
                    nursery.start_soon(trio.serve_listeners, admin.serve_control, [_listener(self._control.listening)])
                try:
                    await self.supervisor.run()
                except MegaphoneError as error:
                    failure = error  # not raised here: a nursery would wrap it in a group
                nursery.cancel_scope.cancel()
        if failure is not None:
            raise failure


def _listener(listening: socket.socket) -> trio.SocketListener:
    return trio.SocketListener(trio.socket.from_stdlib_socket(listening))
