"""kill -9 of a node, of NATS, of NATS whose store is lost or damaged, of a node that writes: history is whole.

Nodes and NATS are started by the main thread: a process that another thread has started ends with it.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.adversity.cluster_people import Chronicler, assert_each_in_order
from tests.adversity.embedded_node import register_names
from tests.adversity.embedded_talker import statuses
from tests.link.server import run
from tests.scenarios.histories import assert_whole_and_equal, become_equal, said_in, texts, verified
from tests.servers.certificates import CertificateAuthority
from tests.servers.cluster import Cluster
from tests.servers.model import ROOMS
from tests.servers.process import ServerError

NAMES = ("a", "b", "c")
PEOPLE = {"a": "anna", "b": "bert", "c": "carl"}
RESUME_SECONDS = 12  # for so long others stay in rooms when NATS is away
LEASE_SECONDS = 8  # longer than one question to a store that gives no answer takes (5)
KILLS = 6
BURST = 300


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory, authority: CertificateAuthority) -> Iterator[Cluster]:
    """Three nodes; each test leaves them running, with NATS."""
    made = Cluster(
        tmp_path_factory.mktemp("cluster"),
        authority,
        register=False,
        lease_seconds=LEASE_SECONDS,
        service={"resume_seconds": RESUME_SECONDS},
    )
    for node in made.nodes:
        register_names(node.data, PEOPLE.values(), 1.0)
    with made:
        yield made


class Talk:
    """Somebody on each node who says a line again and again."""

    def __init__(self, cluster: Cluster, room: str) -> None:
        self.cluster, self.room = cluster, room
        self.people: dict[str, Chronicler] = {}
        self._over = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    async def enter(self) -> None:
        """All enter the room, which is persistent, and begin."""
        for name, user in PEOPLE.items():
            self.people[name] = await Chronicler.login(user, self.cluster.node(name).plain, management=True)
        first = self.people["a"]
        await first.join(self.room)
        await first.configure(self.room, persistent=True)
        for name in ("b", "c"):
            await self.people[name].join(self.room)
        self._tasks = [asyncio.create_task(each.talk(self.room, self._over)) for each in self.people.values()]
        await self.go_on(20)

    async def go_on(self, lines: int) -> None:
        """Wait until everybody whose connection stands has said so many more, and they are acknowledged."""
        here = [each for each in self.people.values() if not each.lost]
        wanted = {each: len(each.acknowledged()) + lines for each in here}
        for each in here:
            await each.until(lambda each=each: len(each.acknowledged()) >= wanted[each], "the talk goes on")

    async def end(self) -> set[str]:
        """All stop; the lines that were acknowledged."""
        self._over.set()
        await asyncio.gather(*self._tasks)
        for each in self.people.values():
            if not each.lost:
                await each.all_acknowledged()
        return set().union(*(each.acknowledged() for each in self.people.values()))


@asynccontextmanager
async def talking(cluster: Cluster, room: str) -> AsyncIterator[Talk]:
    """A talk; all leave at its end."""
    talk = Talk(cluster, room)
    await talk.enter()
    try:
        yield talk
    finally:
        for each in talk.people.values():
            if not each.lost:
                await each.close()


async def assert_nothing_lost(cluster: Cluster, room: str, acknowledged: set[str]) -> None:
    """All nodes have the same, whole; what was acknowledged is in it; everybody's lines are in order and once."""
    data = [node.data for node in cluster.nodes]
    await become_equal(data, f"{room}@{ROOMS}", len(acknowledged))
    lines = said_in(assert_whole_and_equal(data, f"{room}@{ROOMS}"))
    assert not acknowledged - set(lines)
    assert_each_in_order(lines)


def test_a_killed_node(cluster: Cluster) -> None:
    """Its occupants leave with 333 after the time in which they could have come back; its history is whole again."""
    room = "killed"

    async def scene() -> None:
        async with talking(cluster, room) as talk:
            killed = talk.people["c"]
            await asyncio.to_thread(cluster.node("c").kill)
            await killed.until(lambda: killed.lost, "its own client notices")
            for name in ("a", "b"):
                gone = await talk.people[name].hear_presence(f"{room}@{ROOMS}/{PEOPLE['c']}", "unavailable")
                assert "333" in statuses(gone)
            await talk.go_on(20)
            cluster.node("c").start_again()
            await talk.go_on(20)
            acknowledged = await talk.end()
            assert not talk.people["a"].lost
            assert not talk.people["b"].lost
            await assert_nothing_lost(cluster, room, acknowledged)

    run(scene())


@pytest.mark.parametrize("store", ["kept", "deleted", "damaged"])
def test_a_killed_nats(cluster: Cluster, store: str) -> None:
    """What it has stored is no truth: the nodes go on, and have the same when it is back, whatever it has left."""
    room = f"nats-{store}"

    async def scene() -> None:
        async with talking(cluster, room) as talk:
            await asyncio.to_thread(cluster.nats.kill)
            await asyncio.to_thread(cluster.until_nats, there=False)
            await talk.go_on(20)
            if store == "deleted":
                cluster.nats.delete_store()
            elif store == "damaged":
                flip_bits(cluster.nats.settings.directory / "store", random.Random(11))
            try:
                cluster.nats.start()
            except ServerError:
                assert store == "damaged"  # it refuses what it cannot read; then it begins with nothing
                cluster.nats.stop()
                cluster.nats.delete_store()
                cluster.nats.start()
            await asyncio.to_thread(cluster.until_nats)
            await asyncio.to_thread(cluster.until_members, *NAMES)
            await talk.go_on(20)
            acknowledged = await talk.end()
            assert not any(each.lost for each in talk.people.values())
            await assert_nothing_lost(cluster, room, acknowledged)
            # and nobody was taken for gone: NATS was back in time
            for each in talk.people.values():
                assert [element for element in each.elements if b"'333'" in element] == [], each.user

    run(scene())


def test_a_node_that_is_killed_while_it_writes(cluster: Cluster) -> None:
    """Again and again, at any moment: its database is whole as it is, before anybody mends it."""
    room, node = "flushes", cluster.node("c")
    chance = random.Random(8)

    async def scene() -> None:
        first = await Chronicler.login(PEOPLE["a"], cluster.node("a").plain, management=True)
        await first.join(room)
        await first.configure(room, persistent=True)
        acknowledged: set[str] = set()
        said = 0
        for _ in range(KILLS):
            writer = await Chronicler.login(PEOPLE["c"], node.plain, management=True)
            writer.said = said
            await writer.join(room)
            for _ in range(BURST):
                writer.say_next(room)
            await asyncio.sleep(chance.uniform(0.0, 0.06))
            await asyncio.to_thread(node.kill)
            await writer.until(lambda writer=writer: writer.lost, "killed")
            acknowledged |= writer.acknowledged()
            said = writer.said
            code, found = await asyncio.to_thread(verified, node.data)
            assert code == 0, found
            there = await asyncio.to_thread(texts, node.data, f"{room}@{ROOMS}")
            assert not writer.acknowledged() - set(there)
            node.start_again()
        last = first.say_next(room)
        await first.hear_all(room, [last])
        await assert_nothing_lost(cluster, room, acknowledged)
        await first.close()

    run(scene())


def flip_bits(directory: Path, chance: random.Random, *, every_bytes: int = 2_000) -> None:
    """Flip a bit here and there in every file."""
    flipped = 0
    for path in sorted(directory.rglob("*")):
        if path.is_file() and (data := bytearray(path.read_bytes())):
            for _ in range(1 + len(data) // every_bytes):
                data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
                flipped += 1
            path.write_bytes(data)
    assert flipped
