"""Whatever happens, all end the same: appends, losses, duplicates, any order, cuts, restarts, damage, forks, and syncs.

A script is a list of numbers, so that hypothesis can shorten what fails. At the end all connections stand again, all
messages arrive, and a minute or two pass.
"""

from __future__ import annotations

import random

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from megaphone.history.memory import MemoryStore
from tests.unit.history.nodes import Link, Node, assert_same, run_all, same
from tests.unit.history.origins import NOW_MS, ROOM, Writer

NAMES = ["anna", "bert", "carl", "dora"]
SHAPES = {
    "pair": (2, [(0, 1)]),
    "chain": (3, [(0, 1), (1, 2)]),
    "triangle": (3, [(0, 1), (1, 2), (0, 2)]),
    "ring": (4, [(0, 1), (1, 2), (2, 3), (3, 0)]),
}
MINUTES_MS = 150_000
WHAT = [
    *("say", "say", "say", "say many", "erase"),
    *("deliver", "deliver", "deliver", "deliver any", "deliver all", "lose", "twice"),
    *("tick", "wait", "cut", "connect", "restart"),
]
WORSE = [*WHAT, "damage", "forget contents", "fork"]


class World:
    """Some replicas, their connections, and what happens to them."""

    def __init__(self, shape: str) -> None:
        count, links = SHAPES[shape]
        self.nodes = [Node(name) for name in NAMES[:count]]
        self.links = [Link(self.nodes[one], self.nodes[other]) for one, other in links]
        self.liar = Writer("mallory")
        self.now_ms = NOW_MS
        for link in self.links:
            link.connect(self.now_ms)

    def act(self, what: str, how: int) -> None:
        node = self.nodes[how % len(self.nodes)]
        how //= len(self.nodes)
        link = self.links[how % len(self.links)]
        side = link.nodes[how // len(self.links) % 2]
        more = how // len(self.links) // 2
        if what == "say":
            node.say(*["x"] * (1 + more % 3), now_ms=self.now_ms)
        elif what == "say many":
            node.say(*["x"] * (more % 200), now_ms=self.now_ms)
        elif what == "erase":
            page = node.log.page(1 + more % 20)
            if page:
                node.erase(page[0].id, self.now_ms)
        elif what == "tick":
            self.pass_ms(1 << more % 12)
        elif what == "wait":
            self.pass_ms(10_000 * (1 + more % 10))
        elif what == "connect":
            link.cut()
            link.connect(self.now_ms)
        elif what == "cut":
            link.cut()
        elif what == "restart":
            node.restart()
        elif what == "deliver all":
            run_all(self.links, self.now_ms)
        elif what == "damage":
            self.damage(node, more)
        elif what == "forget contents":
            self.forget(node, more)
        elif what == "fork":
            self.fork(node, more)
        elif link.is_up and link.under_way[side.name]:
            self.handle(link, side, what, more)

    def handle(self, link: Link, side: Node, what: str, more: int) -> None:
        waiting = link.under_way[side.name]
        index = more % len(waiting)
        if what == "lose":
            del waiting[index]
        elif what == "twice":
            waiting.insert(more // len(waiting) % (len(waiting) + 1), waiting[index])
        else:
            link.deliver(side, self.now_ms, index if what == "deliver any" else 0)

    def pass_ms(self, ms: int) -> None:
        self.now_ms += ms
        for link in self.links:
            link.tick(self.now_ms)

    def damage(self, node: Node, more: int) -> None:
        """Some entries are gone from a disk, which others have; its own last ones, too: it goes on behind them."""
        assert isinstance(node.store, MemoryStore)
        spans = node.store.spans(ROOM.id)
        if spans:
            origin = sorted(spans)[more % len(spans)]
            last = spans[origin][-1].last
            first = 1 + more // 7 % last
            end = min(first + more // 77 % 30, last)
            for seq in range(first, end + 1):
                if any(each.store.feed(ROOM.id, origin, seq, seq) for each in self.nodes if each is not node):
                    node.store.drop(ROOM.id, origin, seq, seq)
        node.restart()

    def forget(self, node: Node, more: int) -> None:
        """Some contents are gone from a disk, which others have."""
        for placed in node.log.page(1 + more % 20)[:3]:
            copies = [each.store.find(ROOM.id, placed.id) for each in self.nodes if each is not node]
            if any(copy is not None and copy.entry.content is not None for copy in copies):
                node.store.erase(ROOM.id, placed.id)
        node.restart()

    def fork(self, node: Node, more: int) -> None:
        """Somebody who signs says one thing here, and has said another thing elsewhere."""
        if more % 3 == 0:
            self.liar = self.liar.other() if more % 2 else Writer("mallory")
        self.liar.ms = self.now_ms + more % 5
        batch = self.liar.say(*["lie"] * (1 + more % 4))
        node.replica.accept(batch, self.now_ms)

    def heal(self) -> None:
        """All is well again."""
        for link in self.links:
            link.cut()
        for link in self.links:
            link.connect(self.now_ms)
        end_ms = self.now_ms + MINUTES_MS
        while self.now_ms < end_ms:
            run_all(self.links, self.now_ms)
            if same(*self.nodes) and self.is_settled():
                return
            self.pass_ms(1000)
        run_all(self.links, self.now_ms)

    def is_settled(self) -> bool:
        return all(each.is_settled(ROOM.id) for link in self.links for each in link.conversations.values())

    def check(self) -> None:
        assert_same(*self.nodes)
        assert self.is_settled()
        assert not any(each.closed for link in self.links for each in link.conversations.values())
        for node in self.nodes:
            assert not [lack for lack in node.log.missing() if not lack.content]


Script = list[tuple[str, int]]


def scripts(words: list[str], size: int) -> st.SearchStrategy[Script]:
    return st.lists(st.tuples(st.sampled_from(words), st.integers(0, 2**20)), max_size=size)


def play(shape: str, script: Script) -> None:
    world = World(shape)
    for what, how in script:
        world.act(what, how)
    world.heal()
    world.check()


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(sorted(SHAPES)), scripts(WHAT, 60))
def test_appends_losses_and_cuts(shape: str, script: Script) -> None:
    play(shape, script)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(sorted(SHAPES)), scripts(WORSE, 60))
@example("chain", [("fork", 36), ("fork", 40393)])
def test_damage_and_forks_too(shape: str, script: Script) -> None:
    play(shape, script)


@pytest.mark.parametrize("seed", range(30))
def test_long_scripts(seed: int) -> None:
    choice = random.Random(seed)
    script = [(choice.choice(WORSE), choice.randrange(2**20)) for _ in range(400)]
    play(choice.choice(sorted(SHAPES)), script)


@pytest.mark.parametrize("seed", range(10))
def test_nobody_says_a_word_that_is_lost(seed: int) -> None:
    """What was written honestly is in every log at the end, in the same order; not only the same everywhere."""
    choice = random.Random(seed)
    world = World("ring")
    written = set()
    for _ in range(300):
        what, how = choice.choice(WHAT), choice.randrange(2**20)
        if what == "say":
            for batch in world.nodes[how % 4].say("x", now_ms=world.now_ms):
                written.add((batch.origin, batch.seq))
        else:
            world.act(what, how)
    world.heal()
    world.check()
    here = [(placed.origin, placed.seq) for placed in world.nodes[0].log.page(10**6)]
    assert written <= set(here)
    assert len(here) == len(set(here))


@pytest.mark.parametrize("count", [1, 500])
def test_a_cut_network_heals(count: int) -> None:
    """Two halves write for themselves, then meet."""
    world = World("ring")
    run_all(world.links, world.now_ms)
    for at in (1, 3):
        world.links[at].cut()
    for node in world.nodes:
        for number in range(count):
            node.say(f"{node.name} {number}", now_ms=world.now_ms + number)
    run_all(world.links, world.now_ms)
    assert same(*world.nodes[:2])
    assert same(*world.nodes[2:])
    assert not same(*world.nodes)
    world.heal()
    world.check()
    assert len(world.nodes[0].log.page(10**6)) == 4 * count
