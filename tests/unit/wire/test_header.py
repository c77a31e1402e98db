"""The header reader: spellings it must understand, and the stream error that answers each mistake."""

import pytest

from megaphone.wire.header import StreamHeader, read_element, read_stream_header

STREAMS = "http://etherx.jabber.org/streams"
TLS = "urn:ietf:params:xml:ns:xmpp-tls"
USUAL = (
    b"<?xml version='1.0'?><stream:stream from='juliet@im.example.com' to='im.example.com' version='1.0' xml:lang='en'"
    b" xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>"
)


def header_of(attributes: bytes, name: bytes = b"stream:stream", declaration: bytes = b"") -> StreamHeader:
    return read_stream_header(
        b"%b<%b xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' %b>"
        % (declaration, name, attributes)
    )


def condition_of(data: bytes) -> str:
    with pytest.raises(ValueError, match=r"[a-z]") as caught:
        read_stream_header(data)
    condition, reason = caught.value.args
    assert reason
    assert isinstance(condition, str)
    return condition


def test_the_header_of_rfc_6120_section_4_2() -> None:
    header = read_stream_header(USUAL)
    assert (header.local_name, header.prefix, header.namespace) == ("stream", "stream", STREAMS)
    assert header.default_namespace == "jabber:client"
    assert (header.to, header.from_, header.version, header.lang) == (
        "im.example.com",
        "juliet@im.example.com",
        "1.0",
        "en",
    )
    assert header.id is None
    assert header.prefixes == (("stream", STREAMS),)
    header.check()


def test_a_header_is_a_value() -> None:
    assert read_stream_header(USUAL) == read_stream_header(USUAL.replace(b"'", b'"'))
    assert hash(read_stream_header(USUAL)) == hash(read_stream_header(USUAL))
    assert read_stream_header(USUAL) != header_of(b"to='im.example.com'")
    with pytest.raises(AttributeError):
        read_stream_header(USUAL).to = "elsewhere"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("spelling", "value"),
    [
        (b"to='example.org'", "example.org"),
        (b'to="example.org"', "example.org"),
        (b"to = \r\n\t'example.org'\n", "example.org"),
        (b"to='it&apos;s &lt;&amp;&gt; &quot;here&quot;'", 'it\'s <&> "here"'),
        (b"to='&#65;&#x42;&#x0043;&#xe9;&#x20AC;&#x1F600;'", "ABCé€😀"),
        (b"to='b\xc3\xbccher.example'", "bücher.example"),
        (b"to='a\tb\nc\rd\r\ne'", "a b c d e"),
        (b"to='a&#9;b&#10;c&#13;'", "a\tb\nc\r"),
        (b"to='it\"s' from=\"it's\"", 'it"s'),
        (b"to='a>b/>'", "a>b/>"),
        (b"to=''", ""),
        (b"xmlns:x='urn:x' x:to='other'", None),
        (b"TO='other'", None),
    ],
)
def test_values(spelling: bytes, value: str | None) -> None:
    assert header_of(spelling).to == value


def test_prefixes_and_namespaces() -> None:
    header = read_stream_header(
        b"<s:stream xmlns:s='http://etherx.jabber.org/streams' xmlns='jabber:client' version='1.0'>"
    )
    assert (header.prefix, header.namespace, header.default_namespace) == ("s", STREAMS, "jabber:client")
    header.check()
    header = read_stream_header(b"<stream xmlns='http://etherx.jabber.org/streams'>")
    assert (header.prefix, header.namespace, header.default_namespace) == (None, STREAMS, STREAMS)
    assert read_stream_header(b"<a>").namespace is None


@pytest.mark.parametrize(
    "declaration",
    [
        b"<?xml version='1.0'?>",
        b'<?xml version="1.0" encoding="UTF-8"?>\n',
        b"<?xml version='1.0' encoding='utf-8' standalone='yes' ?>",
        b"<?xml\r\n\tversion = '1.0' ?>  ",
        b"\n \t\r",
    ],
)
def test_declarations(declaration: bytes) -> None:
    assert header_of(b"to='a'", declaration=declaration).to == "a"


@pytest.mark.parametrize(
    "data",
    [
        USUAL.replace(b"version='1.0'?", b"version='1.0' encoding='ISO-8859-1'?"),
        USUAL.replace(b"version='1.0'?", b"version='1.0' encoding='UTF-16'?"),
        USUAL.replace(b"version='1.0'?", b"version='1.0' encoding=\"utf8\"?"),
        USUAL.decode().encode("utf-16"),
        USUAL.decode().encode("utf-16-le"),
        USUAL.decode().encode("utf-16-be"),
        b"<\x00",
    ],
)
def test_other_encodings(data: bytes) -> None:
    assert condition_of(data) == "unsupported-encoding"


@pytest.mark.parametrize(
    "data",
    [
        b"<!-- hello --><a>",
        b"<!DOCTYPE a []><a>",
        b"<?php?><a>",
        b"<?xml-stylesheet href='x'?><a>",
        b" <?xml version='1.0'?><a>",
        b"<a b='&unknown;'>",
        b"<a b='&nbsp;'>",
        b"<![CDATA[x]]><a>",
        b"<a xml:id='1'>",
    ],
)
def test_restricted_xml(data: bytes) -> None:
    assert condition_of(data) == "restricted-xml"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b" ",
        b"a",
        b"<",
        b"<>",
        b"< a>",
        b"</a>",
        b"<a",
        b"<a ",
        b"<a/",
        b"<a / >",
        b"<1a>",
        b"<-a>",
        b"<a$>",
        b"<:a>",
        b"<a:>",
        b"<a:b:c xmlns:a='urn:a'>",
        b"<a:1 xmlns:a='urn:a'>",
        b"<a:b>",
        b"<a b>",
        b"<a b=>",
        b"<a b=c>",
        b"<a b='c>",
        b"<a b='c\">",
        b"<a b='c'd='e'>",
        b"<a b='<'>",
        b"<a b='&'>",
        b"<a b='& '>",
        b"<a b='&amp'>",
        b"<a b='&#;'>",
        b"<a b='&#x;'>",
        b"<a b='&#xg;'>",
        b"<a b='&#a;'>",
        b"<a b='&#X41;'>",
        b"<a b='&#0;'>",
        b"<a b='&#x1F;'>",
        b"<a b='&#xD800;'>",
        b"<a b='&#xFFFE;'>",
        b"<a b='&#x110000;'>",
        b"<a b='&#99999999999999999999999;'>",
        b"<a b='\x00'>",
        b"<a b='\x1f'>",
        b"<a b='\xef\xbf\xbf'>",
        b"<a b='\xff'>",
        b"<a b='\xc0\x80'>",
        b"<a b='\xed\xa0\x80'>",
        b"<a b='\xf4\x90\x80\x80'>",
        b"<a b='\xc3'>",
        b"<\xc3\x97>",
        b"<a\xcc\x80 \xcc\x80='1'>",
        b"<a b='1' b='1'>",
        b"<a xmlns='1' xmlns='1'>",
        b"<a xmlns:x='u' xmlns:y='u' x:b='1' y:b='1'>",
        b"<a x:b='1'>",
        b"<a xmlns:x=''>",
        b"<a xmlns:xml='urn:a'>",
        b"<a xmlns:xmlns='urn:a'>",
        b"<a xmlns:x='http://www.w3.org/XML/1998/namespace'>",
        b"<a xmlns='http://www.w3.org/XML/1998/namespace'>",
        b"<a xmlns:x='http://www.w3.org/2000/xmlns/'>",
        b"<?xml version='1.0'>",
        b"<?xml version='2.0'?><a>",
        b"<?xml encoding='UTF-8'?><a>",
        b"<?xml version='1.0'encoding='UTF-8'?><a>",
        b"<?xml version='1.0' encoding='latin 1'?><a>",
        b"<?xml version='1.0' standalone='yes' encoding='UTF-8'?><a>",
        b"\xef\xbb\xbf<a>",
        b"<a/>",
        b"<a b='c' />",
        # what XML allows, and the framer does not
        b"<\xc3\xa9>",
        b"<a \xc3\xa9='1'>",
        b"<a xmlns='urn:a b'>",
        b"<a xmlns='a&amp;b'>",
        b"<a xmlns:x='1:2'>",
        b"<?xml version='1.1'?><a>",
    ],
)
def test_not_well_formed(data: bytes) -> None:
    assert condition_of(data) == "not-well-formed"


@pytest.mark.parametrize("data", [b"<a><b>", b"<a>text", b"<a></a>", b"<a>\n<a/>"])
def test_not_one_open_start_tag(data: bytes) -> None:
    assert condition_of(data) == "bad-format"


@pytest.mark.parametrize("data", [b"<%b>" % (b"a" * 17), b"<a %b=''>" % (b"b" * 256), b"<a xmlns='%b'>" % (b"u" * 256)])
def test_names_are_bounded(data: bytes) -> None:
    assert condition_of(data) == "policy-violation"


def test_attributes_are_bounded() -> None:
    many = b" ".join(b"a%d='1'" % number for number in range(255))
    assert read_stream_header(b"<a %b>" % many).local_name == "a"
    assert condition_of(b"<a %b b='1'>" % many) == "policy-violation"


@pytest.mark.parametrize(
    ("data", "condition"),
    [
        (b"<stream:stream xmlns='jabber:client' xmlns:stream='urn:other' version='1.0'>", "invalid-namespace"),
        (b"<stream xmlns='jabber:client' version='1.0'>", "invalid-namespace"),
        (
            b"<s:stream xmlns:s='http://etherx.jabber.org/streams' xmlns='jabber:server' version='1.0'>",
            "invalid-namespace",
        ),
        (b"<s:stream xmlns:s='http://etherx.jabber.org/streams' version='1.0'>", "invalid-namespace"),
        (b"<stream xmlns='http://etherx.jabber.org/streams' version='1.0'>", "invalid-namespace"),
        (b"<s:streams xmlns:s='http://etherx.jabber.org/streams' xmlns='jabber:client' version='1.0'>", "bad-format"),
    ],
)
def test_check_refuses_other_vocabularies(data: bytes, condition: str) -> None:
    with pytest.raises(ValueError, match=condition) as caught:
        read_stream_header(data).check()
    assert caught.value.args[0] == condition


@pytest.mark.parametrize("version", ["1.0", "1.9", "01.00", "2.0", "10.0"])
def test_supported_versions(version: str) -> None:
    header_of(b"version='%b'" % version.encode()).check()


@pytest.mark.parametrize(
    "version", ["0.9", "", "1", "1.", ".1", "one", "1.0.0", " 1.0", "-1.0", "1.0\u0661", "1" * 99 + ".0"]
)
def test_unsupported_versions(version: str) -> None:
    with pytest.raises(ValueError, match="unsupported-version"):
        header_of(b"version='%b'" % version.encode()).check()


def test_absent_version_is_before_1_0() -> None:
    with pytest.raises(ValueError, match="unsupported-version"):
        header_of(b"to='a'").check()


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (b"<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>", ("starttls", TLS)),
        (b'\n<starttls\txmlns="urn:ietf:params:xml:ns:xmpp-tls"></starttls>', ("starttls", TLS)),
        (b"<t:starttls xmlns:t='urn:ietf:params:xml:ns:xmpp-tls'/>", ("starttls", TLS)),
        (b"<starttls/>", ("starttls", "jabber:client")),
        (b"<message to='a'><body>&amp;</body></message>", ("message", "jabber:client")),
        (b"<stream:error>", ("error", STREAMS)),
        (b"<iq xmlns=''>", ("iq", "")),
        (b"<iq xml:lang='en'>", ("iq", "jabber:client")),
    ],
)
def test_elements(data: bytes, name: tuple[str, str]) -> None:
    assert read_element(data) == name


def test_elements_inherit_what_the_header_declared() -> None:
    header = read_stream_header(
        b"<s:stream xmlns:s='http://etherx.jabber.org/streams' xmlns:t='urn:ietf:params:xml:ns:xmpp-tls' xmlns='urn:d'>"
    )
    assert read_element(b"<t:starttls/>", header) == ("starttls", TLS)
    assert read_element(b"<starttls t:x='1'/>", header) == ("starttls", "urn:d")
    with pytest.raises(ValueError, match="not-well-formed"):
        read_element(b"<stream:error/>", header)
    with pytest.raises(ValueError, match="not-well-formed"):
        read_element(b"<t:starttls/>")


@pytest.mark.parametrize(
    ("data", "condition"),
    [
        (b"<?xml version='1.0'?><a/>", "restricted-xml"),
        (b"text", "not-well-formed"),
        (b"</stream:stream>", "not-well-formed"),
        (b"", "not-well-formed"),
        (b"<a b='&nbsp;'/>", "restricted-xml"),
        (b"<%b/>" % (b"a" * 256), "policy-violation"),
    ],
)
def test_what_is_no_element(data: bytes, condition: str) -> None:
    with pytest.raises(ValueError, match=condition):
        read_element(data)
