"""docs/reference/history.md: its example is what the code says, and its words are the code's."""

import re
from pathlib import Path

from megaphone.history.answers import Refusal
from megaphone.history.batch import Batch, decode, encode, ids
from megaphone.history.clock import Clock
from megaphone.history.content import Content
from megaphone.history.entry import FIRST, Kind, chain, entry, header, stanza_id
from megaphone.history.manifest import Manifest
from tests.unit.history.origins import NOW_MS, Writer, log, texts

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "history.md"
ROOM = Manifest("muc", "verona@rooms.example")


def batch() -> Batch:
    anna = Writer("anna", ROOM)
    clock = NOW_MS << 16
    first = entry(Clock(clock), Kind.MESSAGE, Content("romeo@example", b"<body>But soft!</body>").encode())
    second = entry(Clock(clock + 1), Kind.MESSAGE, Content("juliet@example", b"<body>Ay me.</body>").encode())
    (target,) = chain(ROOM.id, anna.origin, 1, FIRST, [first])
    content = Content("romeo@example", b"<retract/>", target)
    third = entry(Clock(clock + (5000 << 16)), Kind.RETRACTION, content.encode())
    return anna.put_entries(first, second, third)


def example() -> dict[str, bytes | str]:
    """What the page shows, by name."""
    said = batch()
    first = said.entries[0]
    assert first.content is not None
    return {
        "room": ROOM.id,
        "origin": said.origin,
        "content 1": first.content,
        "header 1": header(ROOM.id, said.origin, 1, FIRST, first),
        **{f"id {seq}": id_ for seq, id_ in enumerate(ids(said), 1)},
        "stanza-id 1": stanza_id(ids(said)[0]),
        "batch": encode(said),
    }


def shown() -> str:
    """The example as text: name, then hex in lines of 64 digits."""
    lines = []
    for name, value in example().items():
        text = value if isinstance(value, str) else value.hex()
        lines += [f"{name if not at else '':<12}{text[at : at + 64]}" for at in range(0, len(text), 64)]
    return "\n".join(lines)


def test_the_example_is_what_the_code_says() -> None:
    assert f"```\n{shown()}\n```" in PAGE.read_text()


def test_a_reader_of_the_page_can_use_the_example() -> None:
    (block,) = re.findall(r"\nbatch( +[0-9a-f\n ]+)```", PAGE.read_text())
    here = log()
    assert here.accept(decode(bytes.fromhex(block)), NOW_MS + 5000).refusal is None
    assert texts(here) == [None, "<body>Ay me.</body>", "<retract/>"]


def test_every_answer_is_on_the_page() -> None:
    rows = re.findall(r"^\| `([a-z-]+)` \|", PAGE.read_text().partition("## What is accepted")[2], re.MULTILINE)
    assert sorted(rows) == sorted(Refusal)
