"""The bytes of a batch: one way to write each, and nothing else is read."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from megaphone.errors import HistoryError
from megaphone.history.batch import MAX_BYTES, MAX_ENTRIES, MAX_ENTRY_BYTES, Batch, decode, encode, faults, ids
from megaphone.history.clock import Clock
from megaphone.history.entry import FIRST, Entry, EntryID, Origin, bare, entry
from tests.unit.history.origins import NOW_MS, ROOM, Writer, log

REASONS = {"malformed", "too-large", "clock-order"}
hashes = st.binary(min_size=32, max_size=32)


@st.composite
def batches(draw: st.DrawFn) -> Batch:
    seq = draw(st.integers(1, 300) | st.integers(1, 2**63 - 50))
    previous = FIRST if seq == 1 else EntryID(draw(hashes.filter(any)))
    clock, entries = -1, []
    for _ in range(draw(st.integers(1, 8))):
        clock += draw(st.integers(1, 300) | st.integers(1, 2**50))
        each = entry(Clock(clock), draw(st.integers(0, 255)), draw(st.binary(min_size=1, max_size=200)))
        entries.append(bare(each) if draw(st.booleans()) else each)
    seal = draw(st.just(b"") | st.binary(min_size=64, max_size=64))
    return Batch(ROOM.id, Origin(draw(hashes)), seq, previous, tuple(entries), seal)


def answer(data: bytes) -> Batch | str:
    """What is read, or the reason why nothing is."""
    try:
        return decode(data)
    except HistoryError as error:
        return error.reason


@given(batches())
def test_what_is_encoded_is_decoded(batch: Batch) -> None:
    assert faults(batch) is None
    assert decode(encode(batch)) == batch


@given(batches(), st.data())
def test_no_two_byte_strings_are_the_same_batch(batch: Batch, data: st.DataObject) -> None:
    written = bytearray(encode(batch))
    at = data.draw(st.integers(0, len(written) - 1))
    written[at] ^= data.draw(st.integers(1, 255))
    read = answer(bytes(written))
    if isinstance(read, Batch):
        assert read != batch
        assert encode(read) == written
    else:
        assert read in REASONS


@given(batches())
def test_half_a_batch_is_none(batch: Batch) -> None:
    written = encode(batch)
    bodies = len(written) - len(batch.seal)
    for length in range(len(written)):
        if length != bodies:
            with pytest.raises(HistoryError):
                decode(written[:length])


@given(st.binary(max_size=400) | st.binary(max_size=100).map(lambda tail: b"\1" + bytes(64) + b"\1" + tail))
@example(b"")
@example(b"\1" + bytes(64) + b"\xff" * 20)
@example(b"\1" + bytes(64) + b"\1\1\0\1\xff\xff\xff\xff\xff\xff\xff\xff\x7f")
def test_any_bytes_get_an_answer(data: bytes) -> None:
    batch = answer(data)
    if isinstance(batch, Batch):
        assert encode(batch) == data
        assert faults(batch) is None
        assert log().accept(batch, NOW_MS).refusal in ("bad-seal", "clock-ahead")
    else:
        assert batch in REASONS


def reason(data: bytes) -> str:
    found = answer(data)
    assert isinstance(found, str)
    return found


def test_numbers_have_one_form() -> None:
    written = encode(Writer("anna").say("hello"))
    assert written[65:67] == b"\1\1"
    assert reason(written[:65] + b"\x81\0" + written[66:]) == "malformed"
    assert reason(written[:65] + b"\0" + written[66:]) == "malformed"
    assert reason(written[:66] + b"\0" + written[67:]) == "malformed"


def test_bounds() -> None:
    writer = Writer("anna")
    batch = writer.put_entries(*(entry(Clock(at), 1, b"x") for at in range(1, MAX_ENTRIES + 1)))
    assert decode(encode(batch)) == batch
    longer = batch._replace(entries=(*batch.entries, entry(Clock(MAX_ENTRIES + 1), 1, b"x")))
    assert faults(longer) == reason(encode(longer)) == "too-large"
    large = writer.put_entries(entry(Clock(9999), 1, bytes(MAX_ENTRY_BYTES)))
    assert decode(encode(large)) == large
    larger = writer.put_entries(entry(Clock(9999), 1, bytes(MAX_ENTRY_BYTES + 1)))
    assert faults(larger) == reason(encode(larger)) == "too-large"
    much = writer.put_entries(*(entry(Clock(at), 1, bytes(MAX_ENTRY_BYTES)) for at in range(1, 7)))
    assert faults(much) == reason(encode(much)) == "too-large"
    assert reason(bytes(MAX_BYTES + MAX_ENTRY_BYTES + 1)) == "too-large"


def test_the_clock_rises() -> None:
    batch = Writer("anna").put_entries(entry(Clock(5), 1, b"x"), entry(Clock(5), 1, b"y"))
    assert faults(batch) == reason(encode(batch)) == "clock-order"


@pytest.mark.parametrize(
    "changed",
    [
        {"entries": ()},
        {"seq": 0},
        {"seq": 2},  # the previous id is that of seq 1
        {"previous": EntryID(b"x" * 32)},
        {"previous": EntryID(b"short")},
        {"seal": b"short"},
        {"origin": Origin(b"short")},
        {"seq": 2**63, "previous": EntryID(b"x" * 32)},
        {"entries": (Entry(Clock(1), 256, None, bytes(32)),)},
        {"entries": (Entry(Clock(1), 1, None, bytes(31)),)},
        {"entries": (Entry(Clock(1), 1, b"", bytes(32)),)},
        {"entries": (Entry(Clock(2**63), 1, None, bytes(32)),)},
    ],
)
def test_what_no_batch_can_be(changed: dict[str, object]) -> None:
    assert faults(Writer("anna").say("hello")._replace(**changed)) == "malformed"  # type: ignore[arg-type]


def test_a_bare_batch_has_the_same_ids() -> None:
    batch = Writer("anna").say("one", "two")
    assert ids(batch._replace(entries=tuple(map(bare, batch.entries)))) == ids(batch)


def test_a_batch_costs_little_beside_its_contents() -> None:
    writer = Writer("anna")
    writer.say("before")
    batch = writer.say(*(f"line {number}" for number in range(100)))
    contents = sum(len(each.content or b"") for each in batch.entries)
    assert (len(encode(batch)) - contents) / 100 < 8
