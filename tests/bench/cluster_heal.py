"""A cut that heals: how long it takes until three nodes, of which one was alone, have the same history of a room."""

import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path

from megaphone.bus.nats_access import Access
from megaphone.history.digest import Digest, since
from megaphone.history.manifest import MUC, Manifest, RoomID
from megaphone.storage.history_file import HistoryLook
from tests.bench.cluster_nodes import CLUSTER, NODES, ClusterService, Running, running
from tests.bench.cluster_way import WayToNATS
from tests.bench.report.figure import Figure
from tests.bench.services import MECHANISM
from tests.bench.talkers import TalkingClients, talking_clients
from tests.servers.nats import NATS
from tests.servers.process import wait_until

AWAY = NODES[-1]
IN_FLIGHT = 32
HEAL_SECONDS = 600.0
WRITTEN_SECONDS = 120.0


def fingerprint(node: ClusterService, room: RoomID) -> Digest:
    """Count and sum of the ids of all entries of a room, as the node's database has them."""
    look = HistoryLook(node.database)
    try:
        return since(look.digests(room))
    finally:
        look.close_reader()


def nats_up(node: ClusterService) -> int:
    """How many of its workers are connected to NATS."""
    return int(node.metric("megaphone_nats_up"))


def measure_heal(heals: int, written: int) -> list[Figure]:
    """Cut, write on both sides, heal; each time in another room."""
    equal = Figure("until all have the same", "s", digits=2, ours=CLUSTER, peers=())
    connected = Figure("of that, until the third node is at NATS again", "s", digits=2, ours=CLUSTER, peers=())
    synced = Figure("of that, from then on", "s", digits=2, ours=CLUSTER, peers=())
    speed = Figure("messages that change sides per second, from then on", "1/s", digits=0, ours=CLUSTER, peers=())
    ways: list[WayToNATS] = []
    with tempfile.TemporaryDirectory(prefix="megaphone-bench-") as name, ExitStack() as stack:

        def access_of(node: str, nats: NATS) -> Access:
            if node != AWAY:
                return nats.access
            ways.append(stack.enter_context(closing(WayToNATS(nats))))
            return ways[0].access

        cluster = stack.enter_context(running(Path(name), len(NODES), access_of))
        for number in range(heals):
            until_connected, until_equal = heal(cluster, ways[0], f"cut{number}", written)
            equal.add(CLUSTER, until_equal)
            connected.add(CLUSTER, until_connected)
            synced.add(CLUSTER, until_equal - until_connected)
            # one side's go to one node, the other's to two
            speed.add(CLUSTER, 3 * written / (until_equal - until_connected))
    return [equal, connected, synced, speed]


def heal(cluster: Running, way: WayToNATS, name: str, written: int) -> tuple[float, float]:
    """Seconds from when the way to NATS is there again: until the third node uses it, until all have the same."""
    room, id_ = f"{name}@{cluster.rooms}", Manifest(MUC, f"{name}@{cluster.rooms}").id
    here, _, away = cluster.nodes
    with (
        talking_clients(here.open, MECHANISM, 1) as ours,
        talking_clients(away.open, MECHANISM, 1) as theirs,
        ThreadPoolExecutor(2) as both,
    ):
        ours.open(1)
        ours.enter(room, 1)
        ours.make_persistent(room)
        cluster.wait_for_row(name)
        way.cut()
        wait_until(lambda: not nats_up(away), "a node that is alone", HEAL_SECONDS)
        theirs.open(1)
        theirs.enter(room, 1)

        def write(clients: TalkingClients) -> None:
            clients.talk_in_room(1, IN_FLIGHT, written)

        list(both.map(write, (ours, theirs)))
    # The occupants have hung up, so that nothing but the history has to change sides.
    for node in (here, away):
        on_disk = partial(fingerprint, node, id_)
        wait_until(lambda on_disk=on_disk: on_disk().entries >= written, "all of it on disk", WRITTEN_SECONDS)
    cluster.settle()
    began = time.monotonic()
    way.heal()
    wait_until(lambda: nats_up(away) == len(away.worker_processes()), "a node that is back", HEAL_SECONDS)
    connected = time.monotonic() - began

    def same() -> bool:
        found = {fingerprint(node, id_) for node in cluster.nodes}
        return len(found) == 1 and next(iter(found)).entries >= 2 * written

    wait_until(same, "the same history on all nodes", HEAL_SECONDS)
    return connected, time.monotonic() - began
