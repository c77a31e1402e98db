"""A server's stream as messages: every element means what it meant, however the stream comes."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree

from megaphone.wire.to_messages import StreamToMessages
from tests.unit.wire.framing import END, HEADER, pieces_of
from tests.unit.wire.messages import elements_of_messages, elements_of_stream, split_frames, to_messages
from tests.unit.wire.streams import STREAMS

OPEN = b"<open xmlns='urn:ietf:params:xml:ns:xmpp-framing' to='example.org' version='1.0'/>"
CLOSE = b"<close xmlns='urn:ietf:params:xml:ns:xmpp-framing'/>"
CUTS = st.lists(st.integers(0, 10_000), max_size=8)


@settings(deadline=None)
@given(STREAMS, CUTS)
def test_elements_mean_the_same_in_messages(stream: bytes, cuts: list[int]) -> None:
    messages = to_messages(pieces_of(stream, cuts))
    assert (messages[0], messages[-1]) == (OPEN, CLOSE)
    assert elements_of_messages(messages[1:-1]) == elements_of_stream(stream)


@settings(deadline=None)
@given(STREAMS)
def test_byte_by_byte(stream: bytes) -> None:
    messages = to_messages(stream[at : at + 1] for at in range(len(stream)))
    assert (messages[0], messages[-1]) == (OPEN, CLOSE)
    assert elements_of_messages(messages[1:-1]) == elements_of_stream(stream)


@given(STREAMS)
def test_whole_stanzas_gain_declarations_and_nothing_else(stream: bytes) -> None:
    client, streams = b" xmlns='jabber:client'", b" xmlns:stream='http://etherx.jabber.org/streams'"
    for message in to_messages([stream])[1:-1]:
        assert any(message.replace(gained, b"", 1) in stream for gained in (b"", client, streams, client + streams))


@pytest.mark.parametrize(
    ("stanza", "message"),
    [
        (b"<message/>", b"<message xmlns='jabber:client'/>"),
        (b"<iq id='1'><a/></iq>", b"<iq xmlns='jabber:client' id='1'><a/></iq>"),
        (b"<iq xmlns='jabber:client' id='1'/>", b"<iq xmlns='jabber:client' id='1'/>"),
        (b'<success\txmlns="urn:x" >AA==</success>', b'<success\txmlns="urn:x" >AA==</success>'),
        (b"<a to='xmlns=b'/>", b"<a xmlns='jabber:client' to='xmlns=b'/>"),
        (
            b"<stream:features><a/></stream:features>",
            b"<stream:features xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'><a/></stream:features>",
        ),
        (
            b"<stream:error xmlns:stream='http://etherx.jabber.org/streams'/>",
            b"<stream:error xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'/>",
        ),
        (
            b"<message xmlns='jabber:client'><stream:x/></message>",
            b"<message xmlns:stream='http://etherx.jabber.org/streams' xmlns='jabber:client'><stream:x/></message>",
        ),
        (
            b"<message><body>see stream:x</body></message>",
            b"<message xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>"
            b"<body>see stream:x</body></message>",
        ),
    ],
)
def test_what_is_declared(stanza: bytes, message: bytes) -> None:
    assert to_messages([HEADER, b" \n" + stanza + b" "]) == [OPEN, message]


def test_a_header_says_in_open_what_it_says() -> None:
    header = (
        b"<?xml version='1.0'?>\n<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'"
        b" id=\"a&apos;&lt;1\" from='example.org' to='romeo@example.org' version='1.0' xml:lang='de'>"
    )
    (message,) = to_messages([header])
    opened = etree.fromstring(message)
    assert opened.tag == "{urn:ietf:params:xml:ns:xmpp-framing}open"
    assert dict(opened.attrib) == {
        "from": "example.org",
        "to": "romeo@example.org",
        "id": "a'<1",
        "version": "1.0",
        "{http://www.w3.org/XML/1998/namespace}lang": "de",
    }


def test_a_stream_that_begins_anew_opens_anew() -> None:
    assert to_messages([HEADER, b"<a xmlns='u'/>" + HEADER, b"<b xmlns='u'/>"]) == [
        OPEN,
        b"<a xmlns='u'/>",
        OPEN,
        b"<b xmlns='u'/>",
    ]


@pytest.mark.parametrize("cuts", [[], [5], [90, 130], list(range(400))])
def test_an_unusual_header(cuts: list[int]) -> None:
    header = (
        b"<s:stream xmlns:s='http://etherx.jabber.org/streams' xmlns='jabber:client' xmlns:x='urn:x' version='1.0'>"
    )
    stream = header + b"<s:features><x:a/></s:features><message x:b='1'><x:c xmlns:x='urn:y'/></message></s:stream>"
    messages = to_messages(pieces_of(stream, cuts))
    assert elements_of_messages(messages[1:-1]) == elements_of_stream(stream)
    assert messages[0].startswith(b"<open xmlns='urn:ietf:params:xml:ns:xmpp-framing' version='1.0'/>")


def test_white_space_between_stanzas_is_no_message() -> None:
    writer = StreamToMessages()
    writer.put(HEADER)
    assert writer.put(b" \n\t") == b""
    assert writer.put(b" ") == b""
    assert writer.holds == 0


def test_a_large_stanza_is_not_held() -> None:
    writer = StreamToMessages()
    writer.put(HEADER)
    frames = b""
    body = b"x" * 65_000
    for piece in (b"<message id='", b"1'><body>", *[body] * 50, b"</body></mess", b"age>"):
        frames += writer.put(piece)
        assert writer.holds < 100
    (message,) = split_frames(frames)
    assert etree.fromstring(message)[0].text == (body * 50).decode()


def test_a_start_tag_without_end_is_refused() -> None:
    writer = StreamToMessages()
    writer.put(HEADER + b"<message id='")
    for _ in range(6):
        assert writer.put(b"x" * 10_000) == b""
    with pytest.raises(ValueError, match="policy-violation"):
        writer.put(b"x" * 10_000)


@pytest.mark.parametrize(
    "stream",
    [
        b"<stream:stream xmlns:stream='http://etherx.jabber.org/streams' version='1.0'>",
        b"<stream:stream xmlns='jabber:server' xmlns:stream='http://etherx.jabber.org/streams' version='1.0'>",
        HEADER + END + b"<a/>",
        HEADER + b"text",
    ],
)
def test_what_is_no_clients_stream(stream: bytes) -> None:
    with pytest.raises(ValueError, match=r"well-formed|namespace"):
        StreamToMessages().put(stream)
