"""`megaphone chat` before it connects: what it is asked, and what it needs."""

import importlib.util
from pathlib import Path

import pytest

from megaphone.cli import chat
from megaphone.cli.main import build_parser, main
from megaphone.sockets.endpoint import Endpoint


def settings(*words: str) -> chat.Settings:
    return chat._settings(build_parser(["chat"]).parse_args(["chat", *words]))


def test_a_newcomer_needs_a_room_and_a_name() -> None:
    asked = settings("Lobby", "--as", "John")
    assert (asked.room, asked.nick, asked.servers) == ("lobby", "John", [Endpoint("localhost", 5222)])
    assert (asked.login.domain, asked.login.account, asked.login.tls) == ("localhost", None, "starttls")


def test_the_domain_is_the_accounts_else_the_servers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(chat.PASSWORD_VARIABLE, "secret")
    assert settings("r", "--as", "J", "--server", "chat.example.org:1").login.domain == "chat.example.org"
    assert settings("r", "--as", "J", "--server", "127.0.0.1").login.domain == "localhost"
    assert settings("r", "--as", "J", "--server", "127.0.0.1", "--domain", "x.org").login.domain == "x.org"
    asked = settings("r@rooms.x.org", "--as", "J", "--account", "John@X.org", "--tls", "direct")
    assert (asked.room, asked.login.account, asked.login.domain) == ("r@rooms.x.org", "john@x.org", "x.org")
    assert (asked.login.password, asked.servers) == ("secret", [Endpoint("x.org", 5223)])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["r"], "the following arguments are required: --as"),
        (["r", "--as", "  "], "--as needs a name"),
        (["r", "--as", "\u202e"], "cannot be a name in a room"),
        (["a b", "--as", "J"], "is no room"),
        (["r@x/y", "--as", "J"], "is no room; write NAME or NAME@SERVICE"),
        (["@x", "--as", "J"], "no room"),
        (["r", "--as", "J", "--server", "a:b"], "--server: the port"),
        (["r", "--as", "J", "--server", ""], "--server: a server has no name"),
        (["r", "--as", "J", "--domain", "a@b"], "'a@b' is no domain"),
        (["r", "--as", "J", "--account", "b.org"], "names no account"),
        (["r", "--as", "J", "--account", "a@b/c"], "names no account"),
        (
            ["r", "--as", "J", "--account", "a@b"],
            "no password: give --password-file FILE or set MEGAPHONE_CHAT_PASSWORD",
        ),
        (["r", "--as", "J", "--account", "a@b", "--domain", "c"], "is not of the domain c"),
        (["r", "--as", "J", "--account", "a@b", "--password-file", "/dev/null"], "the password is empty"),
        (["r", "--as", "J", "--room-password-file", "/nonexistent"], "/nonexistent: No such file"),
        (["r", "--as", "J", "--ca", "/etc/hosts"], "/etc/hosts: holds no PEM certificate"),
        (["r", "--as", "J", "--ca", "/etc/hosts", "--insecure"], "not allowed with argument"),
        (["r", "--as", "J", "--history", "1001"], "is no number from 0 to 1000"),
        (["r", "--as", "J", "--timeout", "0"], "is no time"),
        (["r", "--as", "J", "--tls", "maybe"], "invalid choice"),
    ],
)
def test_wrong_usage(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv(chat.PASSWORD_VARIABLE, raising=False)
    with (tmp_path / "empty").open("w+") as empty:
        monkeypatch.setattr("sys.stdin", empty)
        try:
            code = main(["chat", *words])
        except SystemExit as exited:
            code = int(str(exited.code))
    captured = capsys.readouterr()
    assert (code, captured.out) == (2, "")
    assert said in captured.err


def test_without_its_optional_part(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert main(["chat", "r", "--as", "J"]) == 2
    assert capsys.readouterr().err == (
        "megaphone: error: chat needs slixmpp, which is an optional part: pip install '.[chat]' in a checkout\n"
    )
