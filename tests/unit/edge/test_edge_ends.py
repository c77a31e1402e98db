"""How the edge ends a connection: with a stream error where one fits, in order, and once."""

import ssl

import pytest

from megaphone.config.schema import Limits
from megaphone.dispatch.counters import Reason
from megaphone.sockets.tls_contexts import CertificateChoice
from megaphone.wire import writer
from tests.servers.certificates import CertificateAuthority
from tests.unit.edge.conftest import MakeEdge
from tests.unit.edge.dialogue import (
    AUTH,
    END,
    FAST,
    HEADER,
    MESSAGE,
    PROCEED,
    STARTTLS,
    connect_through,
    logged_in,
    open_stream,
)
from tests.unit.edge.edge_under_test import ScriptedServer
from tests.unit.edge.tls_dialogue import connect_tls

ELSEWHERE = writer.see_other_host("other.example", 5223)


@pytest.mark.parametrize(
    ("data", "condition"),
    [
        (b"<!-- -->", "restricted-xml"),
        (b"<a></b>", "not-well-formed"),
        (b"hello", "not-well-formed"),
        (b"<message>&nbsp;</message>", "restricted-xml"),
        (b"\x00", "not-well-formed"),
        (HEADER * 2, "restricted-xml"),
        (END + MESSAGE, "not-well-formed"),
    ],
)
def test_bad_xml_is_answered_and_what_came_before_it_is_delivered(
    make_edge: MakeEdge, server: ScriptedServer, data: bytes, condition: str
) -> None:
    edge = make_edge(server)
    client, upstream = logged_in(edge, server)
    client.send(MESSAGE + b"<presence/>" + data)
    upstream.expect(MESSAGE + b"<presence/>")
    client.expect_error(condition).close()
    if data.startswith(END):
        upstream.expect(END)
    upstream.expect_end()
    edge.wait_closed(Reason.RESTRICTED_XML if condition == "restricted-xml" else Reason.NOT_WELL_FORMED)


def test_an_error_is_heard_by_a_client_that_has_already_ended(make_edge: MakeEdge, server: ScriptedServer) -> None:
    """Both in one segment with the FIN: `echo nonsense | nc`."""
    edge = make_edge(server)
    for listening in ("none", "starttls"):
        client = edge.connect(edge.listen(listening))
        client.queue(b"nonsense").finish()
        client.expect_error("not-well-formed", header=True).close()
    client, _ = logged_in(edge, server)
    client.queue(b"nonsense").finish()
    client.expect_error("not-well-formed").close()


def test_a_header_is_answered_to_a_client_that_has_already_ended(make_edge: MakeEdge, server: ScriptedServer) -> None:
    edge = make_edge(server)
    client = edge.connect(edge.listen("starttls"))
    client.queue(HEADER).finish()
    client.expect_through(b"</stream:features>")
    client.expect_end()


def test_an_error_is_no_reset_though_the_client_goes_on_sending(make_edge: MakeEdge, server: ScriptedServer) -> None:
    edge = make_edge(server, limits=FAST)
    client, _ = logged_in(edge, server)
    client.queue(b"<!-- -->" + b"x" * 3_000_000)
    client.expect_error("restricted-xml")
    edge.until(lambda: not client.unsent, "all of it taken")
    assert edge.gauges() == {"OPEN_CLOSING": 1}
    client.close()
    edge.wait_closed(Reason.RESTRICTED_XML)


def test_a_client_that_does_not_go_is_cut(make_edge: MakeEdge, server: ScriptedServer) -> None:
    edge = make_edge(server, limits=Limits(close_seconds=0.2))
    client, _ = logged_in(edge, server)
    client.send(b"<!-- -->").expect_error("restricted-xml")
    edge.wait_closed(Reason.RESTRICTED_XML)


def test_kick(make_edge: MakeEdge, server: ScriptedServer) -> None:
    edge = make_edge(server)
    client, upstream = logged_in(edge, server)
    edge.only().finish("policy-violation", Reason.KICKED)
    client.expect_error("policy-violation").close()
    upstream.expect_end()
    edge.wait_closed(Reason.KICKED)


def test_an_end_waits_for_the_servers_stanza(make_edge: MakeEdge, server: ScriptedServer) -> None:
    edge = make_edge(server)
    client, upstream = logged_in(edge, server)
    upstream.send(b"<message><body>Ari")
    client.expect(b"<message><body>Ari")
    edge.only().finish("system-shutdown", Reason.SYSTEM_SHUTDOWN)
    client.expect_nothing()
    upstream.send(b"se</body></message>" + MESSAGE * 3)
    client.expect(b"se</body></message>").expect_error("system-shutdown").close()
    upstream.expect_end()
    edge.wait_closed(Reason.SYSTEM_SHUTDOWN)


def test_an_end_does_not_wait_forever_for_the_servers_stanza(make_edge: MakeEdge, server: ScriptedServer) -> None:
    edge = make_edge(server, limits=Limits(close_seconds=0.2))
    client, upstream = logged_in(edge, server)
    upstream.send(b"<message><body>Ari")
    client.expect(b"<message><body>Ari")
    edge.only().finish("system-shutdown", Reason.SYSTEM_SHUTDOWN)
    client.expect_end().close()
    upstream.expect_end()
    edge.wait_closed(Reason.SYSTEM_SHUTDOWN)


@pytest.mark.parametrize("ending", ["</body></message>", "</wrong>", ""])
def test_an_end_that_waits_is_met_by_any_end_of_the_server(
    make_edge: MakeEdge, server: ScriptedServer, ending: str
) -> None:
    edge = make_edge(server)
    client, upstream = logged_in(edge, server)
    upstream.send(b"<message><body>")
    client.expect(b"<message><body>")
    edge.only().finish("system-shutdown", Reason.SYSTEM_SHUTDOWN)
    client.send(MESSAGE)  # too late to matter
    upstream.send(ending.encode()).close()
    edge.until(lambda: client.ended, "the end")
    assert not client.reset
    assert bytes(client.received).startswith(ending.encode())
    client.close()
    edge.wait_closed(Reason.SYSTEM_SHUTDOWN)


@pytest.mark.parametrize("said", [b"", HEADER[:40], HEADER, HEADER + AUTH])
def test_an_end_at_any_step_of_the_opening(make_edge: MakeEdge, server: ScriptedServer, said: bytes) -> None:
    edge = make_edge(server)
    for listening in ("none", "starttls"):
        if listening == "starttls" and AUTH in said:
            continue
        client = edge.connect(edge.listen(listening))
        client.send(said)
        before = len(edge.closed)
        edge.until(lambda: edge.dispatcher.open_connections, "a connection")
        edge.until(lambda: edge.only().describe()["bytes_in"] == len(said), "those bytes")
        edge.only().finish("system-shutdown", Reason.SYSTEM_SHUTDOWN)
        data = client.expect_through(b"</stream:error></stream:stream>")
        assert data.count(b"<stream:stream ") == 1
        assert b"<system-shutdown " in data
        client.expect_end().close()
        edge.until(lambda before=before: len(edge.closed) > before, "the end")
    assert set(edge.reasons()) == {Reason.SYSTEM_SHUTDOWN}


def test_an_end_without_a_condition_says_nothing(make_edge: MakeEdge, server: ScriptedServer) -> None:
    edge = make_edge(server)
    client, upstream = logged_in(edge, server)
    edge.only().finish("", Reason.KICKED)
    client.expect_end().close()
    upstream.expect_end()
    edge.wait_closed(Reason.KICKED)


def test_only_the_first_end_counts(make_edge: MakeEdge, server: ScriptedServer) -> None:
    edge = make_edge(server)
    client, _ = logged_in(edge, server)
    connection = edge.only()
    connection.finish("policy-violation", Reason.KICKED)
    connection.finish("system-shutdown", Reason.SYSTEM_SHUTDOWN)
    client.expect_error("policy-violation").close()
    edge.wait_closed(Reason.KICKED)
    connection.finish("system-shutdown", Reason.SYSTEM_SHUTDOWN)
    assert connection.closing


def test_a_mistake_of_ours_is_answered_and_logged(make_edge: MakeEdge, server: ScriptedServer) -> None:
    edge = make_edge(server)

    def open_uplink(*_: object) -> str:
        raise RuntimeError("a mistake")

    others = [connect_through(edge, server) for _ in range(3)]
    right, edge.clients.open_uplink = edge.clients.open_uplink, open_uplink
    client = edge.connect(edge.listen())
    client.send(HEADER).expect_error("internal-server-error", header=True).close()
    edge.wait_closed(Reason.INTERNAL)
    assert [str(fault) for fault in edge.faults] == ["a mistake"]
    edge.faults.clear()
    edge.clients.open_uplink = right
    for other, upstream in others:
        other.send(MESSAGE)
        upstream.expect(MESSAGE)


# --- see-other-host ---


def test_a_client_is_sent_elsewhere(make_edge: MakeEdge, server: ScriptedServer) -> None:
    edge = make_edge(server)
    edge.clients.see_other_host = ELSEWHERE
    client, upstream = logged_in(edge, server)
    edge.only().finish("see-other-host", Reason.SYSTEM_SHUTDOWN)
    client.expect(ELSEWHERE + END).expect_end().close()
    upstream.expect_end()
    edge.wait_closed(Reason.SYSTEM_SHUTDOWN)


def test_a_client_is_sent_elsewhere_behind_the_servers_stanza(make_edge: MakeEdge, server: ScriptedServer) -> None:
    edge = make_edge(server)
    edge.clients.see_other_host = ELSEWHERE
    client, upstream = logged_in(edge, server)
    upstream.send(b"<message><body>Ari")
    client.expect(b"<message><body>Ari")
    edge.only().finish("see-other-host", Reason.SYSTEM_SHUTDOWN)
    client.expect_nothing()
    upstream.send(b"se</body></message>")
    client.expect(b"se</body></message>" + ELSEWHERE + END).expect_end().close()
    edge.wait_closed(Reason.SYSTEM_SHUTDOWN)


def test_a_client_without_a_header_yet_is_sent_elsewhere_behind_ours(
    make_edge: MakeEdge, server: ScriptedServer, authority: CertificateAuthority, certificates: CertificateChoice
) -> None:
    edge = make_edge(server)
    edge.clients.see_other_host = ELSEWHERE
    client = connect_tls(edge, authority, certificates)
    client.send(HEADER[:40])
    edge.until(lambda: edge.only().describe()["bytes_in"] == 40, "those bytes")
    edge.only().finish("see-other-host", Reason.SYSTEM_SHUTDOWN)
    data = client.expect_through(b"</stream:error></stream:stream>")
    assert data.startswith(b"<?xml version='1.0'?><stream:stream ")
    assert data.endswith(ELSEWHERE + END)
    client.expect_end().close()


@pytest.mark.parametrize("said", [b"", HEADER])
@pytest.mark.parametrize("required", [True, False])
def test_nobody_is_sent_elsewhere_before_tls(
    make_edge: MakeEdge, server: ScriptedServer, certificates: CertificateChoice, said: bytes, required: bool
) -> None:
    edge = make_edge(server)
    edge.clients.see_other_host = ELSEWHERE
    client = edge.connect(edge.listen("starttls", starttls_required=required, certificates=certificates))
    client.send(said)
    edge.until(lambda: edge.dispatcher.open_connections, "a connection")
    edge.until(lambda: edge.only().describe()["bytes_in"] == len(said), "those bytes")
    edge.only().finish("see-other-host", Reason.SYSTEM_SHUTDOWN)
    data = client.expect_through(b"</stream:error></stream:stream>")
    assert b"<system-shutdown " in data
    assert b"see-other-host" not in data
    client.expect_end().close()


def test_behind_starttls_a_client_is_sent_elsewhere(
    make_edge: MakeEdge, server: ScriptedServer, certificates: CertificateChoice, trusting_context: ssl.SSLContext
) -> None:
    edge = make_edge(server)
    edge.clients.see_other_host = ELSEWHERE
    client = edge.connect(edge.listen("starttls", certificates=certificates))
    client.send(HEADER).expect_through(b"</stream:features>")
    client.send(STARTTLS).expect(PROCEED).start_tls(trusting_context)
    open_stream(edge, server, client)
    edge.only().finish("see-other-host", Reason.SYSTEM_SHUTDOWN)
    client.expect(ELSEWHERE + END).expect_end().close()


def test_where_there_is_no_other_host_it_is_a_shutdown(make_edge: MakeEdge, server: ScriptedServer) -> None:
    edge = make_edge(server)
    client, _ = logged_in(edge, server)
    edge.only().finish("see-other-host", Reason.SYSTEM_SHUTDOWN)
    client.expect_error("system-shutdown").close()
