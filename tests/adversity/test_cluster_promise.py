"""What a node has acknowledged (XEP-0198) arrives, also at another node, whatever is killed meanwhile.

Once, but for what was on its way to another node when NATS or a node died: whether that has arrived nobody can say, so
that it is kept for the recipient, who may see it again, with the same id.
"""

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import uvloop

from tests.adversity.embedded_node import kill_worker, register_names
from tests.adversity.embedded_people import Crowd, until
from tests.servers.certificates import CertificateAuthority
from tests.servers.cluster import Cluster

NAMES = ("a", "b", "c")
PEOPLE = 90
MESSAGES_PER_SECOND = 60.0
DROPS_PER_SECOND = 3.0
PAUSE_SECONDS = 4.0
LOGIN_SECONDS = 90.0
ARRIVED_SECONDS = 60.0
UNDER_WAY_SECONDS = 5.0  # before a kill, what was said may not have been answered yet: nodes wait so long
DOMAIN = "example.test"


@pytest.fixture
def starting() -> Iterator[ThreadPoolExecutor]:
    """The thread that starts what was killed; a process ends with the thread that has started it."""
    with ThreadPoolExecutor(1) as executor:
        yield executor


@pytest.fixture
def cluster(starting: ThreadPoolExecutor, tmp_path: Path, authority: CertificateAuthority) -> Iterator[Cluster]:
    """Three nodes, on which everybody has an account."""
    made = Cluster(tmp_path, authority, register=False, lease_seconds=8)
    for node in made.nodes:
        register_names(node.data, _users(), 1.0)
    with made:
        yield made


def _users() -> list[str]:
    return [f"p{number}" for number in range(PEOPLE)]


def test_nothing_acknowledged_is_lost(
    cluster: Cluster, starting: ThreadPoolExecutor, capsys: pytest.CaptureFixture[str]
) -> None:
    """A worker, NATS and a node are killed, one after the other, while people of all nodes talk."""

    killed: list[tuple[int, int]] = []  # how many messages had been sent before and after a kill

    async def scene() -> Crowd:
        loop = asyncio.get_running_loop()
        crowd = Crowd(DOMAIN, _users())
        for number, user in enumerate(_users()):
            crowd.add(user, cluster.nodes[number % len(NAMES)].plain)
        await crowd.everybody_talking(LOGIN_SECONDS)
        crowd.start_talking(MESSAGES_PER_SECOND, drops_per_second=DROPS_PER_SECOND)
        await asyncio.sleep(PAUSE_SECONDS)
        sent = crowd.ledger.sent
        await kill_worker(cluster.node("a"), 1)
        killed.append((sent, crowd.ledger.sent))
        await asyncio.sleep(PAUSE_SECONDS)
        sent = crowd.ledger.sent
        await loop.run_in_executor(None, cluster.nats.kill)
        killed.append((sent, crowd.ledger.sent))
        await asyncio.sleep(PAUSE_SECONDS)
        await loop.run_in_executor(starting, cluster.nats.start)
        await asyncio.sleep(PAUSE_SECONDS)
        sent = crowd.ledger.sent
        await loop.run_in_executor(None, cluster.node("c").kill)
        killed.append((sent, crowd.ledger.sent))
        await asyncio.sleep(PAUSE_SECONDS)
        await loop.run_in_executor(starting, cluster.node("c").start_again)
        await asyncio.sleep(PAUSE_SECONDS)
        await crowd.stop_talking()
        await crowd.everybody_talking(LOGIN_SECONDS)
        await loop.run_in_executor(None, cluster.until_members, *NAMES)
        await crowd.all_acknowledged(ARRIVED_SECONDS)
        try:
            await until(lambda: not crowd.ledger.missing, "all acknowledged messages arrived", ARRIVED_SECONDS)
        except TimeoutError:
            users = {crowd.recipient(number) for number in crowd.ledger.missing}
            raise AssertionError(f"lost: {len(crowd.ledger.missing)} messages, for {sorted(users)[:20]}") from None
        finally:
            await crowd.stop()
        return crowd

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        crowd = runner.run(scene())
    ledger = crowd.ledger
    with capsys.disabled():
        print(
            f"\nkill -9 of a worker, of NATS and of a node of {len(NAMES)} under {PEOPLE} people:\n"
            f"  messages sent {ledger.sent}, acknowledged {len(ledger.acknowledged)}, arrived {len(ledger.arrived)}, "
            f"twice {len(ledger.twice)}, refused {len(ledger.refused)}, acknowledged and lost 0\n"
            f"  connections lost {ledger.losses}, sessions {ledger.sessions}, resumed {ledger.resumed}"
        )
    for user, number in ledger.twice:
        place = number // PEOPLE
        around = [
            before - UNDER_WAY_SECONDS * MESSAGES_PER_SECOND <= place <= after + MESSAGES_PER_SECOND
            for before, after in killed
        ]
        assert any(around), (user, number, killed)
    assert ledger.astray == []
    assert ledger.surprises == []
    assert ledger.refused == {}
    assert ledger.out_of_order == []
    assert ledger.resumed > 0
    assert len(ledger.acknowledged) > MESSAGES_PER_SECOND * PAUSE_SECONDS
