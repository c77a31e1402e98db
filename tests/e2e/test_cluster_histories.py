"""Archives of users and rooms on two nodes, processes on a real NATS: the same on both, also after a cut and a kill."""

import asyncio
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from megaphone.history.manifest import MUC, USER, Manifest
from megaphone.storage.database import database_path
from megaphone.storage.history_file import HistoryLook
from tests.e2e.test_embedded_archive import BODY, LIBRARY, ROOM_PLUGINS, USER_PLUGINS, pages
from tests.e2e.test_embedded_rooms import configure, enter
from tests.scenarios.client import stanza
from tests.scenarios.company import WAIT_SECONDS, Company, Script, play
from tests.servers.certificates import CertificateAuthority
from tests.servers.cluster import Cluster, ClusterNode
from tests.servers.model import ALICE, BOB
from tests.servers.process import wait_until

HEAL_SECONDS = 60.0


@pytest.fixture
def cluster(tmp_path: Path, authority: CertificateAuthority) -> Iterator[Cluster]:
    with Cluster(tmp_path, authority, nodes=2, archive={"users": True}) as made:
        yield made


@pytest.fixture
def played(authority: CertificateAuthority) -> Callable[[ClusterNode, Script], None]:
    return lambda node, script: play(node, authority.certificate, script)


def talk(begin: str, count: int) -> Script:
    async def script(company: Company) -> None:
        alice, bob = [await company.enter(account, *USER_PLUGINS) for account in (ALICE, BOB)]
        for number in range(count):
            alice.send_message(bob.boundjid.bare, f"{begin} {number}", mtype="chat")
            await bob.expect(stanza("message", kind="chat", of=alice.boundjid.full, child=BODY))

    return script


def read(into: list[tuple[str, str]]) -> Script:
    async def script(company: Company) -> None:
        for account in (ALICE, BOB):
            into.extend(await pages(await company.enter(account, *USER_PLUGINS)))

    return script


ARCHIVES = tuple(Manifest(USER, account.jid) for account in (ALICE, BOB))
ROOM = Manifest(MUC, str(LIBRARY))


def entries(node: ClusterNode, logs: Sequence[Manifest]) -> list[str]:
    """What the node has of some logs, in order."""
    look = HistoryLook(database_path(str(node.data)))
    try:
        archives = [look.newest(each.id, 10_000) for each in logs]
    finally:
        look.close_reader()
    return [each.id.hex() for archive in archives for each in archive]


def until_equal(cluster: Cluster, count: int, logs: Sequence[Manifest] = ARCHIVES) -> None:
    """Return when both nodes have so many entries, the same ones."""

    def equal() -> bool:
        first, *others = [entries(node, logs) for node in cluster.nodes]
        return len(first) == count and all(each == first for each in others)

    wait_until(equal, f"{count} entries on all nodes", HEAL_SECONDS)


def verify(node: ClusterNode) -> None:
    """`megaphone history verify`, also while the node runs."""
    command = [sys.executable, "-m", "megaphone", "history", "verify", str(node.data)]
    said = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert said.returncode == 0, said.stdout + said.stderr


def test_an_archive_is_the_same_on_all_nodes(cluster: Cluster, played: Callable[[ClusterNode, Script], None]) -> None:
    a, b = cluster.nodes
    played(a, talk("at a", 20))
    until_equal(cluster, 40)
    played(b, talk("at b", 20))
    until_equal(cluster, 80)
    found: list[list[tuple[str, str]]] = [[], []]
    for node, into in zip(cluster.nodes, found, strict=True):
        played(node, read(into))
        verify(node)
    assert found[0] == found[1]
    assert [body for _, body in found[0]] == 2 * [f"at {node} {number}" for node in "ab" for number in range(20)]
    assert b.metric("megaphone_history_heard_total") == 40
    assert b.metric("megaphone_history_refused_total", reason="unknown-origin") == 0


def test_both_go_on_without_nats_and_have_the_same_afterwards(
    cluster: Cluster, played: Callable[[ClusterNode, Script], None]
) -> None:
    a, b = cluster.nodes
    played(a, talk("before", 3))
    until_equal(cluster, 6)
    cluster.nats.kill()
    cluster.until_nats(there=False)
    played(a, talk("at a", 10))
    played(b, talk("at b", 10))
    cluster.nats.delete_store()
    cluster.nats.start()
    until_equal(cluster, 46)
    b.kill()
    played(a, talk("without b", 5))
    b.start_again()
    until_equal(cluster, 56)
    for node in cluster.nodes:
        verify(node)


def test_a_room_is_read_on_whichever_node(cluster: Cluster, played: Callable[[ClusterNode, Script], None]) -> None:
    """Written on both sides of a cut; a client begins to read it on one node and goes on at the other."""
    a, b = cluster.nodes

    async def script(company: Company) -> None:
        alice, bob = [
            await company.enter(account, *ROOM_PLUGINS, endpoint=node.direct)
            for account, node in zip((ALICE, BOB), cluster.nodes, strict=True)
        ]
        await enter(alice, "Alice", LIBRARY)
        await configure(alice, LIBRARY, persistentroom=True)
        await enter(bob, "Bob", LIBRARY)
        cluster.nats.kill()
        await asyncio.to_thread(cluster.until_nats, there=False)
        for nick, speaker in (("Alice", alice), ("Bob", bob)):
            for number in range(15):
                speaker.send_message(LIBRARY, f"{nick} {number}", mtype="groupchat")
                await speaker.expect(stanza("message", kind="groupchat", of=f"{LIBRARY}/{nick}", child=BODY))
        cluster.nats.start()
        await asyncio.to_thread(until_equal, cluster, 30, [ROOM])
        whole = await pages(alice, LIBRARY)
        assert sorted(body for _, body in whole) == sorted(
            f"{nick} {n}" for nick in ("Alice", "Bob") for n in range(15)
        )
        assert await pages(bob, LIBRARY) == whole
        read, readers = whole[:1], [alice, bob] * 15
        while len(read) < 30:
            rsm = {"max": 4, "after": read[-1][0]}
            page = await readers.pop().plugin["xep_0313"].retrieve(LIBRARY, rsm=rsm, timeout=WAIT_SECONDS)
            results = [each["mam_result"] for each in page["mam"]["results"]]
            read = [*read, *((each["id"], each["forwarded"]["stanza"]["body"]) for each in results)]
        assert read == whole

    played(a, script)
    verify(b)


def test_a_node_is_upgraded_while_people_talk(cluster: Cluster, played: Callable[[ClusterNode, Script], None]) -> None:
    """The successor goes on in the logs of its predecessor, and with the other node."""
    a, b = cluster.nodes
    played(a, talk("before", 5))
    until_equal(cluster, 10)

    async def script(company: Company) -> None:
        alice, bob = [await company.enter(account, *USER_PLUGINS) for account in (ALICE, BOB)]
        command = [sys.executable, "-m", "megaphone", "upgrade", "--force", "--config", str(a.config_path)]
        upgrade = await asyncio.create_subprocess_exec(*command, stdout=subprocess.DEVNULL)
        number = 0
        while upgrade.returncode is None or number < 50:
            alice.send_message(bob.boundjid.bare, f"during {number}", mtype="chat")
            await bob.expect(stanza("message", kind="chat", of=alice.boundjid.full, child=BODY))
            number += 1
        assert upgrade.returncode == 0
        said.append(number)

    said: list[int] = []
    played(a, script)
    until_equal(cluster, 10 + 2 * said[0])
    played(b, talk("afterwards", 5))
    until_equal(cluster, 20 + 2 * said[0])
    for node in cluster.nodes:
        verify(node)
        assert node.metric("megaphone_history_refused_total", reason="fork") == 0
