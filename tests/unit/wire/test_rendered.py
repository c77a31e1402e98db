"""A stanza for many recipients: the same to all but for its addresses, and well-formed for any of them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from megaphone.wire import writer
from megaphone.wire.framer import Event, StreamFramer
from megaphone.wire.rendered import Rendered
from megaphone.wire.stanza_header import read_stanza_header
from tests.unit.wire.framing import END, HEADER
from tests.unit.wire.stanzas import facts_by_expat, stanzas
from tests.unit.wire.streams import MARKUP, STREAM_SCOPE

MESSAGE = b"<message id='m1' from='romeo@example.net' type='groupchat'\n to=\"verona\" ><body>hi</body></message>"
TEXT = st.none() | st.text(max_size=20)


def meaning(stanza: bytes, fields: dict[str, str | None]) -> list[object]:
    """Everything that lxml sees in a stanza, with `fields` of its own set or removed."""
    (element,) = etree.fromstring(HEADER + stanza + END)
    for name, value in fields.items():
        element.attrib.pop(name, None)
        if value is not None:
            element.set(name, writer._NOT_XML.sub("\ufffd", value))
    return [(each.tag, dict(each.attrib), each.nsmap, each.text, each.tail) for each in element.iter()]


def test_addresses_are_replaced_and_nothing_else() -> None:
    rendered = Rendered(MESSAGE)
    assert (
        rendered.stanza(to="nurse@example.net", from_="verona/romeo")
        == b"<message to='nurse@example.net' from='verona/romeo' id='m1' type='groupchat' ><body>hi</body></message>"
    )
    assert rendered.stanza() == b"<message id='m1' type='groupchat' ><body>hi</body></message>"
    assert rendered.stanza(from_="a") == b"<message from='a' id='m1' type='groupchat' ><body>hi</body></message>"
    assert Rendered(b"<presence/>").stanza(to="a'b") == b"<presence to='a&apos;b'/>"
    assert Rendered(b"<iq></iq>").stanza(to="a") == b"<iq to='a'></iq>"
    assert Rendered(b"<r xmlns:x='urn:x' x:to='1' too='2'/>").stanza() == b"<r xmlns:x='urn:x' x:to='1' too='2'/>"


def test_the_id_is_replaced_on_request() -> None:
    rendered = Rendered(MESSAGE, replace_id=True)
    assert rendered.replaces_id
    assert rendered.stanza(id_="<") == b"<message id='&lt;' type='groupchat' ><body>hi</body></message>"
    assert rendered.stanza() == b"<message type='groupchat' ><body>hi</body></message>"
    with pytest.raises(ValueError, match="its own id"):
        Rendered(MESSAGE).stanza(id_="m2")


def test_it_is_written_as_often_as_asked() -> None:
    rendered = Rendered(MESSAGE)
    assert rendered.write_times("nurse", "verona", 3) == 3 * len(rendered.stanza("nurse", "verona"))


@pytest.mark.parametrize(
    ("data", "condition"),
    [
        (b"", "not-well-formed"),
        (b" ", "not-well-formed"),
        (b"text", "not-well-formed"),
        (b"<message", "not-well-formed"),
        (b"<message>", "not-well-formed"),
        (b" <message/>", "not-well-formed"),
        (b"<message/> ", "not-well-formed"),
        (b"<message/><message/>", "not-well-formed"),
        (b"</stream:stream>", "not-well-formed"),
        (b"<stream:stream>", "not-well-formed"),
        (b"<message><x:a/></message>", "not-well-formed"),
        (b"<message><!-- c --></message>", "restricted-xml"),
        (b"<message%b/>" % b"".join(b" a%d=''" % index for index in range(253)), "policy-violation"),
    ],
)
def test_what_is_no_stanza_is_refused(data: bytes, condition: str) -> None:
    with pytest.raises(ValueError, match=condition) as caught:
        Rendered(data)
    assert caught.value.args[0] == condition


@given(stanzas(STREAM_SCOPE), TEXT, TEXT, TEXT)
def test_any_stanza_to_anybody(text: str, to: str | None, from_: str | None, id_: str | None) -> None:
    stanza = text.encode()
    sent = Rendered(stanza).stanza(to, from_)
    assert meaning(sent, {}) == meaning(stanza, {"to": to, "from": from_})
    assert meaning(Rendered(stanza, replace_id=True).stanza(to, from_, id_), {}) == meaning(
        stanza, {"to": to, "from": from_, "id": id_}
    )
    (facts,) = facts_by_expat(HEADER + sent)
    header = read_stanza_header(sent)
    assert (header.to, header.from_) == facts.fields[:2]
    framer = StreamFramer(attributes=255)
    framer.scan(HEADER)
    assert framer.scan(sent)[:2] == (Event.STANZA, len(sent))


@given(stanzas(STREAM_SCOPE), st.data())
def test_what_it_takes_is_a_stanza(text: str, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(text)))
    broken = text[:start].encode() + data.draw(MARKUP) + text[start + data.draw(st.integers(0, 3)) :].encode()
    try:
        sent = Rendered(broken).stanza("nurse", "verona")
    except ValueError:
        return
    assert meaning(sent, {}) == meaning(broken, {"to": "nurse", "from": "verona"})
