"""Messages: what is written is read again, in one way only, and nothing else is read."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from megaphone.errors import HistoryError
from megaphone.history.digest import Digest
from megaphone.history.manifest import Manifest, RoomID
from megaphone.history.messages import (
    KEY_BYTES,
    MAX_BYTES,
    MAX_CHOSEN_DAYS,
    MAX_HEADS,
    MAX_RANGES,
    MAX_SAMPLE,
    MAX_SYMBOLS,
    MAX_WANTED,
    REF_BYTES,
    Batches,
    Days,
    End,
    Exclusion,
    Get,
    Head,
    Heads,
    Info,
    Interested,
    ManifestOf,
    Message,
    More,
    Proofs,
    Push,
    Range,
    Same,
    Scope,
    Symbols,
    Unknown,
    Want,
    WantProofs,
)
from megaphone.history.messages_codec import decode, encode
from tests.unit.history.messages_fuzz import check_input
from tests.unit.history.origins import ROOM

REF = b"roomroom"
DIGEST = Digest(1_000_000, 2**128 - 1)


def bytes_of(size: int) -> st.SearchStrategy[bytes]:
    return st.binary(min_size=size, max_size=size)


NUMBERS = st.integers(0, 2**63 - 1)
ROOMS = bytes_of(32).map(RoomID)
REFS = bytes_of(8)
DAY = st.integers(0, 65535)
DIGESTS = st.builds(Digest, NUMBERS, st.integers(0, 2**128 - 1))
PARTS = st.lists(st.binary(max_size=50), max_size=4).map(tuple)
RISING = st.lists(DAY, max_size=5, unique=True).map(lambda days: tuple(sorted(days)))
SCOPES = st.builds(Scope, DAY, RISING, st.integers(0, MAX_SAMPLE))


def several(*fields: st.SearchStrategy[object], of: type) -> st.SearchStrategy[tuple[object, ...]]:
    return st.lists(st.builds(of, *fields), max_size=4).map(tuple)


@st.composite
def heads(draw: st.DrawFn) -> Heads:
    names = bytes_of(draw(st.sampled_from([REF_BYTES, KEY_BYTES])))
    return Heads(
        draw(ROOMS),
        draw(DAY),
        draw(DIGESTS),
        draw(several(names, NUMBERS, of=Head)),
        draw(several(names, NUMBERS, bytes_of(4), of=Exclusion)),
        draw(st.booleans()),
        draw(st.booleans()),
        draw(st.booleans()),
    )


@st.composite
def gets(draw: st.DrawFn) -> Get:
    names = bytes_of(draw(st.sampled_from([REF_BYTES, KEY_BYTES])))
    ranges = []
    for name in draw(st.lists(names, max_size=4)):
        first = draw(st.integers(1, 2**62))
        if draw(st.booleans()):
            ranges.append(Range(name, first, 0))
        else:
            ranges.append(Range(name, first, first + draw(st.integers(0, 2**61)), draw(st.booleans())))
    return Get(draw(REFS), draw(DAY), tuple(ranges))


@st.composite
def answers(draw: st.DrawFn) -> Batches:
    if draw(st.booleans()):
        return Batches(draw(REFS), 0, None, False, draw(PARTS))
    return Batches(draw(REFS), draw(DAY), draw(DIGESTS), draw(st.booleans()), draw(PARTS))


@st.composite
def days(draw: st.DrawFn) -> Days:
    chosen = sorted(draw(st.sets(NUMBERS, max_size=5)))
    return Days(draw(REFS), draw(DAY), tuple((day, draw(DIGESTS)) for day in chosen))


MESSAGES = st.one_of(
    heads(),
    st.just(End()),
    st.builds(Same, REFS),
    st.builds(Unknown, REFS),
    st.builds(Interested, ROOMS, DAY, st.booleans()),
    st.builds(ManifestOf, st.builds(Manifest, st.text(max_size=9), st.text(max_size=30))),
    st.builds(Info, ROOMS, DAY, DIGESTS, several(bytes_of(32), NUMBERS, of=Head), PARTS),
    gets(),
    answers(),
    st.builds(Push, st.binary(max_size=100)),
    days(),
    st.builds(Symbols, REFS, SCOPES, bytes_of(16), st.integers(0, 2**62 - 1), NUMBERS, st.binary(max_size=100)),
    st.builds(More, REFS, SCOPES, NUMBERS, st.integers(0, MAX_SYMBOLS)),
    st.builds(Want, REFS, st.lists(REFS, max_size=4).map(tuple)),
    st.builds(Proofs, REFS, st.binary(max_size=100)),
    st.builds(
        WantProofs, REFS, st.sampled_from([8, 32]).flatmap(lambda n: st.lists(bytes_of(n), max_size=4).map(tuple))
    ),
)


@given(MESSAGES)
def test_what_is_written_is_read_again(message: Message) -> None:
    assert decode(encode(message)) == message


@given(MESSAGES, st.data())
def test_a_message_that_is_changed_is_another_one_or_none(message: Message, data: st.DataObject) -> None:
    written = bytearray(encode(message))
    at = data.draw(st.integers(0, len(written) - 1))
    written[at] ^= data.draw(st.integers(1, 255))
    check_input(b"\0" + bytes(written))


@given(MESSAGES, st.data())
def test_a_message_that_is_cut_is_another_one_or_none(message: Message, data: st.DataObject) -> None:
    written = encode(message)
    check_input(b"\0" + written[: data.draw(st.integers(0, len(written) - 1))])


@given(st.binary(max_size=200))
def test_any_bytes_are_a_message_or_none(data: bytes) -> None:
    check_input(b"\0" + data)


def test_the_bytes_of_heads() -> None:
    """The one whose size matters: 56 bytes, and 8 and the number for each origin."""
    message = Heads(ROOM.id, 20_000, DIGEST, (Head(b"anna-key", 100), Head(b"bert-key", 300_000)), is_end=True)
    assert encode(message) == (
        b"\x01\x08" + ROOM.id + b"\x4e\x20" + b"\xc0\x84\x3d" + b"\xff" * 16
        + b"anna-key\x64" + b"bert-key\xe0\xa7\x12"
    )  # fmt: skip


GOLDEN: list[tuple[Message, bytes]] = [
    (End(), b"\x02\0"),
    (Same(REF), b"\x03\0roomroom"),
    (Unknown(REF), b"\x04\0roomroom"),
    (Interested(ROOM.id, 1, True), b"\x05\x01" + ROOM.id + b"\0\x01"),
    (ManifestOf(Manifest("lan", "hall")), b"\x06\0\x03lan\x04hall"),
    (Get(REF, 0, (Range(b"anna-key", 5, 9, True),)), b"\x08\0roomroom\0\0anna-key\x05\x0b"),
    (Get(REF, 0, (Range(b"anna-key", 5, 9),)), b"\x08\0roomroom\0\0anna-key\x05\x0a"),
    (Get(REF, 0, (Range(b"anna-key", 5, 0),)), b"\x08\0roomroom\0\0anna-key\x05\0"),
    (Batches(REF, 0, None, False, (b"one", b"other")), b"\x09\0roomroom\x03one\x05other"),
    (Batches(REF, 7, Digest(1, 2), True, ()), b"\x09\x03roomroom\0\x07\x01" + bytes(15) + b"\x02"),
    (Push(b"batch"), b"\x0a\0batch"),
    (Days(REF, 3, ((4, Digest(1, 2)),)), b"\x0b\0roomroom\0\x03\x04\x01" + bytes(15) + b"\x02"),
    (
        Symbols(REF, Scope(3, (5,), 4), b"k" * 16, 9, 0, b"s"),
        b"\x0c\0roomroom\0\x03\x04\x01\0\x05" + b"k" * 16 + b"\x09\0s",
    ),
    (More(REF, Scope(3, (), 0), 320, 320), b"\x0d\0roomroom\0\x03\0\0\xc0\x02\xc0\x02"),
    (Want(REF, (b"abcdefgh",)), b"\x0e\0roomroomabcdefgh"),
    (Proofs(REF, b"proof"), b"\x0f\0roomroomproof"),
    (WantProofs(REF, (b"anna-key",)), b"\x10\0roomroomanna-key"),
]


@pytest.mark.parametrize(("message", "data"), GOLDEN)
def test_the_bytes_of_the_others(message: Message, data: bytes) -> None:
    assert encode(message) == data
    assert decode(data) == message


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x02",
        b"\x02\0x",
        b"\x02\x01",  # a flag that it has not
        b"\0\0",
        b"\x11\0",
        b"\x03\0room",
        b"\x03\0roomroomx",
        b"\x01\x02" + ROOM.id + bytes(2 + 1 + 16 + 1),  # a flag for exclusions, and none
        b"\x01\x01" + ROOM.id + bytes(2 + 1 + 16),  # a flag for whole keys, and none
        b"\x01\0" + ROOM.id + bytes(2) + b"\x80\0" + bytes(16),  # a number in two ways
        b"\x08\0roomroom\0\0anna-key\0\x0a",  # from seq 0
        b"\x08\0roomroom\0\0anna-key\x01\x01",  # nothing, pinned
        b"\x08\0roomroom\0\0anna-key" + (b"\xff" * 8 + b"\x7f") * 2,  # further than numbers go
        b"\x09\x02roomroom",  # complete, and not the end
        b"\x0b\0roomroom\0\0" + (b"\x04" + bytes(17)) * 2,  # a day twice
        b"\x0c\0roomroom\0\0\x21\0" + bytes(19),  # too small a sample
        b"\x0d\0roomroom\0\0\0\x02\0\x05\0\x05\0\0",  # a day twice
        b"\x06\0\x01\xff\0",  # no UTF-8
    ],
)
def test_what_is_no_message(data: bytes) -> None:
    with pytest.raises(HistoryError) as caught:
        decode(data)
    assert caught.value.reason == "malformed"


@pytest.mark.parametrize(
    "message",
    [
        Heads(ROOM.id, 0, DIGEST, (Head(REF, 1),) * (MAX_HEADS + 1)),
        Get(REF, 0, (Range(REF, 1, 1),) * (MAX_RANGES + 1)),
        Want(REF, (REF,) * (MAX_WANTED + 1)),
        More(REF, Scope(0, (), 0), 0, MAX_SYMBOLS + 1),
        More(REF, Scope(0, tuple(range(MAX_CHOSEN_DAYS + 1)), 0), 0, 1),
        ManifestOf(Manifest("muc", "x" * 3073)),
    ],
)
def test_there_is_a_limit_to_everything(message: Message) -> None:
    with pytest.raises(HistoryError) as caught:
        decode(encode(message))
    assert caught.value.reason == "malformed"


def test_a_message_that_is_too_large() -> None:
    assert decode(encode(Push(bytes(MAX_BYTES - 2)))) == Push(bytes(MAX_BYTES - 2))
    with pytest.raises(HistoryError) as caught:
        decode(encode(Push(bytes(MAX_BYTES - 1))))
    assert caught.value.reason == "too-large"
