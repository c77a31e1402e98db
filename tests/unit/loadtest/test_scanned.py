"""The swarm's stanza scanner: what any server may send, cut anywhere, ends where it ends."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.swarm.engine import scanned

HEADERS = [
    b"<?xml version='1.0'?><stream:stream xmlns='jabber:client' id='1' from='a' version='1.0'>",
    b'<s:stream xmlns:s="http://etherx.jabber.org/streams" note="a > b, it\'s / fine">',
    b"<?xml version=\"1.0\" encoding='UTF-8'?>\n<stream xmlns='http://etherx.jabber.org/streams'\n  to = '/>'\t>",
]
TEXTS = st.sampled_from([b"", b"x", b"a &lt; b", b"\xc3\xa4 > ]] --", b" \n"])
ATTRIBUTES = st.sampled_from(
    [b"", b" a='1'", b' b="it\'s <not> a tag/>"', b" c='\"' d=\"'\"", b" e = '/'", b"\n x:y='>'"]
)
QUIET = st.sampled_from(
    [b"<!-- <a> -- ' -->", b"<![CDATA[ <a>]] ]>]]>", b"<?do <this> ?>", b"<!---->", b"<![CDATA[]]>", b"<!--->-->"]
)


def joined(*parts: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    return st.tuples(*parts).map(b"".join)


EMPTY = joined(st.just(b"<iq"), ATTRIBUTES, st.sampled_from([b"/>", b" />"]))
ELEMENTS = st.recursive(
    EMPTY,
    lambda inner: joined(
        st.just(b"<p:message"),
        ATTRIBUTES,
        st.just(b">"),
        st.lists(inner | TEXTS | QUIET, max_size=4).map(b"".join),
        st.just(b"</p:message >"),
    ),
    max_leaves=8,
)


@given(st.sampled_from(HEADERS), st.lists(ELEMENTS, max_size=5), st.lists(st.integers(0, 2000), max_size=12))
def test_each_element_ends_where_it_ends_however_it_is_cut(
    header: bytes, elements: list[bytes], cuts: list[int]
) -> None:
    stream = header + b"".join(elements) + b"</stream:stream>"
    places = sorted({min(cut, len(stream)) for cut in cuts} | {0, len(stream)})
    pieces = [stream[begin:end] for begin, end in pairwise(places)]
    expected = [("header", header), *(("element", each) for each in elements), ("end", b"</stream:stream>")]
    assert scanned(pieces) == expected
    assert scanned(bytes([byte]) for byte in stream) == expected


@pytest.mark.parametrize(
    "stanza",
    [
        b"<message><body>a</body></message>",
        b"<a><a><a/></a><b></b></a>",
        b"<a b='</a>'><![CDATA[</a>]]><!-- </a> --><?x </a> ?></a>",
        b"<a/>",
    ],
)
def test_a_stanza_is_whole(stanza: bytes) -> None:
    assert scanned([b"<stream>", stanza, stanza]) == [("header", b"<stream>"), ("element", stanza), ("element", stanza)]


def test_white_space_between_stanzas_is_of_no_stanza_by_itself() -> None:
    assert scanned([b"<stream>", b" ", b"\n "]) == [("header", b"<stream>")]


@given(st.binary(max_size=200), st.integers(0, 200))
def test_no_bytes_harm_it(data: bytes, cut: int) -> None:
    assert scanned([data]) == scanned([data[:cut], data[cut:]])
