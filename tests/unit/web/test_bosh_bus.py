"""Requests of BOSH sessions at another worker, when the process of either worker is replaced or dies."""

from __future__ import annotations

from typing import Any

import pytest

from megaphone.stream.bosh_terms import BoshLimits
from megaphone.web.bosh_bus import BoshBus
from tests.unit.edge.edge_under_test import ScriptedServer
from tests.unit.stream.bosh_people import body
from tests.unit.web.bosh_dialogue import BoshPeer, BoshUnderTest
from tests.unit.web.http_dialogue import HTTPPeer

WAIT = 60  # far longer than any test: what is answered is answered because of what has happened


def holds_nothing(_address: bytes, _text: bytes, _answer: Any) -> None:
    """Takes requests of a test, and does not answer them."""


def a_held_request(bosh: BoshUnderTest, server: ScriptedServer) -> tuple[BoshPeer, HTTPPeer]:
    """A session of worker 1, whose client waits at worker 0."""
    client = BoshPeer(bosh)
    client.open(server, f"wait='{WAIT}' hold='1' to='example.org'", worker=1)
    held = client.send(2, worker=0)
    asker = bosh.workers[0]._bus
    assert asker is not None
    bosh.edge.until(lambda: any(each.held for each in asker._asked.values()), "the word that it is held")
    return client, held


def live_session(bosh: BoshUnderTest, client: BoshPeer) -> Any:
    return bosh.workers[1]._sessions[client.sid]


@pytest.mark.parametrize("how", ["replaced", "dead"])
def test_the_worker_with_the_session(make_bosh: Any, server: ScriptedServer, how: str) -> None:
    bosh = make_bosh(workers=2, wait=WAIT)
    client, held = a_held_request(bosh, server)
    if how == "replaced":
        BoshBus(bosh.subjects, bosh.turns.loop, 1, holds_nothing).begin()
    else:
        bosh.subjects.peer_lost(1)
    answer = client.answer(held)
    assert (answer.get("type"), answer.get("condition")) == ("terminate", "item-not-found")


def test_another_worker_is_replaced(make_bosh: Any, server: ScriptedServer) -> None:
    bosh = make_bosh(workers=3, wait=WAIT)
    client, held = a_held_request(bosh, server)
    heard: list[bytes] = []
    bosh.subjects.subscribe("bosh.begun", lambda message: heard.append(message.payload))
    BoshBus(bosh.subjects, bosh.turns.loop, 2, holds_nothing).begin()
    bosh.subjects.peer_lost(2)
    bosh.edge.until(lambda: heard, "its word")
    assert live_session(bosh, client)._waiting
    live_session(bosh, client).finish("system-shutdown", 0)
    assert client.answer(held).get("condition") == "system-shutdown"


@pytest.mark.parametrize("how", ["replaced", "dead"])
def test_the_worker_that_asked(make_bosh: Any, server: ScriptedServer, how: str) -> None:
    """The session hears that nobody waits; what it answered before is not taken for an answer to the next process."""
    bosh = make_bosh(workers=2, wait=WAIT)
    client, _ = a_held_request(bosh, server)
    live = live_session(bosh, client)
    assert live._waiting
    if how == "dead":
        bosh.subjects.peer_lost(0)
        bosh.edge.until(lambda: not live._waiting, "the word that nobody waits")
        return
    (before,) = bosh.workers[0]._bus._asked
    successor = BoshBus(bosh.subjects, bosh.turns.loop, 0, holds_nothing)
    successor.begin()
    bosh.edge.until(lambda: not live._waiting, "the word that nobody waits")
    answers: list[bytes | None] = []
    number = successor.ask(1, bytes(16), body(1, "sid='1.unknown'"), BoshLimits(wait=WAIT), answers.append)
    assert number is not None
    assert abs(number - before) > 1_000_000
    successor.give_up(1, number)
    assert answers == []


def test_what_is_not_held_yet_is_the_next_processs(make_bosh: Any) -> None:
    """A request that its worker has not taken before it was replaced is answered by the successor."""
    bosh = make_bosh(workers=2)
    answers: list[bytes | None] = []
    asker = bosh.workers[0]._bus
    number = asker.ask(1, bytes(16), body(1, "sid='1.unknown'"), BoshLimits(), answers.append)
    asker._lose(1)
    assert number in asker._asked
    bosh.edge.until(lambda: answers, "its answer")
    (answer,) = answers
    assert answer is not None
    assert b"item-not-found" in answer
