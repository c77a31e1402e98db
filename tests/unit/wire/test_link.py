"""The link frame codec: golden frames, any split, every refusal, and the fuzzers' entry point."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from megaphone.errors import LinkError
from megaphone.wire.link import FrameType, LinkFrameReader, LinkReason, Side, encode_frame
from tests.unit.wire.link_golden import INDEX, golden, speeches

Frames = list[tuple[FrameType, int, bytes]]
Outcome = tuple[Frames, str | None]
LENGTHS = {
    FrameType.CHALLENGE: (38, 38),
    FrameType.HELLO: (90, 345),
    FrameType.WELCOME: (60, 60),
    FrameType.PING: (16, 16),
    FrameType.PONG: (16, 16),
    FrameType.ACK: (8, 8),
    FrameType.DRAIN: (0, 0),
    FrameType.OPEN: (40, 4096),
    FrameType.PUT_DATA: (1, 16384),
    FrameType.SEND_DATA: (1, 16384),
    FrameType.GET_DATA: (8, 8),
    FrameType.SHUTDOWN: (9, 264),
}
ONLY = {
    FrameType.CHALLENGE: Side.SERVER,
    FrameType.WELCOME: Side.SERVER,
    FrameType.SEND_DATA: Side.SERVER,
    FrameType.HELLO: Side.EDGE,
    FrameType.OPEN: Side.EDGE,
    FrameType.PUT_DATA: Side.EDGE,
}
OF_LINK = {
    FrameType.CHALLENGE,
    FrameType.HELLO,
    FrameType.WELCOME,
    FrameType.PING,
    FrameType.PONG,
    FrameType.ACK,
    FrameType.DRAIN,
}


def read(pieces: Sequence[bytes], side: Side) -> Outcome:
    """All frames of the pieces, and the text of the error that ended them."""
    reader = LinkFrameReader(side)
    frames: Frames = []
    for piece in pieces:
        try:
            frames += reader.feed(piece)
        except LinkError as error:
            refusal = error
            break
    else:
        return frames, None
    assert refusal.reason == LinkReason.PROTOCOL_ERROR
    assert len(str(refusal).encode()) <= 255
    return [*frames, *refusal.frames], str(refusal)


def cut(data: bytes, cuts: Sequence[int]) -> list[bytes]:
    bounds = [0, *sorted(min(at, len(data)) for at in cuts), len(data)]
    return [data[begin:end] for begin, end in pairwise(bounds)]


def check(data: bytes) -> None:
    """The fuzzers' entry point: `data` is a side, a number of cuts, the cuts (two bytes each), and what is said.

    Whole and in pieces it reads the same, and the frames written again are the bytes that were read.
    """
    if len(data) < 2:
        return
    side = Side.EDGE if data[0] & 1 else Side.SERVER
    count = data[1] % 16
    stream = data[2 + 2 * count :]
    cuts = [int.from_bytes(data[2 + 2 * i : 4 + 2 * i], "big") for i in range(count)]
    frames, error = read([stream], side)
    assert read(cut(stream, cuts), side) == (frames, error)
    assert read(cut(stream, range(min(len(stream), 600))), side) == (frames, error)
    written = b"".join(encode_frame(*frame) for frame in frames)
    assert stream.startswith(written)
    if error is None:
        assert read([written], side) == (frames, None)


# --- golden files ---


@pytest.mark.parametrize("entry", INDEX["frame"], ids=lambda entry: entry["file"])
def test_a_golden_frame_is_read_and_written_again(entry: dict[str, Any]) -> None:
    (speech,) = speeches(entry["file"])
    assert speech.side == Side[entry["side"].upper()]
    ((kind, number, payload),), error = read([speech.data], speech.side)
    assert error is None
    assert (kind.name, number) == (entry["type"], entry["id"])
    assert encode_frame(kind, number, payload) == speech.data


@pytest.mark.parametrize("entry", INDEX["refused"], ids=lambda entry: entry["file"])
def test_a_golden_wrong_frame_is_refused_with_its_name_however_it_is_cut(entry: dict[str, Any]) -> None:
    (speech,) = speeches(entry["file"])
    before = encode_frame(FrameType.ACK, 0, bytes(8))
    frames, text = read([before + speech.data], speech.side)
    assert frames == [(FrameType.ACK, 0, bytes(8))]
    assert text is not None
    assert entry["text"] in text
    for at in range(len(before + speech.data) + 1):
        assert read(cut(before + speech.data, [at]), speech.side) == (frames, text)


@pytest.mark.parametrize("entry", INDEX["dialogue"], ids=lambda entry: entry["file"])
def test_a_golden_dialogue_is_read_byte_by_byte_as_in_one(entry: dict[str, Any]) -> None:
    for speech in speeches(entry["file"]):
        frames, error = read([speech.data], speech.side)
        assert error is None
        assert read(cut(speech.data, range(len(speech.data))), speech.side) == (frames, None)
        assert b"".join(encode_frame(*frame) for frame in frames) == speech.data


def test_every_frame_type_has_a_golden_file() -> None:
    assert {entry["type"] for entry in INDEX["frame"]} == {kind.name for kind in FrameType}


# --- the table ---


@pytest.mark.parametrize("kind", FrameType)
def test_lengths_ids_and_speakers_are_those_of_the_table(kind: FrameType) -> None:
    least, most = LENGTHS[kind]
    for side in Side:
        for length in {0, 1, least - 1, least, most, most + 1, 65535, 0xFFFFFF} - {-1}:
            for number in (0, 1, 0xFFFFFFFF):
                header = bytes([kind]) + length.to_bytes(3, "big") + number.to_bytes(4, "big")
                right = (
                    least <= length <= most
                    and ONLY.get(kind, side) == side
                    and (kind == FrameType.SHUTDOWN or (number == 0) == (kind in OF_LINK))
                )
                _, text = read([header], side)
                assert (text is None) == right
                if text is not None:
                    assert kind.name in text


def test_types_that_are_not_in_the_table_are_refused_by_number() -> None:
    for number in set(range(256)) - set(FrameType):
        _, text = read([bytes([number]) + bytes(7)], Side.EDGE)
        assert text == f"frame type {number:#04x} is not known"


def test_an_encoder_refuses_what_a_reader_would() -> None:
    for kind, number, payload in [
        (FrameType.PING, 1, bytes(16)),
        (FrameType.PUT_DATA, 0, b"x"),
        (FrameType.PUT_DATA, 1, b""),
        (FrameType.PUT_DATA, 1, bytes(16385)),
        (FrameType.SEND_DATA, 1, bytes(1 << 24)),
        (0x08, 0, b""),
        (0x111, 1, b"x"),
        (-1, 0, b""),
    ]:
        with pytest.raises(LinkError):
            encode_frame(kind, number, payload)


def test_a_reader_that_has_refused_goes_on_refusing() -> None:
    reader = LinkFrameReader(Side.EDGE)
    for _ in range(3):
        with pytest.raises(LinkError, match="0x20") as refusal:
            reader.feed(b"\x20" + bytes(7))
        assert refusal.value.frames == ()


def test_only_the_incomplete_frame_is_kept() -> None:
    reader = LinkFrameReader(Side.SERVER)
    longest = golden("send-data-longest")
    assert reader.feed(longest * 3 + longest[:-1])[2] == (FrameType.SEND_DATA, 1, longest[8:])
    assert reader.split_bytes == len(longest) - 1
    assert len(reader.feed(longest[-1:] + longest[:5])) == 1
    assert reader.split_bytes == 5
    assert reader.feed(b"") == []


# --- fuzzing ---

ALLOWED = st.one_of(
    [
        st.tuples(
            st.just(kind),
            st.just(0) if kind in OF_LINK else st.integers(1, 0xFFFFFFFF),
            st.binary(min_size=least, max_size=min(most, least + 300)),
        )
        for kind, (least, most) in LENGTHS.items()
    ]
)
CUTS = st.lists(st.integers(0, 65535).map(lambda at: at.to_bytes(2, "big")), max_size=15)


@settings(max_examples=300, derandomize=True, deadline=None)
@given(st.booleans(), CUTS, st.lists(ALLOWED, max_size=6), st.binary(max_size=20))
def test_frames_survive_any_split(edge: bool, cuts: list[bytes], frames: Frames, rest: bytes) -> None:
    stream = b"".join(encode_frame(*frame) for frame in frames) + rest
    check(bytes([edge, len(cuts)]) + b"".join(cuts) + stream)


@settings(max_examples=300, derandomize=True, deadline=None)
@given(st.binary(max_size=200))
@example(b"")
@example(bytes(10))
def test_garbage_reads_the_same_in_any_split(data: bytes) -> None:
    check(data)
