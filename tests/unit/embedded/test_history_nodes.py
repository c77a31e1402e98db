"""Histories of several nodes: what is said on one is on all that keep it, also after cuts, deaths and lies."""

import contextlib
import shutil
import sqlite3
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from megaphone.bus.homes import home_of
from megaphone.bus.members import Member
from megaphone.bus.ports import Answer, Message, NoAnswer, NobodyThere
from megaphone.bus.tokens import worker_subject
from megaphone.embedded import history_frames as frames
from megaphone.embedded.history_line import HISTORY, WAITING_LIMIT_BYTES
from megaphone.embedded.history_nodes import HistoryNodes
from megaphone.history import batch as batches
from megaphone.history.answers import Refusal
from megaphone.history.batch import Batch
from megaphone.history.clock import Clock
from megaphone.history.content import Content
from megaphone.history.entry import FIRST, Kind, entry
from megaphone.history.manifest import MUC, Manifest
from megaphone.storage.database import database_path
from megaphone.storage.node_key import NodeKey
from megaphone.stream.archive import Archived, Erasure, Said, Wanted
from megaphone.stream.jid import JID
from tests.unit.embedded.history_worker import HALL, NOW, Worker, assert_whole, body, said
from tests.unit.storage.conftest import ROMEO, with_accounts
from tests.unit.storage.histories import Writing

__all__ = ["with_accounts"]

STEP_SECONDS = 0.125
ROOMS = [JID(f"room{number}", "rooms.example") for number in range(12)]


class Bus:
    """What NATS does, in a test's hands: requests wait until they are delivered; sides of a cut hear nothing."""

    def __init__(self) -> None:
        self.sites: dict[str, Site] = {}
        self.under_way: deque[tuple[str, str, bytes, Callable[[Answer], None]]] = deque()
        self.lost: list[Callable[[Answer], None]] = []
        self.sides: dict[str, int] = {}
        self.time = 0.0
        self.sent_bytes = 0

    def reaches(self, one: str, other: str) -> bool:
        return self.sides.get(one, 0) == self.sides.get(other, 0)

    def deliver(self) -> None:
        """Bring what is under way, and what comes of it."""
        for _ in range(200_000):
            if not self.under_way:
                return
            sender, subject, payload, answered = self.under_way.popleft()
            self.sent_bytes += len(payload)
            site = next((each for each in self.sites.values() if subject in each.nodes.subscribers), None)
            answer: Answer | None = NobodyThere(asked=False)
            if site is not None and self.reaches(sender, site.name):
                answer = site.nodes.subscribers[subject](Message(subject, payload))
            if sender in self.sites and answer is not None:
                answered(answer)
        raise AssertionError("it goes on and on")

    def run(self, seconds: float) -> None:
        """Let time pass."""
        for _ in range(round(seconds / STEP_SECONDS)):
            self.time += STEP_SECONDS
            while self.lost:
                self.lost.pop()(NoAnswer())
            for site in list(self.sites.values()):
                site.sweep()
            self.deliver()

    def lose(self, place: int) -> None:
        """Lose one of those that are under way."""
        self.lost.append(self.under_way[place][3])
        del self.under_way[place]

    def cut(self, *sites: "Site") -> None:
        """These see no others, and are not seen."""
        for name in self.sites:
            self.sides[name] = int(any(site.name == name for site in sites))
        self._see()

    def heal(self) -> None:
        self.sides.clear()
        self._see()

    def _see(self) -> None:
        for site in self.sites.values():
            site.nodes.see([each for each in self.sites.values() if self.reaches(site.name, each.name)])


class FakeNodes:
    """`embedded.nodes.Nodes` on that bus."""

    def __init__(self, bus: Bus, name: str, key: bytes, worker: int, workers: int) -> None:
        self.bus = bus
        self.site = name
        self.own = Member(name=name[0], node_key=key, incarnation=b"i" * 8, since_ms=0, offers=(f"workers={workers}",))
        self.worker = worker
        self.up = True
        self.members = {self.own.key: self.own}
        self.subscribers: dict[str, Callable[[Message], bytes | None]] = {}
        self.on_joined: list[Callable[[Member], None]] = []
        self.on_left: list[Callable[[Member], None]] = []
        self.on_up: list[Callable[[bool], None]] = []
        self.on_worker: list[Callable[[str, int, bytes], None]] = []

    @property
    def sender(self) -> tuple[bytes, int, bytes]:
        return self.own.node_key[:8], self.worker, b"e" * 8

    def member(self, node: bytes) -> Member | None:
        return next((each for each in self.members.values() if each.node_key[:8] == node), None)

    def workers(self, node: str) -> int:
        return int(self.members[node].offers[0].partition("=")[2]) if node in self.members else 0

    def home(self, jid: JID, node: str) -> int:
        return home_of(str(jid), max(1, self.workers(node)))

    def own_subject(self, what: str) -> str:
        return worker_subject(self.own.key, self.worker, what)

    def subscribe(self, subject: str, subscriber: Callable[[Message], bytes | None]) -> None:
        self.subscribers[subject] = subscriber

    def request(self, subject: str, payload: bytes, timeout_seconds: float, answered: Callable[[Answer], None]) -> bool:
        self.bus.under_way.append((self.site, subject, payload, answered))
        return True

    def see(self, sites: "list[Site]") -> None:
        seen = {site.nodes.own.key: site.nodes.own for site in sites}
        for key, member in list(self.members.items()):
            if key not in seen:
                del self.members[key]
                for told in self.on_left:
                    told(member)
        for key, member in seen.items():
            if key not in self.members:
                self.members[key] = member
                for told in self.on_joined:
                    told(member)


class Site:
    """A worker, mostly the only one of its node."""

    def __init__(
        self, bus: Bus, name: str, directory: str, *, keepers: int = 3, worker: int = 0, workers: int = 1
    ) -> None:
        self.bus, self.name, self.directory, self.keepers = bus, name, directory, keepers
        self.worker = Worker(directory, index=worker, workers=workers)
        self.heard: list[tuple[str, JID, list[Archived]]] = []
        histories = self.worker.histories
        histories.on_heard = lambda kind, owner, entries: self.heard.append((kind, owner, list(entries)))
        self.worker.began.update(dict.fromkeys(ROOMS, 1.0))
        self.nodes = FakeNodes(bus, name, histories.key.origin, worker, workers)
        self.histories = histories
        self.history_nodes = HistoryNodes(
            self.nodes,  # type: ignore[arg-type]  # as much of it as is needed
            histories,
            keepers=keepers,
            now=lambda: bus.time,
        )
        bus.sites[name] = self
        bus.heal()

    def sweep(self) -> None:
        self.worker.time = NOW + self.bus.time
        self.histories.flush()
        self.worker.storage.writer.settle_all()
        self.histories.committed()
        self.history_nodes.sweep()
        while self.worker.later:
            self.worker.later.pop(0)()

    def say(self, text: str, owner: JID = HALL) -> Archived:
        return self.worker.say(text, owner)

    def die(self) -> None:
        """End without a word; what was not flushed is lost."""
        del self.bus.sites[self.name]
        self.histories.store.close_reader()
        self.worker.storage.close()
        for each in self.bus.sites.values():
            each.nodes.see([other for other in self.bus.sites.values() if self.bus.reaches(each.name, other.name)])

    def state(self, owner: JID = HALL) -> list[tuple[str, bytes, bool]]:
        page = self.worker.rooms.page(owner, Wanted(max=100_000))
        assert page.stable
        return [(each.id, each.said.stanza, each.erased) for each in page.entries]

    def bodies(self, owner: JID = HALL) -> list[str]:
        return self.worker.bodies(owner)


@pytest.fixture
def bus() -> Iterator[Bus]:
    made = Bus()
    yield made
    for site in list(made.sites.values()):
        site.worker.close()
        assert_whole(site.directory)


@pytest.fixture
def make(bus: Bus, tmp_path: Path, with_accounts: str) -> Callable[..., Site]:
    def made(name: str, keepers: int = 3) -> Site:
        directory = tmp_path / name
        if not directory.exists():
            shutil.copytree(with_accounts, directory)
        return Site(bus, name, str(directory), keepers=keepers)

    return made


def same(*sites: Site, owner: JID = HALL) -> list[tuple[str, bytes, bool]]:
    states = [site.state(owner) for site in sites]
    assert all(state == states[0] for state in states)
    return states[0]


def test_what_is_said_on_one_node_is_on_all(bus: Bus, make: Callable[..., Site]) -> None:
    sites = [make(name) for name in "abc"]
    bus.run(3)
    for number in range(12):
        sites[number % 3].say(f"{number}")
        bus.run(0.25)
    assert [text for _, text, _ in same(*sites)] == [said(f"{number}", 0).stanza for number in range(12)]
    for site in sites:  # each has heard what the others said, once and in order
        heard = [body(each) for kind, owner, entries in site.heard for each in entries if (kind, owner) == (MUC, HALL)]
        place = sites.index(site)
        assert heard == [f"{number}" for number in range(12) if number % 3 != place]


def test_archives_of_users_too(bus: Bus, make: Callable[..., Site]) -> None:
    one, other = make("a"), make("b")
    bus.run(2)
    one.say("first", ROMEO)
    bus.run(1)
    other.say("second", ROMEO)
    bus.run(1)
    assert one.bodies(ROMEO) == other.bodies(ROMEO) == ["first", "second"]
    assert ("user", ROMEO) in [(kind, owner) for kind, owner, _ in other.heard]


def test_what_was_said_in_a_room_before_it_was_made_is_not_heard(bus: Bus, make: Callable[..., Site]) -> None:
    a, b, c = (make(name) for name in "abc")
    bus.run(2)
    bus.cut(c)
    c.say("in the first")
    bus.run(20)
    for site in (a, b):
        site.worker.rooms.forget(HALL)
        site.worker.began[HALL] = site.worker.time
    a.say("in the second")
    bus.run(1)
    bus.heal()
    bus.run(10)
    assert a.bodies() == b.bodies() == ["in the second"]
    assert [body(each) for site in (a, b) for _, _, entries in site.heard for each in entries] == ["in the second"]


def test_both_sides_of_a_cut_go_on(bus: Bus, make: Callable[..., Site]) -> None:
    a, b, c = (make(name) for name in "abc")
    bus.run(2)
    a.say("before")
    bus.run(1)
    bus.cut(c)
    for number in range(30):
        a.say(f"a{number}")
        c.say(f"c{number}")
        b.say(f"b{number}", ROOMS[0])
        bus.run(0.25)
    assert len(b.bodies()) == 31
    assert len(c.bodies()) == 31
    bus.heal()
    bus.run(5)
    assert len(same(a, b, c)) == 61
    assert len(same(a, b, c, owner=ROOMS[0])) == 30


def test_a_node_that_comes_later_gets_everything(bus: Bus, make: Callable[..., Site]) -> None:
    a = make("a")
    for number in range(500):
        a.say(f"{number}")
        if number % 50 == 0:
            bus.run(0.125)
    for room in ROOMS:
        a.say(f"in {room}", room)
    a.say("of romeo", ROMEO)
    bus.run(1)
    b = make("b")
    bus.run(10)
    assert len(same(a, b)) == 500
    for room in ROOMS:
        assert b.bodies(room) == [f"in {room}"]
    assert b.bodies(ROMEO) == ["of romeo"]


def test_a_node_that_was_away_and_its_logs_are_closed(bus: Bus, make: Callable[..., Site]) -> None:
    """After a restart no log is open: all are walked through."""
    a, b = make("a"), make("b")
    bus.run(2)
    for room in ROOMS:
        a.say("first", room)
    bus.run(2)
    b.die()
    for room in ROOMS:
        a.say("second", room)
    bus.run(1)
    a.die()
    a, b = make("a"), make("b")
    bus.run(15)
    for room in ROOMS:
        assert len(same(a, b, owner=room)) == 2


def test_nodes_have_different_numbers_of_workers(bus: Bus, tmp_path: Path, with_accounts: str) -> None:
    """A log is at home in different workers: whoever is its home on one node talks with whoever is on the other."""
    sites: dict[str, list[Site]] = {}
    for name, workers in (("a", 3), ("b", 2)):
        shutil.copytree(with_accounts, tmp_path / name)
        sites[name] = [
            Site(bus, f"{name}{worker}", str(tmp_path / name), worker=worker, workers=workers)
            for worker in range(workers)
        ]

    def home(name: str, room: JID) -> Site:
        return sites[name][home_of(str(room), len(sites[name]))]

    home("a", ROOMS[0]).say("before", ROOMS[0])
    bus.run(3)
    for number, room in enumerate(ROOMS):
        home("ab"[number % 2], room).say("first", room)
    bus.run(1)
    bus.cut(*sites["b"])
    for room in ROOMS:
        home("a", room).say("at a", room)
        home("b", room).say("at b", room)
    bus.run(2)
    bus.heal()
    bus.run(8)
    assert {len(same(home("a", room), home("b", room), owner=room)) for room in ROOMS[1:]} == {3}
    assert len(same(home("a", ROOMS[0]), home("b", ROOMS[0]), owner=ROOMS[0])) == 4


def test_a_room_is_kept_by_some_and_by_those_who_are_in_it(bus: Bus, make: Callable[..., Site]) -> None:
    sites = [make(name, keepers=2) for name in "abcde"]
    bus.run(3)
    for number, room in enumerate(ROOMS):
        sites[number % 5].say("first", room)
    bus.run(3)
    kept = {room: [site for site in sites if site.histories.store.spans(Manifest(MUC, str(room)).id)] for room in ROOMS}
    for number, (room, keeping) in enumerate(kept.items()):
        assert 2 <= len(keeping) <= 3
        assert sites[number % 5] in keeping
        assert len(same(*keeping, owner=room)) == 1
        outsider = next(site for site in sites if site not in keeping)
        outsider.worker.rooms.tail(room, 20)  # somebody enters there
        bus.run(2)
        assert outsider.bodies(room) == ["first"]
        sites[number % 5].say("second", room)
        bus.run(0.5)
        assert outsider.bodies(room) == ["first", "second"]


def test_when_a_keeper_dies_another_one_gets_its_rooms(bus: Bus, make: Callable[..., Site]) -> None:
    sites = [make(name, keepers=2) for name in "abc"]
    bus.run(3)
    for room in ROOMS:
        sites[0].say("said", room)
    bus.run(3)
    sites[0].die()
    bus.run(10)
    for room in ROOMS:
        assert len(same(*sites[1:], owner=room)) == 1


def test_messages_are_erased_everywhere(bus: Bus, make: Callable[..., Site]) -> None:
    a, b = make("a"), make("b")
    bus.run(2)
    target = a.say("secret")
    bus.run(1)
    gone = f"<message from='{HALL}/romeo' type='groupchat' id='m-secret'><gone/></message>".encode()
    retraction: Said = said("fallback", b.worker.time)._replace(kind=Kind.RETRACTION)
    b.worker.rooms.append(HALL, retraction, erases=Erasure(target.id, gone))
    bus.run(1)
    entries = same(a, b)
    assert entries[0] == (target.id, gone, True)
    heard = a.heard[-1][2]
    assert (heard[0].id, heard[0].erased) == (target.id, True)
    assert [body(each) for each in heard] == ["", "fallback"]


def test_a_damage_is_repaired_from_another_node(bus: Bus, make: Callable[..., Site]) -> None:
    a, b = make("a"), make("b")
    bus.run(2)
    for number in range(20):
        a.say(f"{number}")
    bus.run(1)
    before = same(a, b)
    b.worker.storage.writer.settle_all()
    with contextlib.closing(sqlite3.connect(database_path(b.directory))) as connection:
        connection.execute("UPDATE log_entry SET content = x'00' WHERE n = 7")
        connection.commit()
    assert len(b.bodies()) == 19
    bus.run(2)
    assert same(a, b) == before


# --- lies ---


def forge(key: NodeKey, text: str, *, at_ms: int = int(NOW * 1000), seal: bytes | None = None) -> Batch:
    content = Content("romeo@x", said(text, NOW).stanza).encode()
    one = entry(Clock(at_ms << 16), Kind.MESSAGE, content)
    batch = Batch(Manifest(MUC, str(HALL)).id, key.origin, 1, FIRST, (one,), b"")
    return batch._replace(seal=key.sign(batches.sealed(batches.ids(batch)[-1])) if seal is None else seal)


def tell(bus: Bus, sender: Site, to: Site, batch: Batch) -> None:
    told = frames.Told(sender.nodes.sender[0], 0, (MUC, str(HALL)), batches.encode(batch))
    bus.under_way.append((sender.name, to.nodes.own_subject(HISTORY), frames.encode(told), lambda _: None))
    bus.deliver()


def test_lies_are_refused_and_counted(bus: Bus, make: Callable[..., Site]) -> None:
    a, b = make("a"), make("b")
    bus.run(3)
    key = a.histories.key
    stranger = Writing("stranger", Manifest(MUC, str(HALL)))
    stranger.at_ms = int(NOW * 1000)
    tell(bus, a, b, stranger.batch(1)[0])
    tell(bus, a, b, forge(key, "in ten years", at_ms=int((NOW + 10 * 365 * 86_400) * 1000)))
    tell(bus, a, b, forge(key, "forged", seal=bytes(64)))
    good = forge(key, "good")
    for _ in range(2):
        tell(bus, a, b, good)
    assert b.bodies() == ["good"]
    tell(bus, a, b, forge(key, "forked"))
    assert b.history_nodes.refused == {
        Refusal.UNKNOWN_ORIGIN: 1,
        Refusal.CLOCK_AHEAD: 1,
        Refusal.BAD_SEAL: 1,
        Refusal.DUPLICATE: 1,
        Refusal.FORK: 1,
    }
    assert b.bodies() == []


def test_a_stranger_is_not_heard(bus: Bus, make: Callable[..., Site]) -> None:
    a = make("a")
    frame = frames.Again(b"stranger", 0)
    subject = a.nodes.own_subject(HISTORY)
    for data in (frames.encode(frame), b"", b"\xc1", b"\x93\xa5later\x01\x02"):
        assert a.nodes.subscribers[subject](Message(subject, data)) == b""
    bus.run(1)
    assert not bus.under_way


def test_too_much_that_waits_is_given_up_and_found_out_anew(bus: Bus, make: Callable[..., Site]) -> None:
    a, b = make("a"), make("b")
    bus.run(3)
    for number in range(200):
        a.say(f"{number} {'x' * 100_000}")
        a.histories.flush()
        a.worker.storage.writer.settle_all()
        a.histories.committed()  # nothing of it is delivered meanwhile
    assert WAITING_LIMIT_BYTES < 200 * 200_000
    bus.run(30)
    digests = [site.histories.replica.digest(Manifest(MUC, str(HALL)).id) for site in (a, b)]
    assert digests[0] == digests[1]
    assert digests[0].entries == 200


ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("say"), st.integers(0, 2), st.integers(0, 1)),
        st.tuples(st.just("cut"), st.integers(0, 2), st.just(0)),
        st.tuples(st.just("heal"), st.just(0), st.just(0)),
        st.tuples(st.just("restart"), st.integers(0, 2), st.just(0)),
        st.tuples(st.just("lose"), st.integers(0, 5), st.just(0)),
        st.tuples(st.just("run"), st.integers(1, 12), st.just(0)),
    ),
    max_size=25,
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(actions=ACTIONS)
def test_whatever_happens_all_nodes_end_equal(
    actions: list[tuple[str, int, int]], tmp_path_factory: pytest.TempPathFactory, with_accounts: str
) -> None:
    bus, directory = Bus(), tmp_path_factory.mktemp("nodes")
    names = "abc"
    for name in names:
        shutil.copytree(with_accounts, directory / name)
        Site(bus, name, str(directory / name))
    written: set[str] = set()
    for number, (what, which, where) in enumerate(actions):
        site = bus.sites[names[which % 3]]
        if what == "say":
            site.say(f"{number}", (HALL, ROOMS[0])[where])
            site.sweep()
            written.add(f"{number}")
        elif what == "cut":
            bus.cut(site)
        elif what == "heal":
            bus.heal()
        elif what == "restart":
            side = bus.sides.get(site.name, 0)
            site.die()
            Site(bus, site.name, site.directory)
            bus.sides[site.name] = side
            bus._see()
        elif what == "lose" and bus.under_way:
            bus.lose(which % len(bus.under_way))
        else:
            bus.run(which * STEP_SECONDS)
    bus.heal()
    bus.run(40)
    sites = list(bus.sites.values())
    found = [entry for owner in (HALL, ROOMS[0]) for entry in same(*sites, owner=owner)]
    assert {text.partition(b"<body>")[2].partition(b"</body>")[0].decode() for _, text, _ in found} == written
    for site in sites:
        site.worker.close()
        assert_whole(site.directory)
