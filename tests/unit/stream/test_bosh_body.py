"""What a body says, what is none, and how its children go on to a stream."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from megaphone.stream.bosh_body import read_body, terminal_body, write_body
from megaphone.wire.framer import Event, StreamFramer
from megaphone.wire.framing_element import STREAM_BEGIN

NS = "xmlns='http://jabber.org/protocol/httpbind'"


@pytest.mark.parametrize(
    ("text", "elements"),
    [
        (f"<body rid='1' {NS}/>", ""),
        (f"<?xml version='1.0'?>\n<body rid='1' {NS} />\n", ""),
        (f"<body rid='1' {NS}> <iq/>\n<message>a</message> </body>", "<iq/><message>a</message>"),
        (f"<body rid='1' {NS}><iq xmlns='jabber:client'/></body>", "<iq xmlns='jabber:client'/>"),
        (f"<body rid='1' {NS} xmlns:x='urn:x'><iq><x:a/></iq><iq/></body>", "<iq xmlns:x='urn:x'><x:a/></iq><iq/>"),
        (
            f"<body rid='1' {NS} xmlns:x='urn:x'><iq xmlns:x='urn:y'><x:a/></iq></body>",
            "<iq xmlns:x='urn:y'><x:a/></iq>",
        ),
        ("<b:body rid='1' xmlns:b='http://jabber.org/protocol/httpbind'><iq/></b:body>", "<iq/>"),
        (
            "<b:body rid='1' xmlns:b='http://jabber.org/protocol/httpbind' xmlns='urn:z'><z/></b:body>",
            "<z xmlns='urn:z'/>",
        ),
    ],
)
def test_children_go_on_as_stanzas(text: str, elements: str) -> None:
    assert read_body(text.encode()).elements.decode() == elements


def test_what_a_body_says() -> None:
    body = read_body(
        f"<body rid='9007199254740991' sid='s' to='é.example' from='a@b' xml:lang='de' ver='1.10' wait='60' hold='1'"
        f" ack='1' content='text/xml' key='k' newkey='n' type='terminate' {NS} xmlns:x='urn:xmpp:xbosh'"
        " x:restart='true'/>".encode()
    )
    assert (body.rid, body.sid, body.to, body.from_, body.lang) == (2**53 - 1, "s", "é.example", "a@b", "de")
    assert (body.version, body.wait, body.hold, body.ack, body.pause) == ((1, 10), 60, 1, 1, None)
    assert (body.key, body.new_key, body.content, body.terminates, body.restarts) == ("k", "n", "text/xml", True, True)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no XML",
        f"<body {NS}/>",
        f"<body rid='-1' {NS}/>",
        f"<body rid='9007199254740992' {NS}/>",
        f"<body rid='\uff11' {NS}/>",  # a digit, but no ASCII
        f"<body rid='1' wait='soon' {NS}/>",
        f"<body rid='1' ver='1' {NS}/>",
        "<body rid='1'/>",
        "<body rid='1' xmlns='jabber:client'/>",
        f"<nobody rid='1' {NS}/>",
        f"<body rid='1' {NS}>text</body>",
        f"<body rid='1' {NS}><iq></body>",
        f"<body rid='1' {NS}><iq/>",
        f"<body rid='1' {NS}/><body rid='2' {NS}/>",
        f"<body rid='1' rid='2' {NS}/>",
        f"<body rid='1' {NS}><!-- a comment --></body>",
        f"<body rid='1' {NS}><?php ?></body>",
        f"<!DOCTYPE body [<!ENTITY a 'b'>]><body rid='1' {NS}>&a;</body>",
        f"<body rid='1' {NS}><undeclared:iq/></body>",
        f"<body rid='1' {NS}><stream:stream xmlns:stream='http://etherx.jabber.org/streams'></stream:stream></body>",
        f"<body rid='1' {NS} key='{'k' * 300}'/>",
        f"<body rid='1' {NS}>{'<a>' * 80}{'</a>' * 80}</body>",
    ],
)
def test_what_is_no_body(text: str) -> None:
    with pytest.raises(ValueError, match="bad-request"):
        read_body(text.encode())


@given(st.binary(max_size=60), st.integers(0, 300), st.integers(0, 40))
def test_whatever_comes_is_a_body_or_none(data: bytes, at: int, cut: int) -> None:
    """And what is one has whole elements."""
    good = f"<body rid='7' {NS} xmlns:x='urn:x'><iq type='get'><x:q/></iq> <message>a&amp;b</message></body>".encode()
    try:
        body = read_body(good[:at] + data + good[at + cut :])
    except ValueError as error:
        if error.args[0] != "bad-request":
            raise
        return
    framer = StreamFramer()
    framer.scan(STREAM_BEGIN + b">")
    rest = body.elements
    while rest:
        event, end, _, _, _ = framer.scan(rest)
        assert event is Event.STANZA, body
        rest = rest[end:]


def test_what_is_written() -> None:
    assert write_body([("sid", "a'b")]) == b"<body xmlns='http://jabber.org/protocol/httpbind' sid='a&apos;b'/>"
    assert terminal_body("item-not-found", b"<a/>") == (
        b"<body xmlns='http://jabber.org/protocol/httpbind' type='terminate' condition='item-not-found'><a/></body>"
    )
