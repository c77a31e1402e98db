"""A WebSocket client and its server (RFC 7395): streams opened and closed, stanzas both ways, and who ends it."""

import random
import ssl

import pytest
from lxml import etree
from msgspec.structs import replace

from megaphone.config.schema import Limits, WebSocket
from megaphone.dispatch.counters import Kind, Reason, Slot
from megaphone.dispatch.websocket_slots import WebSocketSlot
from megaphone.edge import opening
from megaphone.edge.websocket import websocket_bytes
from megaphone.sockets.tls_contexts import CertificateChoice
from megaphone.wire.link_open import Open, Transport
from tests.unit.edge.conftest import MakeEdge
from tests.unit.edge.dialogue import FAST
from tests.unit.edge.edge_under_test import ScriptedServer
from tests.unit.edge.websocket_dialogue import (
    CLOSE,
    CLOSING,
    CONTINUATION,
    MESSAGE,
    OPEN,
    PING,
    PONG,
    STREAM_END,
    TEXT,
    WebSocketPeer,
    connected,
    connected_in_tls,
    log_in,
    logged_in,
    open_stream,
    upgraded,
)
from tests.unit.wire.websocket_frames import frame

BARE = b"<message to='romeo@example.org'><body>Good night</body></message>"
FULL = b"<message xmlns='jabber:client' to='romeo@example.org'><body>Good night</body></message>"


def test_a_whole_session(make_edge: MakeEdge, server: ScriptedServer) -> None:
    edge = make_edge(server)
    client, upstream = logged_in(edge, server)
    assert edge.gauges() == {"OPEN_AUTHENTICATED": 1}
    assert edge.only().describe()["jid"] == "romeo@example.org/o"
    client.send(MESSAGE)
    upstream.expect(MESSAGE).send(BARE)
    client.expect(FULL).send(CLOSE)
    upstream.expect(STREAM_END).send(STREAM_END)
    client.expect(CLOSE)
    upstream.close()
    client.expect_close(1000)
    edge.wait_closed(Reason.CLIENT_CLOSED)
    assert edge.board.get(WebSocketSlot.OPENED) == 1
    assert edge.board.get(WebSocketSlot.OPEN) == 0


def test_stanzas_are_counted_as_on_tcp(make_edge: MakeEdge, server: ScriptedServer) -> None:
    edge = make_edge(server)
    client, upstream = logged_in(edge, server)
    before = {slot: edge.count(Slot(slot)) for slot in range(Slot.STANZAS_IN, Slot.STANZAS_OUT + 4)}
    client.send(MESSAGE, b"<presence/>", b"<iq type='get' id='1'/>", MESSAGE)
    upstream.expect(MESSAGE + b"<presence/><iq type='get' id='1'/>" + MESSAGE).send(BARE + b" <presence/>" + BARE)
    client.expect(FULL, b"<presence xmlns='jabber:client'/>", FULL)
    counted = {slot: edge.count(Slot(slot)) - value for slot, value in before.items()}
    assert [counted[Slot.STANZAS_IN + kind] for kind in (Kind.MESSAGE, Kind.PRESENCE, Kind.IQ)] == [2, 1, 1]
    assert [counted[Slot.STANZAS_OUT + kind] for kind in (Kind.MESSAGE, Kind.PRESENCE, Kind.IQ)] == [2, 1, 0]


def test_every_cut_of_the_bytes_gives_the_same(make_edge: MakeEdge, server: ScriptedServer) -> None:
    edge = make_edge(server)
    client, upstream = logged_in(edge, server)
    choice = random.Random(7)
    for _ in range(20):
        data = b""
        for message in (MESSAGE, "<message><body>\u00e9\u4e00\U0001f600</body></message>".encode(), b"<presence/>"):
            cut = choice.randrange(1, len(message))
            data += frame(TEXT, message[:cut], more=True) + frame(PING, b"p") + frame(CONTINUATION, message[cut:])
        cuts = sorted(choice.randrange(len(data)) for _ in range(choice.randrange(12)))
        for begin, end in zip([0, *cuts], [*cuts, len(data)], strict=True):
            client.send_raw(data[begin:end])
            edge.step()
        upstream.expect(MESSAGE + "<message><body>\u00e9\u4e00\U0001f600</body></message><presence/>".encode())
        for _ in range(3):
            client.expect_control(PONG, b"p")
    assert not edge.closed


def test_every_cut_of_the_servers_bytes_gives_the_same(make_edge: MakeEdge, server: ScriptedServer) -> None:
    edge = make_edge(server)
    client, upstream = logged_in(edge, server)
    choice = random.Random(8)
    for _ in range(20):
        data = BARE + "<iq id='\u00e9'><stream:x/></iq> <presence/>".encode()
        cuts = sorted(choice.randrange(len(data)) for _ in range(choice.randrange(12)))
        for begin, end in zip([0, *cuts], [*cuts, len(data)], strict=True):
            upstream.send(data[begin:end])
            edge.step()
        names = [etree.fromstring(client.take()) for _ in range(3)]
        assert [name.tag for name in names] == ["{jabber:client}" + name for name in ("message", "iq", "presence")]
        assert names[1][0].tag == "{http://etherx.jabber.org/streams}x"


def test_a_large_stanza_of_the_server_comes_in_fragments(make_edge: MakeEdge, server: ScriptedServer) -> None:
    edge = make_edge(server)
    client, upstream = logged_in(edge, server)
    body = b"x" * 400_000
    upstream.queue(b"<message><body>" + body + b"</body></message>" + BARE)
    opcode, final, _ = first = client.take_frame()
    assert (opcode, final) == (TEXT, False)
    said = first[2]
    while not final:
        opcode, final, more = client.take_frame()
        assert opcode == CONTINUATION
        said += more
    assert etree.fromstring(said)[0].text == body.decode()
    client.expect(FULL)


def test_a_ping_between_the_fragments_of_the_server(make_edge: MakeEdge, server: ScriptedServer) -> None:
    edge = make_edge(server)
    client, upstream = logged_in(edge, server)
    upstream.send(b"<message><body>half")
    assert client.take_frame()[:2] == (TEXT, False)
    client.send_frame(PING, b"there?").expect_control(PONG, b"there?")
    upstream.send(b" and half</body></message>")
    assert client.take_frame() == (CONTINUATION, True, b" and half</body></message>")


def test_the_server_closes(make_edge: MakeEdge, server: ScriptedServer) -> None:
    edge = make_edge(server)
    client, upstream = logged_in(edge, server)
    upstream.send(BARE + STREAM_END)
    client.expect(FULL, CLOSE).send(CLOSE)
    upstream.expect(STREAM_END).close()
    client.expect_close(1000)
    edge.wait_closed(Reason.SERVER_CLOSED)


def test_the_server_breaks_off(make_edge: MakeEdge, server: ScriptedServer) -> None:
    edge = make_edge(server)
    client, upstream = logged_in(edge, server)
    upstream.send(BARE + b"<message><body>half")
    client.expect(FULL)
    assert client.take_frame()[:2] == (TEXT, False)
    upstream.close()
    client.expect_close(1014)
    edge.wait_closed(Reason.REMOTE_CONNECTION_FAILED)


def test_the_server_breaks_off_between_stanzas(make_edge: MakeEdge, server: ScriptedServer) -> None:
    edge = make_edge(server)
    client, upstream = logged_in(edge, server)
    upstream.close()
    client.expect_error("remote-connection-failed", 1014)
    edge.wait_closed(Reason.REMOTE_CONNECTION_FAILED)


def test_the_client_closes_the_websocket_without_close(make_edge: MakeEdge, server: ScriptedServer) -> None:
    edge = make_edge(server)
    client, upstream = logged_in(edge, server)
    client.send_raw(frame(TEXT, MESSAGE) + frame(CLOSING, (1001).to_bytes(2, "big") + b"bye"))
    upstream.expect(MESSAGE).expect_end().close()
    client.expect_close(1001)
    edge.wait_closed(Reason.CLIENT_CLOSED)


def test_the_client_closes_and_hangs_up_at_once(make_edge: MakeEdge, server: ScriptedServer) -> None:
    edge = make_edge(server)
    client, upstream = logged_in(edge, server)
    client.send_raw(frame(TEXT, MESSAGE) + frame(CLOSING)).peer.finish()
    upstream.expect(MESSAGE).expect_end().send(BARE).close()
    client.expect(FULL).expect_close(None)
    edge.wait_closed(Reason.CLIENT_CLOSED)


def test_the_client_vanishes(make_edge: MakeEdge, server: ScriptedServer) -> None:
    edge = make_edge(server)
    client, upstream = logged_in(edge, server)
    client.peer.abort()
    upstream.expect_end().close()
    edge.wait_closed(Reason.CLIENT_RESET)


def test_an_operator_ends_it(make_edge: MakeEdge, server: ScriptedServer) -> None:
    edge = make_edge(server)
    client, upstream = logged_in(edge, server)
    upstream.send(b"<message><body>half")
    assert client.take_frame()[:2] == (TEXT, False)
    edge.only().finish("system-shutdown", Reason.SYSTEM_SHUTDOWN)
    client.peer.expect_nothing()  # the error waits for the stanza's end
    upstream.send(b"</body></message><presence/>")
    assert client.take_frame()[:2] == (CONTINUATION, True)
    client.expect_error("system-shutdown", 1001)
    edge.wait_closed(Reason.SYSTEM_SHUTDOWN)


def test_an_unknown_domain(make_edge: MakeEdge, server: ScriptedServer) -> None:
    edge = make_edge(server)
    connected(edge).send(OPEN.replace(b"example.org", b"other.org")).expect_error("host-unknown", 1008, opened=True)
    edge.wait_closed(Reason.HOST_UNKNOWN)


def test_a_server_that_is_no_xmpp_server(make_edge: MakeEdge, server: ScriptedServer) -> None:
    edge = make_edge(server)
    client = connected(edge).send(OPEN)
    server.accept().send(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    client.expect_error("remote-connection-failed", 1014, opened=True)


@pytest.mark.parametrize(
    "element",
    [
        b"<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>",
        b"<compressed xmlns='http://jabber.org/protocol/compress'/>",
    ],
)
def test_there_is_no_tls_and_no_compression_inside(make_edge: MakeEdge, server: ScriptedServer, element: bytes) -> None:
    edge = make_edge(server)
    client = connected(edge)
    open_stream(client, server).send(element)
    client.expect_error("unsupported-feature", 1008)


def test_an_idle_websocket_costs_little_more_than_tcp() -> None:
    """A quarter of a kilobyte of objects, of which malloc rounds each up to 16 bytes."""
    assert websocket_bytes() <= 320


def test_a_silent_client_is_pinged_and_its_pong_keeps_it(make_edge: MakeEdge, server: ScriptedServer) -> None:
    edge = make_edge(server, limits=Limits(idle_seconds=3), websocket=WebSocket(ping_seconds=0.5))
    client, _ = logged_in(edge, server)
    for _ in range(8):
        client.expect_control(PING).send_frame(PONG)
    assert not edge.closed
    assert edge.board.get(WebSocketSlot.PINGS_OUT) >= 8
    client.peer.reading = False
    client.peer.edge.until(lambda: edge.closed, "the end of a client that does not answer")
    edge.wait_closed(Reason.IDLE_TIMEOUT)


def test_pings_are_not_piled_up_for_a_client_that_does_not_read(make_edge: MakeEdge, server: ScriptedServer) -> None:
    limits = replace(FAST, mailbox_bytes=4096)
    edge = make_edge(server, limits=limits)
    client, _ = logged_in(edge, server, buffers=4096)
    client.peer.reading = False
    client.peer.queue(frame(PING, b"x" * 125) * 20_000)
    edge.until(lambda: not client.peer.unsent, "all pings are taken")
    edge.sweep()
    assert edge.count(Slot.MAILBOX_BYTES) <= 4096 + 127
    client.peer.abort()


def test_pings_count_like_stanzas(make_edge: MakeEdge, server: ScriptedServer) -> None:
    edge = make_edge(server, limits=Limits(stanzas_per_second=10, stanzas_burst=20))
    client, _ = logged_in(edge, server)
    client.send_raw(frame(PING) * 200)
    edge.until(lambda: edge.count(Slot.THROTTLED), "a client that is slowed down")


def test_over_its_rate_a_client_waits(make_edge: MakeEdge, server: ScriptedServer) -> None:
    edge = make_edge(server, limits=Limits(stanzas_per_second=50, stanzas_burst=20))
    client, upstream = logged_in(edge, server)
    client.send(*[b"<presence/>"] * 250)
    upstream.expect(b"<presence/>" * 250)
    assert edge.count(Slot.THROTTLED)


def test_a_server_that_does_not_read_slows_its_client_down(make_edge: MakeEdge, server: ScriptedServer) -> None:
    limits = replace(FAST, mailbox_bytes=4096)
    edge = make_edge(server, limits=limits)
    client, upstream = logged_in(edge, server)
    upstream.reading = False
    data = b"<message><body>" + b"x" * 10_000 + b"</body></message>"
    client.peer.queue(frame(TEXT, data) * 2000)
    for _ in range(200):
        edge.step()
    assert len(client.peer.unsent) > 1_000_000
    upstream.reading = True
    edge.until(lambda: upstream.total >= 2000 * len(data), "all of it")
    del upstream.received[:]


@pytest.mark.parametrize("tls", ["direct", "both"])
def test_wss(
    make_edge: MakeEdge,
    server: ScriptedServer,
    either_certificates: CertificateChoice,
    trusting_context: ssl.SSLContext,
    tls: str,
) -> None:
    edge = make_edge(server)
    client = connected_in_tls(edge, either_certificates, trusting_context, tls)
    upstream = open_stream(client, server)
    facts = Open.decode(opening.link_facts(edge.only()))
    assert facts.transport == Transport.WEBSOCKET_TLS
    log_in(client, upstream)
    client.send(MESSAGE)
    upstream.expect(MESSAGE).send(BARE * 50)
    client.expect(*[FULL] * 50).send(CLOSE)
    upstream.expect(STREAM_END).send(STREAM_END)
    client.expect(CLOSE)
    upstream.close()
    client.expect_close(1000)
    edge.wait_closed(Reason.CLIENT_CLOSED)


def test_a_plain_websocket_is_called_one_on_a_link(make_edge: MakeEdge, server: ScriptedServer) -> None:
    edge = make_edge(server)
    client = connected(edge)
    open_stream(client, server)
    assert Open.decode(opening.link_facts(edge.only())).transport == Transport.WEBSOCKET
    assert isinstance(upgraded(edge.connect(edge.listen(websocket=True))), WebSocketPeer)
