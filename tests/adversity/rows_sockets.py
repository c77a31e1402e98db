"""Bad input below the XML: TLS, the PROXY protocol, clients that are slow, silent or half gone."""

import ssl
from itertools import takewhile

from tests.adversity.fake_server import FLOOD_STANZA
from tests.adversity.rows_xml import CLOSE_NOTIFY, GOOD
from tests.adversity.scene import PROXY, Scene
from tests.adversity.table import END, HEADER, Piece, Play, Row, Section, error
from tests.adversity.visitor import STARTTLS, Answer, Visitor, tls_context
from tests.servers.process import wait_until

PROXY_V2 = b"\r\n\r\n\x00\r\nQUIT\n"
SECOND = 1.0
SMALL_BUFFER_BYTES = 16_384
MAILBOX_BYTES = 65_536
READ_BYTES = 65_536  # what one read of the server can add to a mailbox that is about full


# --- TLS ---


def to_direct(data: bytes) -> Play:
    """Send this to the direct TLS port, without TLS."""

    def play(scene: Scene) -> Answer:
        with scene.visit(scene.direct) as visitor:
            visitor.send(data)
            return visitor.answer()

    return play


def handshake(
    *, alpn: str = "xmpp-client", version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_2, ciphers: str | None = None
) -> Play:
    """Try a handshake with this version."""

    def play(scene: Scene) -> Answer:
        context = tls_context(scene.authority, alpn=alpn, minimum=version, maximum=version)
        if ciphers is not None:
            context.set_ciphers(ciphers)
        with scene.visit(scene.direct) as visitor:
            answer = visitor.start_tls(context)
            assert answer is not None, "the handshake succeeded"
            return answer

    return play


def after_proceed(data: bytes) -> Play:
    """Send this instead of a handshake after `<proceed/>`."""

    def play(scene: Scene) -> Answer:
        with scene.visit(scene.starttls) as visitor:
            visitor.open()
            visitor.send(STARTTLS)
            visitor.read_until(b"/>")
            visitor.send(data)
            return visitor.answer()

    return play


def old_version_after_proceed(scene: Scene) -> Answer:
    """A handshake for TLS 1.1 after `<proceed/>`."""
    version = ssl.TLSVersion.TLSv1_1
    with scene.visit(scene.starttls) as visitor:
        visitor.open()
        visitor.send(STARTTLS)
        visitor.read_until(b"/>")
        answer = visitor.start_tls(tls_context(scene.authority, minimum=version, maximum=version))
        assert answer is not None, "the handshake succeeded"
        return answer


def raw_inside(data: bytes) -> Play:
    """Send this past TLS in a session."""

    def play(scene: Scene) -> Answer:
        with scene.session() as visitor:
            visitor.send_raw(data)
            return visitor.answer()

    return play


def half_a_handshake(scene: Scene) -> Answer:
    """Only the first bytes of a ClientHello."""
    with scene.visit(scene.direct) as visitor:
        visitor.send(bytes.fromhex("16030100c8010000c40303"))
        return visitor.answer()


TLS = (
    Row(sent="A stream header without TLS", play=to_direct(GOOD), reason="tls-handshake-failed"),
    Row(sent="An HTTP request without TLS", play=to_direct(b"GET / HTTP/1.0\r\n\r\n"), reason="tls-handshake-failed"),
    Row(sent="Bytes at random", play=to_direct(bytes.fromhex("8d1f00a37b3ce5") * 8), reason="tls-handshake-failed"),
    Row(
        sent="A handshake for TLS 1.1",
        play=handshake(version=ssl.TLSVersion.TLSv1_1),
        end="alert protocol_version, FIN",
        reason="tls-handshake-failed",
    ),
    Row(
        sent="ALPN with `h2` alone",
        play=handshake(alpn="h2"),
        end="alert no_application_protocol, FIN",
        reason="tls-handshake-failed",
    ),
    Row(
        sent="TLS 1.2 with CBC suites alone",
        play=handshake(ciphers="ECDHE+AES+SHA"),
        end="alert handshake_failure, FIN",
        reason="tls-handshake-failed",
    ),
    Row(
        sent="A record in a session that does not decrypt",
        play=raw_inside(b"\x17\x03\x03\x00\x20" + b"x" * 32),
        end="alert bad_record_mac, FIN",
        reason="client-reset",
    ),
    Row(
        sent="Plaintext in a session",
        play=raw_inside(b"<presence/>"),
        end="alert protocol_version, FIN",
        reason="client-reset",
    ),
    Row(
        sent="Half a ClientHello, then silence, with `preauth_seconds = 1`",
        play=half_a_handshake,
        reason="preauth-timeout",
        limits={"preauth_seconds": SECOND},
    ),
)

AFTER_PROCEED = (
    Row(sent="A stream header after `<proceed/>`", play=after_proceed(GOOD), reason="tls-handshake-failed"),
    Row(
        sent="A handshake for TLS 1.1 after `<proceed/>`",
        play=old_version_after_proceed,
        end="alert protocol_version, FIN",
        reason="tls-handshake-failed",
    ),
)


# --- PROXY protocol ---


def from_proxy(data: bytes) -> Play:
    """Send this from a listed network to a STARTTLS listener that expects a PROXY header."""

    def play(scene: Scene) -> Answer:
        with scene.visit(scene.proxied, PROXY) as visitor:
            visitor.send(data)
            return visitor.answer()

    return play


def not_from_proxy(scene: Scene) -> Answer:
    """A client that is no listed proxy may not say who it is."""
    with scene.visit(scene.proxied) as visitor:
        visitor.send(b"PROXY TCP4 192.0.2.1 192.0.2.2 50000 5222\r\n")
        return visitor.answer()


PROXY_ROWS = (
    Row(sent="No header, but a stream", play=from_proxy(GOOD), reason="proxy-header"),
    Row(
        sent="Version 1 with an address that is none",
        play=from_proxy(b"PROXY TCP4 192.0.2.256 192.0.2.1 50000 5222\r\n"),
        reason="proxy-header",
    ),
    Row(
        sent="Version 1, 107 bytes without CRLF",
        play=from_proxy(b"PROXY TCP4 ".ljust(107, b"1")),
        reason="proxy-header",
    ),
    Row(
        sent="Version 2 that announces 4,097 bytes",
        play=from_proxy(PROXY_V2 + b"\x21\x11\x10\x01"),
        reason="proxy-header",
    ),
    Row(
        sent="Version 2 with an unknown command", play=from_proxy(PROXY_V2 + b"\x2f\x11\x00\x0c"), reason="proxy-header"
    ),
    Row(
        sent="Half a header, then silence, with `preauth_seconds = 1`",
        play=from_proxy(b"PROXY TCP4 192.0"),
        reason="preauth-timeout",
        limits={"preauth_seconds": SECOND},
    ),
    Row(
        sent="A good header, and then an HTTP request",
        play=from_proxy(b"PROXY TCP4 192.0.2.1 192.0.2.2 50000 5222\r\nGET / HTTP/1.1\r\n\r\n"),
        answer=(HEADER, error("not-well-formed"), END),
        reason="not-well-formed",
    ),
    Row(
        sent="A good header from an address that is not listed",
        play=not_from_proxy,
        answer=(HEADER, error("not-well-formed"), END),
        reason="not-well-formed",
    ),
)


# --- slow, silent, half gone ---


def byte_by_byte(scene: Scene) -> Answer:
    """Everything from the first header to the end of the stream, one byte for each segment."""
    with scene.visit(scene.starttls) as visitor:
        visitor.byte_by_byte = True
        visitor.secure(scene.context)
        visitor.log_in()
        visitor.echo(b"<message><body>slow but sure</body></message>")
        return visitor.leave()


def silent_from_the_start(scene: Scene) -> Answer:
    """Connect, and nothing more."""
    with scene.visit(scene.starttls) as visitor:
        return visitor.answer()


def silent_after_tls(scene: Scene) -> Answer:
    """STARTTLS, and nothing more."""
    with scene.visit(scene.starttls) as visitor:
        visitor.secure(scene.context)
        return visitor.answer()


def silent_after_proceed(scene: Scene) -> Answer:
    """`<proceed/>`, and then no handshake."""
    return after_proceed(b"")(scene)


def trickle(scene: Scene) -> Answer:
    """A header that takes for ever: each byte is a sign of life, and does not help."""
    with scene.visit(scene.starttls) as visitor:
        for byte in takewhile(lambda _: not visitor.ended_within(0.1), GOOD):
            visitor.send(bytes([byte]))
        return visitor.answer()


def silent_before_auth(scene: Scene) -> Answer:
    """A stream with the server, and no login."""
    with scene.inside() as visitor:
        visitor.open()
        return visitor.answer()


def idle(scene: Scene) -> Answer:
    """A session that says nothing."""
    with scene.session() as visitor:
        return visitor.answer()


def half_open(scene: Scene) -> Answer:
    """FIN without a goodbye; the server does not answer it."""
    with scene.session() as visitor:
        visitor.finish()
        return visitor.answer()


def never_reads(scene: Scene) -> Answer:
    """The server floods; the client reads nothing until it is closed. Another client goes on as if nothing was."""
    edge, slow = scene.edge, ("megaphone_connections_closed_total", "slow-consumer")
    before = scene.counts(slow[0])[slow]
    with scene.session() as other, Visitor(scene.direct, receive_buffer_bytes=SMALL_BUFFER_BYTES) as visitor:
        assert visitor.start_tls(scene.context) is None
        visitor.log_in()
        visitor.send(b"<message to='flood'/>")

        def closed() -> bool:
            other.echo()
            assert edge.metric("megaphone_mailbox_bytes") <= MAILBOX_BYTES + READ_BYTES
            return scene.counts(slow[0])[slow] > before

        wait_until(closed, "the slow reader closed", 10.0)
        answer = visitor.answer()
        other.leave()
        # What the kernel and TLS had under way still arrives, as it was.
        whole = len(answer.data) // len(FLOOD_STANZA) + 1
        assert answer.data == (FLOOD_STANZA * whole)[: len(answer.data)]
        return Answer(b"", answer.end)


TIMED_OUT = error("connection-timeout")
LATE = {"preauth_seconds": SECOND}

SLOW = (
    Row(
        sent="Everything byte by byte, TLS included",
        play=byte_by_byte,
        answer=(Piece("a session like any other, END", END.data),),
        end=CLOSE_NOTIFY,
        reason="client-closed",
    ),
    Row(
        sent="Nothing at all, with `preauth_seconds = 1`",
        play=silent_from_the_start,
        answer=(HEADER, TIMED_OUT, END),
        reason="preauth-timeout",
        limits=LATE,
    ),
    Row(
        sent="A header of which a byte comes every 0.1 s, with `preauth_seconds = 1`",
        play=trickle,
        answer=(HEADER, TIMED_OUT, END),
        reason="preauth-timeout",
        limits=LATE,
    ),
    Row(
        sent="`<starttls/>`, and then no handshake, with `preauth_seconds = 1`",
        play=silent_after_proceed,
        reason="preauth-timeout",
        limits=LATE,
    ),
    Row(
        sent="Nothing after TLS, with `preauth_seconds = 1`",
        play=silent_after_tls,
        answer=(HEADER, TIMED_OUT, END),
        end=CLOSE_NOTIFY,
        reason="preauth-timeout",
        limits=LATE,
    ),
    Row(
        sent="No login, with `preauth_seconds = 1`",
        play=silent_before_auth,
        answer=(TIMED_OUT, END),
        end=CLOSE_NOTIFY,
        reason="preauth-timeout",
        limits=LATE,
    ),
    Row(
        sent="Nothing in a session, with `idle_seconds = 1`",
        play=idle,
        answer=(TIMED_OUT, END),
        end=CLOSE_NOTIFY,
        reason="idle-timeout",
        limits={"idle_seconds": SECOND},
    ),
    Row(
        sent="FIN, then silence; the server is silent, too, with `close_seconds = 1`",
        play=half_open,
        end=CLOSE_NOTIFY,
        reason="client-closed",
    ),
    Row(
        sent="A client that reads nothing while the server floods it, with `slow_consumer_seconds = 1`, "
        "`mailbox_bytes = 65536`",
        play=never_reads,
        answer=(Piece("what was under way", b""),),
        reason="slow-consumer",
        counted=("megaphone_mailbox_full_total",),
        limits={"slow_consumer_seconds": SECOND, "mailbox_bytes": MAILBOX_BYTES},
    ),
)

SECTIONS = (
    Section("TLS", "To a direct TLS listener; after `<proceed/>` it is the same.", TLS, also=AFTER_PROCEED),
    Section("The PROXY protocol", "From a network of `proxy_protocol_from`, to a STARTTLS listener.", PROXY_ROWS),
    Section(
        "Slow, silent, half gone",
        "While the last one is closed, another client of the same server goes on as if nothing was.",
        SLOW,
    ),
)
