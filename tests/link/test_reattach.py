"""Conformance: the socket breaks at chosen bytes and comes back; acknowledgements, epochs and the grace time."""

import asyncio
from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.link.conformance import Talkers, edge_of, expect_refusal, greet
from tests.link.edge import Edge
from tests.link.frames import ACK_DUE_BYTES, GOES_ON, HEADER_BYTES, Frame, Reason, Type
from tests.link.server import run
from tests.link.session import SessionEndError
from tests.link.sides import GRACE_SECONDS, ServerSide
from tests.link.xmpp import StreamEndError, XmppClient
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
            await _until_gone(watcher, client.jid)
            await (await XmppClient.login(edge, BOB)).ping()

    run(main())


async def _until_gone(watcher: XmppClient, jid: str) -> None:
    while True:
        element = await watcher.next(GRACE_SECONDS + 20)
        if element.get("from") == jid and element.get("type") == "unavailable":
            return


def test_grace_time_is_over(side: ServerSide) -> None:
    """Others see the client go that has no stream management; the one that has resumes; the session is unknown."""

    async def main() -> None:
        async with edge_of(side) as outside, edge_of(side) as edge:
            watcher, friend = await XmppClient.login(outside, ALICE), await XmppClient.login(outside, BOB)
            watcher.presence()
            mortal, immortal = await XmppClient.login(edge, ALICE), await XmppClient.login(edge, ALICE)
            mortal.presence()
            immortal.presence()
            await immortal.enable_resumption()
            await immortal.ping()
            edge.cut()
            await _until_gone(watcher, mortal.jid)
            friend.message(immortal.jid, "while you were away")
            await friend.ping()
            assert not await edge.reattach()
            with pytest.raises(StreamEndError):
                await mortal.next_body()
            after = await immortal.resume(edge)
            assert await after.next_body() == "while you were away"

    run(main())


def test_sessions_that_cannot_go_on_end_at_once(side: ServerSide) -> None:
    """Without feature bit 0."""

    async def main() -> None:
        async with edge_of(side) as outside, edge_of(side, features=0) as edge:
            watcher, client = await XmppClient.login(outside, ALICE), await XmppClient.login(edge, ALICE)
            watcher.presence()
            client.presence()
            await client.ping()
            edge.cut()
            await _until_gone(watcher, client.jid)
            assert not await edge.reattach()

    run(main())


def test_ping_is_answered_with_the_exact_count(side: ServerSide) -> None:
    async def main() -> None:
        async with edge_of(side, ping_seconds=None) as edge:
            for _ in range(100):
                await edge.ping_and_wait()
                assert edge.acknowledged == edge.sent
            assert await edge.cut_and_reattach()
            await edge.ping_and_wait()
            assert edge.acknowledged == edge.sent

    run(main())


def test_ack_is_due(side: ServerSide) -> None:
    """At 65,536 bytes that were not acknowledged, again and again, without any PING."""

    async def main() -> None:
        async with edge_of(side, ping_seconds=None) as edge:
            client = await XmppClient.login(edge, ALICE)
            for _ in range(5):
                # `reported` of the server is our `acknowledged`, or more if its ACK is on the way.
                due = edge.acknowledged + ACK_DUE_BYTES
                before = edge.acks_received
                while edge.sent < due:
                    client.send(" " * 500)
                    await client.stream.drain()
                await edge.until(lambda: edge.acks_received > before and edge.acknowledged > due - ACK_DUE_BYTES)  # noqa: B023

    run(main())


def test_silent_edge_loses_its_socket_and_not_its_session(side: ServerSide) -> None:
    async def main() -> None:
        async with edge_of(side, ping_seconds=None) as edge:
            client = await XmppClient.login(edge, ALICE)
            await edge.ping_and_wait()
            edge.pongs_withheld = True  # or a server side that sends PINGs would hear us
            wire = edge.wire
            assert wire is not None
            await wire.wait_lost(timeout_seconds=30)
            assert edge.failure is None, edge.failure
            edge.pongs_withheld = False
            assert await edge.reattach()
            await client.ping()

    run(main())


def test_orderly_end_of_a_link(side: ServerSide) -> None:
    async def main() -> None:
        async with edge_of(side) as outside:
            watcher = await XmppClient.login(outside, ALICE)
            watcher.presence()
            edge = await edge_of(side).connect()
            client = await XmppClient.login(edge, ALICE)
            client.presence()
            await client.ping()
            await edge.leave()
            await _until_gone(watcher, client.jid)
            wire = await edge.dial()
            assert not (await edge.handshake(wire)).flags & GOES_ON
            wire.cut()

    run(main())


def test_restart_of_the_server(side: ServerSide) -> None:
    """Nobody knows the session any more, the instance is another one, and the link works as a new one."""

    async def main() -> None:
        async with edge_of(side) as edge:
            client = await XmppClient.login(edge, ALICE)
            instance = edge.challenge.instance
            side.restart()  # not in another thread: the process would die with it
            await _left_alone(edge)
            assert not await edge.reattach()
            assert edge.challenge.instance != instance
            with pytest.raises(StreamEndError):
                await client.next()
            await (await XmppClient.login(edge, ALICE)).ping()

    run(main())


async def _left_alone(edge: Edge) -> None:
    """Until the socket has ended, with or without an orderly SHUTDOWN."""
    wire = edge.wire
    if wire is not None:
        await wire.wait_lost()
    if isinstance(edge.failure, SessionEndError):
        assert edge.failure.end.reason == Reason.SYSTEM_SHUTDOWN, edge.failure
        edge.failure = None


def test_killed_server(side: ServerSide) -> None:
    async def main() -> None:
        async with edge_of(side) as edge:
            client = await XmppClient.login(edge, ALICE)
            await client.ping()
            try:
                side.kill()
                await edge.until(lambda: not edge.attached)
                with pytest.raises(OSError):  # noqa: PT011 - refused or reset, as it comes
                    await edge.dial()
            finally:
                side.start()
            assert not await edge.reattach()
            await (await XmppClient.login(edge, ALICE)).ping()

    run(main())
