"""`megaphone history` on files of its own: what is printed, and every refusal."""

import json
import sqlite3
from pathlib import Path

import pytest

from megaphone.cli.history import text_of
from megaphone.cli.main import main
from megaphone.history.content import Content
from megaphone.history.entry import Kind
from megaphone.history.manifest import Manifest
from megaphone.storage.database import prepare
from megaphone.storage.history import SQLiteHistory
from megaphone.storage.history_file import HistoryFile
from megaphone.storage.storage import Storage
from tests.unit.cli.test_user import CONFIG
from tests.unit.storage.histories import OTHER, ROOM, Writing, write_file

FRONT = """\
[[listen]]
address = "127.0.0.1:5222"
tls = "none"

[[domain]]
name = "montague.example"
upstreams = ["one"]

[[upstream]]
name = "one"
address = "127.0.0.1:5223"
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A room with two lines, one of them erased, a subject and the tombstone."""
    path = tmp_path / "anna.sqlite3"
    store = HistoryFile(str(path))
    store.put_room(ROOM)
    anna = Writing("anna", at_ms=1_764_172_799_000)
    batch, ids = anna.say(
        [
            (
                Kind.MESSAGE,
                Content(
                    "romeo@example",
                    b"<message><body>it is the &lt;east&gt;\x1b</body></message>".replace(b"\x1b", b"\xe2\x80\xae"),
                ),
            ),
            (Kind.MESSAGE, Content("tybalt@example", b"<message><body>thou villain</body></message>")),
            (Kind.SUBJECT, Content("juliet@example", b"<message><subject>Light</subject></message>")),
            (Kind.NOTE, Content("anna", b"hello")),
        ]
    )
    store.put(batch, ids)
    store.put(*anna.erase(ids[1]))
    store.erase(ROOM.id, ids[1])
    assert store.close() == 0
    return path


LINES = [
    "2025-11-26T16:00:00Z #hall@rooms.example <romeo@example> it is the <east>\\u202e",
    "2025-11-26T16:00:01Z #hall@rooms.example (erased)",
    "2025-11-26T16:00:02Z #hall@rooms.example <juliet@example> (subject) Light",
    "2025-11-26T16:00:03Z #hall@rooms.example <anna> hello",
]


def test_the_lines_of_a_room(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["history", "show", ROOM.name, "--file", str(path)]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[:4] == LINES
    assert printed[4].startswith("2025-11-26T16:00:04Z #hall@rooms.example <anna@example> (erases ")
    assert len(printed) == 5
    assert main(["history", "show", f"#{ROOM.name}", "--file", str(path), "--last", "2"]) == 0
    assert capsys.readouterr().out.splitlines() == printed[3:]


def test_lines_as_json(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["history", "show", ROOM.name, "--file", str(path), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [each["kind"] for each in found] == ["message", "message", "subject", "note", "moderation"]
    assert [each["erased"] for each in found] == [False, True, False, False, False]
    assert found[4]["erases"] == found[1]["id"]
    assert len(found[0]["id"]) == 43


def test_a_node_with_its_configuration(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "m.toml"
    config.write_text(CONFIG.format(directory=tmp_path))
    assert main(["history", "verify", "-c", str(config)]) == 2
    assert "there is no such file" in capsys.readouterr().err
    prepare(str(tmp_path / "data"))
    storage = Storage(str(tmp_path / "data"))
    history = SQLiteHistory(storage)
    history.put_room(ROOM)
    history.put(*Writing("anna").batch(3))
    assert storage.writer.flush()
    # also while it is in use
    assert main(["history", "verify", "-c", str(config)]) == 0
    data = tmp_path / "data" / "megaphone.sqlite3"
    assert capsys.readouterr().out == f"{data}: ok, 1 rooms, 1 feeds, 3 entries\n"
    assert main(["history", "verify", str(tmp_path / "data")]) == 0
    assert main(["history", "show", ROOM.name, "--config", str(config)]) == 0
    assert capsys.readouterr().out.count("<anna@example> line") == 3
    history.close_reader()
    assert storage.close() == 0


def test_a_damage_is_a_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    written = write_file(tmp_path / "anna.sqlite3")
    assert main(["history", "verify", str(written.path)]) == 0
    entries = len(written.entries)
    assert capsys.readouterr().out == f"{written.path}: ok, 2 rooms, 3 feeds, {entries} entries\n"
    store = HistoryFile(str(written.path))
    (placed,) = store.feed(ROOM.id, Writing("anna").origin, 3, 3)
    store.close()
    connection = sqlite3.connect(written.path)
    connection.execute("UPDATE log_entry SET clock = clock + 1 WHERE id = ?", (placed.id,))
    connection.commit()
    connection.close()
    assert main(["history", "verify", str(written.path)]) == 1
    printed = capsys.readouterr()
    origin = Writing("anna").origin.hex()
    assert printed.out.splitlines() == [
        "ROOM                ORIGIN            ENTRY  DAMAGE",
        f"hall@rooms.example  {origin[:16]}  3      the entry is not what was written",
    ]
    assert printed.err == f"megaphone: error: {written.path}: 1 damages, beside {entries - 1} good entries\n"
    assert main(["history", "verify", str(written.path), "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert (found["ok"], found["rooms"], found["feeds"], found["entries"]) == (False, 2, 3, entries - 1)
    what = {"room": ROOM.name, "origin": origin, "seq": 3, "last": 3, "what": "the entry is not what was written"}
    assert found["damages"] == [what]
    assert main(["history", "show", ROOM.name, "--file", str(written.path), "--last", "1000"]) == 1
    printed = capsys.readouterr()
    assert "some of it is damaged and not shown" in printed.err
    assert "line 3\n" not in "".join(each for each in printed.out.splitlines(keepends=True) if "<anna@" in each)
    # nothing was changed
    assert main(["history", "verify", str(written.path)]) == 1


def test_what_cannot_be_meant(path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    front = tmp_path / "front.toml"
    front.write_text(FRONT)
    for words, code, said in (
        (["verify", str(tmp_path / "none")], 2, "there is no such file"),
        (["show", ROOM.name, "--file", str(tmp_path / "none")], 2, "there is no such file"),
        (["show", "cellar", "--file", str(path)], 1, f"there is no history of cellar in {path}"),
        (["show", ROOM.name, "--file", str(path), "--last", "0"], 2, "--last must be from 1 to 100000, not 0"),
        (["show", ROOM.name, "--file", str(path), "--kind", "user"], 1, "there is no history of"),
        (["verify", "-c", str(front)], 2, "fronts servers that keep their histories themselves"),
        (["verify", str(front)], 1, "is not a database"),
    ):
        assert main(["history", *words]) == code, words
        printed = capsys.readouterr()
        assert said in printed.err
        assert printed.err.startswith("megaphone: error: ")
        assert printed.err.count("\n") == 1
    for words in ([], ["verify", "a", "b"], ["show"], ["show", "x", "--kind", "mcu"], ["shwo", "x"]):
        with pytest.raises(SystemExit) as exited:
            main(["history", *words])
        assert exited.value.code == 2
        assert "usage: megaphone" in capsys.readouterr().err


def test_a_name_of_two_rooms(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "anna.sqlite3"
    store = HistoryFile(str(path))
    for manifest in (OTHER, Manifest("muc", OTHER.name)):
        store.put_room(manifest)
        store.put(*Writing("anna", manifest).batch(1))
    assert store.close() == 0
    assert main(["history", "show", OTHER.name, "--file", str(path)]) == 2
    assert "use --kind with one of lan, muc" in capsys.readouterr().err
    assert main(["history", "show", OTHER.name, "--file", str(path), "--kind", "lan"]) == 0
    assert capsys.readouterr().out.count("\n") == 1


@pytest.mark.parametrize(
    ("stanza", "text"),
    [
        (b"hello", "hello"),
        (b"<message><body>a<b/>c</body><subject>s</subject></message>", "a"),
        (b"<message xmlns='jabber:client'><body>x</body></message>", "x"),
        (b"<message><subject>s</subject></message>", "s"),
        (b"<message/>", "(no text)"),
        (b"<3 you", "<3 you"),
        (b"", ""),
        (b"\xff", "\ufffd"),
    ],
)
def test_what_people_read_of_a_stanza(stanza: bytes, text: str) -> None:
    assert text_of(stanza) == text
