"""`megaphone chat --lan` before it begins: its options; and its lines, whatever others write."""

import importlib.util
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from megaphone.cli import chat_lan
from megaphone.cli import chat_lan_lines as lines
from megaphone.cli.main import build_parser, main
from megaphone.history.entry import Origin
from megaphone.history.manifest import Manifest
from megaphone.peers.events import Connected, Lost, NewPeer, PeerRefused, RefusedByPeer, Trouble
from megaphone.peers.hello import Reason
from megaphone.peers.pins import Pin, Pins
from megaphone.peers.room import Line

JULIA, OTHER = Origin(b"j" * 32), Origin(b"o" * 32)


def settings(*words: str) -> chat_lan.LanSettings:
    return chat_lan._settings(build_parser(["chat"]).parse_args(["chat", *words]))


def test_a_room_and_a_name_are_enough(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    asked = settings("#tea", "--lan", "--as", " Julia ")
    assert (asked.room, asked.name) == (Manifest("lan", "tea"), "Julia")
    assert (asked.host, asked.port, asked.mdns, asked.peers, asked.trusted) == ("", None, True, [], [])
    assert asked.database == tmp_path / "megaphone" / "lan" / "julia.db"
    assert asked.key == tmp_path / "megaphone" / "lan" / "julia.key"
    assert asked.known == tmp_path / "megaphone" / "lan" / "julia.peers"


@pytest.mark.parametrize("name", ["../x", "a/b", "..", "é", "a b"])
def test_no_name_leads_out_of_the_directory(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    found = settings("tea", "--lan", "--as", name).database
    assert found.parent == tmp_path / "megaphone" / "lan"
    assert found.name.endswith(".db")


def test_everything_can_be_said() -> None:
    asked = settings(
        *("tea", "--lan", "--as", "J", "--peer", "10.0.0.1:5,romeo.local", "--trust", "romeo", "--listen", "[::1]:7"),
        *("--no-mdns", "--database", "/x/y.sqlite", "--history", "3"),
    )
    assert (asked.host, asked.port, asked.mdns, asked.history) == ("::1", 7, False, 3)
    assert asked.peers[0] == ("10.0.0.1", 5)
    assert asked.trusted == ["romeo"]
    assert asked.database == Path("/x/y.sqlite")
    assert (asked.key, asked.known) == (Path("/x/y.sqlite.key"), Path("/x/y.sqlite.peers"))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--lan", "--server", "x"], "--server is for chats through a server"),
        (["--lan", "--account", "a@b"], "--account is for chats through a server"),
        (["--peer", "x:1"], "--peer needs --lan"),
        (["--no-mdns"], "--no-mdns needs --lan"),
        (["--lan", "--peer", "x"], "no port"),
        (["--lan", "--listen", "x"], "the port"),
        (["--lan", "--listen", "unix:/x"], "Unix socket"),
        (["--lan", "--trust", "\x1b"], "no name may have"),
    ],
)
def test_wrong_usage(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["chat", "tea", "--as", "J", *words]) == 2
    shown = capsys.readouterr().err
    assert said in shown
    assert "\x1b" not in shown


@pytest.mark.parametrize(("room", "name"), [("", "J"), ("a\nb", "J"), ("tea", ""), ("tea", "a\x1b")])
def test_what_is_no_room_or_name(room: str, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["chat", room, "--lan", "--as", name]) == 2
    assert "name" in capsys.readouterr().err


def test_the_optional_part_is_named_where_it_is_missing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert main(["chat", "tea", "--lan", "--as", "J"]) == 2
    assert "pip install '.[lan]' in a checkout" in capsys.readouterr().err


# Lines ----------------------------------------------------------------------------------------------------------------


class Store:
    """Julia's pin."""

    def pins(self) -> dict[str, Pin]:
        return {"julia": Pin("julia", JULIA)}

    def put_pin(self, name: str, pin: Pin) -> None:
        raise NotImplementedError


def said(text: str, author: str = "julia", key: Origin = JULIA) -> list[str]:
    return lines.said(Line(0, author, key, text), "tea", Pins(Store()))


def test_a_line_is_time_room_author_and_text() -> None:
    assert said("hello") == ["1970-01-01T00:00:00Z #tea <julia> hello"]
    assert said("a\nb") == ["1970-01-01T00:00:00Z #tea <julia> a", "1970-01-01T00:00:00Z #tea <julia> b"]


def test_a_name_that_is_not_this_keys_cannot_be_taken_for_it() -> None:
    assert said("x", key=OTHER) == ["1970-01-01T00:00:00Z #tea <julia (unverified b7bc a737)> x"]
    assert said("x", "julia> hello", OTHER)[0].split("> ")[0].endswith("<julia\\u003e hello (unverified b7bc a737)")


@given(st.text(), st.text(max_size=100), st.sampled_from([JULIA, OTHER]))
def test_nothing_steers_the_terminal_or_looks_like_somebody_else(text: str, author: str, key: Origin) -> None:
    for shown in said(text, author, key):
        assert all(character.isprintable() or character in "\u200c\u200d" for character in shown)
        found = re.match(r"1970-01-01T00:00:00Z #tea <([^<>]*)> ", shown)
        assert found is not None
        assert ("(unverified b7bc a737)" in found[1]) == (key == OTHER)
        assert (found[1].lower() == "julia") <= (key == JULIA)


def test_what_happens_among_peers() -> None:
    assert lines.happened(NewPeer("julia", JULIA)) == ["info> new peer julia, key " + lines.fingerprint(JULIA)]
    assert lines.happened(Connected("julia", JULIA))[0].startswith("info> direct connection to julia, key ")
    assert lines.happened(Lost("julia", JULIA, "has gone")) == ["info> julia has gone"]
    assert lines.happened(Trouble("a\x1bb")) == ["warning> a\\u001bb"]
    assert lines.happened(RefusedByPeer("10.0.0.1", "key-changed")) == [
        "warning> the peer at 10.0.0.1 refuses us: it knows your name with another key"
    ]
    assert lines.happened(RefusedByPeer("10.0.0.1", "\x1b")) == ["warning> the peer at 10.0.0.1 refuses us: \\u001b"]


def test_a_changed_key_is_told_loudly_with_both_keys_and_the_way_out() -> None:
    shown = "\n".join(lines.happened(PeerRefused("julia", OTHER, "10.0.0.1", Reason.KEY_CHANGED, JULIA)))
    for part in ("THE KEY OF julia HAS CHANGED", lines.fingerprint(JULIA), lines.fingerprint(OTHER), "--trust 'julia'"):
        assert part in shown
