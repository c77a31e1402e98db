"""Bad input in the XML: first bytes that open no stream, and stanzas that RFC 6120 or the limits forbid."""

from tests.adversity.fake_server import AUTH_FEATURES, STREAM_HEADER
from tests.adversity.scene import Scene
from tests.adversity.table import END, HEADER, TLS_FAILURE, Piece, Play, Row, Section, error
from tests.adversity.visitor import AUTH, STARTTLS, STREAM_END, Answer
from tests.adversity.visitor import HEADER as CLIENT_HEADER
from tests.servers.model import DOMAIN

GOOD = CLIENT_HEADER % DOMAIN.encode()
WITHOUT_TO = GOOD.replace(b"to='example.test' ", b"")
WITHOUT_VERSION = GOOD.replace(b" version='1.0'>", b">")
CLOSE_NOTIFY = "close_notify, FIN"
NOT_SERVED = "The stream is to no domain that is served here"
WRONG_STREAM = "the stream&apos;s namespace is not http://etherx.jabber.org/streams"
WRONG_CONTENT = "the content namespace is not jabber:client"
SERVER_OPENS = Piece("the server's own header and features", STREAM_HEADER + AUTH_FEATURES)


def first(data: bytes) -> Play:
    """Send this as the first bytes to the STARTTLS port."""

    def play(scene: Scene) -> Answer:
        with scene.visit(scene.starttls) as visitor:
            visitor.send(data)
            return visitor.answer()

    return play


def first_inside(data: bytes) -> Play:
    """Send this as the first bytes inside direct TLS."""

    def play(scene: Scene) -> Answer:
        with scene.inside() as visitor:
            visitor.send(data)
            return visitor.answer()

    return play


def early(data: bytes) -> Play:
    """Send this after the features of the edge's own stream, before TLS; the answer is what comes then."""

    def play(scene: Scene) -> Answer:
        with scene.visit(scene.starttls) as visitor:
            visitor.open()
            visitor.send(data)
            return visitor.answer()

    return play


def late(data: bytes) -> Play:
    """Send this in a session."""

    def play(scene: Scene) -> Answer:
        with scene.session() as visitor:
            visitor.send(data)
            return visitor.answer()

    return play


def passed(data: bytes) -> Play:
    """Send this in a session, take it back from the server, and leave."""

    def play(scene: Scene) -> Answer:
        with scene.session() as visitor:
            visitor.send(data)
            echo = visitor.read_until(data)
            return Answer(echo + visitor.leave().data, CLOSE_NOTIFY)

    return play


def opened_inside(data: bytes) -> Play:
    """Send this header inside TLS, take what the server makes of it, and leave."""

    def play(scene: Scene) -> Answer:
        with scene.inside() as visitor:
            visitor.send(data)
            opened = visitor.read_until(b"</stream:features>")
            left = visitor.leave()
            return Answer(opened + left.data, left.end)

    return play


def xml(sent: str, data: bytes, condition: str, limit: str = "") -> tuple[Row, Row]:
    """The same bad XML in a session, and before TLS."""
    answer = (error(condition), END)
    return (
        Row(sent=sent, play=late(data), answer=answer, end=CLOSE_NOTIFY, reason=condition, limit=limit),
        Row(sent=f"{sent}, before TLS", play=early(data), answer=answer, reason=condition, limit=limit),
    )


FIRST_BYTES = (
    ("An HTTP request", b"GET / HTTP/1.1\r\nHost: example.test\r\n\r\n", "not-well-formed", ""),
    ("A TLS ClientHello", bytes.fromhex("16030100c8010000c40303") + bytes(194), "not-well-formed", ""),
    ("Bytes at random", bytes.fromhex("8d1f00a37b3ce5"), "not-well-formed", ""),
    ("A byte order mark before the header", b"\xef\xbb\xbf" + GOOD, "not-well-formed", ""),
    ("A header in UTF-16", GOOD.decode().encode("utf-16"), "unsupported-encoding", "invalid-xml"),
    (
        "A header in UTF-16 without byte order mark",
        GOOD.decode().encode("utf-16-le"),
        "unsupported-encoding",
        "invalid-xml",
    ),
    (
        "`<?xml version='1.0' encoding='ISO-8859-1'?>`",
        GOOD.replace(b"1.0'?>", b"1.0' encoding='ISO-8859-1'?>"),
        "unsupported-encoding",
        "invalid-xml",
    ),
    ("`<!DOCTYPE stream>` before the header", b"<!DOCTYPE stream>" + GOOD, "restricted-xml", ""),
    ("`<?php ?>` before the header", b"<?php ?>" + GOOD, "restricted-xml", ""),
    (
        "A stream whose prefix is not declared",
        b"<stream:stream to='example.test' version='1.0'>",
        "not-well-formed",
        "",
    ),
)

REFUSED_HEADERS = (
    ("A stream without `to`", WITHOUT_TO, "host-unknown", NOT_SERVED, "host-unknown"),
    ("A stream to an unknown domain", CLIENT_HEADER % b"nowhere.test", "host-unknown", NOT_SERVED, "host-unknown"),
    (
        "A stream without `version`",
        WITHOUT_VERSION,
        "unsupported-version",
        "XMPP version 1.0 is required",
        "invalid-xml",
    ),
    (
        "A wrong namespace of the stream",
        GOOD.replace(b"/streams", b"/rivers"),
        "invalid-namespace",
        WRONG_STREAM,
        "invalid-xml",
    ),
    (
        "A stream of `jabber:server`",
        GOOD.replace(b"r:client", b"r:server"),
        "invalid-namespace",
        WRONG_CONTENT,
        "invalid-xml",
    ),
)

XML = (
    xml("A comment", b"<!-- so long -->", "restricted-xml"),
    xml("A processing instruction", b"<?php phpinfo() ?>", "restricted-xml"),
    xml("A document type", b"<!DOCTYPE lolz [<!ENTITY lol 'lol'>]>", "restricted-xml"),
    xml("`&nbsp;`, an entity that XML does not predefine", b"<message><body>&nbsp;</body></message>", "restricted-xml"),
    xml("A comment inside a stanza", b"<message><!-- so long --></message>", "restricted-xml"),
    xml("An end tag that does not match", b"<message><body></message>", "not-well-formed"),
    xml("An attribute without quotes", b"<message to=romeo/>", "not-well-formed"),
    xml("`<` in an attribute", b"<message to='<'/>", "not-well-formed"),
    xml("A bare `&`", b"<message><body>you & me</body></message>", "not-well-formed"),
    xml("`&#0;`", b"<message><body>&#0;</body></message>", "not-well-formed"),
    xml("A control character", b"<message><body>\x07</body></message>", "not-well-formed"),
    xml("A byte that UTF-8 never has", b"<message><body>\xff</body></message>", "not-well-formed"),
    xml("`]]>` in text", b"<message><body>]]></body></message>", "not-well-formed"),
    xml("Text between stanzas", b"hello", "not-well-formed"),
    xml("A second stream header where none is due", GOOD.partition(b"?>")[2], "not-well-formed"),
)

IN_SESSION = (
    Row(
        sent="A stanza of 262,145 bytes",
        play=late(b"<message><body>" + b"x" * (262_145 - 15)),
        answer=(error("policy-violation"), END),
        end=CLOSE_NOTIFY,
        reason="policy-violation",
        limit="stanza_bytes",
    ),
    Row(
        sent="65 elements inside each other, the stream included",
        play=late(b"<a>" * 64),
        answer=(error("policy-violation"), END),
        end=CLOSE_NOTIFY,
        reason="policy-violation",
        limit="element_depth",
    ),
    Row(
        sent="An element with 65 attributes",
        play=late(b"<a " + b" ".join(b"a%d=''" % number for number in range(65)) + b"/>"),
        answer=(error("policy-violation"), END),
        end=CLOSE_NOTIFY,
        reason="policy-violation",
        limit="element_attributes",
    ),
    Row(
        sent="A good stanza and a comment in one write",
        play=late(b"<message id='1'/><!-- -->"),
        answer=(error("restricted-xml"), END),
        end=CLOSE_NOTIFY,
        reason="restricted-xml",
    ),
    Row(
        sent="A comment, and 2 MB behind it",
        play=late(b"<!-- -->" + b"x" * 2_000_000),
        answer=(error("restricted-xml"), END),
        end=CLOSE_NOTIFY,
        reason="restricted-xml",
    ),
    Row(
        sent="A stanza after `</stream:stream>`",
        play=late(STREAM_END + b"<message/>"),
        answer=(error("not-well-formed"), END),
        end=CLOSE_NOTIFY,
        reason="not-well-formed",
    ),
    Row(
        sent="The same attribute twice",
        play=passed(b"<message to='a' to='b'/>"),
        answer=(Piece("back from the server as it was", b"<message to='a' to='b'/>"), END),
        end=CLOSE_NOTIFY,
        reason="client-closed",
    ),
    Row(
        sent="A prefix that is not declared",
        play=passed(b"<x:message/>"),
        answer=(Piece("back from the server as it was", b"<x:message/>"), END),
        end=CLOSE_NOTIFY,
        reason="client-closed",
    ),
    Row(
        sent="A UTF-8 sequence that breaks off",
        play=passed(b"<message>\xc3</message>"),
        answer=(Piece("back from the server as it was", b"<message>\xc3</message>"), END),
        end=CLOSE_NOTIFY,
        reason="client-closed",
    ),
)

BEFORE_TLS = (
    Row(
        sent="`<auth/>` instead of STARTTLS",
        play=early(AUTH),
        answer=(error("policy-violation", "STARTTLS is required"), END),
        reason="policy-violation",
    ),
    Row(
        sent="Plaintext in the same write behind `<starttls/>`",
        play=early(STARTTLS + GOOD),
        answer=(error("policy-violation"), END),
        reason="policy-violation",
    ),
    Row(
        sent="`<starttls/>` in a wrong namespace",
        play=early(b"<starttls xmlns='jabber:client'/>"),
        answer=(TLS_FAILURE, END),
        reason="invalid-xml",
    ),
    Row(
        sent="70,000 bytes of white space",
        play=early(b" " * 70_000),
        answer=(error("policy-violation"), END),
        reason="policy-violation",
        limit="preauth_bytes",
    ),
)

INSIDE_TLS = (
    Row(
        sent="A stream to an unknown domain",
        play=first_inside(CLIENT_HEADER % b"nowhere.test"),
        answer=(HEADER, error("host-unknown"), END),
        end=CLOSE_NOTIFY,
        reason="host-unknown",
    ),
    Row(
        sent="A stream without `to`; the SNI is `example.test`",
        play=opened_inside(WITHOUT_TO),
        answer=(SERVER_OPENS, END),
        end=CLOSE_NOTIFY,
        reason="client-closed",
    ),
    Row(
        sent="A stream of `jabber:server`, or without `version`",
        play=opened_inside(WITHOUT_VERSION.replace(b"r:client", b"r:server")),
        answer=(SERVER_OPENS, END),
        end=CLOSE_NOTIFY,
        reason="client-closed",
    ),
    Row(
        sent="70,000 bytes before `<auth/>` is through",
        play=first_inside(GOOD + b"<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>" + b"A" * 70_000),
        answer=(HEADER, error("policy-violation"), END),
        end=CLOSE_NOTIFY,
        reason="policy-violation",
        limit="preauth_bytes",
    ),
)

SECTIONS = (
    Section(
        "First bytes that open no stream",
        "To a STARTTLS listener. Where a condition stands alone, the same bytes inside direct TLS get the same answer, "
        "with `close_notify` before FIN.",
        (
            *(
                Row(sent=sent, play=first(data), answer=(HEADER, error(condition), END), reason=reason or condition)
                for sent, data, condition, reason in FIRST_BYTES
            ),
            *(
                Row(sent=sent, play=first(data), answer=(HEADER, error(condition, text), END), reason=reason)
                for sent, data, condition, text, reason in REFUSED_HEADERS
            ),
        ),
        also=tuple(
            Row(
                sent=f"{sent}, inside TLS",
                play=first_inside(data),
                answer=(HEADER, error(condition), END),
                end=CLOSE_NOTIFY,
                reason=reason or condition,
            )
            for sent, data, condition, reason in FIRST_BYTES
        ),
    ),
    Section(
        "Before TLS",
        "After the features of the edge's own stream, which hold STARTTLS alone.",
        BEFORE_TLS,
    ),
    Section(
        "The first stream inside TLS",
        "The edge reads `to` and the limits; the rest of the header is the server's to answer.",
        INSIDE_TLS,
    ),
    Section(
        "XML in a session",
        "Of a logged-in client. The rows up to “A second stream header” get the same stream error before TLS, then FIN "
        "without `close_notify`. The last three rows are not the edge's business: the server gets the bytes as they "
        "came and answers as it likes (this one sends everything back).",
        (*(late_row for late_row, _ in XML), *IN_SESSION),
        also=tuple(early_row for _, early_row in XML),
    ),
)
