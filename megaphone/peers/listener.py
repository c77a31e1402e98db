"""The socket that peers connect to: which port it gets, and who may come in, before a byte of TLS is spent on them."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from typing import TYPE_CHECKING, Final

from megaphone.peers.connection import plain_host
from megaphone.peers.limits import AddressLimits

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable

GREETINGS_LIMIT: Final = 32  # connections that have not proved who they are; further ones wait in the kernel
BACKLOG: Final = 64
FAILED_ACCEPT_PAUSE_SECONDS: Final = 0.5  # no descriptors left, most likely


def listen(host: str, ports: Iterable[int]) -> socket.socket:
    """Return a socket that listens on the first port that is free (0: any is); OSError if none is.

    `host` "" is every address of the machine, IPv6 included if there is any.
    """
    failure: OSError | None = None
    for port in ports:
        try:
            return _listen(host, port)
        except OSError as error:
            failure = error
    raise failure or OSError("no port to listen on")


def _listen(host: str, port: int) -> socket.socket:
    if host:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    if socket.has_dualstack_ipv6():
        with contextlib.suppress(OSError):
            return socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=BACKLOG)
    return socket.create_server(("", port), backlog=BACKLOG)


class Listener:
    """Accepts, and hands each connection to a coroutine that returns when it has ended.

    The coroutine calls what it gets with the socket when the peer has proved who it is, or has failed to.
    """

    def __init__(
        self,
        listening: socket.socket,
        serve: Callable[[socket.socket, Callable[[], None]], Coroutine[None, None, None]],
    ) -> None:
        listening.setblocking(False)
        self.port: int = listening.getsockname()[1]
        self._socket = listening
        self._serve = serve
        self._limits = AddressLimits()
        self._greeting = asyncio.Semaphore(GREETINGS_LIMIT)
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Accept until cancelled; then all connections are cancelled too."""
        loop = asyncio.get_running_loop()
        try:
            while True:
                await self._greeting.acquire()
                try:
                    connected, peer = await loop.sock_accept(self._socket)
                except OSError:
                    self._greeting.release()
                    await asyncio.sleep(FAILED_ACCEPT_PAUSE_SECONDS)
                    continue
                address = plain_host(*peer)
                if not self._limits.enter(address, time.monotonic()):
                    self._greeting.release()
                    connected.close()
                    continue
                task = asyncio.create_task(self._serve_one(connected, address))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
        finally:
            self._socket.close()
            for task in self._tasks:
                task.cancel()
            if self._tasks:
                await asyncio.wait(self._tasks)

    async def _serve_one(self, connected: socket.socket, address: str) -> None:
        greeting = True

        def greeted() -> None:
            nonlocal greeting
            if greeting:
                greeting = False
                self._greeting.release()

        try:
            await self._serve(connected, greeted)
        finally:
            greeted()
            self._limits.leave(address)
