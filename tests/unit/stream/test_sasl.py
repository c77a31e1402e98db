"""The SASL elements of a stream, and the messages of PLAIN and OAUTHBEARER inside them."""

from xml.etree.ElementTree import fromstring

import pytest
from hypothesis import given
from hypothesis import strategies as st

from megaphone.errors import SASLError
from megaphone.stream import sasl
from megaphone.stream.sasl import Abort, Auth, Response, read_sasl
from megaphone.stream.sasl_messages import read_oauthbearer, read_plain

XMLNS = "xmlns='urn:ietf:params:xml:ns:xmpp-sasl'"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"<auth {XMLNS} mechanism='PLAIN'>AGp1bGlldAByMG0zMG15cjBtMzA=</auth>", "\0juliet\0r0m30myr0m30"),
        (f"<auth {XMLNS} mechanism='PLAIN'>=</auth>", ""),
        (f"<auth {XMLNS} mechanism='PLAIN'/>", None),
        (f"<auth {XMLNS} mechanism='PLAIN' xmlns:ga='http://www.google.com/talk/protocol/auth' ga:x='y'/>", None),
    ],
)
def test_auth(text: str, expected: str | None) -> None:
    assert read_sasl(fromstring(text)) == Auth("PLAIN", None if expected is None else expected.encode())


def test_response_and_abort() -> None:
    assert read_sasl(fromstring(f"<response {XMLNS}>YQ==</response>")) == Response(b"a")
    assert read_sasl(fromstring(f"<response {XMLNS}/>")) == Response(b"")
    assert read_sasl(fromstring(f"<response {XMLNS}>=</response>")) == Response(b"")
    assert read_sasl(fromstring(f"<abort {XMLNS}/>")) == Abort()
    assert read_sasl(fromstring(f"<success {XMLNS}/>")) is None


@pytest.mark.parametrize(
    ("text", "condition"),
    [
        (f"<auth {XMLNS} mechanism='PLAIN'>A</auth>", "incorrect-encoding"),
        (f"<auth {XMLNS} mechanism='PLAIN'>YQ==YQ==</auth>", "incorrect-encoding"),
        (f"<auth {XMLNS} mechanism='PLAIN'>YQ==\n</auth>", "incorrect-encoding"),
        (f"<auth {XMLNS} mechanism='PLAIN'>=YQ=</auth>", "incorrect-encoding"),
        (f"<auth {XMLNS} mechanism='PLAIN'>\u00e9</auth>", "incorrect-encoding"),
        (f"<auth {XMLNS} mechanism='PLAIN'>==</auth>", "incorrect-encoding"),
        (f"<auth {XMLNS}>YQ==</auth>", "invalid-mechanism"),
        (f"<auth {XMLNS} mechanism='PLAIN'><x/></auth>", "malformed-request"),
        (f"<response {XMLNS}>YQ=<x/>=</response>", "malformed-request"),
        (f"<response {XMLNS}>{'A' * (sasl.MESSAGE_LIMIT_BYTES * 4 // 3 + 8)}</response>", "malformed-request"),
    ],
)
def test_bad_elements(text: str, condition: str) -> None:
    with pytest.raises(SASLError) as caught:
        read_sasl(fromstring(text))
    assert caught.value.condition == condition


def test_written() -> None:
    assert sasl.challenge(b"") == f"<challenge {XMLNS}></challenge>".encode()
    assert sasl.challenge(b"a") == f"<challenge {XMLNS}>YQ==</challenge>".encode()
    assert sasl.success() == f"<success {XMLNS}/>".encode()
    assert sasl.success(b"") == f"<success {XMLNS}>=</success>".encode()
    assert sasl.success(b"v=x") == f"<success {XMLNS}>dj14</success>".encode()
    assert sasl.failure("not-authorized") == f"<failure {XMLNS}><not-authorized/></failure>".encode()
    assert sasl.failure("aborted", "<") == (
        f"<failure {XMLNS}><aborted/><text xml:lang='en'>&lt;</text></failure>".encode()
    )
    with pytest.raises(ValueError, match=r"6\.5"):
        sasl.failure("forbidden")
    for condition in sasl.FAILURE_CONDITIONS:
        assert fromstring(sasl.failure(condition))[0].tag.endswith("}" + condition)


def test_plain() -> None:
    assert read_plain(b"\0juliet\0r0m30") == ("", "juliet", "r0m30")
    assert read_plain("a@b\0j\u00fcl\0\u20ac".encode()) == ("a@b", "j\u00fcl", "\u20ac")


@pytest.mark.parametrize("message", [b"", b"a", b"\0a", b"\0\0", b"\0a\0", b"\0\0b", b"\0a\0b\0", b"\0a\0\xff"])
def test_malformed_plain(message: bytes) -> None:
    with pytest.raises(SASLError, match="malformed-request"):
        read_plain(message)


def test_oauthbearer_of_rfc_7628_section_4() -> None:
    message = (
        b"n,a=user@example.com,\1host=server.example.com\1port=143\1"
        b"auth=Bearer vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==\1\1"
    )
    assert read_oauthbearer(message) == ("user@example.com", "vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==")
    assert read_oauthbearer(b"n,,\1auth=bearer x\1\1") == ("", "x")
    assert read_oauthbearer(b"n,,\1host=x\1\1") == ("", "")


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"n,,",
        b"n,,\1",
        b"n,,\1\1",
        b"n,,\1auth=Bearer x\1",
        b"n,,\1auth=Basic x\1\1",
        b"n,,\1auth=Bearer x y\1\1",
        b"n,,\1auth\1\1",
        b"n,,\1=x\1\1",
        b"p=tls-exporter,,\1auth=Bearer x\1\1",
        b"n,,\1auth=Bearer \xff\1\1",
    ],
)
def test_malformed_oauthbearer(message: bytes) -> None:
    with pytest.raises(SASLError, match="malformed-request"):
        read_oauthbearer(message)


@given(st.binary(max_size=60))
def test_messages_are_read_or_malformed(message: bytes) -> None:
    for read in (read_plain, read_oauthbearer):
        for prefix in (b"", b"n,,\1"):
            try:
                read(prefix + message)
            except SASLError as error:
                assert error.condition == "malformed-request"  # noqa: PT017 - nothing else may come out


@given(st.text(max_size=60))
def test_elements_are_read_or_refused(text: str) -> None:
    element = fromstring(f"<auth {XMLNS} mechanism='PLAIN'/>")
    element.text = text
    try:
        found = read_sasl(element)
    except SASLError as error:
        assert error.condition == "incorrect-encoding"  # noqa: PT017 - nothing else may come out
    else:
        assert isinstance(found, Auth)
