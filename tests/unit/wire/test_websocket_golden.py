"""Dialogues of golden/websocket.toml: reader and model read each as it is written there, however it is cut."""

import tomllib
from pathlib import Path
from typing import Any

import pytest

from megaphone.wire.websocket import Error
from tests.unit.wire.framing import pieces_of
from tests.unit.wire.websocket_frames import Reading, frame_of, read, unescaped
from tests.unit.wire.websocket_model import Model

Dialogue = dict[str, Any]
GOLDEN = Path(__file__).parents[2] / "golden" / "websocket.toml"
DIALOGUES: list[Dialogue] = tomllib.loads(GOLDEN.read_text())["dialogue"]

each_dialogue = pytest.mark.parametrize("dialogue", [pytest.param(entry, id=entry["name"]) for entry in DIALOGUES])


def bytes_of(dialogue: Dialogue) -> bytes:
    return b"".join(map(frame_of, dialogue["client"]))


def limits_of(dialogue: Dialogue) -> dict[str, int]:
    return {name: dialogue[name] for name in ("message_bytes", "frames", "text_only") if name in dialogue}


def assert_is_as_written(reading: Reading, dialogue: Dialogue) -> None:
    said = [
        (kind, b"%d %b" % (reading.code or 0, payload) if kind == "close" else payload)
        for kind, payload in reading.said
    ]
    expected = []
    for words in dialogue["reads"]:
        kind, _, payload = words.partition(" ")
        code_alone = kind == "close" and " " not in payload
        expected.append((kind, unescaped(payload) + (b" " if code_alone else b"")))
    assert said == expected
    if "error" not in dialogue:
        assert reading.error is None
        return
    frame, byte = dialogue["at"]
    assert reading.error is Error[dialogue["error"]]
    assert reading.close_code == dialogue["code"]
    assert reading.error_offset == sum(len(frame_of(words)) for words in dialogue["client"][:frame]) + byte


def test_there_are_enough_and_all_differ() -> None:
    assert len(DIALOGUES) >= 150
    assert len({entry["name"] for entry in DIALOGUES}) == len(DIALOGUES)
    assert {entry["error"] for entry in DIALOGUES if "error" in entry} == (
        {error.name for error in Error} - {"NO_ERROR", "NO_MEMORY"}
    )


@each_dialogue
def test_it_is_read_as_written_however_it_is_cut(dialogue: Dialogue) -> None:
    data, limits = bytes_of(dialogue), limits_of(dialogue)
    whole = read([data], **limits)
    assert_is_as_written(whole, dialogue)
    steps = (1, 7) if len(data) < 2_000 else (4_000, 7_001)
    for cuts in (
        *(range(0, len(data), step) for step in steps),
        *([cut] for cut in range(0, len(data), 1 + len(data) // 400)),
    ):
        assert read(pieces_of(data, cuts), **limits) == whole


@each_dialogue
def test_the_model_reads_the_same(dialogue: Dialogue) -> None:
    data, limits = bytes_of(dialogue), limits_of(dialogue)
    assert Model(data, **limits).read() == read([data], **limits)


@each_dialogue
def test_the_bytes_before_an_error_are_taken(dialogue: Dialogue) -> None:
    if "error" in dialogue:
        data, limits = bytes_of(dialogue), limits_of(dialogue)
        offset = read([data], **limits).error_offset
        assert read([data[:offset]], **limits).error is None
        assert read([data[: offset + 1]], **limits).error is Error[dialogue["error"]]
