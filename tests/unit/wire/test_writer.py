"""The XML that the edge writes: exact bytes for the usual cases, well-formed whatever text is put in."""

from xml.parsers import expat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from megaphone.wire import writer
from megaphone.wire.header import read_element, read_stream_header

HEADER = writer.stream_header(from_domain="example.org", to=None, stream_id="s1")


def parse_children(data: bytes) -> list[tuple[str, dict[str, str], str]]:
    """Parse `data` with expat as what follows a header; return (name, attributes, text) in document order."""
    parser = expat.ParserCreate(namespace_separator=" ")
    parser.buffer_text = True
    found: list[tuple[str, dict[str, str], str]] = []

    def text(content: str) -> None:
        name, attributes, before = found[-1]
        found[-1] = (name, attributes, before + content)

    parser.StartElementHandler = lambda name, attributes: found.append((name, attributes, ""))
    parser.CharacterDataHandler = text
    parser.Parse(HEADER + data + writer.STREAM_END, True)
    return found[1:]


def test_stream_header_is_what_rfc_6120_section_4_7_asks_for() -> None:
    assert writer.stream_header(
        from_domain="example.org", to="juliet@example.org", stream_id="++TR84Sm6A3hnt3Q065S="
    ) == (
        b"<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'"
        b" id='++TR84Sm6A3hnt3Q065S=' from='example.org' to='juliet@example.org' version='1.0' xml:lang='en'>"
    )


def test_to_is_left_out_when_the_client_did_not_say_who_it_is() -> None:
    assert b" to=" not in HEADER


@given(st.text(), st.none() | st.text(), st.text(), st.text())
def test_header_carries_any_text_back(from_domain: str, to: str | None, stream_id: str, lang: str) -> None:
    header = read_stream_header(writer.stream_header(from_domain=from_domain, to=to, stream_id=stream_id, lang=lang))
    replaced = [
        None if text is None else writer._NOT_XML.sub("\ufffd", text) for text in (from_domain, to, stream_id, lang)
    ]
    assert [header.from_, header.to, header.id, header.lang] == replaced
    header.check()


@pytest.mark.parametrize("condition", sorted(writer.STREAM_ERROR_CONDITIONS))
def test_every_condition_makes_a_stream_error(condition: str) -> None:
    error, child = parse_children(writer.stream_error(condition))
    assert error[0] == "http://etherx.jabber.org/streams error"
    assert child == (f"urn:ietf:params:xml:ns:xmpp-streams {condition}", {}, "")


@given(st.text(min_size=1))
def test_error_text_is_escaped(text: str) -> None:
    *_, (name, attributes, content) = parse_children(writer.stream_error("policy-violation", text))
    assert name == "urn:ietf:params:xml:ns:xmpp-streams text"
    assert attributes == {"http://www.w3.org/XML/1998/namespace lang": "en"}
    assert content == writer._NOT_XML.sub("\ufffd", text)


def test_error_with_an_application_specific_condition() -> None:
    *_, detail = parse_children(writer.stream_error("undefined-condition", "why", detail=b"<x xmlns='urn:x'/>"))
    assert detail == ("urn:x x", {}, "")


@pytest.mark.parametrize(
    ("host", "port", "address"),
    [
        ("other.example", None, "other.example"),
        ("other.example", 5223, "other.example:5223"),
        ("192.0.2.1", 5222, "192.0.2.1:5222"),
        ("2001:db8::1", None, "[2001:db8::1]"),
        ("[2001:db8::1]", 5222, "[2001:db8::1]:5222"),
        ("<&", None, "<&"),
    ],
)
def test_see_other_host(host: str, port: int | None, address: str) -> None:
    _, child = parse_children(writer.see_other_host(host, port))
    assert child == ("urn:ietf:params:xml:ns:xmpp-streams see-other-host", {}, address)


@pytest.mark.parametrize("condition", ["", "not-a-condition", "see-other-host", "policy-violation/><x"])
def test_unknown_condition_is_refused(condition: str) -> None:
    with pytest.raises(ValueError, match="RFC 6120"):
        writer.stream_error(condition)


def test_features_offer_starttls() -> None:
    assert [name for name, _, _ in parse_children(writer.starttls_features(required=True))] == [
        "http://etherx.jabber.org/streams features",
        "urn:ietf:params:xml:ns:xmpp-tls starttls",
        "urn:ietf:params:xml:ns:xmpp-tls required",
    ]
    assert [name for name, _, _ in parse_children(writer.starttls_features(required=False))] == [
        "http://etherx.jabber.org/streams features",
        "urn:ietf:params:xml:ns:xmpp-tls starttls",
    ]


def test_starttls_answers_are_in_the_tls_namespace() -> None:
    assert read_element(writer.PROCEED) == ("proceed", writer.TLS_NAMESPACE)
    assert read_element(writer.STARTTLS_FAILURE) == ("failure", writer.TLS_NAMESPACE)
    assert read_element(writer.STARTTLS_OFFER) == ("starttls", writer.TLS_NAMESPACE)


def test_escape_changes_just_the_characters_that_need_it() -> None:
    changed = {
        chr(point) for point in range(0x110000) if writer.escape(chr(point)) != chr(point).encode("utf-8", "replace")
    }
    special = set("&<>'\"\t\n\r")
    not_xml = {chr(point) for point in (*range(0x20), *range(0xD800, 0xE000), 0xFFFE, 0xFFFF)}
    assert changed == special | not_xml
    assert all(writer.escape(f"a{character}b") == b"a" + writer.escape(character) + b"b" for character in changed)


def test_escape_leaves_nothing_that_markup_could_use() -> None:
    assert writer.escape("a<b>&'\"\x00\ud800é") == "a&lt;b&gt;&amp;&apos;&quot;\ufffd\ufffdé".encode()


@pytest.mark.parametrize(
    ("features", "offered"),
    [
        (
            b"<stream:features><a xmlns='urn:a'/></stream:features>",
            b"<stream:features>{}<a xmlns='urn:a'/></stream:features>",
        ),
        (b"<stream:features/>", b"<stream:features>{}</stream:features>"),
        (b"<features xmlns='a>b' y=\"'\" />", b"<features xmlns='a>b' y=\"'\" >{}</features>"),
    ],
)
def test_starttls_is_offered_within_the_features_of_a_server(features: bytes, offered: bytes) -> None:
    assert writer.offer_starttls(features) == offered.replace(b"{}", writer.STARTTLS_OFFER)


def test_features_that_offer_starttls_stay_as_they_are() -> None:
    features = writer.starttls_features(required=True)
    assert writer.offer_starttls(features) == features


@pytest.mark.parametrize("features", [b"", b"text", b"</stream:features>", b"<stream:features"])
def test_starttls_is_not_offered_within_something_else(features: bytes) -> None:
    with pytest.raises(ValueError, match="start tag"):
        writer.offer_starttls(features)
