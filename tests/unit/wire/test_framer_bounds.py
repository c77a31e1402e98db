"""The framer's bounds and restarts: what is taken at the limit, and what one beyond it."""

import pytest

from megaphone.wire.framer import STATE_BYTES, Error, Event, StreamFramer
from tests.unit.wire.framing import END, HEADER, MESSAGE, OPENED, inside, read

# --- restarts ---


def test_a_restart_is_allowed_once() -> None:
    framer = StreamFramer()
    framer.scan(HEADER)
    framer.allow_restart()
    assert framer.scan(HEADER)[:2] == (Event.HEADER, len(HEADER))
    event, offset, error, _, _ = framer.scan(HEADER[21:])
    assert (event, offset, error) == (Event.ERROR, len(b"<stream:stream"), Error.RESTART_NOT_ALLOWED)


def test_a_restarted_stream_ends_with_its_own_name() -> None:
    framer = StreamFramer()
    framer.scan(OPENED)
    framer.allow_restart()
    assert framer.scan(b"<s:stream xmlns:s='http://etherx.jabber.org/streams'>")[0] is Event.HEADER
    assert framer.scan(b"<message></message>")[0] is Event.STANZA
    assert framer.scan(b"</s:stream>")[0] is Event.STREAM_END


def test_a_permission_to_restart_does_not_have_to_be_used() -> None:
    framer = StreamFramer()
    framer.scan(HEADER)
    framer.allow_restart()
    for data, event in ((MESSAGE, Event.STANZA), (HEADER, Event.HEADER), (END, Event.STREAM_END)):
        assert framer.scan(data)[:2] == (event, len(data))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"<?xml version='1.0'?><message", b"/>"),
        (b"<?xml version='1.0'?> <stream:stre", b">"),
        (b"<?xml version='1.0'?><", b"/stream:stream>"),
        (b"<?xml version='1.0'?>", b"x"),
        (b"<stream:stream/", b">"),
    ],
)
def test_what_cannot_restart_a_stream(before: bytes, after: bytes) -> None:
    framer = StreamFramer()
    framer.scan(HEADER)
    framer.allow_restart()
    assert framer.scan(before + after)[:3] == (Event.ERROR, len(before), Error.NOT_WELL_FORMED_XML)


def test_white_space_before_a_stream_that_goes_on_here() -> None:
    """What a client sends behind SASL's last element may come on its new connection's first stream (embedded.relay)."""
    framer = StreamFramer()
    assert framer.scan(b"\n" + HEADER)[2] is Error.RESTRICTED
    framer = StreamFramer()
    framer.allow_restart()
    for piece in (b"\n", b" \r\n" + HEADER[:3]):
        assert framer.scan(piece)[:2] == (Event.MORE, len(piece))
    assert framer.scan(HEADER[3:])[0] is Event.HEADER
    assert framer.scan(b"\n" + HEADER)[2] is Error.RESTRICTED  # once


def test_nothing_is_put_between_a_declaration_and_its_header() -> None:
    framer = StreamFramer()
    framer.scan(HEADER)
    framer.allow_restart()
    framer.scan(b"<?xml version='1.0'?>")
    assert not framer.rests


# --- bounds ---


@pytest.mark.parametrize(
    ("opened", "closed"), [(b"<message>", b"</message>"), (b"<a b='", b"'/>"), (b"<a><![CDATA[", b"]]></a>")]
)
def test_a_stanza_may_have_exactly_the_limit(opened: bytes, closed: bytes) -> None:
    limit = 500
    stanza = opened + b"x" * (limit - len(opened) - len(closed)) + closed
    for before in (b"", b" " * 600, MESSAGE * 20):
        assert inside(before + stanza + b" " + stanza, stanza_bytes=limit) == (None, -1 - len(HEADER))
        longer = opened + b"x" + stanza[len(opened) :]
        error = (Error.STANZA_TOO_BIG, len(before) + limit)
        assert inside(before + longer, stanza_bytes=limit) == error
        assert inside(before + longer[: limit + 1], stanza_bytes=limit) == error
        assert inside(before + longer[:limit], stanza_bytes=limit) == (None, -1 - len(HEADER))


def test_a_header_and_an_end_have_the_limit_of_a_stanza() -> None:
    for before in (b"", b"<?xml version='1.0'?>"):
        data = before + b"<stream:stream" + b" " * 100
        reading = read([data], framer=StreamFramer(stanza_bytes=100))
        assert (reading.error, reading.error_offset) == (Error.STANZA_TOO_BIG, len(before) + 100)
    reading = read([b"<?xml " + b" " * 100], framer=StreamFramer(stanza_bytes=100))
    assert (reading.error, reading.error_offset) == (Error.STANZA_TOO_BIG, 100)
    reading = read([b"<a></a" + b" " * 100], framer=StreamFramer(stanza_bytes=100))
    assert (reading.error, reading.error_offset) == (Error.STANZA_TOO_BIG, 103)


def test_white_space_between_stanzas_is_not_limited() -> None:
    framer = StreamFramer(stanza_bytes=200)
    assert read([HEADER, b" " * 1000, MESSAGE, b"\n" * 1000, END], framer=framer).error is None


@pytest.mark.parametrize("depth", [2, 3, 64, 255])
def test_elements_may_nest_to_the_limit(depth: int) -> None:
    at_limit = b"<a>" * (depth - 1) + b"</a>" * (depth - 1)
    assert inside(at_limit, depth=depth) == (None, -1 - len(HEADER))
    one_more = b"<a>" * (depth - 1) + b"<b"
    assert inside(one_more + b">", depth=depth) == (Error.TOO_DEEP, len(one_more))
    assert inside(one_more + b"/>", depth=depth) == (Error.TOO_DEEP, len(one_more) + 1)
    at_limit = b"<a>" * (depth - 2) + b"<b/>" + b"</a>" * (depth - 2)
    assert inside(at_limit, depth=depth) == (None, -1 - len(HEADER))


@pytest.mark.parametrize("count", [3, 64, 255])
def test_an_element_may_have_attributes_to_the_limit(count: int) -> None:
    attributes = b"".join(b" a%d=''" % index for index in range(count))
    for opened in (b"<message", b"<message><body"):
        data = OPENED + opened + attributes
        assert read([data + b"/>"], framer=StreamFramer(attributes=count)).error is None
        reading = read([data + b" b=''"], framer=StreamFramer(attributes=count))
        assert (reading.error, reading.error_offset) == (Error.TOO_MANY_ATTRIBUTES, len(data) + 1)
    reading = read([b"<stream:stream" + attributes + b" b=''>"], framer=StreamFramer(attributes=count))
    assert reading.error is Error.TOO_MANY_ATTRIBUTES


@pytest.mark.parametrize("bounds", [(0, 64, 64), (1, 1, 64), (1, 256, 64), (1, 64, 0), (1, 64, 256)])
def test_bounds_that_the_state_cannot_hold_are_refused(bounds: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="depth from 2 to 255"):
        StreamFramer(*bounds)


def test_the_state_of_a_direction_stays_small() -> None:
    assert STATE_BYTES <= 64
