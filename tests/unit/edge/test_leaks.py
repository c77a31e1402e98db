"""Nothing is left of connections that have ended, however they ended: no object, no descriptor, no byte, no count.

Connections, receivers, senders and streams are invisible to the garbage collector (`no_gc`): their cycles are broken by
hand when they close. Each of them refers to one of three shared objects, whose reference counts therefore count them.
"""

import ctypes
import gc
import ssl
import sys
from collections.abc import Callable

import pytest

from megaphone.config.schema import Limits
from megaphone.dispatch.counters import Reason, Slot
from megaphone.sockets.tls_contexts import CertificateChoice
from tests.servers.certificates import CertificateAuthority
from tests.unit.edge.conftest import MakeEdge
from tests.unit.edge.dialogue import AUTH, END, HEADER, MESSAGE, PROCEED, STARTTLS, open_stream
from tests.unit.edge.edge_under_test import EdgeUnderTest, ScriptedServer
from tests.unit.edge.peer import Peer

ROUNDS = 50
WINDOWS = 16  # one of them must show no growth: pools grow until they are full, leaks always
BYTES_PER_ROUND = 64  # what may seem to be left: less than the smallest of our objects

Ending = Callable[[EdgeUnderTest, ScriptedServer, Peer], None]


class MallocInfo(ctypes.Structure):
    """`struct mallinfo2` of glibc: `uordblks` are the bytes in use."""

    _fields_ = [
        (name, ctypes.c_size_t)
        for name in "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost".split()  # noqa: SIM905
    ]


mallinfo2 = ctypes.CDLL(None).mallinfo2
mallinfo2.restype = MallocInfo


def bytes_in_use() -> int:
    """Of malloc, and of Python's small-object allocator at the mean size of its blocks."""
    gc.collect()
    info = mallinfo2()
    return int(info.uordblks + info.hblkhd) + sys.getallocatedblocks() * 64


def client_hangs_up(edge: EdgeUnderTest, server: ScriptedServer, client: Peer) -> None:
    open_stream(edge, server, client)
    client.close()


def client_resets(edge: EdgeUnderTest, server: ScriptedServer, client: Peer) -> None:
    open_stream(edge, server, client)
    client.abort()


def client_resets_with_bytes_under_way(edge: EdgeUnderTest, server: ScriptedServer, client: Peer) -> None:
    upstream = open_stream(edge, server, client)
    upstream.queue(MESSAGE * 200)
    client.queue(MESSAGE * 10 + b"<message><a><b><c>")
    client.abort()


def client_says_goodbye(edge: EdgeUnderTest, server: ScriptedServer, client: Peer) -> None:
    upstream = open_stream(edge, server, client)
    client.send(END)
    upstream.expect(END).send(END).close()
    client.expect(END).close()


def client_goes_silently(edge: EdgeUnderTest, server: ScriptedServer, client: Peer) -> None:
    client.close()


def client_goes_in_its_header(edge: EdgeUnderTest, server: ScriptedServer, client: Peer) -> None:
    client.send(HEADER[:50]).close()


def client_goes_before_its_server_answers(edge: EdgeUnderTest, server: ScriptedServer, client: Peer) -> None:
    client.send(HEADER)
    server.accept()
    client.close()


def client_sends_nonsense(edge: EdgeUnderTest, server: ScriptedServer, client: Peer) -> None:
    open_stream(edge, server, client)
    client.send(b"<a><b></a>").expect_error("not-well-formed").close()


def client_opens_with_nonsense(edge: EdgeUnderTest, server: ScriptedServer, client: Peer) -> None:
    client.send(b"nonsense").expect_error("not-well-formed", header=True).close()


def client_asks_for_nobody(edge: EdgeUnderTest, server: ScriptedServer, client: Peer) -> None:
    client.send(HEADER.replace(b"example.org", b"other.example"))
    client.expect_error("host-unknown", header=True).close()


def client_is_over_its_rate(edge: EdgeUnderTest, server: ScriptedServer, client: Peer) -> None:
    upstream = open_stream(edge, server, client)
    client.queue(MESSAGE * 120)
    edge.until(lambda: edge.count(Slot.THROTTLED) > len(edge.closed), "throttling")
    upstream.close()
    client.abort()


def server_hangs_up(edge: EdgeUnderTest, server: ScriptedServer, client: Peer) -> None:
    open_stream(edge, server, client).close()
    client.expect_error("remote-connection-failed").close()


def server_resets_in_a_stanza(edge: EdgeUnderTest, server: ScriptedServer, client: Peer) -> None:
    open_stream(edge, server, client).send(b"<a><b>").abort()
    edge.until(lambda: client.ended, "the end")
    client.close()


def edge_kicks(edge: EdgeUnderTest, server: ScriptedServer, client: Peer) -> None:
    open_stream(edge, server, client)
    for connection in edge.dispatcher.connections():
        connection.finish("policy-violation", Reason.KICKED)
    client.expect_error("policy-violation").close()


def edge_kicks_in_a_stanza(edge: EdgeUnderTest, server: ScriptedServer, client: Peer) -> None:
    upstream = open_stream(edge, server, client)
    upstream.send(b"<a>")
    client.expect(b"<a>")
    for connection in edge.dispatcher.connections():
        connection.finish("policy-violation", Reason.KICKED)
    upstream.send(b"</a>")
    client.expect(b"</a>").expect_error("policy-violation").close()


PLAIN_ENDINGS: list[Ending] = [
    client_hangs_up,
    client_resets,
    client_resets_with_bytes_under_way,
    client_says_goodbye,
    client_goes_silently,
    client_goes_in_its_header,
    client_goes_before_its_server_answers,
    client_sends_nonsense,
    client_opens_with_nonsense,
    client_asks_for_nobody,
    client_is_over_its_rate,
    server_hangs_up,
    server_resets_in_a_stanza,
    edge_kicks,
    edge_kicks_in_a_stanza,
]


def repeat(edge: EdgeUnderTest, server: ScriptedServer, connect: Callable[[], Peer], ending: Ending) -> None:
    """Runs the ending many times; what is in use afterwards is what was in use before."""
    idle = edge.references()

    def once() -> None:
        ending(edge, server, connect())
        for _ in range(3):
            edge.step()
        for peer in edge.peers:
            peer.abort()
        edge.peers.clear()
        edge.until(lambda: not edge.dispatcher.open_connections, "the end")
        edge.closed.clear()
        edge.until(lambda: edge.sweep() or edge.references() == idle, "the end of every object")

    grown = []
    for _ in range(WINDOWS):
        before = bytes_in_use()
        for _ in range(ROUNDS):
            once()
        grown.append((bytes_in_use() - before) // ROUNDS)
        if grown[-1] < BYTES_PER_ROUND:
            return
    pytest.fail(f"of each connection so many bytes are left: {grown}")


@pytest.mark.parametrize("ending", PLAIN_ENDINGS, ids=lambda ending: ending.__name__)
def test_nothing_is_left_of_plain_connections(make_edge: MakeEdge, server: ScriptedServer, ending: Ending) -> None:
    limits = Limits(
        connections_per_address=5,
        accepts_per_second=10**6,
        accepts_per_second_per_address=10**6,
        stanzas_burst=100,
        stanzas_per_second=1,  # so that no pause of this process lets a client be in time after all
    )
    edge = make_edge(server, limits=limits, upstream={"proxy_protocol": False}, capacity=4)
    address = edge.listen()
    repeat(edge, server, lambda: edge.connect(address), ending)


# --- TLS ---


def tls_hangs_up(edge: EdgeUnderTest, server: ScriptedServer, client: Peer) -> None:
    open_stream(edge, server, client)
    client.finish().close()


def tls_is_cut(edge: EdgeUnderTest, server: ScriptedServer, client: Peer) -> None:
    open_stream(edge, server, client)
    client.queue(MESSAGE * 100).abort()


def tls_is_broken(edge: EdgeUnderTest, server: ScriptedServer, client: Peer) -> None:
    open_stream(edge, server, client)
    client.socket.send(b"\x17\x03\x03\x00\x20" + bytes(32))
    edge.until(lambda: edge.closed, "the end")


def tls_ends_in_the_edge(edge: EdgeUnderTest, server: ScriptedServer, client: Peer) -> None:
    client.send(b"<nonsense>nonsense</nonsense>")
    client.expect_through(b"</stream:stream>")
    client.expect_end().close()


@pytest.mark.parametrize("ending", [tls_hangs_up, tls_is_cut, tls_is_broken, tls_ends_in_the_edge])
@pytest.mark.parametrize("listening", ["direct", "starttls"])
def test_nothing_is_left_of_tls_connections(
    make_edge: MakeEdge,
    server: ScriptedServer,
    authority: CertificateAuthority,
    certificates: CertificateChoice,
    ending: Ending,
    listening: str,
) -> None:
    limits = Limits(accepts_per_second=10**6, accepts_per_second_per_address=10**6)
    edge = make_edge(server, limits=limits, capacity=4)
    address = edge.listen(listening, certificates=certificates)
    context = ssl.create_default_context(cafile=str(authority.certificate))

    def connect() -> Peer:
        client = edge.connect(address)
        if listening == "starttls":
            client.send(HEADER)
            client.expect_through(b"</stream:features>")
            client.send(STARTTLS).expect(PROCEED)
        return client.start_tls(context)

    repeat(edge, server, connect, ending)


@pytest.mark.parametrize("hello", [b"", b"\x16\x03\x01\x00\xff", b"nonsense"])
def test_nothing_is_left_of_handshakes(
    make_edge: MakeEdge, server: ScriptedServer, certificates: CertificateChoice, hello: bytes
) -> None:
    limits = Limits(accepts_per_second=10**6, accepts_per_second_per_address=10**6)
    edge = make_edge(server, limits=limits, capacity=4)
    address = edge.listen("direct", certificates=certificates)

    def ending(edge: EdgeUnderTest, server: ScriptedServer, client: Peer) -> None:
        edge.until(lambda: edge.dispatcher.open_connections, "the connection")
        client.send(hello).close()

    repeat(edge, server, lambda: edge.connect(address), ending)


def test_nothing_is_left_of_a_registry_that_was_full(make_edge: MakeEdge, server: ScriptedServer) -> None:
    edge = make_edge(server, capacity=1, limits=Limits(accepts_per_second_per_address=10**6))
    address = edge.listen()

    def ending(edge: EdgeUnderTest, server: ScriptedServer, client: Peer) -> None:
        others = [edge.connect(address) for _ in range(3)]
        edge.until(lambda: all(other.ended for other in others), "the refusals")
        client.send(AUTH).close()

    repeat(edge, server, lambda: edge.connect(address), ending)
