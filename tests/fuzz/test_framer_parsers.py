"""The framer against the parsers that streams meet on servers: what it takes, each takes as the same elements."""

import re
from collections.abc import Sequence

import pytest
from hypothesis import event, example, given, settings

from megaphone.wire.framer import Error
from tests.unit.wire.framing import HEADER, Reading, read
from tests.unit.wire.parsers import ERROR, PARSERS, ask_expat
from tests.unit.wire.streams import STREAMS, mutated_streams

REPEATABLE = settings(max_examples=150, derandomize=True, deadline=None)
LIBXML2_WAITS_FOR = 6  # bytes before it looks at any
FIRST_NAME = re.compile(rb"(?:<\?xml[^>]*>)?[ \t\r\n]*<(?:[A-Za-z0-9_.-]+:)?([A-Za-z0-9_.-]+)")
# Where the framer is stricter than expat: namespace names, and names that are not ASCII.
IN_A_DECLARATION = re.compile(rb"[ \t\r\n]xmlns(?::[A-Za-z0-9_.-]+)?[ \t\r\n]*=[ \t\r\n]*(?:'[^']*|\"[^\"]*)\Z")


def streams_of(data: bytes, reading: Reading) -> list[list[tuple[bytes, list[str]]]]:
    """Each stream up to its restart, in pieces, with what a parser has to see in each."""
    streams: list[list[tuple[bytes, list[str]]]] = []
    last = 0
    for name, offset in reading.events:
        piece, last = data[last:offset], offset
        if name == "HEADER":
            # white space before a restart belongs to the old stream
            streams.append([])
            piece = piece.lstrip(b" \t\r\n")
        match = FIRST_NAME.match(piece)
        local = match[1].decode() if match else ""
        said = "end" if name == "STREAM_END" else f"header:{local}" if name == "HEADER" else f"element:{local}"
        streams[-1].append((piece, [said]))
    if reading.error is None and last < len(data):
        if not streams:
            streams.append([])
        streams[-1].append((data[last:], []))
    return streams


def assert_all_see_the_same(data: bytes, *, restarts: bool = False) -> Reading:
    """In what the framer takes of `data` every parser sees the elements that the framer sees, and no error."""
    reading = read([data], restarts=restarts)
    for stream in streams_of(data, reading):
        pieces = [piece for piece, _ in stream]
        expected = [said for _, said in stream]
        whole = b"".join(pieces)
        for name, ask in PARSERS.items():
            if name != "libxml2" or len(pieces[0]) >= LIBXML2_WAITS_FOR:
                assert ask(pieces) == expected, name
            if name != "libxml2" or len(whole) >= LIBXML2_WAITS_FOR:
                assert ask([whole]) == [[word for said in expected for word in said]], name
    return reading


@REPEATABLE
@given(STREAMS)
def test_streams_hold_the_elements_that_every_parser_finds(data: bytes) -> None:
    reading = assert_all_see_the_same(data)
    assert reading.error is None
    assert reading.names[-1] == "STREAM_END"


@REPEATABLE
@given(mutated_streams(header=True))
def test_what_any_parser_rejects_is_refused(data: bytes) -> None:
    assert_all_see_the_same(data)


@REPEATABLE
@given(mutated_streams())
@example(HEADER + b"<a>&#9;&#x000009;</a>")
@example(HEADER + b"<a>&#0x41;</a>")
@example(HEADER + b"<a><![CDATA[]]]></a>")
def test_what_is_called_not_well_formed_expat_rejects_too(data: bytes) -> None:
    reading = read([data])
    if reading.error is not Error.NOT_WELL_FORMED_XML:
        return
    wrong = reading.error_offset
    if data[wrong] >= 0x80 or IN_A_DECLARATION.search(data[:wrong]):
        event("stricter")
        return
    assert ask_expat([data])[-1][-1:] == [ERROR]


@pytest.mark.parametrize("name", PARSERS)
def test_the_parsers_see_what_is_there_and_what_is_wrong(name: str) -> None:
    """Lest they agree to everything."""
    ask = PARSERS[name]
    pieces: Sequence[bytes] = [HEADER, b"<message>x", b"</message>", b"<x:iq xmlns:x='u'/><b/>", b"</stream:stream>"]
    assert ask(pieces) == [["header:stream"], [], ["element:message"], ["element:iq", "element:b"], ["end"]]
    assert ask([HEADER, b"<a>", b"</b>", b"<c/>"]) == [["header:stream"], [], [ERROR]]
    assert ask([HEADER, b"<x:a></x:a>"])[-1][-1:] == [ERROR]
