"""Bad input below the XML: TLS and the PROXY protocol."""

import ssl

from tests.adversity.plays import GOOD, after_proceed
from tests.adversity.scene import PROXY, Scene
from tests.adversity.table import END, HEADER, Play, Row, Section, error
from tests.adversity.visitor import STARTTLS, Answer, tls_context

PROXY_V2 = b"\r\n\r\n\x00\r\nQUIT\n"
LATE = {"preauth_seconds": 1.0}


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
        end="alert unexpected_message, FIN",
        reason="client-reset",
    ),
    Row(
        sent="Half a ClientHello, then silence, with `preauth_seconds = 1`",
        play=half_a_handshake,
        reason="preauth-timeout",
        limits=LATE,
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
        limits=LATE,
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


SECTIONS = (
    Section("TLS", "To a direct TLS listener; after `<proceed/>` it is the same.", TLS, also=AFTER_PROCEED),
    Section("The PROXY protocol", "From a network of `proxy_protocol_from`, to a STARTTLS listener.", PROXY_ROWS),
)
