"""A room over three nodes: all hear all, first in first out, and a join is a position without a gap or a doublet."""

import asyncio
import random
from collections.abc import Iterator

import pytest

from tests.adversity.cluster_people import Chronicler, assert_each_in_order
from tests.adversity.embedded_node import register_names
from tests.link.server import run
from tests.scenarios.histories import assert_whole_and_equal, become_equal
from tests.servers.certificates import CertificateAuthority
from tests.servers.cluster import Cluster
from tests.servers.model import ROOMS

NAMES = ("a", "b", "c")
SENDERS = {name: (f"{name}one", f"{name}two") for name in NAMES}
COMERS = {name: f"{name}comer" for name in NAMES}
LINES = 25  # of each sender; with the first and the last one it is within the history that who joins may ask for
HISTORY = 200


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory, authority: CertificateAuthority) -> Iterator[Cluster]:
    """Three nodes whose rooms show much of what was said."""
    made = Cluster(tmp_path_factory.mktemp("cluster"), authority, register=False, rooms={"history_messages": HISTORY})
    for node in made.nodes:
        register_names(node.data, [name for names in SENDERS.values() for name in names] + [*COMERS.values()], 1.0)
    with made:
        yield made


async def senders_in(cluster: Cluster, room: str) -> dict[str, list[Chronicler]]:
    """Two on each node, all inside."""
    senders = {
        name: [await Chronicler.login(user, cluster.node(name).plain, management=True) for user in SENDERS[name]]
        for name in NAMES
    }
    first = senders["a"][0]
    await first.join(room)
    await first.configure(room, persistent=True)
    for each in [each for group in senders.values() for each in group if each is not first]:
        await each.join(room)
    for one in [each for group in senders.values() for each in group]:
        for user in [user for users in SENDERS.values() for user in users if user != one.user]:
            await one.hear_presence(f"{room}@{ROOMS}/{user}", None)
    return senders


async def say_all(senders: dict[str, list[Chronicler]], room: str, lines: int = LINES) -> list[str]:
    """Everybody says so many lines; what was said."""
    said = []
    for _ in range(lines):
        for each in [each for group in senders.values() for each in group]:
            said.append(each.say_next(room))
        await asyncio.sleep(0.05)
    return said


def test_all_hear_all_first_in_first_out(cluster: Cluster) -> None:
    """Live, each sender's lines come in their order; the order of all is settled by the log, the same everywhere."""
    room = "hall"

    async def scene() -> None:
        senders = await senders_in(cluster, room)
        said = await say_all(senders, room)
        ids: dict[str, set[str]] = {line: set() for line in said}
        for each in [each for group in senders.values() for each in group]:
            await each.hear_all(room, said)
            heard = each.lines_heard(room)
            assert len(heard) == len(said)
            assert_each_in_order([text for text, _, _ in heard])
            for text, id_, _ in heard:
                ids[text].add(id_)
        assert all(len(found) == 1 for found in ids.values())
        data = [node.data for node in cluster.nodes]
        await become_equal(data, f"{room}@{ROOMS}", len(said))
        lines = [each for each in assert_whole_and_equal(data, f"{room}@{ROOMS}") if each["kind"] == "message"]
        assert lines == sorted(lines, key=lambda each: each["time"])
        assert {each["text"]: {each["id"]} for each in lines} == ids
        for each in [each for group in senders.values() for each in group]:
            await each.close()

    run(scene())


def test_a_join_is_a_position(cluster: Cluster) -> None:
    """Whoever comes while others talk on all nodes has everything once: what was before, then what follows."""
    room = "position"
    chance = random.Random(5)

    async def come(name: str, delay_seconds: float) -> Chronicler:
        await asyncio.sleep(delay_seconds)
        comer = await Chronicler.login(COMERS[name], cluster.node(name).plain, management=True)
        await comer.join(room, history=HISTORY)
        return comer

    async def scene() -> None:
        senders = await senders_in(cluster, room)
        said = await say_all(senders, room, 1)  # that all have before anybody comes
        for each in [each for group in senders.values() for each in group]:
            await each.hear_all(room, said)
        comings = [asyncio.create_task(come(name, chance.uniform(0.2, 0.9))) for name in NAMES]
        said += await say_all(senders, room)
        comers = await asyncio.gather(*comings)
        said += await say_all(senders, room, 1)  # however long it took them to come
        for comer in comers:
            await comer.hear_all(room, said)
            heard = comer.lines_heard(room)
            assert len(heard) == len(said)
            assert_each_in_order([text for text, _, _ in heard])
            before = [is_old for _, _, is_old in heard]
            assert any(before)
            assert not all(before)
            comer.leave(room)
            await comer.hear_presence(f"{room}@{ROOMS}/{comer.user}", "unavailable")
            count = len(comer.lines_heard(room))
            late = senders["a"][0].say_next(room)
            await senders["b"][0].hear_all(room, [late])
            await comer.ping()
            assert len(comer.lines_heard(room)) == count  # nothing after one's own leaving
            said.append(late)
            await comer.close()
        for each in [each for group in senders.values() for each in group]:
            await each.close()

    run(scene())
