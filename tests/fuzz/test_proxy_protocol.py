"""PROXY protocol parser under arbitrary input: round trips, prefixes, splits and mutations."""

from hypothesis import example, given
from hypothesis import strategies as st

from megaphone.errors import ProxyHeaderError
from megaphone.wire.proxy_protocol import HEADER_LIMIT_BYTES, V2_SIGNATURE, NeedMore, Parsed, TlsFacts, build_v2, parse

ports = st.integers(0, 65535)
ipv4 = st.tuples(st.ip_addresses(v=4).map(str), ports)
ipv6 = st.tuples(st.ip_addresses(v=6).filter(lambda ip: ip.ipv4_mapped is None).map(str), ports)  # type: ignore[union-attr]
ascii_words = st.text(st.characters(max_codepoint=126, min_codepoint=33), max_size=60)
facts = st.fixed_dictionaries(
    {
        "tls": st.none() | st.builds(TlsFacts, ascii_words, ascii_words),
        "alpn": st.none() | st.binary(max_size=255),
        "authority": st.none() | st.text(max_size=60),
    }
)


@st.composite
def v1_lines(draw: st.DrawFn) -> bytes:
    word, endpoints = draw(st.sampled_from([("TCP4", ipv4), ("TCP6", ipv6)]))
    (source, source_port), (destination, destination_port) = draw(endpoints), draw(endpoints)
    return f"PROXY {word} {source} {destination} {source_port} {destination_port}\r\n".encode()


@st.composite
def v2_headers(draw: st.DrawFn) -> bytes:
    endpoints = draw(st.sampled_from([ipv4, ipv6]))
    return build_v2(source=draw(endpoints), destination=draw(endpoints), **draw(facts))


headers = v1_lines() | v2_headers() | st.just(b"PROXY UNKNOWN\r\n") | st.just(V2_SIGNATURE + b"\x20\x00\x00\x00")


@given(st.one_of(st.tuples(ipv4, ipv4), st.tuples(ipv6, ipv6), st.tuples(ipv4, ipv6)), facts, st.binary(max_size=40))
def test_what_is_built_is_parsed(
    endpoints: tuple[tuple[str, int], tuple[str, int]], facts: dict[str, object], rest: bytes
) -> None:
    source, destination = endpoints
    header = build_v2(source=source, destination=destination, **facts)  # type: ignore[arg-type]
    assert parse(memoryview(header + rest)) == Parsed(len(header), 2, source, destination, **facts)  # type: ignore[arg-type]


@given(headers)
def test_every_prefix_needs_more_and_never_too_much(header: bytes) -> None:
    for length in range(len(header)):
        answer = parse(header[:length])
        assert isinstance(answer, NeedMore)
        assert 1 <= answer.missing_bytes <= len(header) - length
    parsed = parse(header)
    assert isinstance(parsed, Parsed)
    assert parsed.length == len(header)


@given(headers, st.binary(max_size=60))
def test_what_follows_is_left_alone(header: bytes, rest: bytes) -> None:
    assert parse(header + rest) == parse(header)


def check_answer(data: bytes) -> None:
    """Whatever came in: one of the three answers, and none of them asks for an unbounded wait."""
    try:
        answer = parse(data)
    except ProxyHeaderError:
        return
    if isinstance(answer, NeedMore):
        assert len(data) + answer.missing_bytes <= HEADER_LIMIT_BYTES
        assert answer.missing_bytes >= 1
    else:
        assert 15 <= answer.length <= min(len(data), HEADER_LIMIT_BYTES)


@given(
    st.binary(max_size=200)
    | st.binary(max_size=200).map(lambda tail: b"PROXY " + tail)
    | st.binary(max_size=200).map(lambda tail: V2_SIGNATURE + tail)
    | st.binary(max_size=200).map(lambda tail: V2_SIGNATURE + b"\x21\x11" + tail)
)
@example(b"")
@example(b"PROXY \r\n")
@example(V2_SIGNATURE + b"\x21\x11\xff\xff")
def test_garbage_gets_an_answer(data: bytes) -> None:
    check_answer(data)


@given(headers, st.data())
def test_one_changed_byte_gets_an_answer(header: bytes, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(header) - 1))
    byte = data.draw(st.integers(0, 255))
    check_answer(header[:at] + bytes([byte]) + header[at + 1 :])
