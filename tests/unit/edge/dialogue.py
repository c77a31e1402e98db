"""The lines that most dialogues between client, edge and server are made of."""

from megaphone.config.schema import Limits
from tests.unit.edge.edge_under_test import EdgeUnderTest, ScriptedServer
from tests.unit.edge.peer import Peer

HEADER = (
    b"<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'"
    b" to='example.org' version='1.0'>"
)
ANSWER = (
    b"<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'"
    b" id='1' from='example.org' version='1.0'>"
)
FEATURES = b"<stream:features><mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/></stream:features>"
AUTH = b"<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>AHJvbWVvAHg=</auth>"
SUCCESS = b"<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>"
STARTTLS = b"<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"
PROCEED = b"<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"
END = b"</stream:stream>"
MESSAGE = b"<message to='juliet@example.org'><body>Arise</body></message>"
FAST = Limits(bytes_per_second=10**9, bytes_burst=10**9, stanzas_per_second=10**8, stanzas_burst=10**8)


def open_stream(edge: EdgeUnderTest, server: ScriptedServer, client: Peer) -> Peer:
    """The client's header goes to the server, header and features come back; returns the server's end."""
    client.send(HEADER)
    upstream = server.accept()
    upstream.expect(HEADER).send(ANSWER + FEATURES)
    client.expect(ANSWER + FEATURES)
    return upstream


def log_in(client: Peer, upstream: Peer, jid: bytes = b"romeo@example.org/orchard") -> None:
    """SASL, the restart, and binding."""
    client.send(AUTH)
    upstream.expect(AUTH).send(SUCCESS)
    client.expect(SUCCESS).send(HEADER)
    upstream.expect(HEADER).send(ANSWER + b"<stream:features/>")
    client.expect(ANSWER + b"<stream:features/>")
    bind = b"<iq id='b' type='set'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>"
    client.send(bind)
    bound = b"<iq id='b' type='result'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><jid>%b</jid></bind></iq>" % jid
    upstream.expect(bind).send(bound)
    client.expect(bound)
    assert client.edge.gauges().get("OPEN_AUTHENTICATED")


def connect_through(
    edge: EdgeUnderTest, server: ScriptedServer, *, source: str | None = None, buffers: int | None = None
) -> tuple[Peer, Peer]:
    """A client with an open stream, and its server's end, over a plain listener; `buffers` are those of the sockets."""
    client = edge.connect(edge.listen(buffers=buffers), source=source, buffers=buffers)
    return client, open_stream(edge, server, client)


def logged_in(
    edge: EdgeUnderTest, server: ScriptedServer, *, source: str | None = None, buffers: int | None = None
) -> tuple[Peer, Peer]:
    """A client that has logged in, and its server's end, over a plain listener."""
    client, upstream = connect_through(edge, server, source=source, buffers=buffers)
    log_in(client, upstream)
    return client, upstream
