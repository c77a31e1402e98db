"""Hundreds of hostile streams (golden/hostile.toml): each refused at its byte, however it is cut, for its condition."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from megaphone.wire.framer import CONDITIONS, Error, StreamFramer
from tests.unit.wire.framing import HEADER, Reading, pieces_of, read
from tests.unit.wire.model import Model
from tests.unit.wire.parsers import ERROR, PARSERS

Input = dict[str, Any]
GOLDEN = Path(__file__).parents[2] / "golden" / "hostile.toml"
INPUTS: list[Input] = tomllib.loads(GOLDEN.read_text())["input"]
REPEATED = re.compile(r"\{([0-9]+) ([^}]+)\}")

each_input = pytest.mark.parametrize("hostile", [pytest.param(entry, id=entry["name"]) for entry in INPUTS])


def stream_of(hostile: Input) -> bytes:
    text = REPEATED.sub(lambda found: found[2] * int(found[1]), hostile["data"])
    data = text.encode("ascii").decode("unicode_escape").encode("latin-1")
    return data if hostile.get("raw") else HEADER + data


def bounds_of(hostile: Input) -> dict[str, int]:
    return {"stanza_bytes": hostile["stanza_bytes"]} if "stanza_bytes" in hostile else {}


def expected_of(hostile: Input) -> tuple[Error, int]:
    return Error[hostile["error"]], hostile["offset"] + (0 if hostile.get("raw") else len(HEADER))


def answer(hostile: Input, cuts: range | list[int]) -> Reading:
    pieces = pieces_of(stream_of(hostile), cuts)
    return read(pieces, framer=StreamFramer(**bounds_of(hostile)), restarts=hostile.get("restart", False))


def test_there_are_enough_and_all_differ() -> None:
    assert len(INPUTS) >= 150
    assert len({entry["name"] for entry in INPUTS}) == len(INPUTS)


@each_input
def test_it_is_refused_at_its_byte_however_it_is_cut(hostile: Input) -> None:
    expected = expected_of(hostile)
    assert CONDITIONS[expected[0]] == hostile["condition"]
    whole = answer(hostile, [])
    assert (whole.error, whole.error_offset) == expected
    length = len(stream_of(hostile))
    for cuts in (range(length), range(0, length, 7), *([cut] for cut in range(0, length, 1 + length // 400))):
        cut = answer(hostile, cuts)
        assert (cut.error, cut.error_offset, cut.events) == (*expected, whole.events)


@each_input
def test_the_bytes_before_it_are_taken(hostile: Input) -> None:
    _, offset = expected_of(hostile)
    cut = stream_of(hostile)[:offset]
    reading = read([cut], framer=StreamFramer(**bounds_of(hostile)), restarts=hostile.get("restart", False))
    assert reading.error is None


@each_input
def test_the_model_refuses_it_too(hostile: Input) -> None:
    said = Model(stream_of(hostile), restarts=hostile.get("restart", False), **bounds_of(hostile)).read()
    assert (said.error, said.error_offset) == expected_of(hostile)


@each_input
def test_the_parsers_take_it_or_leave_it_as_recorded(hostile: Input) -> None:
    pieces = [stream_of(hostile)]
    takers = [name for name, ask in PARSERS.items() if not any(ERROR in said for said in ask(pieces))]
    assert takers == hostile["takers"]


def test_what_was_refused_stays_refused() -> None:
    framer = StreamFramer()
    framer.scan(HEADER)
    event, offset, error, _, _ = framer.scan(b"<a><b></c>")
    assert (event.name, offset, error) == ("ERROR", 9, Error.NOT_WELL_FORMED_XML)
    for _ in range(2):
        assert framer.scan(b"<message/>")[:3] == (event, 0, error)
    assert not framer.rests
