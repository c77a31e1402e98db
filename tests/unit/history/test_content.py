"""Contents: canonical bytes, and what an author has signed."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from megaphone.errors import HistoryError
from megaphone.history.content import Content, check, decode
from megaphone.history.entry import EntryID
from tests.unit.history.origins import ROOM, key, signed, verify

bytes_or_none = st.none() | st.binary(max_size=70)
contents = st.builds(Content, st.text(max_size=30), st.binary(max_size=80), bytes_or_none, bytes_or_none, bytes_or_none)


@given(contents)
def test_what_is_encoded_is_decoded(content: Content) -> None:
    assert decode(content.encode()) == content


@given(contents)
def test_trailing_nils_are_left_out(content: Content) -> None:
    fields = msgspec.msgpack.decode(content.encode())
    assert 2 <= len(fields) <= 5
    assert len(fields) == 2 or fields[-1] is not None


@given(st.binary(max_size=60) | contents.map(lambda content: content.encode() + b"\xc0"))
def test_other_bytes_are_refused(data: bytes) -> None:
    content, reason = None, ""
    try:
        content = decode(data)
    except HistoryError as error:
        reason = error.reason
    assert reason == "malformed" if content is None else content.encode() == data


@pytest.mark.parametrize(
    "data",
    [
        b"\x93\xa1a\xc4\x01b\xc0",  # a trailing nil
        b"\x92\xd9\x01a\xc4\x01b",  # a length that is longer than it must be
        b"\x96\xa1a\xc4\x01b\xc0\xc0\xc0\xc4\x01c",  # six fields
        b"\x92\xa1\xff\xc4\x01b",  # not UTF-8
        b"\x91\xa1a",
        b"\x92\xa1a\xa1b",
    ],
)
def test_what_is_not_canonical_is_refused(data: bytes) -> None:
    with pytest.raises(HistoryError) as caught:
        decode(data)
    assert caught.value.reason == "malformed"


def reason(content: Content, *, tombstone: bool = False) -> str:
    try:
        check(content, ROOM.id, verify, tombstone=tombstone)
    except HistoryError as error:
        return error.reason
    return ""


def test_authors_may_sign() -> None:
    content = signed("romeo's own", "romeo@example", b"<message/>")
    assert reason(content) == ""
    assert reason(msgspec.structs.replace(content, author="julia@example")) == "forged-author"
    assert reason(msgspec.structs.replace(content, stanza=b"<message> </message>")) == "forged-author"
    assert reason(msgspec.structs.replace(content, author_key=key("another").origin)) == "forged-author"
    assert reason(msgspec.structs.replace(content, author_key=None)) == "malformed"
    assert reason(msgspec.structs.replace(content, author_signature=b"short")) == "malformed"


def test_tombstones_have_targets_and_nothing_else_has() -> None:
    target = EntryID(b"t" * 32)
    assert reason(Content("a", b"s", target), tombstone=True) == ""
    assert reason(Content("a", b"s"), tombstone=True) == "malformed"
    assert reason(Content("a", b"s", b"short"), tombstone=True) == "malformed"
    assert reason(Content("a", b"s", target)) == "malformed"
