"""The slixmpp clients of one test: they log in when the script says so, and are gone, in order, at its end."""

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

from tests.scenarios.client import Client, UnexpectedError
from tests.scenarios.transcript import Transcript
from tests.servers.embedded import Embedded
from tests.servers.model import Account, Endpoint

PLAY_SECONDS = 120.0
WAIT_SECONDS = 15.0

Script = Callable[["Company"], Awaitable[None]]


class Company:
    """Clients of an embedded service; all that they see goes into `transcript`, in one step."""

    def __init__(self, service: Embedded, authority: Path) -> None:
        self.service = service
        self.authority = authority
        self.transcript = Transcript()
        self.transcript.begin("all")
        self.clients: list[Client] = []
        self._numbers = itertools.count(1)

    def client(
        self,
        account: Account,
        *plugins: str,
        endpoint: Endpoint | None = None,
        resource: str | None = None,
        mechanism: str = "PLAIN",
        stream_management: bool = False,
    ) -> Client:
        """A client that is not connected yet; without an endpoint it takes direct TLS."""
        name = f"{account.user}-{next(self._numbers)}"
        client = Client(
            name,
            account,
            endpoint or self.service.direct,
            self.authority,
            self.transcript,
            resource=resource,
            mechanism=mechanism,
            stream_management=stream_management,
        )
        client.plugin["feature_mechanisms"].unencrypted_scram = True
        for plugin in plugins:
            client.register_plugin(plugin)
        self.clients.append(client)
        return client

    async def enter(self, account: Account, *plugins: str, present: bool = True, **options: Any) -> Client:
        """A client that has logged in and, if it is `present`, has sent presence and asked for its roster."""
        client = self.client(account, *plugins, **options)
        await client.login()
        if present:
            await client.get_roster()
            client.send_presence()
            await client.settle()
        return client

    async def settle(self) -> None:
        """All that was sent has arrived, and so has all that this made the service send."""
        here = [client for client in self.clients if client.is_connected() and client.sessionstarted]
        for client in here:
            await client.settle()
            for user in {other.boundjid.bare for other in here}:
                await client.settle(user)  # whose home may be another worker
        for client in here:
            await client.settle()

    async def end(self) -> None:
        """Close every stream, so that no session and no presence is left."""
        for client in self.clients:
            if client.is_connected() and client.sessionstarted:
                with contextlib.suppress(UnexpectedError):
                    await client.leave()
            await client.dispose()


@contextlib.asynccontextmanager
async def _company(service: Embedded, authority: Path) -> AsyncIterator[Company]:
    company = Company(service, authority)
    try:
        yield company
    finally:
        await company.end()


def play(service: Embedded, authority: Path, script: Script) -> None:
    """Run a script with clients of this service; TimeoutError after PLAY_SECONDS."""

    async def run() -> None:
        async with asyncio.timeout(PLAY_SECONDS), _company(service, authority) as company:
            await script(company)

    asyncio.run(run())


def event(client: Client, name: str) -> "asyncio.Future[Any]":
    """What slixmpp says with the next event of this name; to be asked for before it can happen."""
    future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    def happened(said: Any) -> None:
        if not future.done():
            future.set_result(said)

    client.add_event_handler(name, happened, disposable=True)
    return future


async def soon(awaitable: Awaitable[Any]) -> Any:
    """The result; TimeoutError after WAIT_SECONDS."""
    return await asyncio.wait_for(awaitable, WAIT_SECONDS)
