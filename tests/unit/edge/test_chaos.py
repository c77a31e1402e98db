"""Everything at once, in an order drawn from a seed: clients and servers that say and do whatever, at any moment.

What is checked is what must hold whatever happens: no fault, no crash, only known stream errors, and nothing left.
"""

import contextlib
import random
import re
import ssl
from collections.abc import Callable
from pathlib import Path

import pytest

from megaphone.config.schema import Limits
from megaphone.dispatch.counters import Reason
from megaphone.edge.limits import ClientLimits
from megaphone.sockets.tls_contexts import CertificateChoice
from megaphone.wire.writer import STREAM_ERROR_CONDITIONS
from tests.servers.certificates import CertificateAuthority
from tests.unit.edge.conftest import MakeEdge, MakeServer
from tests.unit.edge.dialogue import ANSWER, AUTH, END, FEATURES, HEADER, MESSAGE, PROCEED, STARTTLS, SUCCESS
from tests.unit.edge.edge_under_test import EdgeUnderTest, ScriptedServer
from tests.unit.edge.peer import Peer

ACTIONS = 1200
CLIENTS = 24
SAYINGS = [
    *(
        HEADER,
        AUTH,
        MESSAGE,
        MESSAGE * 50,
        STARTTLS,
        END,
        b" ",
        b"<presence/>",
        HEADER + STARTTLS,
        HEADER + AUTH + HEADER,
    ),
    *(
        b"<message><body>not yet",
        b"</body></message>",
        b"<!-- -->",
        b"nonsense",
        b"\x16\x03\x01\x00\x05hello",
        b"\0" * 9,
    ),
    *(b"PROXY TCP4 192.0.2.7 198.51.100.1 40000 5222\r\n", b"PROXY UNKNOWN\r\n" + HEADER, HEADER[:40], HEADER[40:]),
    *(b"<a>" * 70, b"x" * 70_000, MESSAGE * 3000),
]
ANSWERS = [
    *(
        ANSWER,
        FEATURES,
        ANSWER + FEATURES,
        SUCCESS,
        MESSAGE,
        MESSAGE * 500,
        END,
        b"<message><body>",
        b"</body></message>",
    ),
    *(
        b"<iq><bind><jid>romeo@example.org/o</jid></bind></iq>",
        b"</wrong>",
        PROCEED,
        b"<stream:error><a/></stream:error>",
    ),
    *(ANSWER[:30], ANSWER[30:], b"<success xmlns='urn:xmpp:sasl:2'><authorization-identifier>ro", b"\xff" * 100),
]
LIMITS = Limits(
    **{"preauth_seconds": 0.5, "idle_seconds": 0.6, "close_seconds": 0.15, "connect_seconds": 0.2},
    **{"slow_consumer_seconds": 0.3, "mailbox_bytes": 30_000, "stanzas_per_second": 2000, "stanzas_burst": 2000},
    **{"bytes_per_second": 2_000_000, "bytes_burst": 500_000, "connections_per_address": 20},
)


class Chaos:
    """Clients, servers and an operator without plans."""

    def __init__(
        self, edge: EdgeUnderTest, servers: list[ScriptedServer], ports: list[tuple[str, int]], seed: int
    ) -> None:
        self.edge = edge
        self.servers = servers
        self.ports = ports
        self.choice = random.Random(seed)
        self.clients: list[Peer] = []
        self.ports_of: dict[Peer, tuple[str, int]] = {}
        self.upstreams: list[Peer] = []
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self.context.check_hostname = False
        self.context.verify_mode = ssl.CERT_NONE

    def run(self) -> None:
        doings: list[Callable[[], object]] = [
            *[self.connect] * 5,
            *[self.client_says] * 12,
            *[self.server_says] * 10,
            *[self.accept] * 6,
            *[self.client_goes, self.server_goes] * 2,
            self.client_handshakes,
            self.client_handshakes,
            self.somebody_stops_reading,
            self.operator_ends_one,
            self.operator_changes_limits,
            self.upstream_changes_health,
        ]
        for _ in range(ACTIONS):
            self.choice.choice(doings)()
            for _ in range(self.choice.choice((0, 1, 1, 3))):
                self.edge.step()
            for peers in (self.clients, self.upstreams):
                for peer in [peer for peer in peers if peer.socket.fileno() < 0 or peer.ended]:
                    self.check(peer)
                    peers.remove(peer)
                    self.edge.peers.remove(peer)
                    peer.close()

    def check(self, peer: Peer) -> None:
        for condition in re.findall(rb"<stream:error><([a-z-]+) xmlns", bytes(peer.received)):
            assert condition.decode() in STREAM_ERROR_CONDITIONS
            assert condition != b"internal-server-error"

    def one_of(self, peers: list[Peer]) -> Peer | None:
        return self.choice.choice(peers) if peers else None

    def connect(self) -> None:
        if len(self.clients) < CLIENTS:
            source = self.choice.choice(("127.0.0.1", "127.0.0.2", "127.0.1.1"))
            buffers = self.choice.choice((None, 4096))
            port = self.choice.choice(self.ports)
            self.clients.append(self.edge.connect(port, source=source, buffers=buffers))
            self.ports_of[self.clients[-1]] = port

    def client_says(self) -> None:
        if (client := self.one_of(self.clients)) is not None:
            with contextlib.suppress(ssl.SSLError):
                client.queue(self.choice.choice(SAYINGS))

    def server_says(self) -> None:
        if (upstream := self.one_of(self.upstreams)) is not None:
            upstream.queue(self.choice.choice(ANSWERS))

    def accept(self) -> None:
        for server in self.servers:
            with contextlib.suppress(BlockingIOError):
                self.upstreams.append(Peer(self.edge, server.socket.accept()[0]))

    def client_goes(self) -> None:
        if (client := self.one_of(self.clients)) is not None:
            self.goes(client)

    def server_goes(self) -> None:
        if (upstream := self.one_of(self.upstreams)) is not None:
            self.goes(upstream)

    def goes(self, peer: Peer) -> None:
        how = self.choice.choice(("close", "abort", "finish"))
        if how == "finish":
            with contextlib.suppress(OSError, ssl.SSLError):
                peer.socket.shutdown(1)
        else:
            getattr(peer, how)()

    def client_handshakes(self) -> None:
        client = self.one_of([client for client in self.clients if client.tls is None])
        if client is None:
            return
        client.reading = True
        with contextlib.suppress(OSError, ssl.SSLError):
            if self.ports_of[client] == self.ports[1] or PROCEED in client.received:
                client.received.clear()
                client.start_tls(self.context, self.choice.choice(("example.org", "nowhere.example", None)))
            elif self.ports_of[client] in self.ports[2:4]:
                client.queue(HEADER + STARTTLS)

    def somebody_stops_reading(self) -> None:
        if (peer := self.one_of(self.clients + self.upstreams)) is not None:
            peer.reading = not peer.reading

    def operator_ends_one(self) -> None:
        connections = self.edge.dispatcher.connections()
        if connections:
            condition = self.choice.choice(("", "policy-violation", "system-shutdown"))
            self.choice.choice(connections).finish(
                condition, self.choice.choice((Reason.KICKED, Reason.SYSTEM_SHUTDOWN))
            )

    def operator_changes_limits(self) -> None:
        self.edge.clients.limits = ClientLimits(LIMITS)
        self.edge.uplink.apply(self.edge.clients.limits)
        assert all(connection.describe()["id"] for connection in self.edge.dispatcher.connections())

    def upstream_changes_health(self) -> None:
        self.edge.pool.mark(self.choice.choice(self.edge.pool.upstreams), healthy=self.choice.random() < 0.8)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_chaos(
    make_edge: MakeEdge,
    make_server: MakeServer,
    authority: CertificateAuthority,
    certificates: CertificateChoice,
    tmp_path: Path,
    seed: int,
) -> None:
    servers = [make_server(), make_server(tmp_path / "xmpp.sock", backlog=1), make_server(backlog=0)]
    edge = make_edge(*servers, limits=LIMITS, capacity=40, upstream={"max_connections": 12, "proxy_protocol": True})
    ports = [
        edge.listen(buffers=4096),
        edge.listen("direct", certificates=certificates),
        edge.listen("starttls", certificates=certificates, buffers=4096),
        edge.listen("starttls", starttls_required=False, certificates=certificates),
        edge.listen("starttls", proxy_from=("127.0.0.0/8",), certificates=certificates),
        edge.listen("direct", proxy_from=("127.0.0.2/32",), certificates=certificates),
    ]
    Chaos(edge, servers, ports, seed).run()
    assert len(set(edge.reasons())) > 4
