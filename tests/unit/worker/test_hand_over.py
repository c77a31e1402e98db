"""Two real worker processes: one hands over to the other, and neither clients nor servers notice."""

import contextlib
import enum
import os
import signal
import socket
import ssl
import time
from pathlib import Path

import msgspec
import pytest

from megaphone.dispatch.counters import Reason, Slot, UpstreamSlot
from megaphone.worker.hand_over import PIECE_BYTES, Assembly, Commit, Complete, Frozen, Hello, encode
from tests.servers.certificates import CertificateAuthority
from tests.unit.edge.dialogue import ANSWER, FEATURES, HEADER, MESSAGE, SUCCESS
from tests.unit.worker.conftest import Connect, StartWorker
from tests.unit.worker.succession import Succession
from tests.unit.worker.worker_under_test import Line, Node, open_connections, until

BOUND = b"<iq type='result' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><jid>%b</jid></bind></iq>"
PRESENCE = b"<presence/>"


@pytest.fixture
def succession(tmp_path: Path, start_worker: StartWorker, upstream: socket.socket) -> Succession:
    return Succession(tmp_path, start_worker, upstream)


def authenticate(client: Line, server: Line, jid: bytes) -> None:
    server.send(SUCCESS + BOUND % jid)
    client.expect(SUCCESS + BOUND % jid)


def talk(client: Line, server: Line) -> None:
    client.send(MESSAGE)
    server.expect(MESSAGE).send(PRESENCE)
    client.expect(PRESENCE)


# --- what moves ---


def test_connections_move_with_their_servers(
    node: Node, start_worker: StartWorker, connect: Connect, succession: Succession
) -> None:
    worker = start_worker()
    lines = [connect() for _ in range(5)]
    for number, (client, server) in enumerate(lines):
        authenticate(client, server, b"romeo@example.org/%d" % number)
        talk(client, server)
    before = {row["id"]: row for row in worker.connections()}
    successor, handed = succession.hand_over(worker)
    assert handed == {"type": "handed_over", "moved": 5, "ended": 0}
    after = {row["id"]: row for row in successor.connections()}
    assert set(after) == set(before)
    for number, row in after.items():
        for field in ("jid", "state", "address", "port", "domain", "bytes_in", "bytes_out", "upstream"):
            assert row[field] == before[number][field]
        assert row["age_seconds"] >= before[number]["age_seconds"]
    for client, server in lines:
        talk(client, server)
    assert node.board.get(Slot.MOVED) == 5
    assert node.board.get(Slot.ACCEPTED) == 5
    assert open_connections(node) == node.board.get(Slot.OPEN_AUTHENTICATED) == 5
    assert node.board.get(node.board.upstream_slot(0, UpstreamSlot.UP_OPEN)) == 5
    assert node.board.get(node.board.upstream_slot(0, UpstreamSlot.UP_HEALTHY)) == 1
    assert sum(node.board.get(Slot(Slot.CLOSED_BY_REASON) + reason) for reason in range(Reason.REASONS)) == 0
    client, server = connect()
    talk(client, server)
    assert len({row["id"] for row in successor.connections()} | set(before)) == 6


def test_they_move_again_and_again_and_end_in_order(
    node: Node, start_worker: StartWorker, connect: Connect, succession: Succession
) -> None:
    worker = start_worker()
    client, server = connect()
    for _ in range(3):
        worker, _ = succession.hand_over(worker)
        talk(client, server)
    client.send(b"</stream:stream>")
    server.expect(b"</stream:stream>").send(b"</stream:stream>")
    server.close()
    assert client.rest() == b"</stream:stream>"
    client.close()
    until(lambda: open_connections(node) == 0, "its end")
    assert node.board.get(Slot(Slot.CLOSED_BY_REASON + Reason.CLIENT_CLOSED)) == 1
    assert node.board.get(node.board.upstream_slot(0, UpstreamSlot.UP_OPEN)) == 0


def test_a_stanza_split_by_the_hand_over_is_one_stanza(
    node: Node, start_worker: StartWorker, connect: Connect, succession: Succession
) -> None:
    worker = start_worker()
    lines = []
    pieces = [MESSAGE[:cut] for cut in range(1, len(MESSAGE), 5)]
    for piece in pieces:
        client, server = connect()
        client.send(piece)
        server.expect(piece).send(piece)
        client.expect(piece)
        lines.append((client, server))
    successor, _ = succession.hand_over(worker)
    stanzas = node.board.get(Slot.STANZAS_IN)
    for (client, server), piece in zip(lines, pieces, strict=True):
        rest = MESSAGE[len(piece) :]
        client.send(rest)
        server.expect(rest).send(rest)
        client.expect(rest)
    assert node.board.get(Slot.STANZAS_IN) == stanzas + len(lines)
    # the framer knows the names of open elements: what does not fit them is refused
    client, server = lines[0]
    client.send(b"<message><body></message>")
    assert b"<not-well-formed " in client.rest()
    assert len(successor.connections(state="preauth")) == len(lines) - 1


def test_bytes_that_wait_for_a_slow_client_and_a_slow_server_wait_on(
    start_worker: StartWorker, connect: Connect, succession: Succession
) -> None:
    more = """[limits]
mailbox_bytes = 1000000
slow_consumer_seconds = 60
stanza_bytes = 100000000
bytes_per_second = 1000000000
bytes_burst = 1000000000
"""
    worker = start_worker(more)
    client, server = connect()
    authenticate(client, server, b"romeo@example.org/orchard")
    down = b"<message>" + os.urandom(1_500_000).hex().encode() + b"</message>"
    up = b"<message>" + os.urandom(1_500_000).hex().encode() + b"</message>"
    sent = {client: 0, server: 0}
    for line, data in ((client, up), (server, down)):
        line.socket.setblocking(False)
        deadline = time.monotonic() + 2
        while sent[line] < len(data) and time.monotonic() < deadline:
            try:
                sent[line] += line.socket.send(data[sent[line] : sent[line] + 65_536])
            except BlockingIOError:
                time.sleep(0.01)
        line.socket.setblocking(True)
        line.socket.settimeout(60)
    worker, handed = succession.hand_over(worker, more=more)
    assert handed["moved"] == 1
    for line in (client, server):
        line.socket.settimeout(0.05)
    received = {client: bytearray(), server: bytearray()}
    deadline = time.monotonic() + 60
    while len(received[client]) < len(down) or len(received[server]) < len(up):
        assert time.monotonic() < deadline, (len(received[client]), len(received[server]))
        for line, data in ((client, up), (server, down)):
            with contextlib.suppress(TimeoutError):
                received[line] += line.socket.recv(1_000_000)
            line.socket.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                while sent[line] < len(data):
                    sent[line] += line.socket.send(data[sent[line] : sent[line] + 65_536])
            line.socket.settimeout(0.05)
    assert received[client] == down
    assert received[server] == up


def test_whoever_has_said_nothing_yet_moves_too(
    node: Node, start_worker: StartWorker, upstream: socket.socket, succession: Succession
) -> None:
    worker = start_worker()
    client = Line(socket.create_connection(node.address))
    until(lambda: node.board.get(Slot.OPEN_NEGOTIATING) == 1, "the connection")
    half = Line(socket.create_connection(node.address)).send(HEADER[:30])
    until(lambda: node.board.get(Slot.BYTES_IN) == 30, "half a header")
    _, handed = succession.hand_over(worker)
    assert handed["moved"] == 2
    client.send(HEADER)
    server = Line(upstream.accept()[0]).expect(HEADER).send(ANSWER + FEATURES)
    client.expect(ANSWER + FEATURES)
    half.send(HEADER[30:])
    other = Line(upstream.accept()[0]).expect(HEADER).send(ANSWER)
    half.expect(ANSWER)
    for line in (client, half, server, other):
        line.close()


def test_a_server_that_has_not_accepted_yet_gets_what_waits(
    node: Node, start_worker: StartWorker, upstream: socket.socket, succession: Succession
) -> None:
    # a full queue makes the kernel drop our SYN, and we go on connecting
    worker = start_worker("[limits]\nconnect_seconds = 60\n")
    fillers = []
    upstream.listen(0)
    for _ in range(4):
        filler = socket.socket()
        filler.setblocking(False)
        filler.connect_ex(upstream.getsockname())
        fillers.append(filler)
    said = HEADER + PRESENCE  # unlike a health check
    client = Line(socket.create_connection(node.address)).send(said)
    until(lambda: node.board.get(Slot.OPEN_CONNECTING) == 1, "the stream on its way")
    successor, handed = succession.hand_over(worker, more="[limits]\nconnect_seconds = 60\n", check=False)
    assert handed["moved"] == 1
    assert [row["state"] for row in successor.connections()] == ["connecting"]
    for filler in fillers:
        filler.close()
    while True:
        server = Line(upstream.accept()[0])
        server.socket.settimeout(2)
        with contextlib.suppress(ConnectionResetError):
            if server.socket.recv(len(said), socket.MSG_PEEK) == said:
                break
        server.close()
    server.expect(said).send(ANSWER)
    client.expect(ANSWER)
    server.close()
    client.close()


def test_a_throttled_connection_goes_on_when_its_time_has_come(
    node: Node, start_worker: StartWorker, connect: Connect, succession: Succession
) -> None:
    more = "[limits]\nstanzas_per_second = 20\nstanzas_burst = 20\n"
    worker = start_worker(more)
    client, server = connect()
    authenticate(client, server, b"romeo@example.org/orchard")
    client.send(PRESENCE * 40).send(MESSAGE)
    server.expect(PRESENCE * 20)
    until(lambda: node.board.get(Slot.THROTTLED) == 1, "the limit")
    succession.hand_over(worker, more=more)
    client.send(MESSAGE)
    server.expect(PRESENCE * 20 + MESSAGE + MESSAGE)


def test_the_sketch_counts_who_has_moved(node: Node, start_worker: StartWorker, succession: Succession) -> None:
    more = "[limits]\nconnections_per_address = 3\nconnections_per_prefix = 1000\ntrusted_networks = []\n"
    worker = start_worker(more)
    lines = [Line(socket.create_connection(node.address)) for _ in range(3)]
    until(lambda: open_connections(node) == 3, "three connections")
    succession.hand_over(worker, more=more)
    refused = Line(socket.create_connection(node.address))
    assert b"<policy-violation " in refused.rest()
    lines[0].close()
    until(lambda: open_connections(node) == 2, "the end of one")
    served = Line(socket.create_connection(node.address)).send(b"nonsense")
    assert b"<not-well-formed " in served.rest()
    for line in (*lines, refused, served):
        line.close()


# --- what does not ---


def test_a_client_that_is_leaving_is_left_to_the_predecessor(
    node: Node, start_worker: StartWorker, connect: Connect, succession: Succession
) -> None:
    worker = start_worker("[limits]\nclose_seconds = 60\n")
    client, server = connect()
    talk(client, server)
    leaver, its_server = connect()
    leaver.send(b"<!-- -->")
    until(lambda: node.board.get(Slot.OPEN_CLOSING) == 1, "the beginning of its end")
    its_server.close()
    successor = succession.successor()
    succession.begin(worker)
    assert successor.expect("took_over")["moved"] == 1
    assert node.board.get(Slot(Slot.CLOSED_BY_REASON + Reason.RESTRICTED_XML)) == 1
    assert open_connections(node) == 1
    assert b"<restricted-xml " in leaver.rest()
    leaver.close()
    assert worker.expect("handed_over")["ended"] == 1
    assert worker.wait_exit() == 0
    talk(client, server)
    assert node.board.get(Slot(Slot.CLOSED_BY_REASON + Reason.RESTRICTED_XML)) == 1
    assert open_connections(node) == 1


# --- TLS ---


@pytest.fixture
def tls(authority: CertificateAuthority) -> str:
    """What a configuration has more for the node's socket to be a direct TLS listener (of place 1)."""
    files = authority.issue("example.org")
    return (
        '[[listen]]\naddress = "127.0.0.1:0"\ntls = "direct"\n'
        f'[[certificate]]\nchain = "{files.chain}"\nkey = "{files.key}"\n'
    )


def connect_tls(
    node: Node, upstream: socket.socket, authority: CertificateAuthority, version: ssl.TLSVersion
) -> tuple[Line, Line]:
    context = ssl.create_default_context(cafile=str(authority.certificate))
    context.minimum_version = context.maximum_version = version
    raw = socket.create_connection(node.address, 20)
    client = Line(context.wrap_socket(raw, server_hostname="example.org")).send(HEADER)
    server = Line(upstream.accept()[0]).expect(HEADER).send(ANSWER + FEATURES)
    client.expect(ANSWER + FEATURES)
    return client, server


def test_tls_1_3_moves(
    node: Node,
    start_worker: StartWorker,
    upstream: socket.socket,
    succession: Succession,
    authority: CertificateAuthority,
    tls: str,
) -> None:
    worker = start_worker(tls, listen=1)
    client, server = connect_tls(node, upstream, authority, ssl.TLSVersion.TLSv1_3)
    authenticate(client, server, b"romeo@example.org/orchard")
    long = b"<message><body>" + b"a" * 100_000 + b"</body></message>"
    for _ in range(3):
        worker, handed = succession.hand_over(worker, more=tls, listen=1)
        assert (handed["moved"], handed["ended"]) == (1, 0)
        talk(client, server)
        client.send(long)
        server.expect(long).send(long)
        client.expect(long)
        assert [row["tls"] for row in worker.connections()] == ["TLSv1.3"]
    client.close()
    assert server.rest() == b""
    server.close()


def test_a_tls_record_split_by_the_hand_over_is_one_record(
    node: Node,
    start_worker: StartWorker,
    upstream: socket.socket,
    succession: Succession,
    authority: CertificateAuthority,
    tls: str,
) -> None:
    worker = start_worker(tls, listen=1)
    context = ssl.create_default_context(cafile=str(authority.certificate))
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    session = context.wrap_bio(incoming, outgoing, server_hostname="example.org")
    with socket.create_connection(node.address, 20) as raw:
        while True:
            try:
                session.do_handshake()
                break
            except ssl.SSLWantReadError:
                raw.sendall(outgoing.read())
                incoming.write(raw.recv(65_536))
        session.write(HEADER)
        raw.sendall(outgoing.read())
        server = Line(upstream.accept()[0]).expect(HEADER).send(ANSWER)
        session.write(MESSAGE)
        record = outgoing.read()
        raw.sendall(record[:30])
        until(lambda: node.board.get(Slot.BYTES_OUT) == len(ANSWER), "the answer")
        succession.hand_over(worker, more=tls, listen=1)
        raw.sendall(record[30:])
        server.expect(MESSAGE)
        server.close()


def test_tls_1_2_is_ended_in_order(
    node: Node,
    start_worker: StartWorker,
    upstream: socket.socket,
    succession: Succession,
    authority: CertificateAuthority,
    tls: str,
) -> None:
    worker = start_worker(tls, listen=1)
    client, server = connect_tls(node, upstream, authority, ssl.TLSVersion.TLSv1_2)
    authenticate(client, server, b"romeo@example.org/orchard")
    newer, its_server = connect_tls(node, upstream, authority, ssl.TLSVersion.TLSv1_3)
    authenticate(newer, its_server, b"juliet@example.org/balcony")
    successor = succession.successor(tls, listen=1)
    succession.begin(worker)
    assert successor.expect("took_over")["moved"] == 1
    assert open_connections(node) == 1
    assert node.board.get(Slot(Slot.CLOSED_BY_REASON + Reason.SYSTEM_SHUTDOWN)) == 1
    assert b"<system-shutdown " in client.rest()
    client.close()
    assert server.rest() == b""
    server.close()
    assert worker.expect("handed_over")["ended"] == 1
    assert worker.wait_exit() == 0
    talk(newer, its_server)
    newer.close()
    its_server.close()


# --- trouble ---


@pytest.mark.parametrize("moment", [0.0, 0.02, 0.1])
def test_a_successor_that_is_killed_costs_nobody_anything(
    moment: float, node: Node, start_worker: StartWorker, connect: Connect, succession: Succession
) -> None:
    worker = start_worker()
    lines = [connect() for _ in range(40)]
    successor = succession.successor()
    succession.begin(worker, per_second=20)  # it waits for two seconds when it has said all of them
    time.sleep(moment)
    successor.process.send_signal(signal.SIGKILL)
    assert worker.expect("hand_over_failed")["reason"]
    for client, server in lines:
        talk(client, server)
    assert len(worker.connections()) == 40
    assert open_connections(node) == 40
    new, its_server = connect()
    talk(new, its_server)
    _, handed = succession.hand_over(worker)
    assert handed["moved"] == 41
    for client, server in lines:
        talk(client, server)


class Stage(enum.IntEnum):
    """How far a successor gets that ends in the middle."""

    ACCEPTED = 0
    GREETED = 1
    FROZEN = 2
    COMPLETE = 3
    COMMITTED = 4


@pytest.mark.parametrize("stage", list(Stage))
def test_a_successor_that_ends_at_any_stage_costs_nobody_anything(
    stage: Stage, tmp_path: Path, node: Node, start_worker: StartWorker, connect: Connect, succession: Succession
) -> None:
    """The successor is this test, which ends when it has got so far."""
    worker = start_worker("[limits]\nclose_seconds = 60\n")
    lines = [connect() for _ in range(10)]
    leaver, _ = connect()
    leaver.send(b"<!-- -->")
    until(lambda: node.board.get(Slot.OPEN_CLOSING) == 1, "a client that leaves")
    board = [node.board.get(Slot(slot)) for slot in range(Slot.OPEN_NEGOTIATING, Slot.STANZAS_IN)]
    path = str(tmp_path / "short-lived")
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listening:
        listening.bind(path)
        listening.listen(1)
        worker.tell(type="hand_over", path=path, connections_per_second=100_000, deadline_seconds=30)
        end, _ = listening.accept()
        end.settimeout(20)
        _follow(end, stage)
        end.close()
    assert "gone" in worker.expect("hand_over_failed")["reason"]
    if stage >= Stage.FROZEN:
        succession.answer_check()
    assert [node.board.get(Slot(slot)) for slot in range(Slot.OPEN_NEGOTIATING, Slot.STANZAS_IN)] == board
    assert node.board.get(Slot(Slot.CLOSED_BY_REASON + Reason.RESTRICTED_XML)) == 0
    for client, server in lines:
        talk(client, server)
    new, its_server = connect()
    talk(new, its_server)
    leaver.rest()
    leaver.close()
    until(lambda: open_connections(node) == 11, "the end of who left")
    assert node.board.get(Slot(Slot.CLOSED_BY_REASON + Reason.RESTRICTED_XML)) == 1


def _follow(end: socket.socket, stage: Stage) -> None:
    """Answer a predecessor up to this stage."""
    assembly = Assembly()
    while stage > Stage.ACCEPTED:
        piece, descriptors, _, _ = socket.recv_fds(end, PIECE_BYTES + 1, 253)
        for descriptor in descriptors:
            os.close(descriptor)
        received = assembly.receive(piece, [])
        match received and received[0]:
            case Hello(version, oldest, program, index):
                end.send(encode(Hello(version, oldest, program, index))[0])
                if stage is Stage.GREETED:
                    return
            case Frozen():
                if stage is Stage.FROZEN:
                    return
                end.send(encode(Complete([]))[0])
                if stage is Stage.COMPLETE:
                    return
            case Commit():
                return


def test_a_predecessor_that_is_killed_before_it_commits_ends_the_successor(
    node: Node, start_worker: StartWorker, connect: Connect, succession: Succession
) -> None:
    worker = start_worker()
    lines = [connect() for _ in range(40)]
    successor = succession.successor()
    before = successor.descriptors()
    succession.begin(worker, per_second=5)  # it waits for eight seconds when it has said all of them
    until(lambda: successor.descriptors() > before + 1, "the successor has got connections")
    worker.process.send_signal(signal.SIGKILL)
    assert successor.wait_exit() == 4
    for client, server in lines:
        assert client.rest() == b""
        assert server.rest() == b""
    assert not node.board.get(Slot.MOVED)


def test_a_predecessor_that_is_killed_afterwards_is_not_missed(
    start_worker: StartWorker, connect: Connect, succession: Succession
) -> None:
    worker = start_worker()
    client, server = connect()
    leaver, _ = connect()
    leaver.send(b"<!-- -->")
    successor = succession.successor()
    succession.begin(worker)
    successor.expect("took_over")
    worker.process.send_signal(signal.SIGKILL)
    worker.wait_exit()
    leaver.rest()
    talk(client, server)


def test_a_successor_that_does_not_answer_is_given_up(
    node: Node, start_worker: StartWorker, connect: Connect, succession: Succession
) -> None:
    worker = start_worker()
    client, server = connect()
    successor = succession.successor()
    successor.process.send_signal(signal.SIGSTOP)
    succession.begin(worker, deadline=0.5)
    assert worker.expect("hand_over_failed")["reason"] == "it took too long"
    talk(client, server)
    successor.process.send_signal(signal.SIGCONT)
    assert successor.wait_exit() == 4
    talk(client, server)
    assert len(worker.connections()) == 1


@pytest.mark.parametrize(
    ("hello", "reason"),
    [(Hello(99, 99, "9.9", 0), "version 99"), (Hello(1, 1, "1.0", 7), "worker 0, not 7")],
)
def test_a_stranger_is_refused(hello: Hello, reason: str, start_worker: StartWorker, succession: Succession) -> None:
    successor = succession.successor()
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as stranger:
        stranger.connect(succession.path)
        stranger.send(b"\0" + msgspec.msgpack.encode(hello))
        answer = msgspec.msgpack.decode(stranger.recv(65_536)[1:])
        assert answer[0] == "refused"
        assert reason in answer[1]
    assert successor.wait_exit() == 4


def test_a_worker_hands_over_to_no_other_version(tmp_path: Path, start_worker: StartWorker, connect: Connect) -> None:
    worker = start_worker()
    client, server = connect()
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listening:
        listening.bind(str(tmp_path / "other"))
        listening.listen(1)
        worker.tell(type="hand_over", path=str(tmp_path / "other"), connections_per_second=1000, deadline_seconds=20)
        end, _ = listening.accept()
        with end:
            end.recv(65_536)
            end.send(b"\0" + msgspec.msgpack.encode(Hello(0, 0, "0.1", 0)))
            assert "version 0" in worker.expect("hand_over_failed")["reason"]
    talk(client, server)


def test_no_successor_at_all(start_worker: StartWorker, connect: Connect, tmp_path: Path) -> None:
    worker = start_worker()
    client, server = connect()
    worker.tell(type="hand_over", path=str(tmp_path / "nobody"), connections_per_second=1000, deadline_seconds=20)
    assert "cannot be reached" in worker.expect("hand_over_failed")["reason"]
    talk(client, server)


def test_a_successor_told_to_drain_ends(start_worker: StartWorker, succession: Succession) -> None:
    successor = succession.successor()
    successor.tell(type="drain", connections_per_second=100.0, deadline_seconds=1.0)
    assert successor.wait_exit() == 4


def test_a_worker_told_to_drain_gives_the_hand_over_up(
    start_worker: StartWorker, connect: Connect, succession: Succession
) -> None:
    worker = start_worker()
    lines = [connect() for _ in range(20)]
    succession.successor()
    succession.begin(worker, per_second=5)
    worker.tell(type="drain", connections_per_second=1000.0, deadline_seconds=10.0)
    for client, server in lines:
        assert b"<system-shutdown " in client.rest()
        client.close()
        server.close()
    assert worker.expect("drained")["closed"] == 20
    assert worker.wait_exit() == 0
