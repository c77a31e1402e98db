"""Reads the golden frames of tests/golden/link-v1: hex with comments, speakers and cuts."""

import tomllib
from dataclasses import dataclass
from pathlib import Path

from megaphone.wire.link import Side

GOLDEN = Path(__file__).parents[2] / "golden" / "link-v1"
INDEX = tomllib.loads((GOLDEN / "index.toml").read_text())
SECRET = bytes(range(32))


@dataclass(frozen=True, slots=True)
class Speech:
    """What one side says in one go, on the socket with this number (0 is the first); `lost`: it never arrives."""

    side: Side
    data: bytes
    socket: int
    lost: bool


def speeches(file: str) -> list[Speech]:
    """The file's bytes in order."""
    found: list[Speech] = []
    side, socket, data, lost = None, 0, b"", False
    for line in [*(GOLDEN / file).read_text().splitlines(), "cut"]:
        word = line.partition("#")[0].strip()
        if word.endswith(":") or word == "cut":
            if data:
                assert side is not None, f"{file}: bytes before a speaker"
                found.append(Speech(side, data, socket, lost))
            data = b""
            speaker, _, lost_word = word.removesuffix(":").partition(", ")
            assert lost_word in ("", "lost")
            lost = lost_word == "lost"
            socket += word == "cut"
            side = None if word == "cut" else Side[speaker.upper()]
        elif word:
            data += bytes.fromhex(word)
    return found


def golden(name: str) -> bytes:
    """The bytes of one golden frame."""
    (speech,) = speeches(f"frames/{name}.hex")
    return speech.data
