"""Hypothesis strategies: what a client sends over a WebSocket, right, nearly right and wrong."""

from hypothesis import strategies as st

from tests.unit.wire.websocket_frames import KEY, OPCODES, frame

KEYS = st.sampled_from([KEY, bytes(4), b"\xff\x00\x80\x7f"])
TEXT = st.text(max_size=20).map(str.encode) | st.integers(120, 300).map(lambda count: b"x" * count)
CONTROL = st.builds(frame, st.sampled_from([9, 10]), st.binary(max_size=20) | st.just(b"c" * 125), key=KEYS)
CODES = st.sampled_from([1000, 1001, 1003, 1007, 1011, 1012, 3000, 4999])
CLOSE = st.builds(
    lambda code, reason, key: frame(8, code.to_bytes(2, "big") + reason.encode() if code else b"", key=key),
    st.none() | CODES,
    st.text(max_size=20),
    KEYS,
)
ODD = st.builds(
    frame,
    st.sampled_from([*OPCODES.values(), 3, 11]),
    st.binary(max_size=8)
    | st.sampled_from([b"x" * 125, b"x" * 126, b"\xed\xa0\x80", b"\xf4\x90", b"abc\xe2\x82", b"\xc0\x80"])
    | st.integers(900, 5100).map(lambda code: code.to_bytes(2, "big")),
    more=st.booleans(),
    rsv=st.sampled_from([0, 0, 0, 0, 0, 0, 4, 1]),
    key=KEYS | st.sampled_from([None]),
    form=st.sampled_from([0, 0, 0, 0, 16, 64]),
)


@st.composite
def messages(draw: st.DrawFn) -> bytes:
    """A message in one frame or several, with control frames between."""
    opcode = draw(st.sampled_from([1, 1, 1, 2]))
    payload = draw(TEXT if opcode == 1 else st.binary(max_size=30))
    cuts = sorted(draw(st.lists(st.integers(0, len(payload)), max_size=4)))
    data = b""
    for index, (begin, end) in enumerate(zip([0, *cuts], [*cuts, len(payload)], strict=True)):
        more = index < len(cuts)
        data += frame(0 if index else opcode, payload[begin:end], more=more, key=draw(KEYS))
        if more and draw(st.booleans()):
            data += draw(CONTROL)
    return data


RIGHT = st.lists(messages() | CONTROL, max_size=6).map(b"".join)
STREAMS = st.builds(bytes.__add__, RIGHT, st.just(b"") | CLOSE | st.builds(bytes.__add__, CLOSE, st.binary(max_size=9)))
NEARLY = st.lists(messages() | CONTROL | ODD, max_size=6).map(b"".join)


@st.composite
def mutated_streams(draw: st.DrawFn) -> bytes:
    """A stream in which some bytes were changed, left out or put in, or which ends early."""
    data = bytearray(draw(STREAMS | NEARLY))
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(data)))
        kind = draw(st.sampled_from(["change", "drop", "insert", "end"]))
        if kind == "change" and at < len(data):
            data[at] ^= 1 << draw(st.integers(0, 7))
        elif kind == "drop":
            del data[at : at + draw(st.integers(1, 4))]
        elif kind == "insert":
            data[at:at] = draw(st.binary(min_size=1, max_size=4))
        elif kind == "end" and draw(st.booleans()):
            del data[at:]
    return bytes(data)


ANY = STREAMS | NEARLY | mutated_streams()
