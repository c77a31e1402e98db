"""Requests cut anywhere are answered the same, and damaged ones never break anything."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.unit.edge.conftest import MakeEdge
from tests.unit.edge.edge_under_test import EdgeUnderTest
from tests.unit.edge.websocket_dialogue import LIMITS
from tests.unit.edge.websocket_dialogue import request as upgrade
from tests.unit.web.http_dialogue import Site, browser, request

CHUNKED = b"3\r\none\r\n8;ext=1\r\ntwothree\r\n0\r\nTrailer: x\r\n\r\n"
DIALOGUE = b"".join(
    [
        request("/"),
        request("/take", method="POST", body=b"body\r\n\r\nGET / HTTP/1.1\r\n\r\n"),
        request("/nothing?x=%ff"),
        request("/take", "Transfer-Encoding: chunked", method="POST") + CHUNKED,
        request("/open", method="OPTIONS"),
        request("/files/%C3%A4", "Accept: */*"),
        request("/take", method="HEAD"),
        request("/", "Connection: close"),
    ]
)
ANSWERS = [200, 200, 404, 200, 204, 200, 405, 200]
STATUS = re.compile(rb"HTTP/1\.1 ([0-9]{3}) ")
LINE = re.compile(rb"[A-Z]+ [^ ]+ HTTP/1\.1\r\n")
DATE = re.compile(rb"Date: [^\r]*\r\n")
MANY = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def edge(make_edge: MakeEdge) -> EdgeUnderTest:
    return make_edge("127.0.0.1:1", limits=LIMITS)


def answers_to(edge: EdgeUnderTest, site: Site, pieces: list[bytes]) -> bytes:
    """All that comes back until the connection ends; the client says FIN behind its last piece."""
    client = browser(edge, site.server()).peer
    for piece in pieces:
        client.queue(piece)
        edge.turn()
    edge.until(lambda: client.pump() or not client.unsent or client.ended, "room")
    edge.step()
    client.finish()
    edge.until(lambda: client.ended, "the end", client)
    received = DATE.sub(b"", bytes(client.received))
    client.close()
    while edge.listeners:
        edge.listeners.pop().close()
    return received


def test_cut_anywhere(edge: EdgeUnderTest) -> None:
    whole = answers_to(edge, Site(), [DIALOGUE])
    assert [int(status) for status in STATUS.findall(whole)] == ANSWERS

    @MANY
    @given(st.lists(st.integers(0, len(DIALOGUE)), max_size=12))
    def cut(places: list[int]) -> None:
        ends = [0, *sorted(places), len(DIALOGUE)]
        site = Site()
        assert answers_to(edge, site, [DIALOGUE[a:b] for a, b in pairwise(ends)]) == whole
        assert [len(asked.body) for asked in site.asked] == [0, 26, 11, 0, 0]

    cut()


def test_damaged_anywhere(edge: EdgeUnderTest) -> None:
    site = Site()

    @MANY
    @given(
        st.integers(0, len(DIALOGUE)),
        st.integers(0, 40),
        st.sampled_from(
            [b"", b"\r\n", b"\n", b"\0", b"0", b"chunked", b"Content-Length: 3\r\n", upgrade(), b"\xff" * 9]
        ),
    )
    def damage(place: int, gone: int, instead: bytes) -> None:
        site.asked.clear()
        sent = DIALOGUE[:place] + instead + DIALOGUE[place + gone :]
        received = answers_to(edge, site, [sent])
        statuses = [int(status) for status in STATUS.findall(received)]
        assert set(statuses) <= {200, 204, 400, 404, 405, 408, 413, 431, 501, 505}, received
        assert len(site.asked) <= len(statuses) <= len(LINE.findall(sent)) + 1

    damage()
    assert edge.faults == []
