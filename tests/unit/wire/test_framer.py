"""The framer's answers: what ends where, what is refused, for which condition and at which byte."""

import pytest

from megaphone.wire.framer import CONDITIONS, Error, Event, StreamFramer
from megaphone.wire.writer import STREAM_ERROR_CONDITIONS
from tests.unit.wire.framing import END, HEADER, MESSAGE, OPENED, inside, read

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
        b"<a>&#x000041;&#0000065;&#x010FFF;</a>",
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
        (b"<a>&#0000000", b";</a>", Error.NOT_WELL_FORMED_XML),
        (b"<a>&#x000000", b";</a>", Error.NOT_WELL_FORMED_XML),
        (b"<a>&#0000006", b"5;</a>", Error.NAME_TOO_LONG),
        (b"<a>&#x000004", b"1;</a>", Error.NAME_TOO_LONG),
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
