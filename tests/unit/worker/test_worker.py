"""A real worker process as its supervisor knows it: what it is told, what it answers, how it ends."""

import contextlib
import os
import resource
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable

import pytest

from megaphone.dispatch.counters import Reason, Slot, UpstreamSlot
from tests.servers.certificates import CertificateAuthority
from tests.unit.edge.dialogue import HEADER, MESSAGE, SUCCESS
from tests.unit.worker.conftest import Connect, StartWorker
from tests.unit.worker.worker_under_test import Line, Node, WorkerUnderTest, open_connections, until

BOUND = b"<iq type='result' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><jid>%b</jid></bind></iq>"


def authenticate(client: Line, server: Line, jid: bytes) -> None:
    server.send(SUCCESS + BOUND % jid)
    client.expect(SUCCESS + BOUND % jid)


# --- life ---


def test_a_worker_serves_beats_and_counts(node: Node, start_worker: StartWorker, connect: Connect) -> None:
    start_worker()
    assert 0 < node.board.get(Slot.STARTED_NS) <= time.monotonic_ns()
    assert 500 < node.board.get(Slot.CONNECTION_BYTES) < 3000
    client, server = connect()
    client.send(MESSAGE)
    server.expect(MESSAGE).send(MESSAGE)
    client.expect(MESSAGE)
    assert node.board.get(Slot.STANZAS_IN) == node.board.get(Slot.STANZAS_OUT) == 1
    until(lambda: node.board.get(node.board.upstream_slot(0, UpstreamSlot.UP_HEALTHY)), "the first health check")
    beat = node.board.get(Slot.HEARTBEAT_NS)
    until(lambda: node.board.get(Slot.HEARTBEAT_NS) > beat, "a heartbeat")
    until(lambda: node.board.get(Slot.POLLER_TURNS), "the sweep's counts")


def test_every_ended_connection_is_one_line_of_the_log(start_worker: StartWorker, connect: Connect) -> None:
    worker = start_worker()
    client, server = connect()
    authenticate(client, server, b"romeo@example.org/orchard")
    client.send(b"<!-- -->")
    assert b"<restricted-xml " in client.rest()
    client.close()
    worker.tell(type="drain", connections_per_second=100.0, deadline_seconds=5.0)
    worker.expect("drained")
    lines = [line for line in worker.errors() if line["event"] == "connection"]
    assert len(lines) == 1
    assert (lines[0]["reason"], lines[0]["jid"]) == ("restricted-xml", "romeo@example.org/orchard")
    assert (lines[0]["domain"], lines[0]["upstream"], lines[0]["tls"]) == ("example.org", "first", None)


def test_a_configuration_it_cannot_use_is_fatal(start_worker: StartWorker) -> None:
    worker = start_worker('[[certificate]]\nchain = "/nowhere/chain.pem"\nkey = "/nowhere/key.pem"\n', ready=False)
    assert "chain" in worker.expect("fatal")["reason"]
    assert worker.wait_exit() == 3


def test_signals_to_the_group_are_the_supervisors_to_answer(start_worker: StartWorker, connect: Connect) -> None:
    worker = start_worker()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        worker.process.send_signal(number)
    connect()
    assert len(worker.connections()) == 1


def test_a_log_that_cannot_be_written_costs_no_connection(
    node: Node, start_worker: StartWorker, connect: Connect
) -> None:
    reading, writing = os.pipe()
    start_worker(stderr=writing)
    os.close(reading)
    os.close(writing)
    for _ in range(3):
        client, server = connect()
        client.close()
        server.close()
    until(lambda: open_connections(node) == 0, "their ends")
    reason = Slot(Slot.CLOSED_BY_REASON + Reason.CLIENT_CLOSED)
    until(lambda: node.board.get(reason) == 3, "their counts")
    turns = node.board.get(Slot.POLLER_TURNS)
    connect()
    until(lambda: node.board.get(Slot.POLLER_TURNS) > turns, "the sweep going on")


def test_out_of_descriptors_clients_wait_and_are_taken_later(
    node: Node, start_worker: StartWorker, connect: Connect
) -> None:
    few = resource.RLIMIT_NOFILE, (40, 40)
    start_worker("[limits]\naccepts_per_second_per_address = 1000\n", before=lambda: resource.setrlimit(*few))
    waiting = [Line(socket.create_connection(node.address)) for _ in range(50)]
    until(lambda: open_connections(node) >= 10, "as many as there is room for")
    for line in waiting[:40]:
        line.close()
    last = waiting[-1].send(b"nonsense")
    assert b"<not-well-formed " in last.rest()
    for line in waiting[40:]:
        line.close()
    until(lambda: node.board.get(Slot.ACCEPTED) == 50 and open_connections(node) == 0, "all of them, and their ends")
    connect()


# --- steering ---


def test_connections_are_listed_and_filtered(start_worker: StartWorker, connect: Connect) -> None:
    worker = start_worker()
    lines = [connect() for _ in range(3)]
    authenticate(*lines[0], b"romeo@example.org/a")
    authenticate(*lines[1], b"romeo@example.org/b")
    rows = worker.connections()
    assert {row["port"] for row in rows} == {client.socket.getsockname()[1] for client, _ in lines}
    assert len(worker.connections(limit=2)) == 2
    assert [row["jid"] for row in worker.connections(jid="romeo@example.org/b")] == ["romeo@example.org/b"]
    assert len(worker.connections(jid="romeo@example.org")) == 2
    assert [row["jid"] for row in worker.connections(state="preauth")] == [None]
    assert len(worker.connections(address="127.0.0.1")) == 3
    assert worker.connections(address="127.0.0.2") == []
    assert all(row["age_seconds"] < 20 and row["bytes_in"] == len(HEADER) for row in rows)


def test_kick_by_id_jid_and_address(start_worker: StartWorker, connect: Connect) -> None:
    worker = start_worker()
    lines = [connect() for _ in range(4)]
    authenticate(*lines[1], b"romeo@example.org/a")
    port = lines[0][0].socket.getsockname()[1]
    (first,) = [row for row in worker.connections() if row["port"] == port]
    assert worker.kick(connection=first["id"]) == 1
    assert b"<policy-violation " in lines[0][0].rest()
    assert worker.kick(jid="romeo@example.org") == 1
    assert b"<policy-violation " in lines[1][0].rest()
    assert worker.kick(address="192.0.2.1") == 0
    assert worker.kick(address="127.0.0.1") >= 2
    for client, _ in lines[2:]:
        assert b"<policy-violation " in client.rest()


@pytest.mark.parametrize("nonsense", ["not hexadecimal", "", "f" * 17, "-1", "0" * 16, "ffffffffffffffff"])
def test_an_id_that_is_none_finds_nothing(start_worker: StartWorker, connect: Connect, nonsense: str) -> None:
    worker = start_worker()
    connect()
    assert worker.kick(connection=nonsense) == 0
    assert len(worker.connections()) == 1


def test_ids_are_unique_over_a_crash(node: Node, start_worker: StartWorker, connect: Connect) -> None:
    worker = start_worker()
    connect()
    connect()
    seen = {row["id"] for row in worker.connections()}
    worker.process.kill()
    worker.wait_exit()
    successor = start_worker()
    for _ in range(3):
        connect()
    rows = {row["id"] for row in successor.connections()}
    assert len(rows) == 3
    assert not rows & seen


# --- reload ---


def test_a_reload_brings_new_limits_and_domains_and_drops_nobody(
    start_worker: StartWorker, connect: Connect, config: Callable[[str], str], node: Node
) -> None:
    worker = start_worker()
    client, server = connect()
    more = '[[domain]]\nname = "example.net"\nupstreams = ["first"]\n[limits]\nconnections_per_address = 2\n'
    worker.tell(type="reload", config_text=config(more))
    worker.expect("reloaded")
    client.send(MESSAGE)
    server.expect(MESSAGE)
    other = Line(socket.create_connection(node.address)).send(HEADER.replace(b"example.org", b"example.net"))
    until(lambda: {row["domain"] for row in worker.connections()} == {"example.org", "example.net"}, "the new domain")
    refused = Line(socket.create_connection(node.address))
    assert b"<policy-violation " in refused.rest()
    other.close()


def test_a_bad_reload_is_refused_and_the_old_configuration_stays(
    start_worker: StartWorker, connect: Connect, config: Callable[[str], str]
) -> None:
    worker = start_worker()
    for text in (
        "nonsense",
        config("[limits]\nidle_secs = 5\n"),
        config('[[certificate]]\nchain = "/x"\nkey = "/x"\n'),
    ):
        worker.tell(type="reload", config_text=text)
        assert worker.expect("reload_failed")["reason"].startswith("/etc/megaphone/megaphone.toml: ")
        connect()


def test_a_reload_brings_new_certificates(
    node: Node, start_worker: StartWorker, config: Callable[[str], str], authority: CertificateAuthority
) -> None:
    def table(name: str) -> str:
        files = authority.issue(name, "example.org")
        return f'[[certificate]]\nchain = "{files.chain}"\nkey = "{files.key}"\n'

    def names() -> set[str]:
        context = ssl.create_default_context(cafile=str(authority.certificate))
        raw = socket.create_connection(node.address, 20)
        with context.wrap_socket(raw, server_hostname="example.org") as tls:
            certificate = tls.getpeercert()
            assert certificate is not None
            return {value for _, value in certificate["subjectAltName"]}

    def direct(name: str) -> str:
        return config(table(name)).replace('tls = "none"', 'tls = "direct"')

    with contextlib.closing(WorkerUnderTest(node, direct("old.example"))) as worker:
        worker.expect("ready")
        assert names() == {"old.example", "example.org"}
        worker.tell(type="reload", config_text=direct("new.example"))
        worker.expect("reloaded")
        assert names() == {"new.example", "example.org"}
        worker.tell(type="ticket_keys", keys=["11" * 80, "00" * 80])
        assert names() == {"new.example", "example.org"}
        assert worker.process.poll() is None


def test_a_reload_changes_who_goes_on_with_the_records(
    node: Node, start_worker: StartWorker, config: Callable[[str], str], authority: CertificateAuthority
) -> None:
    """For new connections; those that are open stay where they are."""
    files = authority.issue("example.org")
    context = ssl.create_default_context(cafile=str(authority.certificate))
    context.minimum_version = ssl.TLSVersion.TLSv1_3

    def layer(name: str) -> str:
        table = f'[tls]\nrecord_layer = "{name}"\n[[certificate]]\nchain = "{files.chain}"\nkey = "{files.key}"\n'
        return config(table).replace('tls = "none"', 'tls = "direct"')

    def connect() -> ssl.SSLSocket:
        return context.wrap_socket(socket.create_connection(node.address, 20), server_hostname="example.org")

    def counted() -> tuple[int, int]:
        return node.board.get(Slot.TLS_OPENSSL_RECORDS), node.board.get(Slot.TLS_OWN_RECORDS)

    with contextlib.closing(WorkerUnderTest(node, layer("openssl"))) as worker:
        worker.expect("ready")
        with connect() as first:
            until(lambda: counted() == (1, 0), "a handshake")
            worker.tell(type="reload", config_text=layer("own"))
            worker.expect("reloaded")
            with connect() as second:
                until(lambda: counted() == (1, 1), "another one")
                for each in (second, first):
                    each.sendall(b"<<")
                    assert b"<not-well-formed " in each.recv(65_536)


# --- the end ---


def test_a_drain_tells_every_client_and_ends(node: Node, start_worker: StartWorker, connect: Connect) -> None:
    worker = start_worker()
    lines = [connect() for _ in range(5)]
    worker.tell(type="drain", connections_per_second=1000.0, deadline_seconds=10.0)
    for client, _ in lines:
        assert b"<system-shutdown " in client.rest()
        client.close()
    assert worker.expect("drained") == {"type": "drained", "closed": 5, "cut": 0}
    assert worker.wait_exit() == 0
    assert open_connections(node) == 0
    assert node.board.get(Slot(Slot.CLOSED_BY_REASON + Reason.SYSTEM_SHUTDOWN)) == 5
    # new clients wait for a successor
    waiting = Line(socket.create_connection(node.address)).send(HEADER)
    start_worker(ready=False).expect("ready")
    assert waiting.socket.getpeername() == node.address


def test_a_drain_sends_clients_to_the_machine_that_a_reload_has_named(
    start_worker: StartWorker, connect: Connect, config: Callable[[str], str]
) -> None:
    worker = start_worker('[drain]\nsee_other_host = "old.example"\n')
    client, _ = connect()
    worker.tell(type="reload", config_text=config('[drain]\nsee_other_host = "[2001:db8::2]:5223"\n'))
    worker.expect("reloaded")
    worker.tell(type="drain", connections_per_second=1000.0, deadline_seconds=10.0)
    told = client.rest()
    assert told.startswith(b"<stream:error><see-other-host ")
    assert b">[2001:db8::2]:5223</see-other-host></stream:error></stream:stream>" in told
    client.close()
    assert worker.expect("drained") == {"type": "drained", "closed": 1, "cut": 0}


def test_a_drain_has_a_pace(start_worker: StartWorker, connect: Connect) -> None:
    worker = start_worker()
    lines = [connect() for _ in range(6)]
    began = time.monotonic()
    worker.tell(type="drain", connections_per_second=10.0, deadline_seconds=30.0)
    for client, _ in reversed(lines):
        assert b"<system-shutdown " in client.rest()
        client.close()
    worker.expect("drained")
    assert time.monotonic() - began >= 5 / 10.0


def test_a_drain_waits_for_a_stanza_under_way(start_worker: StartWorker, connect: Connect) -> None:
    worker = start_worker()
    client, server = connect()
    server.send(b"<message><body>Ari")
    client.expect(b"<message><body>Ari")
    worker.tell(type="drain", connections_per_second=1000.0, deadline_seconds=10.0)
    until(lambda: worker.connections(), "the drain under way")
    server.send(b"se</body></message>")
    assert client.rest().startswith(b"se</body></message><stream:error><system-shutdown ")
    client.close()
    assert worker.expect("drained")["closed"] == 1


def test_a_drain_cuts_at_its_deadline(start_worker: StartWorker, connect: Connect) -> None:
    worker = start_worker("[limits]\nclose_seconds = 30\n")
    client, _ = connect()
    worker.tell(type="drain", connections_per_second=1000.0, deadline_seconds=0.3)
    assert worker.expect("drained") == {"type": "drained", "closed": 0, "cut": 1}
    assert worker.wait_exit() == 0
    assert b"<system-shutdown " in client.rest()


def test_without_its_supervisor_a_worker_drains_by_itself(start_worker: StartWorker, connect: Connect) -> None:
    worker = start_worker()
    client, _ = connect()
    worker.channel.close()
    assert b"<system-shutdown " in client.rest()
    client.close()
    assert worker.wait_exit() == 0


def test_without_a_supervisor_there_is_no_start(node: Node) -> None:
    ours, theirs = socket.socketpair()
    ours.close()
    command = [sys.executable, "-m", "megaphone.worker", str(theirs.fileno())]
    with theirs:
        assert subprocess.run(command, pass_fds=[theirs.fileno()], check=False, timeout=20).returncode == 1
