"""A framer as bytes: who goes on with them says what the first one would have said, and nothing else gets in."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from megaphone.wire.framer import StreamFramer
from tests.unit.wire.framing import END, HEADER, MESSAGE, pieces_of, read
from tests.unit.wire.streams import STREAMS, mutated_streams

USUAL = (
    HEADER + b"<stream:features><mechanisms xmlns='m'><mechanism>PLAIN</mechanism></mechanisms></stream:features>\n"
    b"<message to='a@b/c' type=\"chat\"><body>&lt;hi&#x21; ]] \xc3\xa9<![CDATA[<x>]]]]></body><active/></message>"
    b" <presence/><x:iq xmlns:x='urn:x' type='get'><query xmlns='q' x:a='1'/></x:iq >" + END + b"\n"
)
OTHER = HEADER + b"<x xmlns:q='u'><y a='' b='' q:c='' xmlns:v='v' ww"
REPEATABLE = settings(max_examples=150, derandomize=True, deadline=None)


class MovingFramer:
    """Another framer for each read; what they share in a process is used by somebody else in between."""

    def __init__(self, **bounds: int) -> None:
        self._bounds = bounds
        self._framer = StreamFramer(**bounds)

    def _move(self) -> None:
        record = self._framer.export()
        self._framer = StreamFramer(**self._bounds)
        self._framer.restore(record)
        assert self._framer.export() == record
        StreamFramer().scan(OTHER, False)

    def scan(self, *arguments: Any) -> Any:
        self._move()
        return self._framer.scan(*arguments)

    def allow_restart(self) -> None:
        self._framer.allow_restart()

    @property
    def rests(self) -> bool:
        self._move()
        return self._framer.rests


def test_it_goes_on_at_every_byte() -> None:
    for stop in (True, False):
        whole = read([USUAL], stop=stop)
        for cut in range(len(USUAL) + 1):
            assert read([USUAL[:cut], USUAL[cut:]], framer=MovingFramer(), stop=stop) == whole  # type: ignore[arg-type]
        alone = [USUAL[i : i + 1] for i in range(len(USUAL))]
        assert read(alone, framer=MovingFramer(), stop=stop) == whole  # type: ignore[arg-type]


@REPEATABLE
@given(
    STREAMS | mutated_streams(header=True), st.lists(st.integers(0, 1 << 16), max_size=6), st.booleans(), st.booleans()
)
def test_it_goes_on_with_any_stream(data: bytes, cuts: list[int], stop: bool, restarts: bool) -> None:
    pieces = list(pieces_of(data, cuts))
    moved = read(pieces, framer=MovingFramer(), stop=stop, restarts=restarts)  # type: ignore[arg-type]
    assert moved == read(pieces, stop=stop, restarts=restarts)


@REPEATABLE
@given(STREAMS | mutated_streams(), st.integers(0, 1 << 16), st.data())
def test_what_no_framer_has_said_is_refused_or_harmless(data: bytes, cut: int, draws: st.DataObject) -> None:
    framer = StreamFramer()
    read([data[: cut % (len(data) + 1)]], framer=framer)
    record = bytearray(framer.export())
    for _ in range(draws.draw(st.integers(1, 4))):
        at = draws.draw(st.integers(0, len(record)))
        record[at : at + draws.draw(st.integers(0, 2))] = draws.draw(st.binary(max_size=3))
    other = StreamFramer()
    other.scan(HEADER)
    before = other.export()
    try:
        other.restore(bytes(record))
    except ValueError:
        assert other.export() == before
    else:
        assert other.export() == record
    for more in (b"a='1'>x</a>", b"/>", b"</stream:stream>", MESSAGE, HEADER, b"<a", b"=", b"'urn:x'", b"]]>", b";"):
        other.scan(more, False)


@REPEATABLE
@given(st.binary(max_size=300))
def test_bytes_at_random_are_refused(record: bytes) -> None:
    framer = StreamFramer()
    with pytest.raises(ValueError, match="not the record"):
        framer.restore(b"\x01\xff" + record)
    with pytest.raises(ValueError, match="not the record"):
        framer.restore(b"\x02" + record)


def test_a_refusal_moves() -> None:
    framer = StreamFramer()
    read([HEADER + b"<a><b><!-- "], framer=framer)
    other = StreamFramer()
    other.restore(framer.export())
    assert other.scan(b" ") == framer.scan(b" ")
    assert other.export() == framer.export()


def test_a_record_is_small_between_stanzas() -> None:
    framer = StreamFramer()
    read([HEADER + MESSAGE], framer=framer)
    assert len(framer.export()) == 28 + len("stream:stream")
