"""What the conformance tests share: links to the side under test, refusals, talkers who notice every lost message."""

import asyncio
from typing import Any

import pytest

from tests.link.edge import Edge
from tests.link.frames import Challenge, Frame, Hello, Reason, Shutdown, Type
from tests.link.sides import GRACE_SECONDS, ServerSide
from tests.link.wire import DEADLINE_SECONDS, Wire, WireClosedError
from tests.link.xmpp import XmppClient
from tests.servers.model import ALICE, BOB, Account

__all__ = ["Talkers", "edge_of", "expect_refusal", "expect_shutdown", "greet", "until_gone"]


def edge_of(side: ServerSide, **options: Any) -> Edge:
    """An edge, not connected yet."""
    return Edge(side.address, side.secret, **options)


async def greet(edge: Edge) -> tuple[Wire, bytes]:
    """A socket on which CHALLENGE has come, and CHALLENGE's payload."""
    wire = await edge.dial()
    frame = await wire.next_frame()
    assert frame.type is Type.CHALLENGE
    Challenge.decode(frame.payload)
    return wire, frame.payload


async def expect_shutdown(wire: Wire, reason: Reason) -> Shutdown:
    """SHUTDOWN for id 0 with `reason` comes, whatever comes before, and then the socket's end."""
    while True:
        frame = await wire.next_frame()
        if frame.type is Type.SHUTDOWN and frame.id == 0:
            break
    end = Shutdown.decode(frame.payload)
    assert end.reason == reason, end
    assert end.sent == 0
    await wire.wait_lost()
    with pytest.raises(WireClosedError):
        await wire.next_frame()
    return end


async def expect_refusal(edge: Edge, hello: Hello, reason: Reason) -> Shutdown:
    """The HELLO, with a right proof if it has none, is refused with `reason`."""
    wire, challenge = await greet(edge)
    said = hello if hello.proof else edge.signed(hello, challenge)
    wire.write(Frame(Type.HELLO, 0, said.encode()).encode())
    return await expect_shutdown(wire, reason)


async def send_garbage(address: tuple[str, int], secret: bytes, account: Account) -> XmppClient:
    """On sockets without a proof, and on a link that carries this account's client: each is told and closed."""
    for garbage in (b"\xff" * 100_000, b"GET / HTTP/1.1\r\n\r\n", Frame(Type.PING, 0, bytes(16)).encode()):
        wire = await Wire.dial(address)
        wire.write(garbage)
        while (frame := await wire.next_frame()).type is Type.CHALLENGE:
            pass
        assert Shutdown.decode(frame.payload).reason == Reason.PROTOCOL_ERROR
        await wire.wait_lost()
    bad = await Edge(address, secret).connect()
    client = await XmppClient.login(bad, account)
    bad.send_raw(b"\x00" * 1_000_000)
    assert (await bad.wait_link_end()).reason == Reason.PROTOCOL_ERROR
    await bad.stop_pinging()
    return client


class Talkers:
    """Pairs of clients that tell each other numbers; each must hear all of the other's, once and in order."""

    def __init__(self, clients: list[XmppClient]) -> None:
        self.clients = clients
        self.heard = [0] * len(clients)
        self.said = [0] * len(clients)

    @classmethod
    async def login(cls, edge: Edge, count: int, mechanism: str = "PLAIN") -> "Talkers":
        accounts: list[Account] = [ALICE, BOB]
        logins = [XmppClient.login(edge, accounts[number % 2], mechanism=mechanism) for number in range(count)]
        return cls(list(await asyncio.gather(*logins)))

    async def talk(self, messages: int, filling: int = 100) -> None:
        """Each says `messages` numbers and hears as many; AssertionError if one is lost, repeated or out of order."""
        async with asyncio.TaskGroup() as group:
            for number in range(len(self.clients)):
                group.create_task(self._say(number, messages, filling))
                group.create_task(self._hear(number, messages))

    async def _say(self, number: int, messages: int, filling: int) -> None:
        client, partner = self.clients[number], self.clients[number ^ 1]
        for _ in range(messages):
            client.message(partner.jid, f"{self.said[number]} {'x' * filling}")
            self.said[number] += 1
            await client.stream.drain(DEADLINE_SECONDS * 3)
            await asyncio.sleep(0)

    async def _hear(self, number: int, messages: int) -> None:
        for _ in range(messages):
            body = await self.clients[number].next_body(DEADLINE_SECONDS * 3)
            assert body.split()[0] == str(self.heard[number]), (number, body[:20], self.heard[number])
            self.heard[number] += 1


async def until_gone(watcher: XmppClient, jid: str) -> None:
    """Until `watcher` sees that the user at `jid` is unavailable."""
    while True:
        element = await watcher.next(GRACE_SECONDS + 20)
        if element.get("from") == jid and element.get("type") == "unavailable":
            return
