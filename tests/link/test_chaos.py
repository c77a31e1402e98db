"""Conformance: talkers, clients that come and go, and a socket that breaks, all at once in an order from a seed."""

import asyncio
import random

import pytest

from tests.link.conformance import Talkers, edge_of
from tests.link.edge import Edge
from tests.link.frames import Reason
from tests.link.server import run
from tests.link.sides import ServerSide
from tests.link.xmpp import XmppClient
from tests.servers.model import CAROL

TALKERS = 20
VISITORS = 5
BREAKS = 40
CHALLENGE_BYTES = 46
BETWEEN_BREAKS_BYTES = 30_000


@pytest.mark.parametrize("seed", range(4))
def test_everything_at_once(side: ServerSide, seed: int) -> None:
    async def main() -> None:
        chance = random.Random(seed)
        window = chance.choice([4_096, 16_384, 65_536, 1_048_576])
        async with edge_of(side, window=window) as edge:
            talkers = await Talkers.login(edge, TALKERS)
            talking = asyncio.create_task(talkers.talk(messages=60, filling=chance.choice([10, 500, 5_000])))
            visiting = [asyncio.create_task(_visit(edge, random.Random(f"{seed} {n}"))) for n in range(VISITORS)]
            try:
                for _ in range(BREAKS):
                    await _break(edge, chance, talking)
            finally:
                for visitor in visiting:
                    visitor.cancel()
                await asyncio.wait(visiting)
            await talking
            assert [visitor.exception() for visitor in visiting if not visitor.cancelled()] == []
            await edge.ping_and_wait()

    run(main())


async def _break(edge: Edge, chance: random.Random, talking: asyncio.Task[None]) -> None:
    """Break the socket somewhere, perhaps again while it comes back, and come back."""
    wire = edge.wire
    assert wire is not None
    seen = edge.received + chance.randrange(BETWEEN_BREAKS_BYTES)
    while edge.attached and edge.received < seen and not talking.done():
        edge.check()
        await asyncio.sleep(0.002)
    way = chance.choice([wire.cut_sending, wire.cut_receiving])
    way(chance.choice([0, chance.randrange(1, 40), chance.randrange(5_000)]))
    for _ in range(200):  # the bytes until the break may never come
        if not edge.attached:
            break
        await asyncio.sleep(0.002)
    edge.cut()
    while chance.random() < 0.3:
        again = await edge.dial()
        again.cut_receiving(chance.randrange(1, CHALLENGE_BYTES))
        await again.wait_lost()
    assert await edge.reattach(), "the session did not go on"


async def _visit(edge: Edge, chance: random.Random) -> None:
    """Clients that come, say a word, and go in one of the ways clients go."""
    while True:
        stream = edge.open()
        client = XmppClient(stream, CAROL)
        await client.begin()
        if chance.random() < 0.5:
            await client.authenticate("PLAIN")
            await client.bind()
            await client.ping()
        if chance.random() < 0.5:
            await client.leave()
        else:
            await stream.close(chance.choice([Reason.CLOSED, Reason.CONNECTION_LOST, Reason.POLICY_VIOLATION]))
