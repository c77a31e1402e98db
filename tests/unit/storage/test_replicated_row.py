"""Versions of rows: which of two counts never depends on the order in which they are heard; bad values are refused."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import hypothesis.strategies as st
import msgspec
import pytest
from hypothesis import given

from megaphone.errors import RowError
from megaphone.storage.replicated_kinds import KINDS, KINDS_BY_NAME
from megaphone.storage.replicated_row import Row, decode_row, encode_row, key_of, merge

ACCOUNT, ROOM, SECRET = (KINDS_BY_NAME[name].number for name in ("account", "room", "secret"))
KEYS = (0, b"s" * 16, 4096, b"1" * 20, b"2" * 20, b"t" * 16, 8192, b"3" * 32, b"4" * 32)
CONFIG = '{"name": "Hall"}'
COLUMNS: dict[str, list[tuple[Any, ...]]] = {
    "account": [(1.0, 2.0, *KEYS), (2.0, 2.0, *KEYS), (1.0, 3.0, *KEYS)],
    "room": [
        (config, created, creator, secret * 32)
        for config in ("{}", CONFIG)
        for created, creator, secret in ((1.0, "a@b", b"1"), (2.0, "a@b", b"2"), (1.0, "b@b", b"3"))
    ],
    "roster": [("", "[]", "both", 0, None, 1), ("Nurse", '["a"]', "to", 1, b"<presence/>", 1)],
    "block": [()],
    "private": [(b"<a/>",), (b"<b/>",)],
    "vcard": [(b"<vCard/>",), (b"<b/>",)],
    "subject": [(b"<message/>", 1.0), (b"<message/>", 2.0)],
    "affiliation": [("owner", ""), ("outcast", "why")],
    "secret": [(b"s" * 32,), (b"t" * 32,)],
}
CLOCK = 1_700_000_000_000 << 16


@st.composite
def versions(draw: st.DrawFn) -> list[Row]:
    """Three versions of one row that nodes may have written."""
    kind = draw(st.sampled_from(sorted(COLUMNS)))
    found = []
    for _ in range(3):
        columns = draw(st.sampled_from(COLUMNS[kind]))
        life, clock = draw(st.sampled_from([0, 1])), draw(st.integers(2, 4))
        origin = draw(st.sampled_from([b"a" * 8, b"b" * 8]))
        gone = kind != "secret" and draw(st.booleans())
        found.append(Row(KINDS_BY_NAME[kind].number, "x", "", life, clock, origin, None if gone else columns))
    return found


@given(versions())
def test_the_order_of_hearing_makes_no_difference(rows: list[Row]) -> None:
    ends = {merge(merge(a, b), c) for a, b, c in permutations(rows)}
    ends |= {merge(a, merge(b, c)) for a, b, c in permutations(rows)}
    assert len(ends) == 1
    (end,) = ends
    assert merge(end, end) == end
    assert all(merge(end, row) == end for row in rows)


def row(kind: str, at: int = 0, **fields: Any) -> Row:
    given_ = {"owner": "hall", "item": "", "life": 0, "clock": CLOCK, "origin": b"a" * 8, "columns": COLUMNS[kind][at]}
    return Row(KINDS_BY_NAME[kind].number, **given_ | fields)


def test_the_account_that_was_made_first_counts_though_it_was_written_earlier() -> None:
    first, second = row("account"), row("account", 1, clock=CLOCK + 9)
    assert merge(first, second) == first
    changed = row("account", 2, clock=CLOCK + 1)
    assert merge(first, changed) == changed


def test_nothing_that_was_written_before_a_deletion_was_heard_of_undoes_it() -> None:
    deleted = row("account", life=CLOCK + 1, clock=CLOCK + 1, columns=None)
    later = row("account", 2, clock=CLOCK + 5)
    assert merge(later, deleted) == deleted
    again = row("account", 1, life=CLOCK + 1, clock=CLOCK + 6)
    assert merge(deleted, again) == again
    assert merge(later, again) == again


def test_a_room_made_on_two_nodes_has_the_first_creator_and_the_later_configuration() -> None:
    first = row("room", columns=("{}", 1.0, "romeo@b", b"1" * 32))
    second = row("room", columns=(CONFIG, 2.0, "juliet@b", b"2" * 32), clock=CLOCK + 1)
    assert merge(first, second).columns == (CONFIG, 1.0, "romeo@b", b"1" * 32)


def test_the_first_secret_counts() -> None:
    assert merge(row("secret", 1, clock=CLOCK + 1), row("secret")) == row("secret")


@pytest.mark.parametrize("kind", sorted(COLUMNS))
def test_a_row_is_read_as_it_was_written(kind: str) -> None:
    item = "nurse@b" if kind in ("roster", "block", "affiliation") else ""
    for each in [*range(len(COLUMNS[kind])), None]:
        written = row(kind, each or 0, item=item) if each is not None else row(kind, item=item, columns=None)
        assert decode_row(key_of(written.kind, written.owner, item), encode_row(written)) == written


def test_what_a_later_version_tells_beside_is_passed_over() -> None:
    told = row("vcard")
    more = msgspec.msgpack.encode(["row", "vcard", "hall", "", 0, CLOCK, b"a" * 8, [b"<vCard/>", "new"], {"new": 1}])
    assert decode_row(key_of(told.kind, "hall", ""), more) == told


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"\xc1",
        msgspec.msgpack.encode(["other", "vcard", "hall", "", 0, 1, b"a" * 8, None]),
        msgspec.msgpack.encode(["row", "nothing", "hall", "", 0, 1, b"a" * 8, None]),
        msgspec.msgpack.encode(["row", "vcard", "cell", "", 0, 1, b"a" * 8, None]),
        msgspec.msgpack.encode(["row", "vcard", "hall", "", -1, 1, b"a" * 8, None]),
        msgspec.msgpack.encode(["row", "vcard", "hall", "", 0, 1 << 63, b"a" * 8, None]),
        msgspec.msgpack.encode(["row", "vcard", "hall", "", 0, 1, b"a", None]),
        msgspec.msgpack.encode(["row", "vcard", "hall", "", 0, 1, b"a" * 8, []]),
        msgspec.msgpack.encode(["row", "vcard", "hall", "", 0, 1, b"a" * 8, ["text"]]),
        msgspec.msgpack.encode(["row", "vcard", "hall", "", 0, 1, b"a" * 8]),
    ],
)
def test_a_value_that_is_no_row_is_refused(value: bytes) -> None:
    with pytest.raises(RowError):
        decode_row(key_of(KINDS_BY_NAME["vcard"].number, "hall", ""), value)


@pytest.mark.parametrize(
    ("kind", "item", "columns"),
    [
        ("roster", "@", ("", "[]", "both", 0, None, 1)),
        ("roster", "a@b", ("", "{", "both", 0, None, 1)),
        ("roster", "a@b", ("", "[1]", "both", 0, None, 1)),
        ("roster", "a@b", ("", "[]", "all", 0, None, 1)),
        ("roster", "a@b", ("", "[]", "both", 2, None, 1)),
        ("block", "@", ()),
        ("affiliation", "a@b", ("king", "")),
        ("affiliation", "@", ("owner", "")),
        ("room", "", ("[]", 1.0, "a@b", b"1" * 32)),
        ("room", "", ('{"whois": "nobody"}', 1.0, "a@b", b"1" * 32)),
        ("room", "", ("{}", 1.0, "@", b"1" * 32)),
        ("room", "", ("{}", 1.0, "a@b", b"")),
        ("secret", "", (b"",)),
        ("account", "", (1.0, 2.0, 2, *KEYS[1:])),
    ],
)
def test_a_row_that_no_store_could_read_again_is_refused(kind: str, item: str, columns: tuple[Any, ...]) -> None:
    bad = row(kind, item=item, columns=columns)
    with pytest.raises(RowError):
        decode_row(key_of(bad.kind, bad.owner, bad.item), encode_row(bad))


def test_keys_of_the_store_are_tables_and_tokens() -> None:
    assert {key_of(kind, "romeo", "").split(".")[0] for kind in KINDS} == set(COLUMNS)
    keys = {key_of(kind, owner, item) for kind in KINDS for owner in ("a", "b") for item in ("", "a@b")}
    assert len(keys) == 4 * len(KINDS)
    assert all(len(key.split(".")[1]) == 26 for key in keys)
