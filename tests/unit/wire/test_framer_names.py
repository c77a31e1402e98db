"""The framer and names: what resolves, what may stand twice, what an element declares."""

import pytest

from megaphone.wire.framer import Error
from tests.unit.wire.framing import HEADER, inside, read


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
