"""The framer's answers: what ends where, what is refused, for which condition and at which byte."""

import pytest

from megaphone.wire.framer import CONDITIONS, STATE_BYTES, Error, Event, StreamFramer
from megaphone.wire.writer import STREAM_ERROR_CONDITIONS
from tests.unit.wire.framing import END, HEADER, read

OPENED = b"<stream:stream xmlns:stream='http://etherx.jabber.org/streams'>"
MESSAGE = b"<message to='romeo@example.net'><body>hi</body></message>"


def inside(data: bytes, **bounds: int) -> tuple[Error | None, int]:
    """Read `data` behind a header: the error and how many bytes of `data` came before it."""
    framer = StreamFramer(**bounds)
    reading = read([HEADER, data], framer=framer)
    return reading.error, reading.error_offset - len(HEADER)


# --- what ends where ---


def test_header_stanzas_and_end_are_told_apart() -> None:
    stanzas = [
        (b"<message/>", "MESSAGE_ELEMENT"),
        (b"<presence></presence>", "PRESENCE_ELEMENT"),
        (b"<iq type='get' id='1'><ping xmlns='urn:xmpp:ping'/></iq>", "IQ_ELEMENT"),
        (b"<r xmlns='urn:xmpp:sm:3'/>", "OTHER_ELEMENT"),
        (b"<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>", "SUCCESS_ELEMENT"),
        (b"<compressed xmlns='http://jabber.org/protocol/compress'/>", "COMPRESSED_ELEMENT"),
        (b"<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>", "PROCEED_ELEMENT"),
        (b"<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>", "STARTTLS_ELEMENT"),
        (b"<stream:features><bind xmlns='b'/></stream:features>", "FEATURES_ELEMENT"),
        (b"<stream:error><conflict xmlns='c'/></stream:error>", "STREAM_ERROR_ELEMENT"),
    ]
    data, expected = HEADER, [("HEADER", len(HEADER))]
    for text, name in stanzas:
        data += b" \r\n" + text
        expected.append((name, len(data)))
    data += b"\n" + END
    expected.append(("STREAM_END", len(data)))
    reading = read([data])
    assert reading.events == expected
    assert reading.counts == (1, 1, 1, len(stanzas) - 3)
    assert reading.boundary == len(data)
    assert reading.rests


def test_only_elements_that_change_the_stream_stop_a_scan_that_does_not_ask_for_stanzas() -> None:
    data = HEADER + MESSAGE + b"<success xmlns='s'/>" + MESSAGE + b"<features/>" + MESSAGE
    reading = read([data], stop=False)
    assert reading.names == ["HEADER", "SUCCESS_ELEMENT"]
    assert reading.counts == (3, 0, 0, 2)
    assert reading.boundary == len(data)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b" \n",
        b"<?xml version='1.0'?>",
        b"<?xml version='1.0' encoding='UTF-8'?>\r\n",
        b"<?xml\tversion = \"1.0\" encoding\n= 'utf-8' standalone='yes' ?>",
        b"<?xml version='1.0' standalone='no'?>",
    ],
)
def test_what_may_stand_before_a_header(data: bytes) -> None:
    assert read([data + OPENED]).events == [("HEADER", len(data + OPENED))]


def test_a_boundary_is_the_end_of_the_last_whole_stanza() -> None:
    data = HEADER + MESSAGE + MESSAGE + b"<message><body>not yet"
    framer = StreamFramer()
    assert framer.scan(HEADER)[3] == len(HEADER)
    event, consumed, _, boundary, counts = framer.scan(data[len(HEADER) :], False)
    assert (event, consumed, boundary, counts[0]) == (Event.MORE, len(data) - len(HEADER), 2 * len(MESSAGE), 2)
    assert not framer.rests
    assert framer.scan(b" ended</body></message>", False)[3] == len(b" ended</body></message>")
    assert framer.rests


@pytest.mark.parametrize(
    ("data", "rests"),
    [
        (b"", False),
        (HEADER[:-1], False),
        (HEADER, True),
        (HEADER + b" ", True),
        (HEADER + b"<", False),
        (HEADER + b"<a", False),
        (HEADER + b"<a>", False),
        (HEADER + b"<a></a", False),
        (HEADER + b"<a></a>", True),
        (HEADER + b"<a/>", True),
        (HEADER + b"</stream:stream", False),
        (HEADER + END, True),
    ],
)
def test_it_rests_only_between_stanzas(data: bytes, rests: bool) -> None:
    assert read([data]).rests is rests


# --- what is well-formed ---


@pytest.mark.parametrize(
    "data",
    [
        b"<a b='1' c=\"2\"/>",
        b"<a\tb\n=\r'1'\t/>",
        b"<a b='\"' c=\"'\" d='>' e='/>' f=']]>'></a \n>",
        b"<a-b.c_d:e f-1:g='x' xmlns:f-1='f' xmlns:a-b.c_d='urn:a'><_/></a-b.c_d:e>",
        b"<a>]] ]>]&gt;></a>",
        b"<a>]]<b/>></a>",
        b"<a><![CDATA[<&] ]> ]]]]></a>",
        b"<a><![CDATA[]]></a>",
        b"<a>\xc3\xa9\xe4\xb8\x80\xf0\x9f\x98\x80\x7f</a>",
        b"<a b='\xc3\xa9\xe4\xb8\x80\xf0\x9f\x98\x80\x7f'/>",
        b"<a b='&lt;&gt;&amp;&quot;&apos;&#9;&#xA;&#13;&#x10FFFF;&#1114111;'>&#32;&#xe000;&#xFFFD;</a>",
        b"<a>&#x0000000000000000000000000000041;&#000000000000000000000000000000065;&#x00010FFFF;</a>",
    ],
)
def test_well_formed_elements_are_taken(data: bytes) -> None:
    reading = read([HEADER + data])
    assert reading.events[1:] == [("OTHER_ELEMENT", len(HEADER + data))]


# --- what is refused ---


@pytest.mark.parametrize(
    ("before", "after", "error"),
    [
        # RFC 6120 section 11.1: comments, processing instructions, DTDs, other entities
        (b"<", b"!-- c -->", Error.RESTRICTED),
        (b"<a><!", b"-- c --></a>", Error.RESTRICTED),
        (b"<", b"?php ?>", Error.RESTRICTED),
        (b"<a><", b"?php ?></a>", Error.RESTRICTED),
        (b"<", b"?xml version='1.0'?>", Error.RESTRICTED),
        (b"<", b"!DOCTYPE a []>", Error.RESTRICTED),
        (b"<a><!", b"DOCTYPE a []></a>", Error.RESTRICTED),
        (b"<", b"![CDATA[ ]]>", Error.RESTRICTED),
        (b"<a><![CDAT", b"a[ ]]></a>", Error.RESTRICTED),
        (b"<a>&nbsp", b";</a>", Error.RESTRICTED),
        (b"<a b='&nbsp", b";'/>", Error.RESTRICTED),
        (b"<a>&LT", b";</a>", Error.RESTRICTED),
        (b"<a>&x41", b";</a>", Error.RESTRICTED),
        (b"<a>&muchtool", b"ong;</a>", Error.RESTRICTED),
        # references that are none
        (b"<a>&", b";</a>", Error.NOT_WELL_FORMED_XML),
        (b"<a>&", b" </a>", Error.NOT_WELL_FORMED_XML),
        (b"<a>&amp", b"</a>", Error.NOT_WELL_FORMED_XML),
        (b"<a>&#", b";</a>", Error.NOT_WELL_FORMED_XML),
        (b"<a>&#x", b";</a>", Error.NOT_WELL_FORMED_XML),
        (b"<a>&#0x41", b";</a>", Error.NOT_WELL_FORMED_XML),
        (b"<a>&#xx41", b";</a>", Error.NOT_WELL_FORMED_XML),
        (b"<a>&#X41", b";</a>", Error.NOT_WELL_FORMED_XML),
        (b"<a>&#4a", b";</a>", Error.NOT_WELL_FORMED_XML),
        (b"<a>&#-1", b";</a>", Error.NOT_WELL_FORMED_XML),
        (b"<a>&#0000000000000000", b";</a>", Error.NOT_WELL_FORMED_XML),
        (b"<a>&#x0000000000000000", b";</a>", Error.NOT_WELL_FORMED_XML),
        (b"<a>&#x8", b";</a>", Error.NOT_WELL_FORMED_XML),
        (b"<a>&#xD800", b";</a>", Error.NOT_WELL_FORMED_XML),
        (b"<a>&#xFFFE", b";</a>", Error.NOT_WELL_FORMED_XML),
        (b"<a>&#x110000", b";</a>", Error.NOT_WELL_FORMED_XML),
        (b"<a>&#x100000", b"041;</a>", Error.NOT_WELL_FORMED_XML),
        (b"<a>&#4294967", b"361;</a>", Error.NOT_WELL_FORMED_XML),
        # tags
        (b"<", b" a/>", Error.NOT_WELL_FORMED_XML),
        (b"<", b"1/>", Error.NOT_WELL_FORMED_XML),
        (b"<", b"<a/>", Error.NOT_WELL_FORMED_XML),
        (b"<", b">", Error.NOT_WELL_FORMED_XML),
        (b"<a/", b" >", Error.NOT_WELL_FORMED_XML),
        (b"<a ", b"'1'/>", Error.NOT_WELL_FORMED_XML),
        (b"<a b", b"/>", Error.NOT_WELL_FORMED_XML),
        (b"<a b ", b"c='1'/>", Error.NOT_WELL_FORMED_XML),
        (b"<a b=", b"1/>", Error.NOT_WELL_FORMED_XML),
        (b"<a b='1'", b"c='2'/>", Error.NOT_WELL_FORMED_XML),
        (b"<a b='", b"<'/>", Error.NOT_WELL_FORMED_XML),
        (b"<a b='\x09", b"\x0b'/>", Error.NOT_WELL_FORMED_XML),
        (b"<a$"[:2], b"$/>", Error.NOT_WELL_FORMED_XML),
        (b"<a></b", b">", Error.NOT_WELL_FORMED_XML),
        (b"<a></ab", b">", Error.NOT_WELL_FORMED_XML),
        (b"<ab></a", b">", Error.NOT_WELL_FORMED_XML),
        (b"<a></a ", b"b>", Error.NOT_WELL_FORMED_XML),
        (b"<a></a", b"/>", Error.NOT_WELL_FORMED_XML),
        (b"<a></", b" >", Error.NOT_WELL_FORMED_XML),
        (b"<a><b></a", b">", Error.NOT_WELL_FORMED_XML),
        (b"</stream:streams", b">", Error.NOT_WELL_FORMED_XML),
        (b"</stream", b">", Error.NOT_WELL_FORMED_XML),
        # characters
        (b"<a>", b"\x00</a>", Error.NOT_WELL_FORMED_XML),
        (b"<a>", b"\x1f</a>", Error.NOT_WELL_FORMED_XML),
        (b"<a>x", b"\xff</a>", Error.NOT_WELL_FORMED_XML),
        (b"<a><![CDATA[", b"\x08]]></a>", Error.NOT_WELL_FORMED_XML),
        (b"<a>]]", b"></a>", Error.NOT_WELL_FORMED_XML),
        (b"<a>]]]]]", b"></a>", Error.NOT_WELL_FORMED_XML),
        (b"<a><![CDATA[]]>]]", b"></a>", Error.NOT_WELL_FORMED_XML),
        # between stanzas there is only white space
        (b"", b"x", Error.TEXT_BETWEEN_STANZAS),
        (b"<a/> ", b"x", Error.TEXT_BETWEEN_STANZAS),
        (b"<a/>", b"&#32;", Error.TEXT_BETWEEN_STANZAS),
        (b"\n", b"\x00", Error.TEXT_BETWEEN_STANZAS),
        # the stream
        (b"<stream:stream", b" to='example.org'>", Error.RESTART_NOT_ALLOWED),
        (b"<stream", b"/>", Error.RESTART_NOT_ALLOWED),
        (b"<x:stream", b">", Error.RESTART_NOT_ALLOWED),
        (END, b"<message/>", Error.AFTER_STREAM_END),
        (END + b" \r\n\t", b"x", Error.AFTER_STREAM_END),
        (END, b"<!-- c -->", Error.AFTER_STREAM_END),
        (END, END, Error.AFTER_STREAM_END),
    ],
)
def test_refused_at_the_byte_that_cannot_stand_there(before: bytes, after: bytes, error: Error) -> None:
    assert inside(before + after) == (error, len(before))
    assert inside(before) == (None, -1 - len(HEADER))


@pytest.mark.parametrize(
    ("before", "after", "error"),
    [
        (b"", b"x", Error.NOT_WELL_FORMED_XML),
        (b"", b"\xef\xbb\xbf<a>", Error.NOT_WELL_FORMED_XML),
        (b"", b"\x00<\x00a", Error.NOT_WELL_FORMED_XML),
        (b"", b"\xff\xfe<\x00", Error.NOT_WELL_FORMED_XML),
        (b"", b"\x16\x03\x01\x02\x00\x01\x00\x01", Error.NOT_WELL_FORMED_XML),
        (b"", b"GET / HTTP/1.1\r\n", Error.NOT_WELL_FORMED_XML),
        (b"<", b"/stream:stream>", Error.NOT_WELL_FORMED_XML),
        (b"<", b"!DOCTYPE a>", Error.RESTRICTED),
        (b"<", b"!-- c -->", Error.RESTRICTED),
        (b"<?", b"php ?>", Error.RESTRICTED),
        (b"<?xml", b"-stylesheet ?>", Error.RESTRICTED),
        (b"<?xml version='1.0'?><", b"?xml version='1.0'?>", Error.RESTRICTED),
        (b"<?xml version='1.0'?><", b"!DOCTYPE a>", Error.RESTRICTED),
        (b"<?xml version='1.0'?", b" >", Error.NOT_WELL_FORMED_XML),
        (b"<?xml version='1.0' ", b"<", Error.NOT_WELL_FORMED_XML),
        (b"<?xml version='1.0'?>", b"x", Error.NOT_WELL_FORMED_XML),
        (b"\n<", b"?xml version='1.0'?>", Error.RESTRICTED),
        (b"<stream:stream to='a'/", b">", Error.NOT_WELL_FORMED_XML),
    ],
)
def test_refused_before_the_stream_is_open(before: bytes, after: bytes, error: Error) -> None:
    reading = read([before + after])
    assert (reading.error, reading.error_offset, reading.events) == (error, len(before), [])
    assert read([before]).error is None


def test_every_error_has_a_condition_of_rfc_6120() -> None:
    assert set(CONDITIONS) == set(Error) - {Error.NO_ERROR}
    assert set(CONDITIONS.values()) <= STREAM_ERROR_CONDITIONS
    assert CONDITIONS[Error.RESTRICTED] == "restricted-xml"
    assert CONDITIONS[Error.TEXT_BETWEEN_STANZAS] == "not-well-formed"
    assert {CONDITIONS[error] for error in (Error.STANZA_TOO_BIG, Error.TOO_DEEP, Error.TOO_MANY_ATTRIBUTES)} == {
        "policy-violation"
    }


# --- restarts ---


def test_a_restart_is_allowed_once() -> None:
    framer = StreamFramer()
    framer.scan(HEADER)
    framer.allow_restart()
    assert framer.scan(HEADER)[:2] == (Event.HEADER, len(HEADER))
    event, offset, error, _, _ = framer.scan(HEADER[21:])
    assert (event, offset, error) == (Event.ERROR, len(b"<stream:stream"), Error.RESTART_NOT_ALLOWED)


def test_a_restarted_stream_ends_with_its_own_name() -> None:
    framer = StreamFramer()
    framer.scan(OPENED)
    framer.allow_restart()
    assert framer.scan(b"<s:stream xmlns:s='http://etherx.jabber.org/streams'>")[0] is Event.HEADER
    assert framer.scan(b"<message></message>")[0] is Event.STANZA
    assert framer.scan(b"</s:stream>")[0] is Event.STREAM_END


def test_a_permission_to_restart_does_not_have_to_be_used() -> None:
    framer = StreamFramer()
    framer.scan(HEADER)
    framer.allow_restart()
    for data, event in ((MESSAGE, Event.STANZA), (HEADER, Event.HEADER), (END, Event.STREAM_END)):
        assert framer.scan(data)[:2] == (event, len(data))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"<?xml version='1.0'?><message", b"/>"),
        (b"<?xml version='1.0'?> <stream:stre", b">"),
        (b"<?xml version='1.0'?><", b"/stream:stream>"),
        (b"<?xml version='1.0'?>", b"x"),
        (b"<stream:stream/", b">"),
    ],
)
def test_what_cannot_restart_a_stream(before: bytes, after: bytes) -> None:
    framer = StreamFramer()
    framer.scan(HEADER)
    framer.allow_restart()
    assert framer.scan(before + after)[:3] == (Event.ERROR, len(before), Error.NOT_WELL_FORMED_XML)


def test_nothing_is_put_between_a_declaration_and_its_header() -> None:
    framer = StreamFramer()
    framer.scan(HEADER)
    framer.allow_restart()
    framer.scan(b"<?xml version='1.0'?>")
    assert not framer.rests


# --- bounds ---


@pytest.mark.parametrize(
    ("opened", "closed"), [(b"<message>", b"</message>"), (b"<a b='", b"'/>"), (b"<a><![CDATA[", b"]]></a>")]
)
def test_a_stanza_may_have_exactly_the_limit(opened: bytes, closed: bytes) -> None:
    limit = 500
    stanza = opened + b"x" * (limit - len(opened) - len(closed)) + closed
    for before in (b"", b" " * 600, MESSAGE * 20):
        assert inside(before + stanza + b" " + stanza, stanza_bytes=limit) == (None, -1 - len(HEADER))
        longer = opened + b"x" + stanza[len(opened) :]
        error = (Error.STANZA_TOO_BIG, len(before) + limit)
        assert inside(before + longer, stanza_bytes=limit) == error
        assert inside(before + longer[: limit + 1], stanza_bytes=limit) == error
        assert inside(before + longer[:limit], stanza_bytes=limit) == (None, -1 - len(HEADER))


def test_a_header_and_an_end_have_the_limit_of_a_stanza() -> None:
    for before in (b"", b"<?xml version='1.0'?>"):
        data = before + b"<stream:stream" + b" " * 100
        reading = read([data], framer=StreamFramer(stanza_bytes=100))
        assert (reading.error, reading.error_offset) == (Error.STANZA_TOO_BIG, len(before) + 100)
    reading = read([b"<?xml " + b" " * 100], framer=StreamFramer(stanza_bytes=100))
    assert (reading.error, reading.error_offset) == (Error.STANZA_TOO_BIG, 100)
    reading = read([b"<a></a" + b" " * 100], framer=StreamFramer(stanza_bytes=100))
    assert (reading.error, reading.error_offset) == (Error.STANZA_TOO_BIG, 103)


def test_white_space_between_stanzas_is_not_limited() -> None:
    framer = StreamFramer(stanza_bytes=200)
    assert read([HEADER, b" " * 1000, MESSAGE, b"\n" * 1000, END], framer=framer).error is None


@pytest.mark.parametrize("depth", [2, 3, 64, 255])
def test_elements_may_nest_to_the_limit(depth: int) -> None:
    at_limit = b"<a>" * (depth - 1) + b"</a>" * (depth - 1)
    assert inside(at_limit, depth=depth) == (None, -1 - len(HEADER))
    one_more = b"<a>" * (depth - 1) + b"<b"
    assert inside(one_more + b">", depth=depth) == (Error.TOO_DEEP, len(one_more))
    assert inside(one_more + b"/>", depth=depth) == (Error.TOO_DEEP, len(one_more) + 1)
    at_limit = b"<a>" * (depth - 2) + b"<b/>" + b"</a>" * (depth - 2)
    assert inside(at_limit, depth=depth) == (None, -1 - len(HEADER))


@pytest.mark.parametrize("count", [3, 64, 255])
def test_an_element_may_have_attributes_to_the_limit(count: int) -> None:
    attributes = b"".join(b" a%d=''" % index for index in range(count))
    for opened in (b"<message", b"<message><body"):
        data = OPENED + opened + attributes
        assert read([data + b"/>"], framer=StreamFramer(attributes=count)).error is None
        reading = read([data + b" b=''"], framer=StreamFramer(attributes=count))
        assert (reading.error, reading.error_offset) == (Error.TOO_MANY_ATTRIBUTES, len(data) + 1)
    reading = read([b"<stream:stream" + attributes + b" b=''>"], framer=StreamFramer(attributes=count))
    assert reading.error is Error.TOO_MANY_ATTRIBUTES


@pytest.mark.parametrize("bounds", [(0, 64, 64), (1, 1, 64), (1, 256, 64), (1, 64, 0), (1, 64, 256)])
def test_bounds_that_the_state_cannot_hold_are_refused(bounds: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="depth from 2 to 255"):
        StreamFramer(*bounds)


# --- names and namespaces ---


@pytest.mark.parametrize(
    "data",
    [
        b"<x:a xmlns:x='u' x:b='1' b='2' y:b='3' xmlns:y='v'/>",
        b"<a xmlns='u' xmlns:x='u' b='1' x:b='2'/>",
        b"<a xmlns:x='u' xmlns:y='u' x:b='1' y:c='2' x:d='3' y:e='4'/>",
        b"<x:a xmlns:x='u'><x:b xmlns:x='v'/><x:c/></x:a>",
        b"<a><x:b xmlns:x='u'/><x:b xmlns:x='v'></x:b></a>",
        b"<a xmlns=''><b xmlns='u'/></a>",
        b"<stream:a stream:b='1' xml:lang='en' xml:space='preserve' lang='de'/>",
        b"<xml:a/>",
        b"<stream:a xmlns:stream='u'><stream:b/></stream:a>",
        b"<a xmlns:xml='http://www.w3.org/XML/1998/namespace' xml:lang='en'/>",
        b"<xmlnsx xmlns-x='1' xmlns_='2' xml='3' x='4'/>",
        b"<a xmlns:x='http://etherx.jabber.org/streams' x:b='1' stream:c='2'/>",
    ],
)
def test_names_that_resolve_are_taken(data: bytes) -> None:
    assert inside(data) == (None, -1 - len(HEADER))


def test_what_an_unusual_root_declares_holds_in_its_stanzas() -> None:
    header = b"<s:stream xmlns:s='http://etherx.jabber.org/streams' xmlns:x='u' xmlns:y='v'>"
    for stanza in (b"<x:a y:b=''/>", b"<s:features><x:c></x:c></s:features>", b"<a x:b='' y:b=''/>"):
        reading = read([header, b" ", stanza * 2, b"</s:stream>"])
        assert (reading.error, len(reading.events)) == (None, 4)
    assert read([header, b"<a xmlns:z='u' x:b='' z:b=''/>"]).error is Error.NOT_WELL_FORMED_XML


@pytest.mark.parametrize("root", [b"<x:root xmlns:x='u'>", b"<root xmlns:x='u'>", b"<x:stream xmlns:x='u'>"])
def test_a_root_of_another_kind_is_a_header_too(root: bytes) -> None:
    """What it is called is for whoever reads the header."""
    assert read([root, b"<x:a/>"]).names == ["HEADER", "OTHER_ELEMENT"]


@pytest.mark.parametrize("count", [9, 64, 255])
def test_attributes_are_compared_with_all_before_them(count: int) -> None:
    names = [b"x:b%d" % index if index % 2 else b"a%d" % index for index in range(count - 2)]
    tag = b"<a xmlns:x='u'" + b"".join(b" %s=''" % name for name in names)
    assert inside(tag + b" c=''/>", attributes=count) == (None, -1 - len(HEADER))
    for name in (names[0], names[1], names[count // 2], names[-1]):
        again = tag + b" " + name
        assert inside(again + b"=''/>", attributes=count) == (Error.NOT_WELL_FORMED_XML, len(again))


def test_the_expanded_names_of_many_attributes_are_compared() -> None:
    declared = b"".join(b" xmlns:p%d='u%d'" % (index, index // 2) for index in range(60))
    tag = b"<a" + declared + b"><b" + b"".join(b" p%d:a%d=''" % (index % 60, index) for index in range(240))
    assert inside(tag + b"/></a>", attributes=255) == (None, -1 - len(HEADER))
    assert inside(tag + b" p1:a0=''/>", attributes=255)[0] is Error.NOT_WELL_FORMED_XML
    assert inside(tag + b" p3:a0=''/>", attributes=255)[0] is None


def test_prefixes_come_and_go_with_their_elements() -> None:
    """More than may be bound at a time, one after the other."""
    siblings = b"".join(b"<x%d:a xmlns:x%d='u'/>" % (index, index) for index in range(200))
    assert inside(b"<a>" + siblings + b"</a>") == (None, -1 - len(HEADER))


def test_the_state_of_a_direction_stays_small() -> None:
    assert STATE_BYTES <= 64
