"""Sessions over BOSH through an edge under test: its poller and the loop of `Bosh` take turns."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Iterator
from functools import partial
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from megaphone.bus.subjects import Subjects
from megaphone.stream.bosh_terms import BoshLimits
from megaphone.web.bosh import Bosh, BoshSettings
from megaphone.web.routes import Route
from megaphone.web.server import WebServer
from tests.unit.edge.conftest import MakeEdge
from tests.unit.edge.edge_under_test import EdgeUnderTest, ScriptedServer
from tests.unit.edge.peer import Peer
from tests.unit.stream.bosh_people import body
from tests.unit.web.http_dialogue import POST, HTTPPeer, Site, browser, request

SECURE = ("X-Forwarded-Proto: https",)
WAIT_SECONDS = 20  # longer than any pause of this process: only who asks for less gets an empty answer


class Turns:
    """A loop that has a turn at every step of the edge."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()

    def pump(self) -> None:
        self.loop.call_soon(self.loop.stop)
        self.loop.run_forever()

    def abort(self) -> None:
        """Nothing of ours is in the edge."""


class BoshUnderTest:
    """The sessions of `workers` workers that share one edge and one bus; requests come to the first."""

    def __init__(
        self, edge: EdgeUnderTest, *, workers: int = 1, sessions: int = 8, wrong_sids: int = 4, **limits: Any
    ) -> None:
        self.edge = edge
        self.turns = Turns()
        edge.peers.append(self.turns)  # type: ignore[arg-type]
        loop = self.turns.loop
        self.subjects = Subjects(None, later=loop.call_soon, fault=edge.faults.append)
        settings = BoshSettings(
            BoshLimits(**{"wait": WAIT_SECONDS, "polling": 0, **limits}), sessions, wrong_sids, depth=64, attributes=64
        )
        self.workers = [
            Bosh(
                loop=loop,
                clients=edge.clients,
                board=edge.board,
                index=index,
                workers=workers,
                bus=self.subjects if workers > 1 else None,
                settings=settings,
            )
            for index in range(workers)
        ]
        edge.clients.listener_at = lambda place: edge.listeners[-1].facts
        self.site = Site()

    def server(self) -> WebServer:
        routes = [
            Route(f"/bosh{index}", POST, partial(bosh.take, place=0), body_limit_bytes=20_000)
            for index, bosh in enumerate(self.workers)
        ]
        return self.site.server(*routes)

    def browser(self) -> HTTPPeer:
        return browser(self.edge, self.server())

    def end(self) -> None:
        """End all sessions, and wait for the end of their streams."""
        for worker in self.workers:
            worker.drain("system-shutdown", replaced=False)
        for listener in self.edge.listeners:
            listener.close()
        self.edge.listeners.clear()
        for peer in self.edge.peers:
            if peer is not self.turns:
                peer.abort()
        self.edge.until(lambda: self.edge.dispatcher.open_connections == 0, "the end of all streams")
        sessions = [live for worker in self.workers for live in worker._sessions.values()]
        self.edge.until(lambda: all(live._socket is None for live in sessions), "the other end of them")
        self.close()

    def close(self) -> None:
        """Let go of all that refers to the edge."""
        self.turns.pump()
        self.edge.peers.remove(self.turns)  # type: ignore[arg-type]
        self.turns.loop.close()
        del self.edge, self.workers, self.subjects, self.turns


@pytest.fixture
def make_bosh(make_edge: MakeEdge, server: ScriptedServer) -> Iterator[Any]:
    """Make sessions in front of the server."""
    made: list[BoshUnderTest] = []

    def make(**options: Any) -> BoshUnderTest:
        made.append(BoshUnderTest(make_edge(server), **options))
        return made[-1]

    yield make
    for bosh in made:
        bosh.end()
    gc.collect()  # sessions and their worker refer to each other


class BoshPeer:
    """One client, with as many HTTP connections as it needs."""

    def __init__(self, bosh: BoshUnderTest) -> None:
        self.bosh = bosh
        self.sid = ""

    def post(self, text: bytes, worker: int = 0) -> HTTPPeer:
        return self.bosh.browser().send(request(f"/bosh{worker}", *SECURE, method="POST", body=text))

    def send(self, rid: int, attributes: str = "", inner: str = "", worker: int = 0) -> HTTPPeer:
        said = f"sid='{self.sid}' {attributes}" if self.sid else attributes
        return self.post(body(rid, said, inner), worker)

    @staticmethod
    def answer(peer: HTTPPeer) -> ET.Element:
        answer = peer.expect(200)
        assert answer.headers["content-type"] == "text/xml; charset=utf-8"
        peer.peer.close()
        return ET.fromstring(answer.body)

    def open(self, server: Any, attributes: str = "wait='60' hold='1' to='example.org'", worker: int = 0) -> Peer:
        """Begin, with features of the server; the edge's connection to it."""
        asked = self.send(1, attributes, worker=worker)
        upstream: Peer = server.accept()
        upstream.expect_through(b"version='1.0'>")
        upstream.send(
            b"<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'"
            b" from='example.org' id='s1' version='1.0'><stream:features/>"
        )
        first = self.answer(asked)
        assert first.get("authid") == "s1"
        assert [element.tag for element in first] == ["{http://etherx.jabber.org/streams}features"]
        self.sid = first.get("sid", "")
        return upstream
