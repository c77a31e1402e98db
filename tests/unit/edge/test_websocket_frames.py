"""Frames against the XMPP listener, broken ones above all; numbers are those of cases of the Autobahn test suite.

What a frame is in itself is tested with the codec (tests/golden/websocket.toml); here a whole connection answers.
"""

import contextlib
import random

import pytest
from msgspec.structs import replace

from megaphone.config.schema import Limits
from megaphone.dispatch.counters import Reason, Slot
from megaphone.dispatch.websocket_slots import WebSocketSlot
from tests.unit.edge.conftest import MakeEdge
from tests.unit.edge.dialogue import FAST
from tests.unit.edge.edge_under_test import ScriptedServer
from tests.unit.edge.websocket_dialogue import (
    BINARY,
    CLOSE,
    CLOSING,
    CONTINUATION,
    MESSAGE,
    OPEN,
    PING,
    PONG,
    STREAM,
    STREAM_END,
    TEXT,
    connected,
    logged_in,
    open_stream,
    upgraded,
)
from tests.unit.wire.websocket_frames import frame

HALF, REST = MESSAGE[:30], MESSAGE[30:]
BAD_FRAMES = {
    "2.5 a ping of 126 bytes": (frame(PING, b"x" * 126), "bad-format", 1002),
    "3.1 a reserved bit": (frame(TEXT, MESSAGE, rsv=1), "bad-format", 1002),
    "3.7 reserved bits of a close": (frame(CLOSING, rsv=7), "bad-format", 1002),
    "4.1.1 opcode 3": (frame(3), "bad-format", 1002),
    "4.2.1 opcode 11": (frame(11), "bad-format", 1002),
    "5.1 a ping in fragments": (frame(PING, b"a", more=True) + frame(CONTINUATION, b"b"), "bad-format", 1002),
    "5.9 a continuation of nothing": (frame(CONTINUATION, MESSAGE), "bad-format", 1002),
    "5.18 a message inside another one": (frame(TEXT, HALF, more=True) + frame(TEXT, REST), "bad-format", 1002),
    "6.3.1 no UTF-8": (frame(TEXT, b"<message><body>\xce\xba\xed\xa0\x80"), "not-well-formed", 1007),
    "6.4.1 no UTF-8 in a fragment": (
        frame(TEXT, b"<message><body>\xce\xba", more=True) + frame(CONTINUATION, b"\xf4\x90", more=True),
        "not-well-formed",
        1007,
    ),
    "7.3.2 a close of one byte": (frame(CLOSING, b"\x03"), "bad-format", 1002),
    "7.5.1 a reason that is no UTF-8": (frame(CLOSING, b"\x03\xe8\xce\xba\xff"), "not-well-formed", 1007),
    "7.9.3 a close with 1005": (frame(CLOSING, (1005).to_bytes(2, "big")), "bad-format", 1002),
    "7.9.1 a close with 0": (frame(CLOSING, bytes(2)), "bad-format", 1002),
    "1.2.1 a binary message": (frame(BINARY, MESSAGE), "bad-format", 1003),
    "not masked": (frame(TEXT, MESSAGE, key=None), "bad-format", 1002),
    "a length that is not minimal": (frame(TEXT, MESSAGE, form=64), "bad-format", 1002),
    "a length above 2**63": (b"\x81\xff" + b"\xff" * 8, "bad-format", 1002),
    "a message above the limit": (b"\x81\xff" + (10_000_000).to_bytes(8, "big"), "policy-violation", 1009),
}


@pytest.mark.parametrize("name", BAD_FRAMES)
@pytest.mark.parametrize("slowly", [False, True])
def test_a_bad_frame(make_edge: MakeEdge, server: ScriptedServer, name: str, slowly: bool) -> None:
    edge = make_edge(server)
    client, upstream = logged_in(edge, server)
    data, condition, code = BAD_FRAMES[name]
    if slowly:
        for byte in frame(TEXT, MESSAGE) + data:
            client.send_raw(bytes([byte]))
            edge.step()
    else:
        client.send_raw(frame(TEXT, MESSAGE) + data)
    client.expect_error(condition, code)
    upstream.expect(MESSAGE)  # what was right before it has arrived
    edge.until(lambda: upstream.ended, "the end of the server's stream")
    assert edge.board.get(WebSocketSlot.FRAMES_REFUSED) == 1
    assert edge.count(Slot.CLOSED_BY_REASON + Reason.INTERNAL) == 0  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["3.1 a reserved bit", "not masked", "1.2.1 a binary message"])
def test_a_bad_frame_before_any_stream(make_edge: MakeEdge, server: ScriptedServer, name: str) -> None:
    edge = make_edge(server)
    data, condition, code = BAD_FRAMES[name]
    connected(edge).send_raw(data).expect_error(condition, code, opened=True)
    server.expect_no_connection()


@pytest.mark.parametrize("payload", [b"", b"hello", bytes(range(125)), b"\xff" * 125])
def test_pings_are_answered(make_edge: MakeEdge, server: ScriptedServer, payload: bytes) -> None:
    """2.1 to 2.4."""
    edge = make_edge(server)
    client = connected(edge).send_frame(PING, payload).expect_control(PONG, payload)
    open_stream(client, server)
    client.send_frame(PING, payload).expect_control(PONG, payload)


def test_pongs_that_nobody_asked_for(make_edge: MakeEdge, server: ScriptedServer) -> None:
    """2.7 to 2.9."""
    edge = make_edge(server)
    client, upstream = logged_in(edge, server)
    client.send_raw(frame(PONG) + frame(PONG, b"x" * 125) + frame(PING, b"p") + frame(TEXT, MESSAGE))
    client.expect_control(PONG, b"p")
    upstream.expect(MESSAGE)


def test_many_pings(make_edge: MakeEdge, server: ScriptedServer) -> None:
    """2.10 and 2.11."""
    edge = make_edge(server)
    client, _ = logged_in(edge, server)
    client.send_raw(b"".join([frame(PING, b"%d" % number) for number in range(10)]))
    for number in range(10):
        client.expect_control(PONG, b"%d" % number)


def test_fragments_with_control_frames_between(make_edge: MakeEdge, server: ScriptedServer) -> None:
    """5.3 to 5.8, 5.19 and 5.20."""
    edge = make_edge(server)
    client, upstream = logged_in(edge, server)
    pieces = [MESSAGE[at : at + 7] for at in range(0, len(MESSAGE), 7)]
    for index, piece in enumerate(pieces):
        client.send_frame(CONTINUATION if index else TEXT, piece, more=index < len(pieces) - 1)
        if index < len(pieces) - 1:
            client.send_frame(PING, b"%d" % index).expect_control(PONG, b"%d" % index)
            client.send_raw(frame(CONTINUATION, more=True))
    upstream.expect(MESSAGE)


def test_a_message_in_fragments_without_end(make_edge: MakeEdge, server: ScriptedServer) -> None:
    edge = make_edge(server)
    client, upstream = logged_in(edge, server)
    client.send_raw(frame(TEXT, b"<message>", more=True) + frame(CONTINUATION, b"", more=True) * 2000)
    client.expect_error("policy-violation", 1008)
    edge.until(lambda: upstream.ended, "the end of the server's stream")


def test_a_stanza_in_fragments_without_end(make_edge: MakeEdge, server: ScriptedServer) -> None:
    edge = make_edge(server, limits=Limits(stanza_bytes=10_000))
    client, _ = logged_in(edge, server)
    client.send_raw(
        frame(TEXT, b"<message><body>", more=True) + frame(CONTINUATION, b"x" * 1000, more=True) * 12
    ).expect_error("policy-violation", 1009)
    edge.wait_closed(Reason.POLICY_VIOLATION)


@pytest.mark.parametrize("tail", [(1000).to_bytes(2, "big"), (3000).to_bytes(2, "big") + b"reason", b""])
def test_a_close_is_answered_with_the_same(make_edge: MakeEdge, server: ScriptedServer, tail: bytes) -> None:
    """7.1.1, 7.3.1, 7.3.3 to 7.3.5, 7.7."""
    edge = make_edge(server)
    client = connected(edge).send_frame(CLOSING, tail)
    client.expect_close(int.from_bytes(tail[:2], "big") if tail else None)
    edge.wait_closed(Reason.CLIENT_CLOSED)


def test_nothing_counts_behind_a_close(make_edge: MakeEdge, server: ScriptedServer) -> None:
    """7.1.2 to 7.1.6."""
    edge = make_edge(server)
    client, upstream = logged_in(edge, server)
    client.send_raw(frame(CLOSING) + frame(TEXT, MESSAGE) + frame(PING) + frame(CLOSING))
    upstream.expect_end().close()
    client.expect_close(None)


@pytest.mark.parametrize("seed", range(8))
def test_whatever_comes_has_an_end(make_edge: MakeEdge, server: ScriptedServer, seed: int) -> None:
    """Frames with mistakes anywhere, in reads of any size: no fault of ours, no connection left behind."""
    choice = random.Random(seed)
    edge = make_edge(server, limits=replace(FAST, preauth_seconds=60.0))
    address = edge.listen(websocket=True)
    for _ in range(25):
        client = upgraded(edge.connect(address)).peer
        data = bytearray(frame(TEXT, OPEN))
        for _ in range(choice.randrange(1, 6)):
            message = choice.choice([MESSAGE, CLOSE, OPEN, b"", b" ", b"<", "<a>\u4e00</a>".encode(), STREAM])
            opcode = choice.choice([TEXT, TEXT, TEXT, CONTINUATION, PING, PONG, CLOSING, BINARY])
            data += frame(opcode, message, more=choice.random() < 0.2, form=choice.choice([0, 0, 0, 16, 64]))
        for _ in range(choice.randrange(3)):
            data[choice.randrange(len(data))] = choice.randrange(256)
        while data and not client.ended:
            size = choice.randrange(1, 40)
            client.queue(bytes(data[:size]))
            del data[:size]
            edge.step()
        client.finish()
    servers = []
    while len(edge.closed) < 25:
        with contextlib.suppress(BlockingIOError):
            servers.append(server.socket.accept()[0])
        for each in servers:
            each.close()
        for _ in range(20):
            edge.step()
    assert Reason.INTERNAL not in edge.reasons()
    assert not edge.faults


# --- messages (RFC 7395 section 3.3) ---

BAD_MESSAGES = {
    "an empty one": (b"", "bad-format"),
    "white space, which keeps a TCP connection alive": (b" ", "bad-format"),
    "white space first": (b" <presence/>", "bad-format"),
    "text": (b"hello", "bad-format"),
    "two stanzas": (b"<presence/><presence/>", "bad-format"),
    "a stanza, and half of another one": (b"<presence/><presence", "bad-format"),
    "half a stanza": (b"<presence>", "not-well-formed"),
    "a stream header": (STREAM, "not-well-formed"),
    "a stream header with a declaration": (b"<?xml version='1.0'?>" + STREAM, "restricted-xml"),
    "the stream's end": (STREAM_END, "bad-format"),
    "<open/> and a stanza": (OPEN + b"<presence/>", "not-well-formed"),
    "<open/> once more": (OPEN, "not-well-formed"),
    "a comment": (b"<!-- --><presence/>", "restricted-xml"),
    "an entity": (b"<message><body>&x;</body></message>", "restricted-xml"),
    "a stanza behind a close": (CLOSE + b"<presence/>", "not-well-formed"),
}


@pytest.mark.parametrize("name", BAD_MESSAGES)
def test_a_bad_message(make_edge: MakeEdge, server: ScriptedServer, name: str) -> None:
    edge = make_edge(server)
    client, upstream = logged_in(edge, server)
    message, condition = BAD_MESSAGES[name]
    client.send(MESSAGE, message).expect_error(condition, 1008)
    assert upstream.expect_through(b"</message>") == MESSAGE
    edge.until(lambda: upstream.ended, "the end of the server's stream")
    assert b"presence/>" not in upstream.received


def test_half_a_stanza_does_not_go_on_in_the_next_message(make_edge: MakeEdge, server: ScriptedServer) -> None:
    edge = make_edge(server)
    client, _ = logged_in(edge, server)
    client.send(HALF, REST).expect_error("not-well-formed", 1008)


def test_nothing_counts_behind_close(make_edge: MakeEdge, server: ScriptedServer) -> None:
    edge = make_edge(server)
    client, upstream = logged_in(edge, server)
    client.send(CLOSE, MESSAGE)
    upstream.expect(STREAM_END)
    client.expect_error("bad-format", 1008)


@pytest.mark.parametrize("message", [MESSAGE, CLOSE, STREAM, b"<open/>", b"<open xmlns='jabber:client'/>"])
def test_a_stream_begins_with_open(make_edge: MakeEdge, server: ScriptedServer, message: bytes) -> None:
    edge = make_edge(server)
    connected(edge).send(message).expect_error("bad-format", 1008, opened=True)
    server.expect_no_connection()


def test_open_in_fragments(make_edge: MakeEdge, server: ScriptedServer) -> None:
    edge = make_edge(server)
    client = connected(edge)
    for index in range(len(OPEN)):
        client.send_frame(CONTINUATION if index else TEXT, OPEN[index : index + 1], more=index < len(OPEN) - 1)
        edge.step()
    server.accept().expect(STREAM)


def test_stanzas_right_behind_open(make_edge: MakeEdge, server: ScriptedServer) -> None:
    edge = make_edge(server)
    connected(edge).send(OPEN, b"<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>")
    server.accept().expect(STREAM + b"<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>")
