"""Conformance: the socket breaks at chosen bytes and comes back; epochs, and who may come back."""

import asyncio
from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.link.conformance import Talkers, edge_of, expect_refusal, greet, until_gone
from tests.link.edge import Edge
from tests.link.frames import GOES_ON, HEADER_BYTES, Frame, Reason, Type
from tests.link.server import run
from tests.link.sides import ServerSide
from tests.link.xmpp import XmppClient
from tests.servers.model import ALICE, BOB

TALKERS = 20
BREAKS = 5  # per way of breaking
BETWEEN_BREAKS_BYTES = 20_000


# Ways to break the socket of a link under traffic; each returns when it is broken or about to.


async def _at_once(edge: Edge, _: int) -> None:
    edge.cut()


async def _sending(edge: Edge, count: int) -> None:
    assert edge.wire is not None
    edge.wire.cut_sending(count)


async def _receiving(edge: Edge, count: int) -> None:
    assert edge.wire is not None
    edge.wire.cut_receiving(count)


async def _within_our_frame(edge: Edge, count: int) -> None:
    """Exactly `count` bytes of the next frame we send go out."""
    await _sending(edge, count)
    edge.ping()


async def _without_a_word(edge: Edge, _: int) -> None:
    """The socket stays open and nobody reads it; the next one takes over."""
    edge.abandon()


BREAKING = {
    "at once": (_at_once, 0),
    "after the type of our frame": (_within_our_frame, 1),
    "within the header of our frame": (_within_our_frame, 5),
    "after the header of our frame": (_within_our_frame, HEADER_BYTES),
    "within the payload of our frame": (_within_our_frame, HEADER_BYTES + 3),
    "behind our frame": (_within_our_frame, HEADER_BYTES + 16),
    "somewhere in what we send": (_sending, 3_001),
    "within the header of the server's frame": (_receiving, 3),
    "within the payload of the server's frame": (_receiving, HEADER_BYTES + 1),
    "somewhere in what the server sends": (_receiving, 4_099),
    "with the old socket still open": (_without_a_word, 0),
}


@pytest.mark.parametrize("where", BREAKING)
def test_nothing_is_lost_repeated_or_reordered(side: ServerSide, where: str) -> None:
    async def main() -> None:
        break_socket, count = BREAKING[where]
        async with edge_of(side) as edge:
            talkers = await Talkers.login(edge, TALKERS)
            talking = asyncio.create_task(talkers.talk(messages=40, filling=500))
            for _ in range(BREAKS):
                seen = edge.received + BETWEEN_BREAKS_BYTES
                await _until(edge, lambda: edge.received >= seen or talking.done())  # noqa: B023
                await break_socket(edge, count)
                await _until(edge, lambda: not edge.attached or talking.done())
                if edge.attached:
                    edge.cut()
                assert await edge.reattach(), "the session did not go on"
            await talking
            await edge.ping_and_wait()
            assert len(edge.streams) == TALKERS
            assert edge.abandoned is None or where == "with the old socket still open"
            if edge.abandoned is not None:
                await edge.abandoned.wait_lost()

    run(main())


async def _until(edge: Edge, condition: Callable[[], bool]) -> None:
    while not condition():
        edge.check()
        await asyncio.sleep(0.002)


async def _cut_before_welcome(edge: Edge) -> None:
    wire, challenge = await greet(edge)
    hello = edge.signed(edge.hello(), challenge)
    edge.epoch = hello.epoch
    wire.write(Frame(Type.HELLO, 0, hello.encode()).encode())
    wire.close()


async def _cut_within_hello(edge: Edge) -> None:
    wire, challenge = await greet(edge)
    hello = Frame(Type.HELLO, 0, edge.signed(edge.hello(), challenge).encode()).encode()
    wire.write(hello[: len(hello) // 2])
    wire.close()


async def _cut_after_challenge(edge: Edge) -> None:
    wire, _ = await greet(edge)
    wire.cut()


async def _cut_after_welcome(edge: Edge) -> None:
    wire = await edge.dial()
    welcome = await edge.handshake(wire)
    assert welcome.flags & GOES_ON
    wire.cut()


async def _cut_during_replay(edge: Edge) -> None:
    """The server has perhaps begun to send again; what came of it counts, the rest comes with the next socket."""
    wire = await edge.dial()
    wire.cut_receiving(38 + 60 + 2 * HEADER_BYTES + 2_001)
    welcome = await edge.handshake(wire)
    assert welcome.flags & GOES_ON
    edge.attach(wire, welcome.received)
    stamp = edge.ping()
    await _until(edge, lambda: not edge.attached or edge.answered(stamp))
    edge.cut()


GREETINGS = {
    "after CHALLENGE": _cut_after_challenge,
    "within HELLO": _cut_within_hello,
    "before WELCOME": _cut_before_welcome,
    "right after WELCOME": _cut_after_welcome,
    "while frames are sent again": _cut_during_replay,
}


@pytest.mark.parametrize("where", GREETINGS)
def test_socket_breaks_again_while_coming_back(side: ServerSide, where: str) -> None:
    async def main() -> None:
        async with edge_of(side) as edge:
            talkers = await Talkers.login(edge, TALKERS)
            talking = asyncio.create_task(talkers.talk(messages=30, filling=500))
            for _ in range(BREAKS):
                seen = edge.received + BETWEEN_BREAKS_BYTES
                await _until(edge, lambda: edge.received >= seen or talking.done())  # noqa: B023
                edge.cut()
                for _ in range(2):
                    await GREETINGS[where](edge)
                assert await edge.reattach(), "the session did not go on"
            await talking
            await edge.ping_and_wait()

    run(main())


def test_first_welcome_is_lost(side: ServerSide) -> None:
    """The session has begun for the server only; it begins with the next socket for both."""

    async def main() -> None:
        edge = edge_of(side)
        await _cut_before_welcome(edge)
        async with edge:
            client = await XmppClient.login(edge, ALICE)
            await client.ping()

    run(main())


def test_what_comes_while_the_socket_is_broken_waits(side: ServerSide) -> None:
    async def main() -> None:
        async with edge_of(side) as outside, edge_of(side) as edge:
            client, friend = await XmppClient.login(edge, ALICE), await XmppClient.login(outside, BOB)
            await edge.ping_and_wait()
            edge.cut()
            for number in range(100):
                friend.message(client.jid, f"{number} {'x' * 200}")
            await friend.ping()
            client.message(friend.jid, "from the broken link")  # waits in the edge
            assert await edge.reattach()
            for number in range(100):
                assert (await client.next_body()).split()[0] == str(number)
            assert await friend.next_body() == "from the broken link"

    run(main())


def test_streams_end_and_open_while_the_socket_is_broken(side: ServerSide) -> None:
    async def main() -> None:
        async with edge_of(side) as edge:
            client = await XmppClient.login(edge, ALICE, identifier=1)
            edge.cut()
            client.stream.put_shutdown(Reason.CONNECTION_LOST)
            other = edge.open(identifier=2)
            assert await edge.reattach()
            await client.stream.wait_end()
            await XmppClient(other, BOB).begin()
            await XmppClient(edge.open(identifier=1), BOB).begin()

    run(main())


@pytest.mark.parametrize("back", [0, 1])
def test_stale_epoch(side: ServerSide, back: int) -> None:
    """It is refused, with the socket attached and without one, and the session goes on."""

    async def main() -> None:
        async with edge_of(side) as edge:
            client = await XmppClient.login(edge, ALICE)
            assert await edge.cut_and_reattach()
            stale = replace(edge.hello(), epoch=edge.epoch - back)
            await expect_refusal(edge, stale, Reason.STALE_EPOCH)
            await client.ping()
            edge.cut()
            await expect_refusal(edge, stale, Reason.STALE_EPOCH)
            assert await edge.reattach()
            await client.ping()

    run(main())


def test_epochs_may_jump(side: ServerSide) -> None:
    async def main() -> None:
        async with edge_of(side) as edge:
            client = await XmppClient.login(edge, ALICE)
            for epoch in (10, 1_000_000, 0xFFFF_FFFE):
                edge.epoch = epoch
                assert await edge.cut_and_reattach()
                await client.ping()

    run(main())


def test_somebody_else_may_not_take_a_session(side: ServerSide) -> None:
    """Knowing its name is not enough, and trying does it no harm."""

    async def main() -> None:
        async with edge_of(side) as edge:
            client = await XmppClient.login(edge, ALICE)
            thief = Edge(side.address, bytes(32))
            thief.session_id, thief.epoch = edge.session_id, edge.epoch + 100
            await expect_refusal(thief, thief.hello(), Reason.NOT_AUTHORIZED)
            await client.ping()
            assert await edge.cut_and_reattach()
            await client.ping()

    run(main())


def test_what_is_no_longer_kept_cannot_be_sent_again(side: ServerSide) -> None:
    """Then a new session begins, and the streams of the old one are over for the server too."""

    async def main() -> None:
        async with edge_of(side) as outside, edge_of(side) as edge:
            watcher, client = await XmppClient.login(outside, ALICE), await XmppClient.login(edge, ALICE)
            watcher.presence()
            client.presence()
            await client.ping()
            await edge.ping_and_wait()
            await edge.ping_and_wait()  # the second one's PING has acknowledged the first one's PONG
            edge.cut()
            edge.received = 0
            assert not await edge.reattach()
            await until_gone(watcher, client.jid)
            await (await XmppClient.login(edge, BOB)).ping()

    run(main())
