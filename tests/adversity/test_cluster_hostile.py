"""A node that lies: what it forges, replays, dates ahead or says in two ways is refused, each with its reason."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest

from megaphone.bus.members import Member
from megaphone.bus.membership import Membership
from megaphone.bus.nats import NATSBus
from megaphone.bus.ports import Answer
from megaphone.bus.tokens import worker_subject
from megaphone.embedded.history_frames import SENDER_BYTES, Told, encode
from megaphone.history import batch as batches
from megaphone.history.batch import Batch
from megaphone.history.content import Content
from megaphone.history.entry import Kind
from megaphone.history.entry import entry as make_entry
from megaphone.history.manifest import MUC, Manifest
from tests.adversity.cluster_people import Chronicler, until
from tests.adversity.embedded_node import register_names
from tests.link.server import run
from tests.scenarios.histories import assert_whole_and_equal, become_equal, shown
from tests.servers.certificates import CertificateAuthority
from tests.servers.cluster import Cluster, ClusterNode
from tests.servers.model import ROOMS
from tests.unit.history.origins import Writer

CLUSTER = "megaphone"
ROOM = f"court@{ROOMS}"
TEN_YEARS_MS = 10 * 365 * 86_400_000
ANSWER_SECONDS = 10.0


@pytest.fixture
def cluster(tmp_path_factory: pytest.TempPathFactory, authority: CertificateAuthority) -> Iterator[Cluster]:
    """Two honest nodes, each of one worker."""
    made = Cluster(tmp_path_factory.mktemp("cluster"), authority, nodes=2, workers=1, register=False)
    for node in made.nodes:
        register_names(node.data, ("anna", "bert"), 1.0)
    with made:
        yield made


class Liar:
    """A member of the cluster whose key the others trust, and who says what it likes in the room."""

    def __init__(self, cluster: Cluster, name: str) -> None:
        self.writer = Writer(name, Manifest(MUC, ROOM))
        self.writer.ms = int(time.time() * 1000)
        self.bus = NATSBus(cluster.nats.access, CLUSTER, fault=self._fault)
        own = Member(
            name=name,
            node_key=self.writer.origin,
            incarnation=os.urandom(8),
            since_ms=self.writer.ms,
            lease_seconds=30,
            offers=("workers=1",),
        )
        self.membership = Membership(
            self.bus,
            own,
            joined=lambda member: None,
            left=lambda member: None,
            changed=lambda was, member: None,
            replaced=lambda member: None,
            fault=self._fault,
        )

    def _fault(self, error: Exception) -> None:
        """Its own troubles."""

    def say(self, text: str, seal: bool = True) -> Batch:
        """A batch with a message of somebody in the room."""
        stanza = f"<message xmlns='jabber:client' type='groupchat' from='{ROOM}/Liar'><body>{text}</body></message>"
        return self.writer.put(Content("liar@example.test", stanza.encode()), seal=seal)

    async def tell(self, node: ClusterNode, batch: Batch) -> None:
        """Tell a node; return when it has taken it, or refused."""
        taken: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        (key,) = [key for key, member in self.membership.members.items() if member.name == node.node_name]
        frame = Told(self.writer.origin[:SENDER_BYTES], 0, (MUC, ROOM), batches.encode(batch))
        subject = worker_subject(key, 0, "history")
        assert self.bus.request(subject, encode(frame), ANSWER_SECONDS, taken.set_result)
        answer = await taken
        assert answer == b"", answer


@asynccontextmanager
async def lying(cluster: Cluster, name: str) -> AsyncIterator[Liar]:
    """A liar in the cluster."""
    liar = Liar(cluster, name)
    await liar.bus.open()
    await liar.membership.open()
    try:
        yield liar
    finally:
        await liar.membership.close()
        await liar.bus.close()


def refused(node: ClusterNode, reason: str) -> float:
    """How many batches a node has refused for this reason."""
    return node.metric("megaphone_history_refused_total", reason=reason)


def test_each_lie_is_refused_with_its_reason(cluster: Cluster) -> None:
    first, second = cluster.nodes

    async def scene() -> None:
        anna = await Chronicler.login("anna", first.plain, management=True)
        bert = await Chronicler.login("bert", second.plain, management=True)
        await anna.join("court")
        await anna.configure("court", persistent=True)
        await bert.join("court")
        line = anna.say_next("court")
        await bert.hear_all("court", [line])
        async with lying(cluster, "mallory") as liar:
            await until(lambda: first.members() == ["a", "b", "mallory"], "the liar is a member")
            honest = liar.say("an honest word")
            await liar.tell(first, honest)
            await until(lambda: len(shown(first.data, ROOM)) == 2, "what is in order is taken")

            async def lie(reason: str, batch: Batch) -> None:
                before = refused(first, reason)
                await liar.tell(first, batch)
                await until(lambda: refused(first, reason) == before + 1, reason)

            # somebody else's signature, somebody else's words under his own, and nobody's
            lost = liar.writer.other()
            forged = liar.say("a forged word")
            await lie("bad-seal", forged._replace(seal=os.urandom(64)))
            content = Content("liar@example.test", b"<message><body>another word</body></message>").encode()
            entry = make_entry(forged.entries[0].clock, Kind.MESSAGE, content)
            await lie("bad-seal", forged._replace(entries=(entry,)))
            stranger = Writer("a stranger", Manifest(MUC, ROOM))
            stranger.ms = liar.writer.ms
            await lie("unknown-origin", stranger.say("who am I?"))
            # again
            await lie("duplicate", honest)
            # ten years ahead
            liar.writer = lost.other()
            liar.writer.ms += TEN_YEARS_MS
            await lie("clock-ahead", liar.say("from the future"))
            # one thing to one node, and another to the other
            liar.writer, other = lost.other(), lost.other()
            to_first = liar.say("I am for it")
            liar.writer = other
            to_second = liar.say("I am against it")
            await liar.tell(first, to_first)
            await liar.tell(second, to_second)
            await lie("fork", to_second)
            await until(lambda: refused(second, "fork") >= 1, "the other node has the proof, too")
            await lie("excluded", liar.say("believe me"))
        said = await asyncio.to_thread(first.log.read_text)
        for reason in ("bad-seal", "clock-ahead", "fork"):  # what is excluded has been named with the fork
            (row,) = [each for each in said.splitlines() if f"reason={reason}" in each]
            assert f"origin={liar.writer.origin.hex()}" in row
            assert "node=mallory" in row
        await become_equal([node.data for node in cluster.nodes], ROOM, 2)
        lines = assert_whole_and_equal([node.data for node in cluster.nodes], ROOM)
        assert [each["text"] for each in lines] == [line, "an honest word"]
        # and the room goes on
        line = bert.say_next("court")
        await anna.hear_all("court", [line])
        for each in (anna, bert):
            await each.close()

    run(scene())
