"""Conformance: garbage, floods of sockets and links, and how little of it others notice."""

import asyncio
import contextlib
import random
import resource

import pytest

from tests.link.conformance import Talkers, edge_of, greet
from tests.link.edge import Edge, RefusedError
from tests.link.frames import FrameError, Reason, Shutdown, Type, raw
from tests.link.server import run
from tests.link.sides import LINKS, ServerSide
from tests.link.wire import DEADLINE_SECONDS, Wire, WireClosedError
from tests.link.xmpp import XmppClient
from tests.servers.model import ALICE

GARBAGE_BYTES = 1_048_576
SILENT_SOCKETS = 1_500


async def _refused(wire: Wire, garbage: bytes) -> None:
    """The server side cuts it off; its reason may be lost with the bytes it did not want to read."""
    for start in range(0, len(garbage), 16_384):
        if wire.lost:
            break
        wire.write(garbage[start : start + 16_384])
        await asyncio.sleep(0)
    with contextlib.suppress(WireClosedError):
        while True:
            frame = await wire.next_frame()
            if frame.type is Type.SHUTDOWN and frame.id == 0:
                assert Shutdown.decode(frame.payload).reason == Reason.PROTOCOL_ERROR
                break
    await wire.wait_lost()


@pytest.mark.parametrize("seed", range(5))
def test_garbage_instead_of_hello(side: ServerSide, seed: int) -> None:
    async def main() -> None:
        async with edge_of(side) as good:
            wire, _ = await greet(edge_of(side))
            await _refused(wire, random.Random(seed).randbytes(GARBAGE_BYTES))
            await good.ping_and_wait()

    run(main())


@pytest.mark.parametrize("seed", range(5))
def test_garbage_on_a_link(side: ServerSide, seed: int) -> None:
    """Of the other links none notices."""

    async def main() -> None:
        async with edge_of(side) as good:
            talkers = await Talkers.login(good, 10)
            talking = asyncio.create_task(talkers.talk(messages=20))
            for turn in range(5):
                edge = edge_of(side)
                wire = await edge.dial()
                await edge.handshake(wire)
                await _refused(wire, random.Random(100 * seed + turn).randbytes(GARBAGE_BYTES))
            await talking

    run(main())


@pytest.mark.parametrize("seed", range(20))
def test_right_frames_in_a_wrong_order(side: ServerSide, seed: int) -> None:
    """Frames with right lengths and random contents: the server side refuses them or does what they say, and lives."""

    async def main() -> None:
        chance = random.Random(seed)
        async with edge_of(side) as good:
            edge = edge_of(side)
            wire = await edge.dial()
            await edge.handshake(wire)
            for _ in range(300):
                if wire.lost:
                    break
                wire.write(_some_frame(chance))
                if chance.random() < 0.1:
                    await asyncio.sleep(0.001)
            with contextlib.suppress(WireClosedError, FrameError, TimeoutError):
                while True:
                    frame = await wire.next_frame(timeout_seconds=0.5)
                    if frame.type is Type.SHUTDOWN and frame.id == 0:
                        break
            wire.cut()
            await good.ping_and_wait()

    run(main())


def _some_frame(chance: random.Random) -> bytes:
    kind = chance.choice([Type.OPEN] * 4 + [Type.PUT_DATA] * 4 + [Type.SHUTDOWN, Type.GET_DATA, Type.PING, Type.ACK])
    stream = chance.randrange(1, 6)
    match kind:
        case Type.OPEN:
            return raw(kind, stream, bytes([3, 4]) + bytes(38))
        case Type.PUT_DATA:
            return raw(kind, stream, chance.randbytes(chance.randrange(1, 200)))
        case Type.SHUTDOWN:
            return raw(kind, stream, Shutdown(0, chance.randrange(9)).encode())
        case Type.GET_DATA:
            return raw(kind, stream, (65_536 + chance.randrange(3)).to_bytes(8))
        case Type.PING:
            return raw(kind, 0, chance.randbytes(8) + bytes(8))
        case _:
            return raw(kind, 0, bytes(8))


def test_many_silent_sockets(side: ServerSide) -> None:
    """They are no links: a proper edge still gets in, and works."""

    async def main() -> None:
        wires: list[Wire] = []

        async def dial() -> None:
            with contextlib.suppress(OSError):
                wires.append(await edge_of(side).dial())

        resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
        for _ in range(SILENT_SOCKETS // 50):
            await asyncio.gather(*[dial() for _ in range(50)])
        try:
            async with edge_of(side) as edge:
                client = await XmppClient.login(edge, ALICE)
                await client.ping()
        finally:
            for wire in wires:
                wire.cut()

    run(main())


def test_too_many_links(side: ServerSide) -> None:
    async def main() -> None:
        edges: list[Edge] = []
        try:
            for _ in range(LINKS):
                edges.append(await _connect_soon(side))
            with pytest.raises(RefusedError) as refused:
                await edge_of(side).connect()
            assert refused.value.reason == Reason.TOO_MANY_LINKS
            await asyncio.gather(*[edge.ping_and_wait() for edge in edges])
            await edges.pop().leave()
            edges.append(await _connect_soon(side))
        finally:
            for edge in edges:
                await edge.leave()

    run(main())


async def _connect_soon(side: ServerSide) -> Edge:
    """A link that gets in as soon as the end of another one has been noticed."""
    async with asyncio.timeout(DEADLINE_SECONDS):
        while True:
            with contextlib.suppress(RefusedError):
                return await edge_of(side).connect()
            await asyncio.sleep(0.02)


def test_edge_that_does_not_read(side: ServerSide) -> None:
    """Its socket fills up; the talkers of another link do not notice, and it gets all when it reads again."""

    async def main() -> None:
        async with edge_of(side) as good, edge_of(side, window=1_048_576, ping_seconds=None) as deaf:
            clients = [await XmppClient.login(deaf, ALICE) for _ in range(4)]
            talkers = await Talkers.login(good, 10)
            await deaf.ping_and_wait()
            assert deaf.wire is not None
            deaf.wire.stop_reading()
            for number in range(40):
                for client in clients:
                    talkers.clients[0].message(client.jid, f"{number} {'x' * 15_000}")
                await talkers.clients[0].ping()
            await talkers.talk(messages=20)
            deaf.wire.go_on_reading()
            for number in range(40):
                for client in clients:
                    assert (await client.next_body()).split()[0] == str(number)

    run(main())
