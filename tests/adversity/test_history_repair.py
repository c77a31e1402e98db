"""Two replicas on disk: what the disk of one has lost or changed comes back from the other, and both end the same."""

import random
import sqlite3
from collections import deque
from collections.abc import Callable
from pathlib import Path

import pytest

from megaphone.cli.main import main
from megaphone.history.clock import Clock, HybridClock
from megaphone.history.content import Content
from megaphone.history.entry import Kind, Origin
from megaphone.history.replica import Replica
from megaphone.history.sync import Conversation
from megaphone.storage.history_file import HistoryFile
from megaphone.storage.node_key import verify
from tests.unit.storage.histories import ROOM, START_MS, key_of

MESSAGES_LIMIT = 2000


class Node:
    """A replica, its file and its key, which is opened again after each stop."""

    def __init__(self, path: Path, name: str) -> None:
        self.path, self.key = path, key_of(name)
        self.start()

    def start(self) -> None:
        self.store = HistoryFile(str(self.path), verifier=verify)
        self.replica = Replica(self.store, HybridClock(Clock(0)), self.key, verify, _trusts)
        self.replica.open(ROOM)

    def stop(self) -> None:
        assert self.store.close() == 0
        assert self.store._writer.dropped == 0

    def say(self, count: int, at_ms: int) -> None:
        for at in range(count):
            body = b"<message><body>%d at %d</body></message>" % (at, at_ms)
            self.replica.append(ROOM.id, Kind.MESSAGE, Content("somebody@example", body), at_ms + at)
        self.replica.flush(at_ms + count)


def _trusts(origin: Origin) -> bool:
    return origin in {key_of("anna").origin, key_of("bert").origin}


def talk(one: Node, other: Node, now_ms: int) -> None:
    """Let two nodes talk until neither has anything to say."""
    ends = {one: Conversation(one.replica, other.key.origin), other: Conversation(other.replica, one.key.origin)}
    on_their_way: deque[tuple[Node, bytes]] = deque()
    for to, conversation in ((other, ends[one]), (one, ends[other])):
        on_their_way += [(to, data) for data in conversation.start(now_ms)]
    for step in range(MESSAGES_LIMIT):
        if not on_their_way:
            for to, conversation in ((other, ends[one]), (one, ends[other])):
                on_their_way += [(to, data) for data in conversation.tick(now_ms + step * 1000)]
            if not on_their_way:
                return
        to, data = on_their_way.popleft()
        answer_to = one if to is other else other
        on_their_way += [(answer_to, each) for each in ends[to].receive(data, now_ms + step)]
    raise AssertionError("they do not stop talking")


def same(one: Node, other: Node) -> bool:
    left, right = one.store.newest(ROOM.id, 10_000), other.store.newest(ROOM.id, 10_000)
    return left == right and one.store.digests(ROOM.id) == other.store.digests(ROOM.id)


@pytest.fixture
def nodes(tmp_path: Path) -> tuple[Node, Node]:
    """Two nodes that have the same 600 entries, and are stopped."""
    anna, bert = Node(tmp_path / "anna.sqlite3", "anna"), Node(tmp_path / "bert.sqlite3", "bert")
    for at in range(10):
        anna.say(40, START_MS + at * 20_000)
        bert.say(20, START_MS + at * 20_000 + 7)
    talk(anna, bert, START_MS + 300_000)
    assert same(anna, bert)
    assert len(anna.store.newest(ROOM.id, 10_000)) == 600
    anna.stop()
    bert.stop()
    return anna, bert


def change(path: Path, query: str) -> None:
    connection = sqlite3.connect(path)
    assert connection.execute(query).rowcount > 0
    connection.commit()
    connection.close()


def a_bit(path: Path) -> None:
    """Flip bits all over the file."""
    data, choice = bytearray(path.read_bytes()), random.Random(11)
    for _ in range(40):
        data[choice.randrange(4096, len(data))] ^= 1 << choice.randrange(8)
    path.write_bytes(data)


# entries of the node itself, whose file it is; a row has no origin, its run does
OWN = (
    "n IN (SELECT each.n FROM log_entry AS each JOIN log_run ON each.n BETWEEN log_run.n AND log_run.n + count - 1"
    f" JOIN log_feed ON number = feed WHERE origin = x'{key_of('bert').origin.hex()}')"
)

DAMAGES: dict[str, Callable[[Path], None]] = {
    "an altered content": lambda path: change(
        path, "UPDATE log_entry SET content = CAST('forged' AS BLOB) WHERE n = 77"
    ),
    "altered clocks": lambda path: change(path, "UPDATE log_entry SET clock = clock + 1 WHERE n % 50 = 3"),
    "lost entries": lambda path: change(path, "DELETE FROM log_entry WHERE n BETWEEN 100 AND 220"),
    "lost last entries": lambda path: change(
        path, f"DELETE FROM log_entry WHERE {OWN} AND n > (SELECT max(n) FROM log_entry WHERE {OWN}) - 15"
    ),
    "all own entries lost": lambda path: change(path, f"DELETE FROM log_entry WHERE {OWN}"),
    "a lost run": lambda path: change(path, "DELETE FROM log_run WHERE n = (SELECT max(n) FROM log_run)"),
    "altered digests": lambda path: change(path, "UPDATE log_day SET sum = zeroblob(16)"),
    "a broken seal": lambda path: change(
        path, "UPDATE log_seal SET signature = zeroblob(64) WHERE seq = (SELECT max(seq) FROM log_seal)"
    ),
    "no seals": lambda path: change(path, "UPDATE log_seal SET signature = zeroblob(64)"),
    "another name": lambda path: change(path, "UPDATE log_room SET name = 'hell@rooms.example'"),
    "bits all over the file": a_bit,
    "the second half cut off": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]) and None,
    "no file": lambda path: path.unlink(),
}

# then nothing may be said before it is mended: see `Replica`
TIP_UNKNOWN = {"bits all over the file", "the second half cut off", "no file"}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damage_is_mended_from_the_other_replica(
    nodes: tuple[Node, Node], damage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    anna, bert = nodes
    DAMAGES[damage](bert.path)
    if damage != "no file":
        assert main(["history", "verify", str(bert.path)]) == 1
        assert "Traceback" not in capsys.readouterr().err
    anna.start()
    bert.start()
    if damage != "no file":
        assert bert.store.found or bert.store.put_aside
    talk(anna, bert, START_MS + 400_000)
    assert same(anna, bert)
    assert len(bert.store.newest(ROOM.id, 10_000)) == 600
    # both go on, and nobody has said two things at one seq
    bert.say(5, START_MS + 500_000)
    anna.say(5, START_MS + 500_000)
    talk(bert, anna, START_MS + 600_000)
    assert same(anna, bert)
    assert len(bert.store.newest(ROOM.id, 10_000)) == 610
    assert anna.store.exclusions(ROOM.id) == bert.store.exclusions(ROOM.id) == {}
    anna.stop()
    bert.stop()
    capsys.readouterr()
    assert main(["history", "verify", str(anna.path)]) == 0
    assert main(["history", "verify", str(bert.path)]) == 0


@pytest.mark.parametrize("damage", sorted(DAMAGES.keys() - TIP_UNKNOWN))
def test_a_node_that_speaks_before_its_damage_is_mended_does_not_fork(
    nodes: tuple[Node, Node], damage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """It goes on behind its last entry, lost or not, also if the time of day has gone back."""
    anna, bert = nodes
    DAMAGES[damage](bert.path)
    anna.start()
    bert.start()
    assert bert.store.found
    bert.say(5, START_MS + 100_000)
    talk(anna, bert, START_MS + 500_000)
    assert_all_again(anna, bert, 605)
    capsys.readouterr()
    assert main(["history", "verify", str(anna.path)]) == 0
    assert main(["history", "verify", str(bert.path)]) == 0


def test_a_node_whose_own_days_were_all_dropped_goes_on(nodes: tuple[Node, Node]) -> None:
    anna, bert = nodes
    anna.start()
    bert.start()
    assert bert.store.retain(ROOM.id, from_day=START_MS // 86_400_000 + 100) == 600
    bert.stop()
    bert.start()
    assert bert.store.spans(ROOM.id) == {}
    bert.say(5, START_MS + 100_000)
    talk(bert, anna, START_MS + 500_000)
    assert_all_again(anna, bert, 605)


def assert_all_again(anna: Node, bert: Node, count: int) -> None:
    """Nobody is excluded, both have the same, nothing is missing; stops them."""
    assert anna.store.exclusions(ROOM.id) == bert.store.exclusions(ROOM.id) == {}
    assert same(anna, bert)
    assert len(bert.store.newest(ROOM.id, 10_000)) == count
    for node in (anna, bert):
        assert [len(spans) for spans in node.store.spans(ROOM.id).values()] == [1, 1]
        node.stop()
