"""Bad input before a session: bytes and headers that open no stream, before TLS and inside it."""

from tests.adversity.fake_server import AUTH_FEATURES, STREAM_HEADER
from tests.adversity.plays import CLOSE_NOTIFY, GOOD, early, first, first_inside, opened_inside
from tests.adversity.table import END, HEADER, TLS_FAILURE, Piece, Row, Section, error
from tests.adversity.visitor import AUTH, STARTTLS
from tests.adversity.visitor import HEADER as CLIENT_HEADER

WITHOUT_TO = GOOD.replace(b"to='example.test' ", b"")
WITHOUT_VERSION = GOOD.replace(b" version='1.0'>", b">")
NOT_SERVED = "The stream is to no domain that is served here"
WRONG_STREAM = "the stream&apos;s namespace is not http://etherx.jabber.org/streams"
WRONG_CONTENT = "the content namespace is not jabber:client"
SERVER_OPENS = Piece("the server's own header and features", STREAM_HEADER + AUTH_FEATURES)


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
)
