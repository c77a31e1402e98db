"""Peers that do not read, before and behind the hub: what waits for them is bounded, and others notice nothing."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.link.edge import Edge
from tests.link.frames import Reason
from tests.link.server import run
from tests.link.stream import Stream
from tests.link.xmpp import XmppClient
from tests.servers.hub import Hub
from tests.servers.model import ALICE, Endpoint

WINDOW_BYTES = 16_384
READ_BYTES = 65_536  # that the hub takes from a server's socket at once
FLOODS = 5
PINGS = 50


@pytest.fixture
def hub(tmp_path: Path, fake_server: Endpoint) -> Iterator[Hub]:
    """A hub before the server that misbehaves on request."""
    upstream = {"name": "server", "address": f"{fake_server.host}:{fake_server.port}", "proxy_protocol": False}
    hub = Hub(tmp_path, [upstream], window_bytes=WINDOW_BYTES, slow_seconds=4.0)
    try:
        hub.start()
        yield hub
    finally:
        hub.stop()


async def login(edge: Edge) -> XmppClient:
    """A client of the fake server, which knows one kind of bind request."""
    client = XmppClient(edge.open(), ALICE)
    await client.begin()
    await client.authenticate("PLAIN")
    client.send("<iq type='set' id='bind'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>")
    assert (await client.next()).get("type") == "result"
    return client


async def echoed(stream: Stream, count: int) -> None:
    """The server's echo of `count` words, one at a time."""
    for number in range(count):
        word = f"<message><body>{number}</body></message>".encode()
        stream.write(word)
        assert await stream.read_exactly(len(word)) == word


def test_clients_that_never_read(hub: Hub) -> None:
    """Servers that send without end: a window each and one read wait, and another client's words pass."""

    async def main() -> None:
        async with Edge(hub.link, hub.secret, window=WINDOW_BYTES) as edge:
            talking = await login(edge)
            silent = [await login(edge) for _ in range(FLOODS)]
            for client in silent:
                client.stream.credit_withheld = True
                client.send("<message to='flood'/>")
            for client in silent:
                await edge.until(lambda client=client: client.stream.received == client.stream.limit)  # type: ignore[misc]
            await echoed(talking.stream, PINGS)
            assert hub.metric("megaphone_mailbox_bytes") <= FLOODS * READ_BYTES
            assert hub.metric("megaphone_hub_kept_bytes") <= FLOODS * WINDOW_BYTES + READ_BYTES
            for client in silent:
                assert client.stream.received == client.stream.limit
                assert (await client.stream.close(Reason.SLOW_CONSUMER)).reason == Reason.CLOSED
            await echoed(talking.stream, PINGS)

    run(main())
    assert hub.metric("megaphone_connections_closed_total", reason="slow-consumer") == FLOODS


def test_server_that_never_reads(hub: Hub) -> None:
    """No more credit: the edge may send no more, and after slow_seconds the client is told."""

    async def main() -> None:
        async with Edge(hub.link, hub.secret) as edge:
            talking = await login(edge)
            client = await login(edge)
            client.send("<message to='deaf'/>")
            client.stream.write(b" " * 64 * 1024 * 1024)
            end = await client.stream.wait_end()
            assert end.reason == Reason.CONNECTION_LOST
            assert client.stream.sent <= client.stream.sending_limit
            assert client.stream.sending_limit < 32 * 1024 * 1024  # the kernel's buffers and our window
            await echoed(talking.stream, PINGS)

    run(main())


@pytest.mark.parametrize(("command", "reason"), [("vanish", Reason.CONNECTION_LOST), ("end", Reason.CLOSED)])
def test_server_hangs_up(hub: Hub, command: str, reason: Reason) -> None:
    """With or without a goodbye; its last words come before the SHUTDOWN."""

    async def main() -> None:
        async with Edge(hub.link, hub.secret) as edge:
            for _ in range(10):
                client = await login(edge)
                client.send(f"<message to='{command}'/>")
                assert (await client.stream.wait_end()).reason == reason

    run(main())


def test_last_words_wait_for_credit(hub: Hub) -> None:
    """The server has gone; the client gets what it had said as it reads, then the end."""

    async def main() -> None:
        async with Edge(hub.link, hub.secret, window=4_096) as edge:
            client = await login(edge)
            client.stream.credit_withheld = True
            body = "x" * 30_000
            client.send(f"<message><body>{body}</body></message></stream:stream>")
            await edge.until(lambda: client.stream.received == client.stream.limit)
            await edge.ping_and_wait()
            assert client.stream.end is None
            client.stream.credit_withheld = False
            client.stream.give_credit()
            data = b""
            while part := await client.stream.read():
                data += part
            assert data.endswith(f"{body}</body></message></stream:stream>".encode())
            assert (await client.stream.wait_end()).reason == Reason.CLOSED

    run(main())


def test_last_words_do_not_wait_for_ever(hub: Hub) -> None:
    """An operator ends a stream whose client takes nothing: after slow_seconds what waits is given up."""

    async def main() -> None:
        async with Edge(hub.link, hub.secret, window=4_096) as edge:
            client = await login(edge)
            client.stream.credit_withheld = True
            client.send(f"<message><body>{'x' * 30_000}</body></message>")
            await edge.until(lambda: client.stream.received == client.stream.limit)
            [row] = hub.request("GET", "/connections")["connections"]
            hub.request("POST", "/kick", {"connection": row["id"]})
            assert hub.metric("megaphone_connections", state="closing") == 1
            assert (await client.stream.wait_end()).reason == Reason.POLICY_VIOLATION
            assert client.stream.received == client.stream.limit

    run(main())
    hub.wait_for_metric("megaphone_mailbox_bytes", 0)
