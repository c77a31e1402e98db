"""The NATS protocol: what a server says is understood however it is cut, and nonsense is refused early."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from megaphone.bus import nats_wire as wire
from megaphone.bus.nats_wire import Delivery, Info, Parser, Ping, Pong, Trouble
from megaphone.errors import BusError

LIMIT = 100_000

words = st.text("abcdefghijklmnopqrstuvwxyz.$_*", min_size=1, max_size=20).map(str.encode)
headers = st.one_of(
    st.just(b""),
    st.just(b"NATS/1.0 503\r\n\r\n"),
    st.dictionaries(st.sampled_from(["Nats-TTL", "a"]), st.sampled_from(["5s", ""])).map(wire.encode_headers),
)
deliveries = st.builds(
    Delivery, words, st.integers(0, 2**40), st.one_of(st.just(b""), words), headers, st.binary(max_size=300)
)
operations = st.one_of(
    deliveries,
    st.builds(Ping),
    st.builds(Pong),
    st.sampled_from(["Slow Consumer", "Authorization Violation"]).map(Trouble),
    st.dictionaries(st.text(max_size=5), st.integers(0, 9), max_size=3).map(Info),
)


def said(operation: wire.Operation) -> bytes:
    """As a server says it."""
    if isinstance(operation, Delivery):
        where = b" ".join(filter(None, (operation.subject, b"%d" % operation.sid, operation.reply)))
        length = len(operation.headers) + len(operation.payload)
        if operation.headers:
            head = b"HMSG %b %d %d\r\n" % (where, len(operation.headers), length)
        else:
            head = b"MSG %b %d\r\n" % (where, length)
        return head + operation.headers + operation.payload + b"\r\n"
    if isinstance(operation, Info):
        return wire.encode_connect(operation.fields).replace(b"CONNECT", b"INFO", 1)
    if isinstance(operation, Trouble):
        return f"-ERR '{operation.text}'\r\n".encode()
    return wire.PING if isinstance(operation, Ping) else wire.PONG


@given(st.lists(operations, max_size=12), st.lists(st.integers(1, 40), min_size=1, max_size=30))
def test_however_it_is_cut(expected: list[wire.Operation], cuts: list[int]) -> None:
    data = b"".join(map(said, expected))
    parser = Parser(LIMIT)
    got: list[wire.Operation] = []
    at = turn = 0
    while at < len(data):
        size = cuts[turn % len(cuts)]
        got += parser.feed(data[at : at + size])
        at, turn = at + size, turn + 1
    assert got == expected
    assert parser.held_bytes == 0


@given(st.binary(max_size=200))
def test_no_bytes_raise_anything_else(data: bytes) -> None:
    parser = Parser(LIMIT)
    try:
        parser.feed(data)
        parser.feed(b"\r\n")
    except BusError:
        pass


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 400 Bad Request\r\n",
        b"MSG a\r\n",
        b"MSG a 1 b c 5\r\n",
        b"MSG a 1 -5\r\n",
        b"MSG a 1 many\r\n",
        b"MSG a x 5\r\n",
        b"HMSG a 1 20 10\r\n",
        b"MSG a 1 3\r\nabcdef\r\n",
        b"MSG a 1 99999999999\r\n",
        b"INFO {\r\n",
        b"INFO [1]\r\n",
        b"x" * (wire.LINE_LIMIT_BYTES + 1),
        b"INFO " + b"x" * (wire.INFO_LIMIT_BYTES + 1),
    ],
)
def test_nonsense_is_refused(data: bytes) -> None:
    with pytest.raises(BusError):
        Parser(LIMIT).feed(data)


def test_statuses_and_fields() -> None:
    plain = Delivery(b"a", 1, b"", b"", b"")
    assert (plain.status, plain.fields) == (0, {})
    nobody = plain._replace(headers=b"NATS/1.0 503\r\n\r\n")
    assert nobody.status == 503
    beat = plain._replace(headers=b"NATS/1.0 100 Idle Heartbeat\r\nNats-Last-Consumer: 7\r\n\r\n")
    assert (beat.status, beat.fields) == (100, {"Nats-Last-Consumer": "7"})
    ours = plain._replace(headers=wire.encode_headers({"Nats-TTL": "5s"}))
    assert (ours.status, ours.fields) == (0, {"Nats-TTL": "5s"})


def test_what_is_said() -> None:
    assert wire.encode_publish(b"a.b", b"xyz") == b"PUB a.b 3\r\nxyz\r\n"
    assert wire.encode_publish(b"a", b"", b"r.1") == b"PUB a r.1 0\r\n\r\n"
    assert wire.encode_publish(b"a", b"xy", b"r", b"NATS/1.0\r\n\r\n") == b"HPUB a r 12 14\r\nNATS/1.0\r\n\r\nxy\r\n"
    assert wire.encode_subscribe(b"a.*", 7) == b"SUB a.* 7\r\n"
    assert wire.encode_unsubscribe(7) == b"UNSUB 7\r\n"
