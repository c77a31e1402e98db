"""Headers, ids, and how clients see them."""

from hashlib import sha256

from hypothesis import given
from hypothesis import strategies as st

from megaphone.history.clock import Clock
from megaphone.history.entry import FIRST, EntryID, Origin, chain, entry, entry_id, from_stanza_id, header, stanza_id
from tests.unit.history.origins import ROOM

ORIGIN = Origin(b"o" * 32)


def test_a_header_has_153_bytes_in_this_order() -> None:
    each = entry(Clock(0x0102030405060708), 3, b"content")
    expected = (
        b"mphentry" + ROOM.id + ORIGIN + b"\0\0\0\0\0\0\0\x09" + b"\1\2\3\4\5\6\7\x08" + b"\3" + b"p" * 32
    ) + sha256(b"content").digest()
    assert len(expected) == 153
    assert header(ROOM.id, ORIGIN, 9, EntryID(b"p" * 32), each) == expected
    assert entry_id(ROOM.id, ORIGIN, 9, EntryID(b"p" * 32), each) == sha256(expected).digest()


@given(st.lists(st.binary(min_size=1, max_size=40), min_size=1, max_size=20), st.integers(1, 2**60))
def test_ids_are_chained(contents: list[bytes], seq: int) -> None:
    entries = [entry(Clock(at), at % 256, content) for at, content in enumerate(contents)]
    expected, previous = [], FIRST
    for at, each in enumerate(entries):
        previous = entry_id(ROOM.id, ORIGIN, seq + at, previous, each)
        expected.append(previous)
    assert chain(ROOM.id, ORIGIN, seq, FIRST, entries) == expected


@given(st.binary(min_size=32, max_size=32).map(EntryID))
def test_a_stanza_id_is_the_entrys_id(id_: EntryID) -> None:
    text = stanza_id(id_)
    assert len(text) == 43
    assert from_stanza_id(text) == id_


@given(st.text(max_size=50) | st.text("AB-_/+=", min_size=43, max_size=43))
def test_other_texts_are_none_or_written_so(text: str) -> None:
    id_ = from_stanza_id(text)
    assert id_ is None or stanza_id(id_) == text


def test_a_stanza_id_with_other_last_bits_is_none() -> None:
    text = stanza_id(FIRST)
    assert from_stanza_id(text[:-1] + "B") is None
