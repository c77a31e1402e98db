"""A connection that moves to another edge: wherever it is in its dialogue, the rest of it is the same."""

import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from megaphone.config.schema import Limits
from megaphone.dispatch.counters import Reason
from megaphone.dispatch.marks import Marks
from megaphone.edge.admission import Admission
from megaphone.edge.connection import restore_connection
from megaphone.edge.sketch import Sketch
from megaphone.errors import MoveError
from megaphone.uplink.direct import restore_stream
from tests.unit.edge import websocket_dialogue as ws
from tests.unit.edge.conftest import MakeEdge
from tests.unit.edge.dialogue import ANSWER, AUTH, END, FEATURES, HEADER, MESSAGE, SUCCESS
from tests.unit.edge.edge_under_test import EdgeUnderTest, ScriptedServer, open_descriptors
from tests.unit.uplink.hand_over import Moving, Successor
from tests.unit.wire.websocket_frames import frame

PROXY = b"PROXY TCP4 192.0.2.7 198.51.100.1 40000 5222\r\n"
BIND = b"<iq id='b' type='set'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>"
BOUND = (
    b"<iq id='b' type='result'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'>"
    b"<jid>romeo@example.org/orchard</jid></bind></iq>"
)
Dialogue = Iterator[None]


class Heir(Successor):
    """A successor of an edge in mode `direct`."""

    def take(self) -> None:
        """Everything moves; what is in the middle of a handshake is not in these dialogues."""
        here = self.before.dispatcher.connections()
        self.before.poller.frozen = True
        there = [self.build(connection) for connection in here]
        for each in there:
            each.activate()
            if each.owner is not None:
                each.owner.activate(each)
        self._take_board()
        for connection in here:
            if connection.owner is not None:
                connection.owner.leave(connection)
            connection.leave()
        self._take_peers()
        for server in self.edge.servers:
            server.edge = self.edge
        self.before.poller.frozen = False

    def build(self, connection: Any) -> Any:
        """Its like, asleep."""
        exported = connection.export()
        assert exported is not None
        restored = restore_connection(self.edge.clients, connection.id, exported.data, self._descriptors(exported))
        if connection.owner is not None:
            owned = connection.owner.export(connection)
            restored.owner = restore_stream(self.edge.uplink, restored, owned.data, self._descriptors(owned))
        return restored


class Inheritance(Moving):
    """Makes edges and their heirs."""

    def heir(self, before: EdgeUnderTest) -> Heir:
        """One that is to take over."""
        made = Heir(self._make_edge, before, *self._servers, **self._options)
        made.edge.sketch = Sketch(self._sketch, 0, 1, keep=True)
        made.edge.clients.admission = Admission(made.edge.sketch, Limits())
        return made


# --- dialogues ---


def login(edge: EdgeUnderTest, server: ScriptedServer) -> Dialogue:
    """From the PROXY header to goodbye, in pieces that end anywhere."""
    client = edge.connect(edge.listen(proxy_from=("127.0.0.0/8",)))
    edge.until(lambda: edge.dispatcher.connections(), "the connection")
    yield
    for piece in (PROXY[:9], PROXY[9:], HEADER[:30]):
        client.send(piece)
        yield
    client.send(HEADER[30:])
    upstream = server.accept().expect(HEADER).send(ANSWER[:40])
    client.expect(ANSWER[:40])
    yield
    upstream.send(ANSWER[40:] + FEATURES[:20])
    client.expect(ANSWER[40:] + FEATURES[:20])
    yield
    upstream.send(FEATURES[20:])
    client.expect(FEATURES[20:]).send(AUTH[:10])
    upstream.expect(AUTH[:10])
    yield
    client.send(AUTH[10:])
    upstream.expect(AUTH[10:]).send(SUCCESS)
    client.expect(SUCCESS)
    yield
    client.send(HEADER)
    upstream.expect(HEADER).send(ANSWER + b"<stream:features/>")
    client.expect(ANSWER + b"<stream:features/>")
    yield
    client.send(BIND)
    upstream.expect(BIND).send(BOUND[:100])
    client.expect(BOUND[:100])
    yield
    upstream.send(BOUND[100:])
    client.expect(BOUND[100:])
    yield
    client.send(MESSAGE[:25])
    upstream.expect(MESSAGE[:25])
    yield
    client.send(MESSAGE[25:] + MESSAGE)
    upstream.expect(MESSAGE[25:] + MESSAGE)
    yield
    client.send(END)
    upstream.expect(END)
    yield
    upstream.send(END).close()
    client.expect(END).expect_end().close()


def kicked(edge: EdgeUnderTest, server: ScriptedServer) -> Dialogue:
    """The end of a connection waits for the server's stanza, which is half said."""
    client = edge.connect(edge.listen())
    client.send(HEADER)
    upstream = server.accept().expect(HEADER).send(ANSWER + FEATURES + MESSAGE[:20])
    client.expect(ANSWER + FEATURES + MESSAGE[:20])
    edge.only().finish("policy-violation", Reason.KICKED)
    yield
    upstream.send(MESSAGE[20:] + MESSAGE)
    client.expect(MESSAGE[20:]).expect_error("policy-violation").close()


def half_closed(edge: EdgeUnderTest, server: ScriptedServer) -> Dialogue:
    """The client has hung up its half, and the server has still something to say."""
    client = edge.connect(edge.listen())
    client.send(HEADER)
    upstream = server.accept().expect(HEADER).send(ANSWER + FEATURES)
    client.expect(ANSWER + FEATURES).send(END).finish()
    upstream.expect(END).expect_end()
    yield
    upstream.send(MESSAGE)
    client.expect(MESSAGE)
    yield
    upstream.send(END).close()
    client.expect(END).expect_end().close()


def websocket(edge: EdgeUnderTest, server: ScriptedServer) -> Dialogue:
    """A WebSocket, in frames, messages and stanzas that end anywhere."""
    client = ws.connected(edge)
    yield
    opening = frame(ws.TEXT, ws.OPEN[:20], more=True) + frame(ws.CONTINUATION, ws.OPEN[20:])
    client.send_raw(opening[:1])
    yield
    client.send_raw(opening[1:4])
    yield
    client.send_raw(opening[4:20])
    yield
    client.send_raw(opening[20:])
    upstream = server.accept().expect(ws.STREAM).send(ws.ANSWER[:40])
    yield
    upstream.send(ws.ANSWER[40:] + ws.FEATURES[:10])
    client.expect(ws.OPENED)
    yield
    upstream.send(ws.FEATURES[10:])
    client.expect(ws.FEATURES_MESSAGE)
    ws.log_in(client, upstream)
    yield
    long = "<message><body>\u4e00\u4e01".encode() + b"x" * 200 + b"</body></message>"
    said = frame(ws.TEXT, long)
    for begin, end in ((0, 1), (1, 3), (3, 6), (6, 8), (8, 25), (25, 100)):
        client.send_raw(said[begin:end])
        yield
    client.send_raw(said[100:])
    upstream.expect(long).send(long[:50])
    assert client.take_frame()[:2] == (ws.TEXT, False)
    yield
    upstream.send(long[50:])
    assert client.take_frame() == (ws.CONTINUATION, True, long[50:])
    client.send_frame(ws.PING, b"1").expect_control(ws.PONG, b"1")
    yield
    client.send(ws.CLOSE)
    upstream.expect(END)
    yield
    upstream.send(END).close()
    client.expect(ws.CLOSE).expect_close(1000)


STEPS = {login: 14, kicked: 1, half_closed: 2, websocket: 16}


@pytest.mark.parametrize(
    ("dialogue", "step"), [(each, step) for each, steps in STEPS.items() for step in range(1, steps + 1)]
)
def test_wherever_it_moves_the_rest_is_the_same(
    make_edge: MakeEdge,
    server: ScriptedServer,
    dialogue: Callable[[EdgeUnderTest, ScriptedServer], Dialogue],
    step: int,
) -> None:
    family = Inheritance(make_edge, server)
    edge = family.edge()
    heir = family.heir(edge)
    server.edge = edge
    telling = dialogue(edge, server)
    for _ in range(step):
        next(telling)
    edge.step()
    before = edge.only().describe()
    heir.take()
    after = heir.edge.only().describe()
    assert {**after, "age_seconds": before["age_seconds"]} == before
    for _ in telling:
        step += 1
    assert step == STEPS[dialogue], "each step was tried"
    heir.edge.wait_closed(Reason.KICKED if dialogue is kicked else Reason.CLIENT_CLOSED)


# --- what is said, and when again ---


def test_a_connection_is_said_again_when_and_only_when_it_has_changed(
    make_edge: MakeEdge, server: ScriptedServer
) -> None:
    edge = make_edge(server)
    telling = login(edge, server)
    marks = Marks(edge.dispatcher)

    def changed() -> list[Any]:
        marks.restart()
        found = []
        while not marks.at_end:
            found += marks.next(100)
        return found

    records = set()
    for _ in telling:
        edge.step()
        connections = edge.dispatcher.connections()
        assert changed() == connections
        for connection in connections:
            assert marks.note(connection) == 0
            records.add(connection.export().data)
        assert changed() == []
        edge.sweep()
        assert changed() == []
    assert len(records) == STEPS[login]
    assert marks.said == 1
    edge.until(lambda: not edge.dispatcher.open_connections, "its end")
    assert len(marks.gone(10)) == 1
    assert marks.said == 0


def test_what_is_not_used_after_all_leaves_no_trace(make_edge: MakeEdge, server: ScriptedServer) -> None:
    family = Inheritance(make_edge, server)
    edge = family.edge()
    heir = family.heir(edge)
    server.edge = edge
    telling = login(edge, server)
    for _ in range(12):
        next(telling)
    descriptors = open_descriptors()
    for _ in range(3):
        built = heir.build(edge.only())
        assert heir.edge.gauges() == {"OPEN_AUTHENTICATED": 1}
        built.owner.leave(built)
        built.leave()
        assert heir.edge.gauges() == {}
        assert open_descriptors() == descriptors
    for _ in telling:
        pass


# --- records of a stranger ---


def test_a_record_that_cannot_be_used_costs_nothing(make_edge: MakeEdge, server: ScriptedServer) -> None:
    edge = make_edge(server)
    telling = login(edge, server)
    for _ in range(12):
        next(telling)
    heir = Heir(make_edge, edge, server)
    records = {"client": edge.only().export().data, "direct": edge.only().owner.export(edge.only()).data}

    @settings(max_examples=300, derandomize=True, deadline=None)
    @given(st.sampled_from(["client", "direct"]), st.data())
    def check(kind: str, draws: st.DataObject) -> None:
        record = bytearray(records[kind])
        for _ in range(draws.draw(st.integers(1, 3))):
            at = draws.draw(st.integers(0, len(record)))
            record[at : at + draws.draw(st.integers(0, 2))] = draws.draw(st.binary(max_size=3))
        before = open_descriptors()
        one, other = socket.socketpair()
        try:
            if kind == "client":
                restore_connection(heir.edge.clients, 1, bytes(record), [one.detach()]).leave()
            else:
                restore_stream(heir.edge.uplink, edge.only(), bytes(record), [one.detach()]).leave(edge.only())
        except MoveError:
            pass
        other.close()
        assert open_descriptors() == before
        assert heir.edge.gauges() == {}
        assert heir.edge.pool.upstreams[0].open == 0

    check()
    for _ in telling:
        pass


def test_descriptors_that_are_too_few_or_too_many_are_closed(make_edge: MakeEdge, server: ScriptedServer) -> None:
    edge = make_edge(server)
    telling = login(edge, server)
    for _ in range(12):
        next(telling)
    heir = Heir(make_edge, edge, server)
    connection = edge.only()
    before = open_descriptors()
    for descriptors in ([], [each.detach() for each in socket.socketpair()]):
        with pytest.raises(MoveError):
            restore_connection(heir.edge.clients, 1, connection.export().data, descriptors)
    assert open_descriptors() == before
    for _ in telling:
        pass
