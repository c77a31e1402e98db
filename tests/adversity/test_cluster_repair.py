"""A record that was altered on the disk of one node is found, named, and repaired from the others."""

import asyncio
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest

from megaphone.storage.database import database_path
from tests.adversity.cluster_people import Chronicler
from tests.adversity.embedded_node import register_names
from tests.link.server import run
from tests.scenarios.histories import assert_whole_and_equal, become_equal, shown, verified
from tests.servers.certificates import CertificateAuthority
from tests.servers.cluster import Cluster, ClusterNode
from tests.servers.model import ROOMS

PEOPLE = ("anna", "bert", "carl")
LINES = 40
VICTIM = "anna 17"

Damage = Callable[[sqlite3.Connection, int, bytes], None]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory, authority: CertificateAuthority) -> Iterator[Cluster]:
    """Three nodes."""
    made = Cluster(tmp_path_factory.mktemp("cluster"), authority, register=False)
    for node in made.nodes:
        register_names(node.data, PEOPLE, 1.0)
    with made:
        yield made


async def say_lines(cluster: Cluster, room: str) -> set[str]:
    """Somebody on each node says something; all nodes have it."""
    people = [
        await Chronicler.login(user, node.plain, management=True)
        for user, node in zip(PEOPLE, cluster.nodes, strict=True)
    ]
    await people[0].join(room)
    await people[0].configure(room, persistent=True)
    for each in people[1:]:
        await each.join(room)
    said = set()
    for _ in range(LINES):
        for each in people:
            said.add(each.say_next(room))
        await asyncio.sleep(0.01)
    for each in people:
        await each.all_acknowledged()
    await become_equal([node.data for node in cluster.nodes], f"{room}@{ROOMS}", len(said))
    for each in people:
        await each.close()
    return said


def altered(database: sqlite3.Connection, number: int, content: bytes) -> None:
    """Somebody else's words in the place of what was said."""
    database.execute("UPDATE log_entry SET content = ? WHERE n = ?", (content.replace(b"anna", b"bert"), number))


def gone(database: sqlite3.Connection, number: int, content: bytes) -> None:
    """It was never said."""
    database.execute("DELETE FROM log_entry WHERE n = ?", (number,))


def do(damage: Damage, node: ClusterNode, room: str) -> None:
    """Damage the database of a node that does not run, in the row of one entry."""
    with closing(sqlite3.connect(database_path(str(node.data)))) as database:
        rows = database.execute("SELECT n, content FROM log_entry WHERE content IS NOT NULL").fetchall()
        ((number, content),) = [row for row in rows if f">{VICTIM}<".encode() in row[1] and room.encode() in row[1]]
        damage(database, number, content)
        database.commit()


@pytest.mark.parametrize("damage", [altered, gone])
def test_it_is_found_named_and_repaired(cluster: Cluster, damage: Damage) -> None:
    room = f"damaged-{damage.__name__}"
    node, origin = cluster.node("c"), cluster.node("a")

    async def scene() -> None:
        said = await say_lines(cluster, room)
        (line,) = [each for each in shown(origin.data, f"{room}@{ROOMS}") if each["text"] == VICTIM]
        await asyncio.to_thread(node.stop)
        try:
            do(damage, node, f"{room}@{ROOMS}")
            code, found = await asyncio.to_thread(verified, node.data)
        finally:
            node.start_again()  # not in another thread, with which it would end
        assert code == 1
        rows = [each for each in found.splitlines() if each.startswith(f"{room}@{ROOMS}")]
        words = "the entry is not what was written" if damage is altered else "the entry is gone"
        assert len([each for each in rows if words in each]) == 1, found
        await become_equal([each.data for each in cluster.nodes], f"{room}@{ROOMS}", len(said))
        lines = assert_whole_and_equal([each.data for each in cluster.nodes], f"{room}@{ROOMS}")
        assert line in lines
        assert said == {each["text"] for each in lines if each["kind"] == "message"}
        assert f"{room}@{ROOMS}" in node.log.read_text()  # and the operator is told

    run(scene())
