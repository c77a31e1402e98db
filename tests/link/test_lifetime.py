"""Conformance: how long a link lives: acknowledgements, liveness, the grace time, ends and restarts of the server."""

import asyncio

import pytest

from tests.link.conformance import edge_of, until_gone
from tests.link.edge import Edge
from tests.link.frames import ACK_DUE_BYTES, GOES_ON, Frame, Reason, Type
from tests.link.server import run
from tests.link.session import SessionEndError
from tests.link.sides import ServerSide
from tests.link.wire import DEADLINE_SECONDS
from tests.link.xmpp import StreamEndError, XmppClient
from tests.servers.model import ALICE, BOB


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
            await until_gone(watcher, mortal.jid)
            friend.message(immortal.jid, "while you were away")
            await friend.ping()
            assert not await edge.reattach()
            with pytest.raises(StreamEndError):
                await mortal.next_body()
            after = await immortal.resume(edge)
            assert await after.next_body() == "while you were away"
            await after.leave()  # or the server would send it again, when nobody resumes: to sessions of later tests

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
            await until_gone(watcher, client.jid)
            assert not await edge.reattach()

    run(main())


def test_ping_is_answered_with_the_exact_count(side: ServerSide) -> None:
    async def main() -> None:
        async with edge_of(side, ping_seconds=None) as edge:
            for _ in range(100):
                await _ping_exactly(edge)
            assert await edge.cut_and_reattach()
            await _ping_exactly(edge)

    run(main())


async def _ping_exactly(edge: Edge) -> None:
    """The PONG acknowledges all up to the PING, and nothing that was sent behind it: a PONG of ours, for example."""
    acknowledged: list[int] = []

    def trace(frame: Frame) -> None:
        if frame.type is Type.PONG:
            acknowledged.append(int.from_bytes(frame.payload[8:]))

    edge.trace = trace
    edge.ping()
    sent = edge.sent
    await edge.until(lambda: acknowledged)
    edge.trace = None
    assert acknowledged == [sent]


def test_ack_is_due(side: ServerSide) -> None:
    """At 65,536 bytes that were not acknowledged, again and again, without any PING."""

    async def main() -> None:
        async with edge_of(side, ping_seconds=None) as edge:
            client = await XmppClient.login(edge, ALICE)

            def is_due() -> bool:
                # The server's `reported` is our `acknowledged`, or more if its ACK or a PING of its own is on the way.
                return edge.sent >= edge.acknowledged + ACK_DUE_BYTES

            for _ in range(5):
                acknowledged, acks = edge.acknowledged, edge.acks_received
                async with asyncio.timeout(DEADLINE_SECONDS):
                    while edge.acks_received == acks:
                        while not is_due() and edge.acks_received == acks:
                            client.send(" " * 500)
                            await client.stream.drain()
                        await edge.until(lambda: edge.acks_received > acks or not is_due())  # noqa: B023
                assert edge.acknowledged > acknowledged

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
            await until_gone(watcher, client.jid)
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
