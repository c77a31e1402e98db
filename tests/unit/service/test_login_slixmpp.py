"""The whole slixmpp against Login and StreamManagement over real sockets and real TLS."""

from __future__ import annotations

import asyncio
import secrets
import ssl
from collections.abc import Callable
from typing import Any

import pytest
import slixmpp

from megaphone.service.authenticator import Authenticator, LoginSettings
from megaphone.stream.jid import JID
from tests.servers.certificates import CertificateAuthority
from tests.unit.service.clients import PASSWORD, Accounts
from tests.unit.service.small_host import Session, SmallHost

DOMAIN = "localhost"
JULIET = JID("juliet", DOMAIN)
DEADLINE_SECONDS = 20.0
ITERATIONS = 64  # slixmpp hashes in Python


def authenticator() -> Authenticator:
    accounts = Accounts()
    accounts.add(JULIET, PASSWORD, iterations=ITERATIONS)
    settings = LoginSettings(iterations=ITERATIONS, anonymous=lambda: "guest-" + secrets.token_hex(4))
    return Authenticator(DOMAIN, accounts, token=secrets.token_bytes, secret=b"s" * 32, settings=settings)


@pytest.fixture(scope="module")
def contexts(authority: CertificateAuthority) -> Callable[[ssl.TLSVersion], tuple[ssl.SSLContext, ssl.SSLContext]]:
    files = authority.issue(DOMAIN)

    def make(version: ssl.TLSVersion) -> tuple[ssl.SSLContext, ssl.SSLContext]:
        server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        server.load_cert_chain(files.chain, files.key)
        client = ssl.create_default_context(cafile=str(authority.certificate))
        for context in (server, client):
            context.minimum_version = context.maximum_version = version
        return server, client

    return make


class Client(slixmpp.ClientXMPP):
    """A client that counts what happens to it."""

    def __init__(
        self, jid: str, password: str, mechanism: str | None = None, context: ssl.SSLContext | None = None
    ) -> None:
        super().__init__(jid, password, sasl_mech=mechanism, ssl_context=context)
        self.enable_direct_tls = context is not None
        self.enable_starttls = False
        self.enable_plaintext = context is None
        self.use_aiodns = False
        self.whitespace_keepalive = False
        self.plugin["feature_mechanisms"].unencrypted_scram = True
        self.events: list[str] = []
        self.bodies: list[str] = []
        self._changed = asyncio.Event()
        self.register_plugin("xep_0198")
        for event in ("session_start", "sm_enabled", "session_resumed", "failed_auth", "disconnected"):
            self.add_event_handler(event, self._noting(event))
        self.add_event_handler("message", self._on_message)

    def _noting(self, event: str) -> Callable[[Any], None]:
        def note(_: Any) -> None:
            self.events.append(event)
            self._changed.set()

        return note

    def _on_message(self, message: Any) -> None:
        self.bodies.append(message["body"])
        self._changed.set()

    async def until(self, reached: Callable[[], bool]) -> None:
        async with asyncio.timeout(DEADLINE_SECONDS):
            while not reached():
                self._changed.clear()
                await self._changed.wait()

    async def until_event(self, event: str) -> None:
        await self.until(lambda: event in self.events)


async def logged_in(host: SmallHost, client: Client, *, event: str = "session_start") -> Session | None:
    client.connect("127.0.0.1", host.port)
    await client.until_event(event)
    return host.sessions[-1] if host.sessions else None


@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-256", "SCRAM-SHA-1", "PLAIN"])
def test_login_over_tls_1_3(contexts: Any, mechanism: str) -> None:
    async def run() -> None:
        server, client_context = contexts(ssl.TLSVersion.TLSv1_3)
        async with SmallHost(authenticator(), server) as host:
            client = Client("juliet@localhost/balcony", PASSWORD, mechanism, client_context)
            session = await logged_in(host, client)
            assert session is not None
            assert session.jid == JULIET.at("balcony")
            assert str(client.boundjid) == "juliet@localhost/balcony"
            client.abort()

    asyncio.run(run())


def test_login_with_channel_binding_over_tls_1_2(contexts: Any) -> None:
    async def run() -> None:
        server, client_context = contexts(ssl.TLSVersion.TLSv1_2)
        async with SmallHost(authenticator(), server) as host:
            client = Client("juliet@localhost", PASSWORD, None, client_context)  # it chooses the strongest itself
            session = await logged_in(host, client)
            assert client.plugin["feature_mechanisms"].mech.name == "SCRAM-SHA-256-PLUS"
            assert session is not None
            assert session.jid == JULIET.at("chosen")
            client.abort()

    asyncio.run(run())


@pytest.mark.parametrize(("user", "password"), [("juliet", "Paris"), ("nurse", PASSWORD)])
def test_refused(user: str, password: str) -> None:
    async def run() -> None:
        async with SmallHost(authenticator()) as host:
            client = Client(f"{user}@localhost", password, "SCRAM-SHA-256")
            assert await logged_in(host, client, event="failed_auth") is None
            client.abort()

    asyncio.run(run())


def test_anonymous() -> None:
    async def run() -> None:
        async with SmallHost(authenticator()) as host:
            client = Client("localhost", "", "ANONYMOUS")
            session = await logged_in(host, client)
            assert session is not None
            assert session.jid.local.startswith("guest-")
            client.abort()

    asyncio.run(run())


def test_resumption_loses_and_repeats_nothing() -> None:
    async def run() -> None:
        async with SmallHost(authenticator()) as host:
            client = Client("juliet@localhost/balcony", PASSWORD, "SCRAM-SHA-256")
            session = await logged_in(host, client)
            assert session is not None
            await client.until_event("sm_enabled")
            sent, expected = [], []
            for turn in range(3):
                client.events.clear()
                for number in range(3):
                    session.deliver(b"<message><body>to %d.%d</body></message>" % (turn, number))
                    expected.append(f"to {turn}.{number}")
                    sent.append(f"from {turn}.{number}")
                    client.send_message("romeo@localhost", sent[-1])
                await client.until(lambda: client.bodies[-1:] == expected[-1:])
                assert session.connection is not None
                session.connection.transport.abort()  # neither end knows what the other has got
                for number in range(3, 6):
                    session.deliver(b"<message><body>to %d.%d</body></message>" % (turn, number))
                    expected.append(f"to {turn}.{number}")
                await client.until_event("disconnected")
                client.connect("127.0.0.1", host.port)
                await client.until_event("session_resumed")
                await client.until(lambda: client.bodies[-1:] == expected[-1:])
            client.send_message("romeo@localhost", "last")
            async with asyncio.timeout(DEADLINE_SECONDS):
                while session.got[-1:] != ["last"]:
                    await asyncio.sleep(0.01)
            assert client.bodies == expected
            assert session.got == [*sent, "last"]
            assert len(host.sessions) == 1
            client.abort()

    asyncio.run(run())
