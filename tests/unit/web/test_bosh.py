"""Sessions over BOSH: HTTP requests on one side, on the other a server that sees an ordinary stream."""

from typing import Any

import pytest

from megaphone.dispatch.bosh_slots import BoshSlot
from megaphone.stream.bosh_body import read_body
from megaphone.web.bosh import worker_of
from tests.unit.edge.edge_under_test import ScriptedServer
from tests.unit.web.bosh_dialogue import BoshPeer
from tests.unit.web.http_dialogue import request


def test_a_session(make_bosh: Any, server: ScriptedServer) -> None:
    bosh = make_bosh()
    client = BoshPeer(bosh)
    upstream = client.open(server)
    assert worker_of(client.sid) == 0
    assert len(client.sid) > 32
    held = client.send(2, inner="<message><body>hello</body></message>")
    upstream.expect(b"<message><body>hello</body></message>")
    upstream.send(b"<message id='1'/>")
    (message,) = client.answer(held)
    assert (message.tag, message.get("id")) == ("{jabber:client}message", "1")
    (row,) = [each.describe() for each in bosh.edge.dispatcher.connections() if each.describe()["transport"] == "bosh"]
    assert (row["address"], row["domain"]) == ("127.0.0.1", "example.org")
    last = client.send(3, "type='terminate'", "<presence type='unavailable'/>")
    upstream.expect(b"<presence type='unavailable'/></stream:stream>")
    assert client.answer(last).get("type") == "terminate"
    upstream.close()
    assert (bosh.edge.board.get(BoshSlot.OPENED), bosh.edge.board.get(BoshSlot.OPEN)) == (1, 0)
    assert client.answer(client.send(3, "type='terminate'")).get("type") == "terminate"


def test_a_request_whose_connection_breaks_comes_again(make_bosh: Any, server: ScriptedServer) -> None:
    client = BoshPeer(make_bosh())
    upstream = client.open(server)
    client.send(2, inner="<iq/>").peer.abort()
    upstream.expect(b"<iq/>")
    upstream.send(b"<message id='kept'/>")
    again = client.send(2, inner="<iq/>")
    assert [element.get("id") for element in client.answer(again)] == ["kept"]
    assert [element.get("id") for element in client.answer(client.send(2, inner="<iq/>"))] == ["kept"]
    client.send(3, inner="<presence/>")
    upstream.expect(b"<presence/>")


def test_an_empty_answer_after_wait(make_bosh: Any, server: ScriptedServer) -> None:
    client = BoshPeer(make_bosh())
    client.open(server, "wait='1' hold='1' to='example.org'")
    answer = client.answer(client.send(2))
    assert (len(answer), answer.get("type")) == (0, None)


def test_a_server_that_hangs_up(make_bosh: Any, server: ScriptedServer) -> None:
    client = BoshPeer(make_bosh())
    upstream = client.open(server)
    held = client.send(2)
    upstream.close()
    answer = client.answer(held)
    assert (answer.get("type"), answer.get("condition")) == ("terminate", "remote-connection-failed")


def test_requests_that_come_to_another_worker(make_bosh: Any, server: ScriptedServer) -> None:
    bosh = make_bosh(workers=2)
    client = BoshPeer(bosh)
    upstream = client.open(server, worker=1)
    assert worker_of(client.sid) == 1
    held = client.send(2, inner="<iq/>", worker=0)
    upstream.expect(b"<iq/>")
    large = b"<message><body>" + b"x" * 600_000 + b"</body></message>"
    upstream.send(large)
    (message,) = client.answer(held)
    assert len("".join(message.itertext())) == 600_000
    second = client.send(3, worker=0)
    client.send(4, inner="<presence/>", worker=1)
    upstream.expect(b"<presence/>")
    assert len(client.answer(second)) == 0
    client.send(5, inner="<a/>", worker=0).peer.abort()
    upstream.expect(b"<a/>")
    upstream.send(b"<message id='kept'/>")
    bosh.edge.until(lambda: not bosh.workers[0]._bus._asked, "the word that the client has gone")
    assert [element.get("id") for element in client.answer(client.send(5, inner="<a/>", worker=1))] in (["kept"], [])
    assert bosh.edge.board.get(BoshSlot.PASSED_ON) == 3


def test_sessions_that_are_not_there(make_bosh: Any, server: ScriptedServer) -> None:
    """A few cost nothing; then only sessions are served that the address has used before."""
    bosh = make_bosh(wrong_sids=2, workers=2)
    client, stranger = BoshPeer(bosh), BoshPeer(bosh)
    upstream = client.open(server)
    conditions = []
    for sid in ("0.unknown", "no sid at all", "7.unknown", "0.unknown"):
        stranger.sid = sid
        conditions.append(stranger.answer(stranger.send(5)).get("condition"))
    assert conditions == ["item-not-found", "item-not-found", "item-not-found", "policy-violation"]
    assert (bosh.edge.board.get(BoshSlot.WRONG_SID), bosh.edge.board.get(BoshSlot.LOCKED)) == (3, 1)
    client.send(2, inner="<iq/>")
    upstream.expect(b"<iq/>")


def test_more_sessions_than_there_may_be(make_bosh: Any, server: ScriptedServer) -> None:
    bosh = make_bosh(sessions=1)
    BoshPeer(bosh).open(server)
    BoshPeer(bosh).send(1, "to='example.org'").expect(503)
    assert bosh.edge.board.get(BoshSlot.REFUSED) == 1


def test_a_drain(make_bosh: Any, server: ScriptedServer) -> None:
    bosh = make_bosh()
    client = BoshPeer(bosh)
    client.open(server)
    held = client.send(2)
    bosh.edge.until(lambda: bosh.workers[0]._sessions[client.sid]._waiting, "a held request")
    bosh.workers[0].drain("system-shutdown", replaced=False)
    answer = client.answer(held)
    assert (answer.get("type"), answer.get("condition")) == ("terminate", "system-shutdown")
    late = BoshPeer(bosh)
    assert late.answer(late.send(1, "to='example.org'")).get("condition") == "system-shutdown"


@pytest.mark.parametrize(
    ("text", "status"),
    [
        (b"no XML", 200),
        (b"<body rid='1' type='terminate' xmlns='http://jabber.org/protocol/httpbind'/>", 200),
        (b"x" * 30_000, 413),
    ],
)
def test_what_begins_no_session(make_bosh: Any, text: bytes, status: int) -> None:
    client = BoshPeer(make_bosh())
    answer = client.post(text).take()
    assert answer.status == status
    if status == 200:
        assert b"type='terminate' condition='bad-request'" in answer.body


def test_another_method(make_bosh: Any) -> None:
    assert make_bosh().browser().send(request("/bosh0")).take().status == 405


def test_a_host_that_is_not_ours(make_bosh: Any) -> None:
    client = BoshPeer(make_bosh())
    answer = client.answer(client.send(1, "to='other.example'"))
    assert (answer.get("type"), answer.get("condition")) == ("terminate", "host-unknown")


@pytest.mark.parametrize(("sid", "worker"), [("0.abc", 0), ("12.x", 12), ("", None), ("x.1", None), ("99999.a", None)])
def test_a_sid_names_its_worker(sid: str, worker: int | None) -> None:
    assert worker_of(sid) == worker


def test_the_body_of_these_tests_is_one() -> None:
    assert read_body(b"<body rid='1' xmlns='http://jabber.org/protocol/httpbind'/>").rid == 1
