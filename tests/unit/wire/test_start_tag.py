"""The start-tag scanner by itself: where a tag ends, and what is none."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from megaphone.wire.start_tag import read_start_tag
from tests.unit.wire.headers import XML_TEXT, start_tags


@pytest.mark.parametrize(
    ("tag", "name", "empty"),
    [
        (b"<a>", b"a", False),
        (b"<a/>", b"a", True),
        (b"<stream:features xmlns:x='>' y=\"/>'\" >", b"stream:features", False),
        (b"<a-b.c_1\tb\n=\r'1' />", b"a-b.c_1", True),
        (b"<a b='%b'>" % (b"x" * 70_000), b"a", False),
        (b"<a %b>" % b" ".join(b"a%d=''" % index for index in range(1000)), b"a", False),
    ],
)
def test_where_a_tag_ends(tag: bytes, name: bytes, empty: bool) -> None:
    for behind in (b"", b"<b/>", b">>"):
        assert read_start_tag(tag + behind) == (name, len(tag), empty)
    for length in range(max(0, len(tag) - 100), len(tag)):
        with pytest.raises(ValueError, match="no start tag"):
            read_start_tag(tag[:length])


@pytest.mark.parametrize(
    "data", [b" <a>", b"a>", b"</a>", b"<a$>", b"<a b>", b"<a b='1'c='2'>", b"<a b='<'>", b"<a / >"]
)
def test_what_is_no_start_tag(data: bytes) -> None:
    with pytest.raises(ValueError, match="no start tag"):
        read_start_tag(data)


@given(st.dictionaries(st.sampled_from(["a", "b:c", "id", "xml:lang"]), XML_TEXT).flatmap(lambda a: start_tags("n", a)))
def test_any_spelling(tag: bytes) -> None:
    assert read_start_tag(tag + b"<") == (b"n", len(tag), False)
