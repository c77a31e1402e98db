"""The framer against itself cut in pieces, and against a plain model: the same streams, stanzas, ends and errors."""

import random
from collections.abc import Sequence
from xml.parsers import expat

from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from megaphone.wire.framer import Error, StreamFramer
from tests.unit.wire.framing import END, HEADER, ExpatReader, Reading, Stanza, pieces_of, read
from tests.unit.wire.model import Answer, Model
from tests.unit.wire.streams import MARKUP, STREAMS, mutated_streams

USUAL = (
    HEADER + b"<stream:features><mechanisms xmlns='m'><mechanism>PLAIN</mechanism></mechanisms></stream:features>\n"
    b"<message to='a@b/c' type=\"chat\"><body>&lt;hi&#x21; ]] \xc3\xa9<![CDATA[<x>]]]]></body><active/></message>"
    b" <presence/><iq type='get'><query xmlns='q' /></iq >" + END + b"\n"
)
WRONG = [
    USUAL.replace(b"&lt;", b"&nbsp;"),
    USUAL.replace(b"</body>", b"</bodx>"),
    USUAL.replace(b"]]]]>", b"]]]]>]]>"),
    USUAL.replace(b" <presence/>", b" x <presence/>"),
    USUAL.replace(b"<presence/>", b"<!-- -->"),
    USUAL.replace(b"<presence/>", b"<?xml version='1.0'?>"),
    USUAL.replace(b"<presence/>", HEADER),
    USUAL + b"<message/>",
]
REPEATABLE = settings(max_examples=150, derandomize=True, deadline=None)


def assert_same(cut: Reading, whole: Reading) -> None:
    assert cut.events == whole.events
    assert (cut.error, cut.error_offset) == (whole.error, whole.error_offset)
    assert cut.boundary == whole.boundary
    assert cut.rests == whole.rests
    if whole.error is None:
        assert cut.counts == whole.counts


# --- split invariance ---


def test_every_cut_in_two_and_every_byte_alone_read_the_same() -> None:
    for data in [USUAL, *WRONG]:
        for stop in (True, False):
            for restarts in (False, True):
                whole = read([data], stop=stop, restarts=restarts)
                for cut in range(len(data) + 1):
                    assert_same(read(pieces_of(data, [cut]), stop=stop, restarts=restarts), whole)
                assert_same(read(pieces_of(data, range(len(data))), stop=stop, restarts=restarts), whole)


def test_every_cut_reads_the_same_under_tight_bounds() -> None:
    data = HEADER + b"<a b='1' c='2'><d><e/></d></a><iq><x y='1'/></iq>" + END
    for stanza_bytes in range(len(HEADER) - 21, len(HEADER) + 10, 3):
        for attributes in (1, 2, 4):
            for depth in (2, 3, 4):
                bounds = {"stanza_bytes": stanza_bytes, "attributes": attributes, "depth": depth}
                whole = read([data], framer=StreamFramer(**bounds))
                for cuts in ([cut] for cut in range(0, len(data), 3)):
                    assert_same(read(pieces_of(data, cuts), framer=StreamFramer(**bounds)), whole)
                assert_same(read(pieces_of(data, range(len(data))), framer=StreamFramer(**bounds)), whole)


@REPEATABLE
@given(STREAMS | mutated_streams(), st.lists(st.integers(0, 1 << 20), max_size=8), st.booleans(), st.booleans())
def test_streams_read_the_same_however_they_are_cut(
    data: bytes, cuts: Sequence[int], stop: bool, restarts: bool
) -> None:
    whole = read([data], stop=stop, restarts=restarts)
    assert_same(read(pieces_of(data, cuts), stop=stop, restarts=restarts), whole)
    assert_same(read(pieces_of(data, range(len(data))), stop=stop, restarts=restarts), whole)


@REPEATABLE
@given(
    STREAMS | mutated_streams(),
    st.lists(st.integers(0, 1 << 20), max_size=6),
    st.integers(1, 200),
    st.integers(2, 6),
    st.integers(1, 6),
)
def test_bounds_hold_the_same_however_a_stream_is_cut(
    data: bytes, cuts: Sequence[int], stanza_bytes: int, depth: int, attributes: int
) -> None:
    data = b"<s>" + data[len(HEADER) :]
    bounds = (stanza_bytes, depth, attributes)
    whole = read([data], framer=StreamFramer(*bounds))
    assert_same(read(pieces_of(data, cuts), framer=StreamFramer(*bounds)), whole)
    assert_same(read(pieces_of(data, range(len(data))), framer=StreamFramer(*bounds)), whole)


@REPEATABLE
@given(st.binary(max_size=200) | st.lists(MARKUP, max_size=30).map(b"".join), st.lists(st.integers(0, 200), max_size=5))
def test_garbage_reads_the_same_however_it_is_cut(data: bytes, cuts: Sequence[int]) -> None:
    for prefix in (b"", HEADER, HEADER + b"<message a='"):
        assert_same(read(pieces_of(prefix + data, cuts)), read([prefix + data]))


def test_framers_share_their_scratch_stack_without_mixing() -> None:
    """Open elements of all framers pass through one stack: interleave many streams at random cuts."""
    choice = random.Random(20)
    names = [b"abcdefghij"[index : index + 1] for index in range(10)]
    for _ in range(20):
        streams = []
        for name in names:
            nested = b"".join(b"<%b%d>" % (name, level) for level in range(40))
            closed = b"".join(b"</%b%d>" % (name, level) for level in reversed(range(40)))
            streams.append((StreamFramer(), [HEADER + nested + closed + END]))
        rests = [(framer, data[0]) for framer, data in streams]
        ended = 0
        while rests:
            index = choice.randrange(len(rests))
            framer, data = rests.pop(index)
            cut = choice.randint(1, len(data))
            reading = read([data[:cut]], framer=framer)
            assert reading.error is None
            if cut < len(data):
                rests.append((framer, data[cut:]))
            else:
                ended += reading.names[-1] == "STREAM_END"
        assert ended == len(names)


@REPEATABLE
@given(
    # a few: most of the time goes into making them, and the test before this one has ten
    st.lists(
        st.tuples(STREAMS | mutated_streams(), st.lists(st.integers(1, 40), min_size=1, max_size=8)),
        min_size=2,
        max_size=4,
    ),
    st.randoms(use_true_random=False),
)
def test_framers_share_their_memory_without_mixing(
    streams: list[tuple[bytes, list[int]]], choice: random.Random
) -> None:
    """Whatever is kept between reads is recycled from one to the other; some give up early."""
    framers = [StreamFramer() for _ in streams]
    readings = [Reading() for _ in streams]
    offsets = [0] * len(streams)
    under_way = list(range(len(streams)))
    while under_way:
        index = choice.choice(under_way)
        (data, sizes), start = streams[index], offsets[index]
        piece = data[start : start + choice.choice(sizes)]
        if not piece or readings[index].error is not None:
            under_way.remove(index)
            framers[index] = StreamFramer()  # frees what the old one kept
            continue
        reading = read([piece], framer=framers[index])
        offsets[index] += len(piece)
        readings[index].events += [(name, start + offset) for name, offset in reading.events]
        readings[index].error = reading.error
        readings[index].error_offset = start + reading.error_offset
    for (data, _), reading in zip(streams, readings, strict=True):
        whole = read([data])
        assert (reading.events, reading.error) == (whole.events, whole.error)
        assert whole.error is None or reading.error_offset == whole.error_offset


# --- against the model ---


def assert_says_the_same(reading: Reading, answer: Answer) -> None:
    assert (reading.error, reading.error_offset) == (answer.error, answer.error_offset)
    assert reading.events == answer.events
    assert list(reading.counts) == answer.counts


@REPEATABLE
@given(STREAMS | mutated_streams(header=True), st.booleans())
@example(USUAL, False)
@example(USUAL, True)
def test_the_model_says_the_same(data: bytes, restarts: bool) -> None:
    assert_says_the_same(read([data], restarts=restarts), Model(data, restarts=restarts).read())


@REPEATABLE
@given(STREAMS | mutated_streams(header=True), st.integers(1, 200), st.integers(2, 6), st.integers(1, 6))
def test_the_model_says_the_same_under_bounds(data: bytes, stanza_bytes: int, depth: int, attributes: int) -> None:
    data = b"<s>" + data[len(HEADER) :]
    framer = StreamFramer(stanza_bytes, depth, attributes)
    model = Model(data, stanza_bytes=stanza_bytes, depth=depth, attributes=attributes)
    assert_says_the_same(read([data], framer=framer), model.read())


@REPEATABLE
@given(st.binary(max_size=200) | st.lists(MARKUP, max_size=30).map(b"".join), st.booleans())
def test_the_model_says_the_same_about_garbage(data: bytes, restarts: bool) -> None:
    for prefix in (b"", b"<?xml ", HEADER, HEADER + b"<message a='", HEADER + b"<a><b xmlns:x='u' x:y"):
        whole = prefix + data
        assert_says_the_same(read([whole], restarts=restarts), Model(whole, restarts=restarts).read())


# --- against expat ---


def ask_expat(data: bytes) -> tuple[ExpatReader, expat.ExpatError | None]:
    reader = ExpatReader()
    try:
        reader.feed(data)
        reader.finish()
    except expat.ExpatError as error:
        return reader, error
    return reader, None


@REPEATABLE
@given(STREAMS)
def test_bounds_are_what_expat_measures(data: bytes) -> None:
    """Taken with exactly what its largest stanza needs; with one less of anything refused there, and for that."""
    reader, error = ask_expat(data)
    assert error is None
    stanzas = reader.stanzas
    assume(stanzas)
    least = len(HEADER) - len("<?xml version='1.0'?>")  # what the header needs itself
    size = max(least, *(stanza.end - stanza.begin for stanza in stanzas))
    depth = max(stanza.depth for stanza in stanzas)
    attributes = max(4, *(stanza.attributes for stanza in stanzas))
    assert read([data], framer=StreamFramer(size, depth, attributes)).error is None
    if size > least:
        assert_refuses(read([data], framer=StreamFramer(size - 1)), Error.STANZA_TOO_BIG, stanzas, size, "size")
    if depth > 2:
        assert_refuses(read([data], framer=StreamFramer(depth=depth - 1)), Error.TOO_DEEP, stanzas, depth, "depth")
    if attributes > 4:
        reading = read([data], framer=StreamFramer(attributes=attributes - 1))
        assert_refuses(reading, Error.TOO_MANY_ATTRIBUTES, stanzas, attributes, "attributes")


def assert_refuses(reading: Reading, error: Error, stanzas: Sequence[Stanza], most: int, measure: str) -> None:
    def extent(stanza: Stanza) -> int:
        return stanza.end - stanza.begin if measure == "size" else int(getattr(stanza, measure))

    first = next(stanza for stanza in stanzas if extent(stanza) == most)
    assert reading.error is error
    assert first.begin < reading.error_offset < first.end
    if error is Error.STANZA_TOO_BIG:
        assert reading.error_offset == first.begin + most - 1
    assert len(reading.events) == 1 + stanzas.index(first)
