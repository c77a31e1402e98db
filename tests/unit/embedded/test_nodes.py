"""Workers of several nodes on a real NATS: who is alive, whose words are whose, and a worker that goes on elsewhere."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Any

from megaphone.bus.homes import home_of
from megaphone.bus.ports import Message, NoAnswer, NobodyThere
from megaphone.bus.subjects import Subjects
from megaphone.embedded.nodes import Nodes
from megaphone.embedded.nodes_settings import NodesSettings
from megaphone.stream.jid import JID
from tests.servers.nats import NATS
from tests.unit.bus.test_nats import run, until

if TYPE_CHECKING:
    from collections.abc import Callable

    from megaphone.bus.members import Member
    from megaphone.bus.ports import Answer

LEASE_SECONDS = 2


class Worker:
    """One worker of a node, with nothing but its view of the nodes; `turns` counts turns of its router."""

    def __init__(
        self, nats: NATS, name: str, worker: int = 0, *, workers: int = 1, start: bytes = b"", serves: str = ""
    ) -> None:
        self.loop = asyncio.get_running_loop()
        self.events: list[tuple[Any, ...]] = []
        self.reports: list[tuple[str, bool, dict[str, Any]]] = []
        self.faults: list[Exception] = []
        self.turns = 0
        self.local = Subjects(None, later=self.loop.call_soon, fault=self.faults.append)
        self.nodes = Nodes(
            NodesSettings("test", nats.access, name, start or os.urandom(8), (serves,), LEASE_SECONDS),
            name[0].encode() * 32,
            worker=worker,
            workers=workers,
            local=self.local,
            turn=self.turn,
            report=self.report,
            fault=self.faults.append,
        )
        self.nodes.on_joined.append(lambda member: self.note("joined", member))
        self.nodes.on_left.append(lambda member: self.note("left", member, self.nodes.said_goodbye(member.key)))
        self.nodes.on_up.append(lambda up: self.events.append(("up", up)))
        self.nodes.on_worker.append(lambda node, worker, epoch: self.events.append(("worker", node[:2], worker, epoch)))
        self.sweeping: asyncio.TimerHandle | None = None
        self.frozen = False

    def turn(self, work: Callable[[], None]) -> None:
        self.turns += 1
        work()

    def note(self, what: str, member: Member, *more: object) -> None:
        self.events.append((what, member.name, *more))

    def report(self, event: str, *, trouble: bool = False, **fields: object) -> None:
        self.reports.append((event, trouble, fields))

    def open(self) -> Worker:
        self.nodes.open()
        self.sweep()
        return self

    def sweep(self) -> None:
        if not self.frozen:
            self.nodes.sweep(self.loop.time())
        self.sweeping = self.loop.call_later(0.05, self.sweep)

    async def close(self) -> None:
        if self.sweeping is not None:
            self.sweeping.cancel()
        await self.nodes.close()
        assert self.faults == []

    async def die(self) -> None:
        """As a killed process does."""
        if self.sweeping is not None:
            self.sweeping.cancel()
        self.nodes.bus.abort()
        watching = self.nodes._watching
        assert watching is not None
        await watching.abort()

    def seen(self, what: str) -> list[tuple[Any, ...]]:
        return [event[1:] for event in self.events if event[0] == what]

    def reported(self, event: str) -> list[dict[str, Any]]:
        return [fields for name, _, fields in self.reports if name == event]


def test_they_see_each_other_and_know_who_left_and_who_died(nats: NATS) -> None:
    async def scenario() -> None:
        a = Worker(nats, "alba", workers=3).open()
        watcher = Worker(nats, "alba", 1, workers=3, start=a.nodes.own.incarnation).open()
        b, c = Worker(nats, "bella").open(), Worker(nats, "cora", workers=2).open()
        await until(lambda: all(len(each.nodes.members) == 3 for each in (a, watcher, b, c)))
        assert a.nodes.names == watcher.nodes.names == ("alba", "bella", "cora")
        assert sorted(a.seen("joined")) == sorted(watcher.seen("joined")) == [("bella",), ("cora",)]
        assert b.reported("nodes")[-1] == {"nodes": "alba, bella, cora"}
        assert watcher.reported("nodes") == []  # worker 0 says it for all
        jid = JID("juliet", "example.org")
        assert b.nodes.home(jid, a.nodes.own.key) == home_of("juliet@example.org", 3)
        assert b.nodes.home(jid, "ff" * 32) == 0
        assert [b.nodes.workers(each.nodes.own.key) for each in (a, b, c)] == [3, 1, 2]
        assert b.nodes.member(c.nodes.own.node_key[:8]) == b.nodes.members[c.nodes.own.key]
        await b.close()
        await until(lambda: a.seen("left") == watcher.seen("left") == [("bella", True)])
        assert a.nodes.names == ("alba", "cora")
        await c.die()
        await until(lambda: len(a.seen("left")) == len(watcher.seen("left")) == 2)
        assert a.seen("left")[1] == watcher.seen("left")[1] == ("cora", False)
        await watcher.close()
        await a.close()

    run(scenario())


def test_a_node_that_starts_again_within_its_lease_has_left_and_joined(nats: NATS) -> None:
    async def scenario() -> None:
        a, b = Worker(nats, "alba").open(), Worker(nats, "bella").open()
        await until(lambda: len(a.nodes.members) == 2)
        await b.die()
        again = Worker(nats, "bella").open()
        await until(lambda: len(a.seen("joined")) == 2)
        assert [event[:2] for event in a.events if event[0] in ("joined", "left")] == [
            *(("joined", "bella"), ("left", "bella"), ("joined", "bella"))
        ]
        await again.close()
        await a.close()

    run(scenario())


def test_a_worker_zero_that_crashes_is_no_end_of_its_node_but_has_a_new_epoch(nats: NATS) -> None:
    async def scenario() -> None:
        a, b = Worker(nats, "alba").open(), Worker(nats, "bella").open()
        await until(lambda: bool(a.seen("worker")) and len(b.nodes.members) == 2)
        await b.die()
        again = Worker(nats, "bella", start=b.nodes.own.incarnation).open()
        await until(lambda: len(a.seen("worker")) == 2)
        assert a.seen("worker") == [("62", 0, b.nodes.epoch), ("62", 0, again.nodes.epoch)]
        assert a.nodes.epochs == {(b.nodes.own.key, 0): again.nodes.epoch}
        await asyncio.sleep(1.5 * LEASE_SECONDS)  # nothing must happen in this time
        assert a.seen("left") == []
        await again.close()
        await a.close()

    run(scenario())


def test_words_are_heard_in_turns_by_all_and_requests_are_answered_by_whoever_is_there(nats: NATS) -> None:
    async def scenario() -> None:
        a, b = Worker(nats, "alba").open(), Worker(nats, "bella").open()
        heard: list[tuple[str, bytes]] = []
        answers: list[Answer] = []

        def hears(name: str) -> Callable[[Message], None]:
            return lambda message: heard.append((name, message.payload))

        a.nodes.subscribe("m.room", hears("a"))
        on_b = b.nodes.subscribe("m.room", hears("b"))
        b.nodes.subscribe("u.juliet", lambda message: message.payload.upper())
        await until(lambda: a.nodes.up and b.nodes.up)
        await b.nodes.bus.round_trip()
        before = a.turns, b.turns
        assert a.nodes.publish("m.room", b"hi")
        await until(lambda: len(heard) == 2)
        assert sorted(heard) == [("a", b"hi"), ("b", b"hi")]
        assert a.turns > before[0]
        assert b.turns > before[1]
        assert a.nodes.request("u.juliet", b"yes?", 5.0, answers.append)
        assert not a.nodes.idle
        await until(lambda: answers == [b"YES?"])
        assert a.nodes.idle
        assert a.nodes.request("u.nobody", b"yes?", 5.0, answers.append)
        await until(lambda: answers[1:] == [NobodyThere(asked=False)])
        on_b.end()
        assert a.nodes.publish("m.room", b"again")
        await until(lambda: len(heard) == 3)
        await b.nodes.bus.round_trip()
        assert heard[2] == ("a", b"again")
        assert a.nodes.is_own(*a.nodes.sender[:2])
        assert not a.nodes.is_own(*b.nodes.sender[:2])
        await b.close()
        await a.close()

    run(scenario())


def test_it_starts_without_nats_says_so_once_and_takes_part_when_it_comes(nats: NATS) -> None:
    async def scenario() -> None:
        nats.stop()
        a, b = Worker(nats, "alba").open(), Worker(nats, "bella").open()
        assert not a.nodes.up
        assert not a.nodes.publish("m.room", b"hi")
        assert not a.nodes.request("m.room", b"hi", 1.0, lambda _: None)
        await until(lambda: bool(a.reported("NATS is away")))
        assert a.nodes.names == ("alba",)
        await asyncio.to_thread(nats.start)
        await until(lambda: len(a.nodes.members) == len(b.nodes.members) == 2)
        assert [event for event in a.events if event[0] == "up"] == [("up", True)]
        await asyncio.to_thread(nats.kill)
        await until(lambda: ("up", False) in a.events)
        assert len(a.nodes.members) == 2  # nobody leaves because NATS is away
        nats.delete_store()
        await asyncio.to_thread(nats.start)
        await until(lambda: a.events.count(("up", True)) == 2 and b.nodes.up)
        await asyncio.sleep(1.5 * LEASE_SECONDS)
        assert a.seen("left") == []
        assert a.nodes.names == b.nodes.names == ("alba", "bella")
        assert len(a.reported("NATS is away")) == 2
        await b.close()
        await a.close()

    run(scenario())


def test_a_node_of_another_domain_is_named(nats: NATS) -> None:
    async def scenario() -> None:
        a, b = Worker(nats, "alba", serves="a.example").open(), Worker(nats, "bella", serves="b.example").open()
        c = Worker(nats, "cora", serves="a.example").open()
        await until(lambda: len(a.nodes.members) == len(c.nodes.members) == 3)
        told = [(event, fields["node"]) for event, trouble, fields in a.reports if trouble]
        assert {node for event, node in told if "serves other domains" in event} == {"bella"}
        for each in (a, b, c):
            await each.close()

    run(scenario())


def test_two_with_one_key_do_not_stay(nats: NATS) -> None:
    """Somebody has copied a data directory: the later one stays, the earlier one leaves and says why."""

    async def scenario() -> None:
        a, b = Worker(nats, "alba").open(), Worker(nats, "bella").open()
        await until(lambda: b.nodes.names == ("alba", "bella"))
        twin = Worker(nats, "alba").open()
        await until(lambda: a.nodes.replaced)
        assert not a.nodes.up
        assert not a.nodes.publish("m.room", b"hi")
        assert a.events[-1] == ("up", False)
        assert any(trouble and "key of this node" in event for event, trouble, _ in a.reports)
        assert twin.nodes.up
        await until(lambda: b.nodes.epochs == {(a.nodes.own.key, 0): twin.nodes.epoch})
        assert b.nodes.members[a.nodes.own.key].incarnation == twin.nodes.own.incarnation
        await b.close()
        await a.close()
        await twin.close()

    run(scenario())


def test_an_upgrade_loses_no_word_and_nobody_sees_it(nats: NATS) -> None:
    """Words that come before, during and after are each heard once, in order; a request meanwhile is answered."""

    async def scenario() -> None:
        a, b = Worker(nats, "alba").open(), Worker(nats, "bella").open()
        heard: list[bytes] = []
        b.nodes.subscribe("m.room", lambda message: heard.append(message.payload))
        b.nodes.subscribe("u.juliet", lambda message: b"old")
        await until(lambda: len(a.nodes.members) == 2 and bool(a.seen("worker")))
        await b.nodes.bus.round_trip()
        number = 0
        answers: list[Answer] = []

        def say() -> None:
            nonlocal number
            number += 1
            assert a.nodes.publish("m.room", b"%d" % number)

        for _ in range(20):
            say()
        await until(lambda: len(heard) == 20)
        b.frozen = True
        b.nodes.freeze()
        for _ in range(20):
            say()
        assert a.nodes.request("u.juliet", b"?", 10.0, answers.append)
        await a.nodes.bus.round_trip()
        record = b.nodes.export()
        after = Worker(nats, "bella", start=b.nodes.own.incarnation)
        after.nodes.subscribe("m.room", lambda message: heard.append(message.payload))
        after.nodes.subscribe("u.juliet", lambda message: b"new")
        after.nodes.restore(record)
        b.nodes.leave()
        say()
        said_early: list[bytes] = []
        early: list[Answer] = []
        a.nodes.subscribe("m.other", lambda message: said_early.append(message.payload))
        a.nodes.subscribe("u.romeo", lambda message: message.payload.upper())
        await a.nodes.bus.round_trip()
        assert after.nodes.publish("m.other", b"from the successor, not connected yet")
        assert after.nodes.request("u.romeo", b"yes?", 5.0, early.append)
        after.open()
        while not after.nodes.up:
            say()
            await asyncio.sleep(0.001)
        for _ in range(200):
            say()
            await asyncio.sleep(0.001)
        await until(lambda: len(heard) >= number)
        await asyncio.sleep(1.5 * LEASE_SECONDS)
        assert heard == [b"%d" % each for each in range(1, number + 1)]
        assert answers == [b"new"]
        assert (said_early, early) == ([b"from the successor, not connected yet"], [b"YES?"])
        assert a.seen("left") == after.seen("joined") == []
        assert len(a.seen("worker")) == 1  # the same life
        assert after.nodes.epoch == b.nodes.epoch
        assert after.nodes.names == ("alba", "bella")
        await b.close()
        await after.close()
        await a.close()

    run(scenario())


def test_an_upgrade_that_fails_costs_nothing(nats: NATS) -> None:
    async def scenario() -> None:
        a, b = Worker(nats, "alba").open(), Worker(nats, "bella").open()
        heard: list[bytes] = []
        b.nodes.subscribe("m.room", lambda message: heard.append(message.payload))
        await until(lambda: a.nodes.up and b.nodes.up)
        await b.nodes.bus.round_trip()
        b.nodes.freeze()
        assert a.nodes.publish("m.room", b"1")
        await a.nodes.bus.round_trip()
        await b.nodes.bus.round_trip()
        assert heard == []
        b.nodes.thaw()
        assert heard == [b"1"]
        assert a.nodes.publish("m.room", b"2")
        await until(lambda: heard == [b"1", b"2"])
        await b.close()
        await a.close()

    run(scenario())


def test_foreign_words_on_our_subjects_are_no_trouble(nats: NATS) -> None:
    async def scenario() -> None:
        a = Worker(nats, "alba").open()
        await until(lambda: a.nodes.up)
        for payload in (b"", b"nonsense", b"\x95\xa5hello\x01\x02\x03\x04", os.urandom(64)):
            a.nodes.publish("w", payload)
        await a.nodes.bus.round_trip()
        await a.nodes.bus.round_trip()
        assert a.nodes.epochs == {}
        answers: list[Answer] = []
        a.nodes.subscribe("u.silent", lambda _: None)
        assert a.nodes.request("u.silent", b"", 0.2, answers.append)
        await until(lambda: answers == [NoAnswer()])
        await a.close()

    run(scenario())
