"""The stanza header reader: what it says is what expat and lxml say, and no bytes can hurt it."""

from contextlib import suppress
from xml.parsers import expat

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from megaphone.wire.framer import Element, Event
from megaphone.wire.header import read_stream_header
from megaphone.wire.stanza_header import StanzaHeader, StreamScope, read_stanza_header, read_times
from megaphone.wire.stanza_reader import StreamStanzaReader
from megaphone.wire.writer import STREAM_ERROR_CONDITIONS
from tests.unit.wire.framing import END, HEADER
from tests.unit.wire.stanzas import Facts, facts_by_expat, facts_by_lxml, facts_of, stanza_streams
from tests.unit.wire.streams import MARKUP, STREAMS, mutated_streams
from tests.unit.wire.test_hostile import INPUTS, stream_of

CLIENT = "jabber:client"
XML = "http://www.w3.org/XML/1998/namespace"


def facts_by_readers(stream: bytes) -> tuple[list[Facts], bytes]:
    """What framer and header reader make of a stream, and as much of it as they accept."""
    scope = None
    found = []
    accepted = b""
    for event, _, text, _ in StreamStanzaReader().read(stream):
        if event is Event.HEADER:
            scope = StreamScope(read_stream_header(text))
        elif event is Event.STANZA:
            found.append(facts_of(read_stanza_header(text, scope)))
        if text:
            accepted += text
    return found, accepted


def test_a_message() -> None:
    header = read_stanza_header(
        b"<message from='romeo@example.net/orchard' to=\"juliet@example.com\" type='chat' id='m1'>"
        b"<body>hi</body><active xmlns='http://jabber.org/protocol/chatstates'/></message>"
    )
    assert header.kind is Element.MESSAGE_ELEMENT
    assert (header.name, header.namespace) == ("message", CLIENT)
    assert (header.to, header.from_) == ("juliet@example.com", "romeo@example.net/orchard")
    assert (header.type, header.id) == ("chat", "m1")
    assert (header.child_name, header.child_namespace) == ("body", CLIENT)
    with pytest.raises(AttributeError):
        header.to = "elsewhere"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("data", "name", "child"),
    [
        (b"<presence/>", f"{{{CLIENT}}}presence", None),
        (b"<presence></presence>", f"{{{CLIENT}}}presence", None),
        (b"<presence>&lt;a/&gt;</presence>", f"{{{CLIENT}}}presence", None),
        (b"<iq><query xmlns='jabber:iq:roster'/></iq>", f"{{{CLIENT}}}iq", "{jabber:iq:roster}query"),
        (b"<iq><x:q xmlns:x='urn:q'/></iq>", f"{{{CLIENT}}}iq", "{urn:q}q"),
        (b"<iq xmlns:x='urn:1'><x:q/></iq>", f"{{{CLIENT}}}iq", "{urn:1}q"),
        (b"<iq xmlns:x='urn:1'><x:q xmlns:x='urn:2'/></iq>", f"{{{CLIENT}}}iq", "{urn:2}q"),
        (b"<iq xmlns:x='urn:1'><q xmlns:y='urn:2'/></iq>", f"{{{CLIENT}}}iq", f"{{{CLIENT}}}q"),
        (b"<iq xmlns='urn:1'><q/></iq>", "{urn:1}iq", "{urn:1}q"),
        (b"<iq xmlns=''><q/></iq>", "iq", "q"),
        (b"<iq><q xmlns=''/></iq>", f"{{{CLIENT}}}iq", "q"),
        (b"<c:iq xmlns:c='jabber:client' xmlns='urn:1'><q/></c:iq>", f"{{{CLIENT}}}iq", "{urn:1}q"),
        (b"<stream:message><stream:a/></stream:message>", f"{{{'http://etherx.jabber.org/streams'}}}message", None),
        (b"<xml:a><xml:b/></xml:a>", f"{{{XML}}}a", f"{{{XML}}}b"),
        (b"<r xmlns='urn:xmpp:sm:3'/>", "{urn:xmpp:sm:3}r", None),
        (b"<message>a ]] <![CDATA[<body/>]]]><![CDATA[]]>&amp;\n<a/><b/></message>", f"{{{CLIENT}}}message", None),
    ],
)
def test_names_and_children(data: bytes, name: str, child: str | None) -> None:
    facts = facts_of(read_stanza_header(data))
    assert facts.name == name
    if child is not None or b"/><" not in data:
        assert facts.child == child
    assert [facts] == facts_by_expat(HEADER + data)


@pytest.mark.parametrize(
    ("spelling", "value"),
    [
        (b"to='it&apos;s &lt;&amp;&gt; &quot;here&quot;'", 'it\'s <&> "here"'),
        (b"to='&#65;&#x42;&#x0043;&#xe9;&#x20AC;&#x1F600;'", "ABC\u00e9\u20ac\U0001f600"),
        (b"to='a\tb\nc\rd\r\ne\r\r\n'", "a b c d e  "),
        (b"to='a&#9;b&#10;c&#13;&#10;'", "a\tb\nc\r\n"),
        (b"to='b\xc3\xbc\xe4\xb8\x80\xf0\x9f\x98\x80'", "b\u00fc\u4e00\U0001f600"),
        (b"to = \r\n\t'a>b/>'\n", "a>b/>"),
        (b"to=''", ""),
        (b"xmlns:x='urn:x' x:to='a' tO='b' too='c' t='d'", None),
    ],
)
def test_values(spelling: bytes, value: str | None) -> None:
    for name, read in (
        (b"to", "to"),
        (b"from", "from_"),
        (b"type", "type"),
        (b"id", "id"),
    ):
        stanza = b"<presence %b/>" % spelling.replace(b"to", name, 1)
        assert getattr(read_stanza_header(stanza), read) == value


def test_what_the_stream_header_declares_holds() -> None:
    scope = StreamScope(
        read_stream_header(
            b"<s:stream xmlns:s='http://etherx.jabber.org/streams' xmlns:x='urn:x' xmlns='jabber:server'>"
        )
    )
    header = read_stanza_header(b"<message><x:a/></message>", scope)
    assert (header.kind, header.namespace, header.child_namespace) == (
        Element.MESSAGE_ELEMENT,
        "jabber:server",
        "urn:x",
    )
    assert read_stanza_header(b"<message xmlns='jabber:client'/>", scope).kind is Element.OTHER_ELEMENT
    assert read_stanza_header(b"<s:a/>", scope).namespace == "http://etherx.jabber.org/streams"
    with pytest.raises(ValueError, match="not-well-formed"):
        read_stanza_header(b"<stream:a/>", scope)
    no_namespace = StreamScope(read_stream_header(b"<stream>"))
    assert read_stanza_header(b"<message/>", no_namespace).namespace == ""


@pytest.mark.parametrize(
    ("data", "condition"),
    [
        (b"", "not-well-formed"),
        (b"<", "not-well-formed"),
        (b">", "not-well-formed"),
        (b"<>", "not-well-formed"),
        (b"message>", "not-well-formed"),
        (b"<message", "not-well-formed"),
        (b"<message>", "not-well-formed"),
        (b"<message>>", "not-well-formed"),
        (b"<message><>", "not-well-formed"),
        (b"<message/><a/>", "not-well-formed"),
        (b"</message>", "not-well-formed"),
        (b"<message to='a/>", "not-well-formed"),
        (b"<message to='<'/>", "not-well-formed"),
        (b"<message to='\xff'/>", "not-well-formed"),
        (b"<message to='\xf4\x90\x80\x80'/>", "not-well-formed"),
        (b"<message to='&#0;'/>", "not-well-formed"),
        (b"<message to='&nbsp;'/>", "restricted-xml"),
        (b"<message to='&#x0000041;'/>", "policy-violation"),
        (b"<message><![CDATA[></message>", "not-well-formed"),
        (b"<message><![CDATA>", "not-well-formed"),
        (b"<message><?php?></message>", "restricted-xml"),
        (b"<!-- c -->", "restricted-xml"),
        (b"<x:message/>", "not-well-formed"),
        (b"<message><x:a/></message>", "not-well-formed"),
        (b"<message xmlns:x=''><x:a/></message>", "not-well-formed"),
        (b"<a:b:c/>", "not-well-formed"),
        (b"<\xc3\xa9/>", "not-well-formed"),
        (b"<%b/>" % (b"a" * 256), "policy-violation"),
        (b"<%b:a/>" % (b"a" * 256), "policy-violation"),
        (b"<a:%b/>" % (b"a" * 254), "policy-violation"),
    ],
)
def test_what_begins_like_no_stanza(data: bytes, condition: str) -> None:
    with pytest.raises(ValueError, match=condition) as caught:
        read_stanza_header(data)
    assert caught.value.args[0] == condition
    assert not read_times(data, 2)


@given(stanza_streams() | STREAMS)
def test_it_says_what_expat_and_lxml_say(stream: bytes) -> None:
    found, _ = facts_by_readers(stream)
    assert found == facts_by_expat(stream[: -len(END)])
    assert found == facts_by_lxml(stream)


@given(mutated_streams())
def test_what_the_framer_accepts_it_accepts(stream: bytes) -> None:
    found, accepted = facts_by_readers(stream)
    assert found == facts_by_expat(accepted)


@pytest.mark.parametrize("stream", [pytest.param(stream_of(entry), id=entry["name"]) for entry in INPUTS])
def test_stanzas_before_a_hostile_byte_are_read(stream: bytes) -> None:
    found, accepted = facts_by_readers(stream)
    if accepted:
        assert found == facts_by_expat(accepted)


def read_or_refuse(data: bytes) -> StanzaHeader | None:
    """What the reader says; None for an error, which must have a condition."""
    try:
        return read_stanza_header(data)
    except ValueError as error:
        condition, reason = error.args
        assert condition in STREAM_ERROR_CONDITIONS
        assert reason
    return None


@given(st.binary(max_size=60) | st.lists(MARKUP, max_size=12).map(b"".join).map(lambda tail: b"<a " + tail))
@example(b"<a xmlns:x=''><x:b xmlns:x")
def test_garbage_gets_a_condition(data: bytes) -> None:
    read_or_refuse(data)
    read_or_refuse(data + b">")


@given(stanza_streams(), st.data())
def test_what_it_accepts_of_mutations_means_what_expat_says(stream: bytes, data: st.DataObject) -> None:
    """Even where the framer would refuse: no spelling that another parser reads differently."""
    texts = [text for event, _, text, _ in StreamStanzaReader().read(stream) if event is Event.STANZA]
    text = data.draw(st.sampled_from(texts or [b"<message to='a'>b</message>"]))
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, len(text)))
        text = text[:start] + data.draw(MARKUP | st.just(b"")) + text[start + data.draw(st.integers(0, 3)) :]
    header = read_or_refuse(text)
    if header is not None:
        with suppress(expat.ExpatError, ValueError):
            found = facts_by_expat(HEADER + text)
            if len(found) == 1:
                assert found == [facts_of(header)]
