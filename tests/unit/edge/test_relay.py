"""Bytes between a client and its server: unchanged, counted, and understood where the edge must understand them."""

import random

import pytest

from megaphone.config.schema import Limits
from megaphone.dispatch.counters import Kind, Reason, Slot
from megaphone.edge.limits import ClientLimits
from tests.unit.edge.conftest import MakeEdge
from tests.unit.edge.dialogue import ANSWER, AUTH, END, FEATURES, HEADER, MESSAGE, SUCCESS, connect_through, logged_in
from tests.unit.edge.edge_under_test import EdgeUnderTest, ScriptedServer


def row(edge: EdgeUnderTest) -> dict[str, object]:
    """What an operator sees of the only connection."""
    (connection,) = edge.dispatcher.connections()
    described: dict[str, object] = connection.describe()
    return described


def test_a_whole_session_passes_unchanged(make_edge: MakeEdge, server: ScriptedServer) -> None:
    edge = make_edge(server)
    client, upstream = logged_in(edge, server)
    client.send(MESSAGE + b" \n<presence/>")
    upstream.expect(MESSAGE + b" \n<presence/>").send(b"<iq type='result' id='1'/>" + MESSAGE)
    client.expect(b"<iq type='result' id='1'/>" + MESSAGE).send(END)
    upstream.expect(END).send(END)
    client.expect(END)
    upstream.close()
    client.expect_end().close()
    edge.wait_closed(Reason.CLIENT_CLOSED)


def test_states_and_what_operators_see(make_edge: MakeEdge, server: ScriptedServer) -> None:
    edge = make_edge(server)
    client = edge.connect(edge.listen())
    edge.until(lambda: edge.count(Slot.ACCEPTED), "accept")
    assert edge.gauges() == {"OPEN_NEGOTIATING": 1}
    assert row(edge)["state"] == "negotiating"
    client.send(HEADER)
    upstream = server.accept()
    upstream.expect(HEADER)
    assert edge.gauges() == {"OPEN_CONNECTING": 1}
    upstream.send(ANSWER + FEATURES)
    client.expect(ANSWER + FEATURES)
    assert edge.gauges() == {"OPEN_RELAYING_PREAUTH": 1}
    described = row(edge)
    assert described["state"] == "preauth"
    assert described["address"] == "127.0.0.1"
    assert described["port"] == client.socket.getsockname()[1]
    assert (described["domain"], described["upstream"]) == ("example.org", "u0")
    assert (described["tls"], described["jid"], described["worker"]) == (None, None, 0)
    assert described["bytes_in"] == len(HEADER)
    assert described["bytes_out"] == len(ANSWER + FEATURES)


def test_stanzas_and_bytes_are_counted_by_direction_and_kind(make_edge: MakeEdge, server: ScriptedServer) -> None:
    edge = make_edge(server)
    client, upstream = connect_through(edge, server)
    up = b"<message/><presence/><presence></presence><iq/>" + AUTH
    down = b"<iq/><iq><query/></iq> <message/><a xmlns='urn:xmpp:sm:3' h='1'/>"
    client.send(up)
    upstream.expect(up).send(down)
    client.expect(down)

    def counts(slot: Slot) -> list[int]:
        return [edge.count(Slot(slot + kind)) for kind in (Kind.MESSAGE, Kind.PRESENCE, Kind.IQ, Kind.OTHER)]

    assert counts(Slot.STANZAS_IN) == [1, 2, 1, 1]
    assert counts(Slot.STANZAS_OUT) == [1, 0, 2, 1 + 1]  # and the features
    assert edge.count(Slot.BYTES_IN) == len(HEADER + up)
    assert edge.count(Slot.BYTES_OUT) == len(ANSWER + FEATURES + down)


def test_every_cut_of_the_bytes_gives_the_same(make_edge: MakeEdge, server: ScriptedServer) -> None:
    edge = make_edge(server)
    client = edge.connect(edge.listen())
    choice = random.Random(7)

    def say(sender: object, data: bytes) -> None:
        while data:
            length = choice.choice((1, 2, 3, 50))
            sender.send(data[:length])  # type: ignore[attr-defined]
            edge.step()
            data = data[length:]

    say(client, HEADER)
    upstream = server.accept()
    upstream.expect(HEADER)
    say(upstream, ANSWER + FEATURES)
    client.expect(ANSWER + FEATURES)
    say(client, AUTH)
    upstream.expect(AUTH)
    say(upstream, SUCCESS)
    client.expect(SUCCESS)
    assert edge.gauges() == {"OPEN_AUTHENTICATED": 1}
    say(client, HEADER + MESSAGE * 3)
    upstream.expect(HEADER + MESSAGE * 3)
    assert edge.count(Slot.STANZAS_IN) == 3


def test_a_header_and_what_follows_it_in_one_segment(make_edge: MakeEdge, server: ScriptedServer) -> None:
    edge = make_edge(server)
    client = edge.connect(edge.listen())
    client.send(HEADER + AUTH + HEADER + MESSAGE)
    server.accept().expect(HEADER + AUTH + HEADER + MESSAGE)


def test_white_space_before_a_header_opens_nothing_yet(make_edge: MakeEdge, server: ScriptedServer) -> None:
    edge = make_edge(server)
    client = edge.connect(edge.listen())
    client.send(b" \n").send(b"\t")
    server.expect_no_connection()
    header = HEADER.removeprefix(b"<?xml version='1.0'?>")
    client.send(header)
    server.accept().expect(b" \n\t" + header)


# --- the route ---


def test_a_domain_is_chosen_by_the_streams_to(make_edge: MakeEdge, server: ScriptedServer) -> None:
    edge = make_edge(server, domains=("example.org", "example.net"))
    address = edge.listen()
    for to in (b"example.net", b"EXAMPLE.net", b"example.net."):
        header = HEADER.replace(b"example.org", to)
        edge.connect(address).send(header)
        server.accept().expect(header)
    assert {connection.domain for connection in edge.dispatcher.connections()} == {"example.net"}


@pytest.mark.parametrize(
    "to", [b"to='other.example'", b"to='a b'", b"to='example.org.evil'", b"to='romeo@example.org'"]
)
def test_an_unknown_domain_gets_host_unknown(make_edge: MakeEdge, server: ScriptedServer, to: bytes) -> None:
    edge = make_edge(server)
    client = edge.connect(edge.listen())
    client.send(HEADER.replace(b"to='example.org'", to))
    client.expect_error("host-unknown", header=True).close()
    edge.wait_closed(Reason.HOST_UNKNOWN)
    server.expect_no_connection()


def test_a_stream_to_nobody_goes_to_the_only_domain(make_edge: MakeEdge, server: ScriptedServer) -> None:
    edge = make_edge(server)
    header = HEADER.replace(b"to='example.org' ", b"")
    edge.connect(edge.listen()).send(header)
    server.accept().expect(header)


def test_a_stream_to_nobody_is_host_unknown_where_there_are_two_domains(
    make_edge: MakeEdge, server: ScriptedServer
) -> None:
    edge = make_edge(server, domains=("example.org", "example.net"))
    client = edge.connect(edge.listen())
    client.send(HEADER.replace(b"to='example.org' ", b"")).expect_error("host-unknown", header=True)


@pytest.mark.parametrize(
    ("data", "condition", "reason"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", "not-well-formed", Reason.NOT_WELL_FORMED),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "not-well-formed", Reason.NOT_WELL_FORMED),
        (b"<!DOCTYPE a>", "restricted-xml", Reason.RESTRICTED_XML),
        (b"<?xml version='1.0' encoding='UTF-16'?><a xmlns='b'>", "unsupported-encoding", Reason.INVALID_XML),
        (b"<a:b>", "not-well-formed", Reason.NOT_WELL_FORMED),
        (b"<a b='1' b='2'>", "not-well-formed", Reason.NOT_WELL_FORMED),
    ],
)
def test_what_is_no_header_is_refused(
    make_edge: MakeEdge, server: ScriptedServer, data: bytes, condition: str, reason: Reason
) -> None:
    edge = make_edge(server)
    client = edge.connect(edge.listen())
    client.send(data).expect_error(condition, header=True).close()
    edge.wait_closed(reason)
    server.expect_no_connection()


# --- authentication ---


def test_before_success_a_client_may_restart_its_stream(make_edge: MakeEdge, server: ScriptedServer) -> None:
    """Clients may send everything at once (XEP-0305), so the restart can be here before the server's success is."""
    edge = make_edge(server)
    client, upstream = connect_through(edge, server)
    client.send(AUTH + HEADER)
    upstream.expect(AUTH + HEADER).send(SUCCESS)
    client.expect(SUCCESS)
    assert edge.gauges() == {"OPEN_AUTHENTICATED": 1}


def test_after_success_the_stream_restarts_once(make_edge: MakeEdge, server: ScriptedServer) -> None:
    edge = make_edge(server)
    client, upstream = logged_in(edge, server)
    client.send(MESSAGE + HEADER.removeprefix(b"<?xml version='1.0'?>"))
    upstream.expect(MESSAGE).expect_end()
    client.expect_error("not-well-formed").close()
    edge.wait_closed(Reason.NOT_WELL_FORMED)


def test_success_from_the_client_authenticates_nobody(make_edge: MakeEdge, server: ScriptedServer) -> None:
    edge = make_edge(server)
    client, upstream = connect_through(edge, server)
    client.send(SUCCESS)
    upstream.expect(SUCCESS)
    assert edge.gauges() == {"OPEN_RELAYING_PREAUTH": 1}


def test_success_inside_a_stanza_authenticates_nobody(make_edge: MakeEdge, server: ScriptedServer) -> None:
    edge = make_edge(server)
    client, upstream = connect_through(edge, server)
    upstream.send(b"<message>" + SUCCESS + b"</message>")
    client.expect(b"<message>" + SUCCESS + b"</message>")
    assert edge.gauges() == {"OPEN_RELAYING_PREAUTH": 1}


BOUND = b"<iq id='b' type='result'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><jid>%b</jid></bind></iq>"
SUCCESS2 = (
    b"<success xmlns='urn:xmpp:sasl:2'><authorization-identifier>romeo@example.org/o.1</authorization-identifier>"
    b"<bound xmlns='urn:xmpp:bind:0'/></success>"
)


@pytest.mark.parametrize("step", [1, 7, 1000])
def test_the_jid_is_found_in_the_bind_result(make_edge: MakeEdge, server: ScriptedServer, step: int) -> None:
    edge = make_edge(server)
    client, upstream = connect_through(edge, server)
    data = SUCCESS + ANSWER + FEATURES + BOUND % b"romeo@example.org/orchard" + MESSAGE
    for start in range(0, len(data), step):
        upstream.send(data[start : start + step])
        client.expect(data[start : start + step])
    assert row(edge)["jid"] == "romeo@example.org/orchard"
    assert row(edge)["state"] == "authenticated"


@pytest.mark.parametrize("step", [1, 40, 1000])
def test_the_jid_is_found_in_sasl2_success(make_edge: MakeEdge, server: ScriptedServer, step: int) -> None:
    edge = make_edge(server)
    client, upstream = connect_through(edge, server)
    for start in range(0, len(SUCCESS2), step):
        upstream.send(SUCCESS2[start : start + step])
        client.expect(SUCCESS2[start : start + step])
    assert row(edge)["jid"] == "romeo@example.org/o.1"


def test_a_jid_is_shown_as_it_is_meant(make_edge: MakeEdge, server: ScriptedServer) -> None:
    edge = make_edge(server)
    client, upstream = connect_through(edge, server)
    data = SUCCESS + BOUND % "roméo@example.org/O&apos;Brien &amp; c&#x6f;".encode()
    upstream.send(data)
    client.expect(data)
    assert row(edge)["jid"] == "roméo@example.org/O'Brien & co"


def test_the_jid_is_not_looked_for_without_end(make_edge: MakeEdge, server: ScriptedServer) -> None:
    edge = make_edge(server)
    client, upstream = connect_through(edge, server)
    data = SUCCESS + b" " * 20_000 + BOUND % b"late@example.org/x"
    upstream.send(data)
    client.expect(data)
    assert row(edge)["jid"] is None


# --- streams that are not XML any more ---


@pytest.mark.parametrize("element", ["compressed", "proceed"])
def test_compressed_and_encrypted_streams_pass_as_they_are(
    make_edge: MakeEdge, server: ScriptedServer, element: str
) -> None:
    edge = make_edge(server, limits=Limits(preauth_bytes=1000))
    client, upstream = connect_through(edge, server)
    upstream.send(b"<%b xmlns='x'/>" % element.encode() + b"\x00\x01<!")
    client.expect(b"<%b xmlns='x'/>" % element.encode() + b"\x00\x01<!")
    client.send(b"\x16\x03\x00<!-- -->" * 1000)
    upstream.expect(b"\x16\x03\x00<!-- -->" * 1000).send(b"\xff" * 5000)
    client.expect(b"\xff" * 5000)
    edge.clients.limits = ClientLimits(Limits(preauth_seconds=0.1))
    began = edge.poller_ticks()
    edge.until(lambda: edge.poller_ticks() > began + 4, "more than the time before authentication")
    client.send(b"\x00still there")
    upstream.expect(b"\x00still there").close()
    # nothing of our own can be said in there
    client.expect_end().close()
    edge.wait_closed(Reason.REMOTE_CONNECTION_FAILED)


def test_a_server_whose_xml_is_broken_is_passed_on_all_the_same(make_edge: MakeEdge, server: ScriptedServer) -> None:
    edge = make_edge(server)
    client, upstream = connect_through(edge, server)
    upstream.send(b"<a></b> <!-- hello -->")
    client.expect(b"<a></b> <!-- hello -->").send(MESSAGE)
    upstream.expect(MESSAGE).send(MESSAGE)
    client.expect(MESSAGE)
    upstream.close()
    client.expect_end()


def test_a_servers_stanza_may_have_any_size_and_shape(make_edge: MakeEdge, server: ScriptedServer) -> None:
    edge = make_edge(server, limits=Limits(stanza_bytes=10_000, element_depth=4, element_attributes=4))
    client, upstream = connect_through(edge, server)
    wide = b"<a" + b"".join(b" x%d=''" % index for index in range(200)) + b"/>"
    deep = b"<a>" * 200 + b"</a>" * 200
    large = b"<a>" + b"x" * 300_000 + b"</a>"
    for data in (wide, deep, large):
        upstream.queue(data)
        client.expect(data)
    assert edge.gauges() == {"OPEN_RELAYING_PREAUTH": 1}
    upstream.send(END)
    client.expect(END)
    assert edge.count(Slot.STANZAS_OUT + 3) == 4
