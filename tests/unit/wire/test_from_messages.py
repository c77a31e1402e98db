"""A client's messages as a stream: one message, one element, and every element means what it meant."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree

from megaphone.wire.from_messages import StreamFromMessages, Taken
from megaphone.wire.header import read_stream_header
from tests.unit.wire.framing import pieces_of
from tests.unit.wire.messages import elements_of_messages, elements_of_stream, from_messages, to_messages
from tests.unit.wire.streams import STREAMS

OPEN = b"<open xmlns='urn:ietf:params:xml:ns:xmpp-framing' to='example.org' version='1.0'/>"
CLOSE = b"<close xmlns='urn:ietf:params:xml:ns:xmpp-framing'/>"
HEADER = (
    b"<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'"
    b" to='example.org' version='1.0'>"
)
CUTS = st.lists(st.integers(0, 10_000), max_size=8)


@settings(deadline=None)
@given(STREAMS, st.lists(CUTS, min_size=1, max_size=5))
def test_what_goes_out_comes_back(stream: bytes, cuts: list[list[int]]) -> None:
    messages = to_messages([stream])
    back = from_messages(pieces_of(message, cuts[index % len(cuts)]) for index, message in enumerate(messages))
    assert elements_of_stream(back) == elements_of_stream(stream)


@settings(deadline=None)
@given(STREAMS)
def test_slices_of_one_byte_say_the_same_bytes(stream: bytes) -> None:
    messages = to_messages([stream])
    whole = from_messages([message] for message in messages)
    assert from_messages([message[at : at + 1] for at in range(len(message))] for message in messages) == whole
    assert elements_of_messages(messages[1:-1]) == elements_of_stream(whole)


@pytest.mark.parametrize(
    ("message", "said"),
    [
        (b"<message xmlns='jabber:client'><body/></message>", None),
        (b"<presence/>  \n", None),
        (b"<opener xmlns='u'/>", None),
        (b"<closes xmlns='u'></closes>", None),
        (b"<open xmlns='urn:other'/>", None),
        (b"<close/>", None),
        (b"<x:open xmlns:x='urn:other'/>", None),
        (OPEN, HEADER),
        (b"<x:open xmlns:x='urn:ietf:params:xml:ns:xmpp-framing' to=\"example.org\" version='1.0'></x:open>", HEADER),
        (CLOSE, b"</stream:stream>"),
        (b'<close\n\txmlns="urn:ietf:params:xml:ns:xmpp-framing"/>', b"</stream:stream>"),
    ],
)
def test_what_a_message_says(message: bytes, said: bytes | None) -> None:
    for slices in ([message], [message[:3], message[3:]], [message[at : at + 1] for at in range(len(message))]):
        assert from_messages([[OPEN], slices]) == HEADER + (message if said is None else said)


def test_open_says_in_a_header_what_it_says() -> None:
    header = from_messages(
        [
            [
                b"<open xmlns='urn:ietf:params:xml:ns:xmpp-framing' to='a&amp;b' from=\"r'@x&lt;y\" version='1.0'"
                b" xml:lang='de' other='1'/>"
            ]
        ]
    )
    parsed = read_stream_header(header)
    parsed.check()
    assert (parsed.to, parsed.from_, parsed.version, parsed.lang) == ("a&b", "r'@x<y", "1.0", "de")
    assert len(etree.fromstring(header + b"</stream:stream>").attrib) == 4


@pytest.mark.parametrize(
    ("message", "condition"),
    [
        (b"", "bad-format"),
        (b" <presence/>", "bad-format"),
        (b"text", "bad-format"),
        (b"<presence/><presence/>", "bad-format"),
        (b"<presence/>text", "bad-format"),
        (b"<presence>", "not-well-formed"),
        (b"<", "not-well-formed"),
        (b"<open", "not-well-formed"),
        (b"<open xmlns='urn:ietf:params:xml:ns:xmpp-framing'>", "not-well-formed"),
        (OPEN + CLOSE, "not-well-formed"),
        (OPEN + b"<presence/>", "not-well-formed"),
        (CLOSE + b"<presence/>", "not-well-formed"),
        (HEADER, "bad-format"),
        (HEADER + b"<presence/>", "bad-format"),
        (b"</stream:stream>", "bad-format"),
        (b"<?xml version='1.0'?><presence/>", "not-well-formed"),
        (b"<!-- --><presence/>", "restricted-xml"),
        (b"<presence><!-- --></presence>", "restricted-xml"),
        (b"<x:presence/>", "not-well-formed"),
        (b"<open xmlns='urn:ietf:params:xml:ns:xmpp-framing' to='" + b"x" * 5000 + b"'/>", "policy-violation"),
        (b"<" + b"o" * 5000 + b"/>", "policy-violation"),
        (b"<a " + b"x" * 300_000, "policy-violation"),
    ],
)
def test_what_no_message_may_say(message: bytes, condition: str) -> None:
    for size in (len(message) or 1, 7, 1):
        reader = StreamFromMessages()
        from_messages([[OPEN]], reader)
        slices = [message[at : at + size] for at in range(0, len(message), size)] or [b""]
        with pytest.raises(ValueError, match=f"^{condition}$"):
            from_messages([slices], reader)


@pytest.mark.parametrize("message", [b"<presence/>", CLOSE, HEADER, b"<open xmlns='u'/>"])
def test_a_stream_begins_with_open(message: bytes) -> None:
    with pytest.raises(ValueError, match=r"^bad-format$"):
        from_messages([[message]])


def test_a_stanza_goes_on_slice_by_slice() -> None:
    reader = StreamFromMessages()
    reader.take(OPEN, True)
    assert reader.take(b"<mess", False) == (Taken.KEPT, b"")
    assert reader.take(b"age><b", False) == (Taken.TEXT, b"<message><b")
    assert reader.take(b"ody>", False) == (Taken.PASS, b"ody>")
    assert reader.take(b"</body></message>", True) == (Taken.PASS, b"</body></message>")
