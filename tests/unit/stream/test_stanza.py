"""Stanzas as those see them who look inside."""

import pytest
from hypothesis import given
from lxml import etree

from megaphone.stream.jid import JID
from megaphone.stream.stanza import Stanza, children, with_child, without_children
from tests.unit.wire.framing import END, HEADER
from tests.unit.wire.stanzas import stanzas
from tests.unit.wire.streams import STREAM_SCOPE

IQ = (
    b"<iq xmlns:v='urn:v' type='set' id='1' from='Romeo@example.net/x' to='example.net'>"
    b"<v:a b='>'/> text <q xmlns='jabber:iq:private'><v:c>&lt;</v:c></q></iq>"
)


def test_addresses_and_payload() -> None:
    stanza = Stanza.read(IQ)
    assert (stanza.kind, stanza.type, stanza.id) == ("iq", "set", "1")
    assert (stanza.from_, stanza.to) == (JID("romeo", "example.net", "x"), JID("", "example.net"))
    assert stanza.payload is not None
    assert stanza.payload.tag == "{urn:v}a"
    private = stanza.child("jabber:iq:private")
    assert private is not None
    assert private[0].text == "<"
    assert stanza.child("jabber:iq:private", "x") is None


def test_children_stand_by_themselves() -> None:
    stanza = Stanza.read(IQ)
    first, second = stanza.children
    assert (first.namespace, first.name, second.name) == ("urn:v", "a", "q")
    assert stanza.child_bytes(first) == b"<v:a xmlns:v='urn:v' b='>'/>"
    assert stanza.child_bytes(second) == b"<q xmlns:v='urn:v' xmlns='jabber:iq:private'><v:c>&lt;</v:c></q>"
    assert without_children(IQ, lambda child: child.namespace == "urn:v").endswith(
        b"to='example.net'> text <q xmlns='jabber:iq:private'><v:c>&lt;</v:c></q></iq>"
    )
    assert with_child(b"<a/>", b"<b/>") == b"<a><b/></a>"


@given(stanzas(STREAM_SCOPE))
def test_children_are_those_of_lxml(text: str) -> None:
    stanza = text.encode()
    (element,) = etree.fromstring(HEADER + stanza + END)
    found = children(stanza)
    assert [(f"{{{child.namespace}}}" if child.namespace else "") + child.name for child in found] == [
        each.tag for each in element
    ]
    for child in found:
        assert stanza[child.begin : child.begin + 1] == b"<"
        assert stanza[child.end - 1 : child.end] == b">"
    stripped = without_children(stanza, lambda child: True)
    assert len(etree.fromstring(HEADER + stripped + END)[0]) == 0


def test_answers() -> None:
    stanza = Stanza.read(b"<message from='a@x.org/1' to='b@x.org' id='7'><body>hi</body></message>")
    assert stanza.error("service-unavailable") == (
        b"<message to='a@x.org/1' from='b@x.org' type='error' id='7'><error type='cancel'>"
        b"<service-unavailable xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></message>"
    )
    assert stanza.answerable
    assert not Stanza.read(b"<iq type='result' id='1'/>").answerable
    assert stanza.stamped(to=JID("c", "x.org"), from_=None) == b"<message to='c@x.org' id='7'><body>hi</body></message>"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"<message to='a b@x.org'/>", "jid-malformed"),
        (b"<iq from='@x'/>", "jid-malformed"),
        (b"<auth/>", "unsupported-stanza-type"),
    ],
)
def test_refused(data: bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        Stanza.read(data)
