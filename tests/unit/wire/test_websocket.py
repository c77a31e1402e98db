"""The reader and the writer of WebSocket frames: slices, bounds, what is kept, and the bytes of every frame written."""

import random

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from megaphone.wire.websocket import (
    ANY_FRAMES,
    CLOSE_CODES,
    CONTROL_PAYLOAD_BYTES,
    NO_STATUS,
    STATE_BYTES,
    Error,
    Event,
    MessageReader,
    Opcode,
)
from megaphone.wire.websocket_writer import close, ping, pong, text_header
from tests.unit.wire.framing import pieces_of
from tests.unit.wire.websocket_frames import KEY, Reading, frame, masked, read
from tests.unit.wire.websocket_fuzz import fuzz_websocket
from tests.unit.wire.websocket_model import Model, is_text, right_bytes
from tests.unit.wire.websocket_streams import ANY

REPEATABLE = settings(max_examples=300, derandomize=True, deadline=None)
BOUNDARIES = st.sampled_from(
    bytes.fromhex("00 41 7f 80 8f 90 9f a0 bf c0 c1 c2 df e0 e1 ec ed ee ef f0 f1 f3 f4 f5 f8 ff")
)


# --- slices ---


def test_a_connection_keeps_32_bytes() -> None:
    assert STATE_BYTES <= 32


def test_payload_is_unmasked_where_it_lies() -> None:
    data = bytearray(frame(1, b"Hello") + frame(1, b"there"))
    reader = MessageReader()
    assert reader.read(data) == (Event.DATA, 11, b"Hello", (Opcode.TEXT_FRAME, True, True))
    assert data == frame(1, b"Hello")[:6] + b"Hello" + frame(1, b"there")
    assert reader.read(memoryview(data)[11:]) == (Event.DATA, 11, b"there", (Opcode.TEXT_FRAME, True, True))
    assert data[17:] == b"there"


def test_slices_of_a_message_say_which_is_first_and_which_final() -> None:
    reader = MessageReader()
    data = frame(1, b"", more=True) + frame(0, b"abcdef", more=True) + frame(0, b"gh")
    text = Opcode.TEXT_FRAME
    assert reader.read(bytearray(data[:14])) == (Event.DATA, 14, b"ab", (text, True, False))
    assert reader.read(bytearray(data[14:])) == (Event.DATA, 4, b"cdef", (text, False, False))
    assert not reader.rests
    assert reader.read(bytearray(data[18:])) == (Event.DATA, 8, b"gh", (text, False, True))
    assert reader.rests
    assert reader.read(bytearray()) == (Event.MORE, 0, b"", None)


def test_an_empty_message_is_one_empty_slice() -> None:
    empty = (Event.DATA, 6, b"", (Opcode.TEXT_FRAME, True, True))
    assert MessageReader().read(bytearray(frame(1))) == empty
    reader = MessageReader()
    assert reader.read(bytearray(frame(1, more=True))) == (Event.MORE, 6, b"", None)
    assert reader.read(bytearray(frame(0))) == empty


def test_what_stands_before_a_wrong_byte_comes_first_and_the_rest_is_as_it_came() -> None:
    data = bytearray(frame(1, b"abcde\xffgh"))
    before = bytes(data)
    reader = MessageReader()
    assert reader.read(data) == (Event.DATA, 11, b"abcde", (Opcode.TEXT_FRAME, True, False))
    assert data[11:] == before[11:]
    assert reader.read(memoryview(data)[11:]) == (Event.ERROR, 0, b"", Error.INVALID_UTF8)


def test_every_length_and_every_phase_of_the_key_unmask_right() -> None:
    for length in range(70):
        payload = bytes(range(length))
        data = frame(2, payload)
        for cut in range(len(data) + 1):
            assert read([data[:cut], data[cut:]], text_only=False).said == [("binary", payload)]


def test_what_was_refused_stays_refused() -> None:
    reader = MessageReader()
    assert reader.read(bytearray(frame(3))) == (Event.ERROR, 0, b"", Error.UNKNOWN_OPCODE)
    for _ in range(2):
        assert reader.read(bytearray(frame(1, b"a"))) == (Event.ERROR, 0, b"", Error.UNKNOWN_OPCODE)
    assert not reader.rests


def test_after_close_everything_is_dropped() -> None:
    reader = MessageReader()
    assert reader.read(bytearray(frame(8, b"\x03\xe8bye") + b"\xff")) == (Event.CLOSE, 11, b"bye", 1000)
    assert reader.read(bytearray(b"\xff" * 9)) == (Event.MORE, 9, b"", None)
    assert MessageReader().read(bytearray(frame(8))) == (Event.CLOSE, 6, b"", NO_STATUS)


@pytest.mark.parametrize(
    "limits", [{"message_bytes": 0}, {"message_bytes": 1 << 32}, {"frames": 0}, {"frames": 65536}, {"frames": -1}]
)
def test_limits_out_of_range_are_refused(limits: dict[str, int]) -> None:
    with pytest.raises((ValueError, OverflowError)):
        MessageReader(**limits)


def test_the_widest_limits_hold() -> None:
    reader = MessageReader(message_bytes=(1 << 32) - 1, frames=ANY_FRAMES - 1)
    data = frame(1, b"a", more=True) + frame(0, more=True) * (ANY_FRAMES - 2)
    assert read([data], reader=reader).error is None
    head = b"\x80\xff" + (1 << 32).to_bytes(8, "big")
    assert read([head], reader=reader).error is Error.TOO_MANY_FRAMES
    reader = MessageReader(message_bytes=(1 << 32) - 1)
    head = b"\x81\xff" + ((1 << 32) - 1).to_bytes(8, "big")
    assert read([head], reader=reader).error is None
    reader = MessageReader(message_bytes=(1 << 32) - 1)
    assert read([frame(1, b"a", more=True), b"\x80" + head[1:]], reader=reader).error is Error.MESSAGE_TOO_BIG


def test_where_frames_are_not_limited_bytes_still_are() -> None:
    reader = MessageReader(message_bytes=2, frames=ANY_FRAMES)
    data = frame(1, b"a", more=True) + frame(0, more=True) * (ANY_FRAMES + 1) + frame(0, b"b", more=True)
    assert read([data], reader=reader).error is None
    assert read([frame(0, b"c")], reader=reader).error is Error.MESSAGE_TOO_BIG


# --- control frames ---


def test_a_split_control_frame_is_held_only_until_its_end() -> None:
    reader = MessageReader()
    data = frame(9, b"Hello")
    assert reader.read(bytearray(data[:6])) == (Event.MORE, 6, b"", None)
    assert not reader.holds
    assert reader.read(bytearray(data[6:8])) == (Event.MORE, 2, b"", None)
    assert reader.holds
    assert reader.read(bytearray(data[8:])) == (Event.PING, 3, b"Hello", None)
    assert not reader.holds


def test_more_control_frames_are_held_than_room_is_kept_for() -> None:
    readers = [MessageReader() for _ in range(200)]
    for _ in range(2):
        for index, reader in enumerate(readers):
            assert reader.read(bytearray(frame(10, bytes([index]) * 125)[:130])) == (Event.MORE, 130, b"", None)
        for index, reader in enumerate(readers):
            rest = bytearray(frame(10, bytes([index]) * 125)[130:])
            assert reader.read(rest) == (Event.PONG, 1, bytes([index]) * 125, None)


def test_control_frames_are_counted_until_asked_for() -> None:
    reader = MessageReader()
    read([(frame(9) + frame(10)) * 3 + frame(1, b"a")], reader=(counted := MessageReader()))
    assert counted.take_controls() == 0  # `read` has asked
    for _ in range(300):
        assert reader.read(bytearray(frame(9)))[0] is Event.PING
    assert reader.take_controls() == 255
    reader.read(bytearray(frame(10)))
    assert (reader.take_controls(), reader.take_controls()) == (1, 0)


@settings(REPEATABLE, max_examples=100)
@given(st.lists(st.tuples(ANY, st.integers(1, 9)), min_size=2, max_size=8), st.randoms(use_true_random=False))
def test_readers_share_what_they_hold_control_frames_in_without_mixing(
    streams: list[tuple[bytes, int]], choice: random.Random
) -> None:
    readers = [MessageReader() for _ in streams]
    said: list[list[tuple[str, bytes]]] = [[] for _ in streams]
    offsets = [0] * len(streams)
    under_way = list(range(len(streams)))
    while under_way:
        index = choice.choice(under_way)
        data, size = streams[index]
        piece = bytearray(data[offsets[index] : offsets[index] + size])
        if not piece:
            under_way.remove(index)
            readers[index] = MessageReader()  # gives back what the old one held
            continue
        event, consumed, payload, _ = readers[index].read(piece)
        offsets[index] += consumed
        if event is Event.ERROR:
            under_way.remove(index)
        elif event in (Event.PING, Event.PONG, Event.CLOSE):
            said[index].append((event.name.lower(), payload))
    for (data, _), heard in zip(streams, said, strict=True):
        assert heard == [(kind, payload) for kind, payload in read([data]).said if kind in ("ping", "pong", "close")]


# --- against itself cut in pieces, and against the model ---


@REPEATABLE
@given(ANY, st.lists(st.integers(0, 1 << 16), max_size=6))
@example(frame(1, "é".encode()[:1], more=True) + frame(9) + frame(0), [7])
def test_streams_read_the_same_however_they_are_cut(data: bytes, cuts: list[int]) -> None:
    whole = read([data])
    assert read(pieces_of(data, cuts)) == whole
    assert read(pieces_of(data, range(len(data)))) == whole
    assert Model(data).read() == whole


@REPEATABLE
@given(st.binary(max_size=16), ANY | st.binary(max_size=60))
def test_the_entry_point_for_fuzzing_finds_nothing(head: bytes, data: bytes) -> None:
    fuzz_websocket(head + data)


@REPEATABLE
@given(st.lists(BOUNDARIES, max_size=8).map(bytes), st.integers(0, 40))
def test_text_is_what_python_decodes(data: bytes, behind: int) -> None:
    """Every class of bytes next to every other, in and behind the stride of the fast path."""
    text = b"a" * behind + data
    reading = read([frame(1, text)])
    assert (reading.error is None) == is_text(text)
    if reading.error is not None:
        assert reading.error is Error.INVALID_UTF8
        assert reading.error_offset == 6 + min(right_bytes(text), len(text) - 1)


def test_every_character_is_text() -> None:
    characters = "".join(map(chr, [*range(0xD800), *range(0xE000, 0x110000)])).encode()
    reading = read(pieces_of(frame(1, characters), [70_001]), message_bytes=1 << 23)
    assert reading == Reading([("text", characters, 14 + len(characters))], rests=True)


# --- the writer ---


@pytest.mark.parametrize(
    ("length", "header"),
    [
        (0, "8100"),
        (125, "817d"),
        (126, "817e007e"),
        (65535, "817effff"),
        (65536, "817f0000000000010000"),
        ((1 << 63) - 1, "817f7fffffffffffffff"),
    ],
)
def test_headers_of_messages(length: int, header: str) -> None:
    assert text_header(length).hex() == header


@pytest.mark.parametrize("length", [-1, 1 << 63, 1 << 64])
def test_lengths_out_of_range_are_refused(length: int) -> None:
    with pytest.raises(ValueError, match="length of a message"):
        text_header(length)


def test_control_frames_of_the_rfc() -> None:
    """RFC 6455 section 5.7, unmasked as a server sends them."""
    assert ping(b"Hello") == b"\x89\x05Hello"
    assert pong(b"Hello") == b"\x8a\x05Hello"
    assert ping() == b"\x89\x00"
    assert ping(b"x" * CONTROL_PAYLOAD_BYTES) == b"\x89\x7d" + b"x" * 125
    for write in (ping, pong):
        with pytest.raises(ValueError, match="at most 125 bytes"):
            write(b"x" * 126)


def test_close_frames() -> None:
    assert close() == b"\x88\x00"
    assert close(1000) == b"\x88\x02\x03\xe8"
    assert close(1002, "é") == b"\x88\x04\x03\xea\xc3\xa9"
    assert close(1001, "x" * 123) == b"\x88\x7d\x03\xe9" + b"x" * 123


@pytest.mark.parametrize(("reason", "kept"), [("x" * 200, 123), ("é" * 100, 122), ("x" + "😀" * 40, 121)])
def test_a_long_reason_ends_between_characters(reason: str, kept: int) -> None:
    frame_bytes = close(1008, reason)
    assert frame_bytes[:4] == bytes([0x88, 2 + kept, 0x03, 0xF0])
    assert frame_bytes[4:] == reason.encode()[:kept]
    assert is_text(frame_bytes[4:])


@pytest.mark.parametrize("code", [-1, 0, 999, 1004, 1006, 1010, 1015, 1016, 2999, 5000, 66536])
def test_codes_that_a_server_may_not_send_are_refused(code: int) -> None:
    with pytest.raises(ValueError, match="may not close"):
        close(code)
    with pytest.raises(ValueError, match="needs a status code"):
        close(NO_STATUS, "why")


def test_every_error_has_a_code_that_can_be_sent() -> None:
    assert CLOSE_CODES.keys() == set(Error) - {Error.NO_ERROR}
    for code in CLOSE_CODES.values():
        assert read([frame(8, close(code)[2:])]).code == code


def test_the_builder_masks_as_the_rfc_does() -> None:
    assert KEY + masked(b"Hello") == bytes.fromhex("37fa213d7f9f4d5158")
