"""Heads of requests that two readers may take for different ones are refused; what is left h11 reads."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from megaphone.wire.http_head import HeadRefusedError, head_end, read_head

GOOD = b"GET /a?b HTTP/1.1\r\nHost: example.org\r\nX: 1\r\nX: 2\r\n\r\n"


def test_a_head() -> None:
    request = read_head(GOOD, len(GOOD)).request
    assert (request.method, request.target, request.http_version) == (b"GET", b"/a?b", b"1.1")
    assert list(request.headers) == [(b"host", b"example.org"), (b"x", b"1"), (b"x", b"2")]


@pytest.mark.parametrize(
    ("data", "end"),
    [(GOOD + b"more", len(GOOD)), (GOOD[:-1], 0), (b"", 0), (b"GET / HTTP/1.1\n\nmore", 16), (b"GET\r\n\nmore", 6)],
)
def test_where_it_ends(data: bytes, end: int) -> None:
    assert head_end(data) == end


def head(*fields: bytes, line: bytes = b"POST / HTTP/1.1") -> bytes:
    return b"\r\n".join([line, *fields, b"", b""])


HOST = b"Host: example.org"


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (GOOD.replace(b"\r\n", b"\n"), 400),
        (head(HOST, b"X: a\nContent-Length: 5"), 400),
        (head(HOST, b"X: a\rContent-Length: 5"), 400),
        (head(HOST, b"X: a", b" folded"), 400),
        (head(HOST, b"X: a", b"\tfolded"), 400),
        (head(b" folded at once", HOST), 400),
        (head(HOST, b"Content-Length: 5", b"content-length: 5"), 400),
        (head(HOST, b"Content-Length: 5, 5"), 400),
        (head(HOST, b"Content-Length: +5"), 400),
        (head(HOST, b"Content-Length: -5"), 400),
        (head(HOST, b"Content-Length: 0x5"), 400),
        (head(HOST, b"Content-Length: 5 5"), 400),
        (head(HOST, b"Content-Length:"), 400),
        (head(HOST, b"Content-Length: 1" + b"0" * 15), 400),
        (head(HOST, b"Content-Length: 5", b"Transfer-Encoding: chunked"), 400),
        (head(HOST, b"Transfer-Encoding: chunked", b"Transfer-Encoding: identity"), 400),
        (head(HOST, b"Transfer-Encoding: gzip, chunked"), 501),
        (head(HOST, b"Transfer-Encoding: xchunked"), 501),
        (head(HOST, b"Transfer-Encoding : chunked"), 400),
        (head(HOST, b"Transfer-Encoding: chunked", line=b"POST / HTTP/1.0"), 400),
        (head(HOST, HOST), 400),
        (head(), 400),
        (head(HOST, b"X\x00: 1"), 400),
        (head(HOST, b"X: \x00"), 400),
        (head(HOST, b": 1"), 400),
        (head(HOST, b"no colon"), 400),
        (head(HOST, line=b"GET / HTTP/1.1 "), 400),
        (head(HOST, line=b"GET  / HTTP/1.1"), 400),
        (head(HOST, line=b"GET / x HTTP/1.1"), 400),
        (head(HOST, line=b"GET /"), 400),
        (head(HOST, line=b"G\x00T / HTTP/1.1"), 400),
        (b"\r\n\r\n", 400),
    ],
)
def test_heads_that_are_refused(data: bytes, status: int) -> None:
    assert head_end(data) == len(data)
    with pytest.raises(HeadRefusedError) as refused:
        read_head(data, len(data))
    assert refused.value.status == status
    assert refused.value.reason.isascii()


@given(
    st.lists(st.sampled_from([b"GET ", b"/", b" HTTP/1.1", b"\r\n", b"\n", b"\r", b"Host: a", b":", b" ", b"5", b"\0"]))
)
@example([])
def test_whatever_comes_is_read_or_refused(parts: list[bytes]) -> None:
    data = b"".join(parts) + b"\r\n\r\n"
    data = data[: head_end(data)]
    try:
        request = read_head(data, len(data)).request
    except HeadRefusedError:
        return
    names = [name for name, _ in request.headers]
    assert names.count(b"host") <= 1
    assert b"\r" not in request.target
    assert b"\n" not in request.target
