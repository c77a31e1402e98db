"""Bad input in the XML of a session, and most of it also before TLS: what RFC 6120 or the limits forbid."""

from tests.adversity.plays import CLOSE_NOTIFY, GOOD, early, late, long
from tests.adversity.scene import Scene
from tests.adversity.table import END, Row, Section, error
from tests.adversity.visitor import STREAM_END, Answer
from tests.servers.process import wait_until

BYTES = "megaphone_stream_bytes_total"


def xml(sent: str, data: bytes, condition: str, limit: str = "") -> tuple[Row, Row]:
    """The same bad XML in a session, and before TLS."""
    answer = (error(condition), END)
    return (
        Row(sent=sent, play=late(data), answer=answer, end=CLOSE_NOTIFY, reason=condition, limit=limit),
        Row(sent=f"{sent}, before TLS", play=early(data), answer=answer, reason=condition, limit=limit),
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
    xml("The same attribute twice", b"<message to='a' to='b'/>", "not-well-formed"),
    xml("A prefix that is not declared", b"<x:message/>", "not-well-formed"),
    xml("A UTF-8 sequence that breaks off", b"<message>\xc3</message>", "not-well-formed"),
    xml("`/` as two bytes of UTF-8", b"<message>\xc0\xaf</message>", "not-well-formed"),
    xml("A name of 256 bytes", b"<" + b"a" * 256 + b"/>", "policy-violation"),
    xml("Text between stanzas", b"hello", "not-well-formed"),
    xml("A second stream header where none is due", GOOD.partition(b"?>")[2], "not-well-formed"),
)

TOO_LONG = b"<message><body>" + b"x" * (262_145 - 15)


def last_byte_late(scene: Scene) -> Answer:
    """All but the last byte is with the server before the last one comes."""
    with scene.session() as visitor:
        visitor.send(b"<message to='hush'/>")
        before = scene.edge.metric(BYTES, direction="in")
        visitor.send(TOO_LONG[:-1])
        wait_until(lambda: scene.edge.metric(BYTES, direction="in") - before >= len(TOO_LONG) - 1, "all but one byte")
        visitor.send(TOO_LONG[-1:])
        return visitor.answer()


IN_SESSION = (
    Row(
        sent="A stanza of 262,145 bytes",
        play=long(TOO_LONG),
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
)

IN_TWO = Row(
    sent="A stanza of 262,145 bytes, of which the last comes later",
    play=last_byte_late,
    answer=(error("policy-violation"), END),
    end=CLOSE_NOTIFY,
    reason="policy-violation",
    limit="stanza_bytes",
)

SECTIONS = (
    Section(
        "XML in a session",
        "Of a logged-in client. The rows up to “A second stream header” get the same stream error before TLS, then FIN "
        "without `close_notify`.",
        (*(late_row for late_row, _ in XML), *IN_SESSION),
        also=(*(early_row for _, early_row in XML), IN_TWO),
    ),
)
