"""The stanza reader: the same stanzas however the stream is cut, in place where they can be, and little held."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from megaphone.wire import framer
from megaphone.wire.framer import Element, Error, Event
from megaphone.wire.stanza_reader import STATE_BYTES, StreamStanzaReader
from tests.unit.wire.framing import END, HEADER, MESSAGE, OPENED, pieces_of
from tests.unit.wire.framing import read as frame
from tests.unit.wire.streams import STREAMS, mutated_streams

Said = list[tuple[Event, Element | Error | None, bytes]]
CUTS = st.lists(st.integers(0, 2000), max_size=6)
DECLARED = b"<?xml version='1.0'?>\n" + OPENED


def read(pieces: list[bytes], *, restarts: bool = False, stanza_bytes: int = 262144) -> Said:
    """What a reader says to the pieces; it never holds more than it may, and nothing between stanzas."""
    reader = StreamStanzaReader(stanza_bytes=stanza_bytes)
    said: Said = []
    for piece in pieces:
        for event, detail, text, in_place in reader.read(piece, restarts=restarts):
            said.append((event, detail, text))
            assert not in_place or text in piece
        assert reader.held_bytes <= min(stanza_bytes, reader.room)
        assert reader.room <= max(512, 2 * reader.held_bytes)
        assert (reader.held_bytes == 0) is (reader.room == 0)
        if said and said[-1][0] in (Event.ERROR, Event.STREAM_END):
            assert reader.room == 0
            break
    return said


def test_whole_stanzas_are_given_out_in_place() -> None:
    reader = StreamStanzaReader()
    stanzas = [MESSAGE, b"<presence/>", b"<iq id='1' type='get'><ping xmlns='urn:xmpp:ping'/></iq>"]
    events = reader.read(HEADER + b" \n".join(stanzas) + b"\n" + END)
    assert [text for _, _, text, _ in events] == [HEADER.partition(b"?>")[2], *stanzas, b""]
    assert [event for event, _, _, _ in events] == [Event.HEADER, *[Event.STANZA] * 3, Event.STREAM_END]
    assert [detail for _, detail, _, _ in events[1:4]] == list(Element)[:3]
    assert all(in_place for _, _, _, in_place in events[:-1])


def test_only_a_split_stanza_is_held() -> None:
    reader = StreamStanzaReader()
    reader.read(HEADER)
    (first,) = reader.read(MESSAGE + b" " + MESSAGE[:20])
    assert first == (Event.STANZA, Element.MESSAGE_ELEMENT, MESSAGE, True)
    assert (reader.held_bytes, reader.room) == (20, 512)
    assert reader.read(MESSAGE[20:40]) == []
    assert reader.held_bytes == 40
    second, third = reader.read(MESSAGE[40:] + b"<presence/>")
    assert second == (Event.STANZA, Element.MESSAGE_ELEMENT, MESSAGE, False)
    assert third == (Event.STANZA, Element.PRESENCE_ELEMENT, b"<presence/>", True)
    assert (reader.held_bytes, reader.room) == (0, 0)


def test_what_is_dropped_half_way_is_given_back() -> None:
    for _ in range(3):
        reader = StreamStanzaReader()
        reader.read(HEADER + MESSAGE[:-1])
        assert reader.room == 512
        del reader


@pytest.mark.parametrize("size", [500, 5_000, 300_000, 1_000_000])
def test_large_stanzas_are_collected(size: int) -> None:
    stanza = b"<message><body>%b</body></message>" % (b"abcdefghij" * (size // 10))
    pieces = [HEADER, *(stanza[at : at + 997] for at in range(0, len(stanza), 997)), MESSAGE]
    said = read(pieces, stanza_bytes=1 << 20)
    assert [text for _, _, text in said[1:]] == [stanza, MESSAGE]


def test_a_stanza_over_the_limit_is_refused_before_it_is_held() -> None:
    stanza = b"<message>%b</message>" % (b"a" * 4096)
    reader = StreamStanzaReader(stanza_bytes=1024)
    reader.read(HEADER)
    for at in range(0, 1000, 100):
        assert reader.read(stanza[at : at + 100]) == []
    (refused,) = reader.read(stanza[1000:1100])
    assert refused[:2] == (Event.ERROR, Error.STANZA_TOO_BIG)
    assert reader.room == 0
    assert reader.read(MESSAGE)[0][:2] == (Event.ERROR, Error.STANZA_TOO_BIG)


@pytest.mark.parametrize("cut", range(len(DECLARED)))
@pytest.mark.parametrize("restart", [False, True])
def test_a_header_comes_without_its_declaration_wherever_it_is_cut(cut: int, restart: bool) -> None:
    before = [HEADER + b" \n"] if restart else []
    said = read([*before, DECLARED[:cut], DECLARED[cut:] + MESSAGE], restarts=True)
    assert said[-2:] == [(Event.HEADER, None, OPENED), (Event.STANZA, Element.MESSAGE_ELEMENT, MESSAGE)]
    three = [DECLARED[: cut // 2], DECLARED[cut // 2 : cut], DECLARED[cut:-1], DECLARED[-1:]]
    assert read([*before, *three], restarts=True)[-1] == (Event.HEADER, None, OPENED)


def test_white_space_between_stanzas_is_not_held() -> None:
    reader = StreamStanzaReader()
    reader.read(HEADER)
    for _ in range(10):
        assert reader.read(b" \n" * 100) == []
        assert reader.room == 0


def test_idle_state_is_the_framers_and_16_bytes() -> None:
    assert STATE_BYTES == framer.STATE_BYTES + 16


def test_bounds_are_checked() -> None:
    for bounds in ({"stanza_bytes": 0}, {"depth": 1}, {"depth": 256}, {"attributes": 0}, {"attributes": 256}):
        with pytest.raises(ValueError, match="from 1 to"):
            StreamStanzaReader(**bounds)


@given(STREAMS | mutated_streams() | mutated_streams(header=True), CUTS, st.booleans())
def test_the_same_stanzas_for_any_split(stream: bytes, cuts: list[int], restarts: bool) -> None:
    whole = read([stream], restarts=restarts)
    assert read(list(pieces_of(stream, cuts)), restarts=restarts) == whole
    assert read([bytes([byte]) for byte in stream], restarts=restarts) == whole


@given(STREAMS | mutated_streams(), st.integers(60, 400), CUTS)
def test_the_limit_holds_for_any_split(stream: bytes, stanza_bytes: int, cuts: list[int]) -> None:
    whole = read([stream], stanza_bytes=stanza_bytes)
    assert read(list(pieces_of(stream, cuts)), stanza_bytes=stanza_bytes) == whole
    assert all(len(text) <= stanza_bytes for _, _, text in whole)


@given(STREAMS | mutated_streams())
def test_they_are_the_bytes_between_the_framers_boundaries(stream: bytes) -> None:
    framed = frame([stream])
    said = read([stream])
    assert len(said) == len(framed.events) + (framed.error not in (None, Error.AFTER_STREAM_END))
    last = stream.index(b"<stream:")
    for (event, _, text), (name, end) in zip(said, framed.events, strict=False):
        assert text == (b"" if event is Event.STREAM_END else stream[last:end].lstrip(b" \t\r\n")), name
        last = end


@given(STREAMS | mutated_streams() | mutated_streams(header=True), CUTS, st.booleans())
def test_another_process_goes_on_wherever_it_is_cut(stream: bytes, cuts: list[int], restarts: bool) -> None:
    """Behind every piece the reader is exported, and another one goes on from the record."""
    reader, said = StreamStanzaReader(), []
    for piece in pieces_of(stream, cuts):
        events = reader.read(piece, restarts=restarts)
        said += [(event, what, text) for event, what, text, _ in events]
        if events and events[-1][0] in (Event.ERROR, Event.STREAM_END):
            break
        successor = StreamStanzaReader()
        successor.restore(reader.export())
        assert successor.export() == reader.export()
        reader = successor
    assert said == read(list(pieces_of(stream, cuts)), restarts=restarts)


@pytest.mark.parametrize(
    "record", [b"", b"\0\0\0", b"\0\0\0\0", b"\0\0\0\x05abcde", b"\xff\xff\xff\xff" + bytes(40), bytes(60)]
)
def test_what_is_no_record_is_refused(record: bytes) -> None:
    reader = StreamStanzaReader()
    with pytest.raises(ValueError, match="not the record"):
        reader.restore(record)
    held = StreamStanzaReader()
    held.read(HEADER)
    with pytest.raises(ValueError, match="not the record"):  # more than the framer has counted
        reader.restore(held.export() + b"<message>")
    assert reader.read(HEADER)[0][0] is Event.HEADER
