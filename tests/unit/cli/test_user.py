"""`megaphone user` on a database of its own: what is printed, what is kept, and every refusal."""

import json
import os
import pty
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from megaphone.cli.main import main
from megaphone.service.accounts import PasswordCheck
from megaphone.service.tokens import TokenKey, TokenKeys
from megaphone.storage.accounts import SQLiteAccounts
from megaphone.storage.storage import Storage
from megaphone.stream.jid import JID

CONFIG = """\
[[listen]]
address = "127.0.0.1:5222"
tls = "none"

[[domain]]
name = "montague.example"

[service]
data = "data"

[admin]
socket = "{directory}/admin.sock"
"""
ROMEO = JID("romeo", "montague.example")


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "m.toml"
    path.write_text(CONFIG.format(directory=tmp_path))
    return path


def holds(config: Path, password: str, account: JID = ROMEO) -> bool:
    """Whether a login with this password would succeed."""
    storage = Storage(str(config.parent / "data"))
    try:
        found = SQLiteAccounts(storage).credentials(account)
    finally:
        storage.close()
    return found is not None and not found.disabled and PasswordCheck(password, found.sha256).holds()


def user(config: Path, *words: str) -> int:
    return main(["user", *words, "-c", str(config)])


def test_an_account_from_its_making_to_its_end(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    secret = config.parent / "password"
    secret.write_text("wherefore art thou\nsecond line\n")
    assert user(config, "add", "romeo", "--password-file", str(secret)) == 0
    assert capsys.readouterr().out == "added romeo@montague.example\n"
    assert holds(config, "wherefore art thou")
    assert not holds(config, "second line")

    assert user(config, "passwd", "Romeo@Montague.Example", "--random") == 0
    shown = re.fullmatch(
        r"changed the password of romeo@montague.example, password: (\S{16})\n", capsys.readouterr().out
    )
    assert shown is not None
    assert holds(config, shown[1])
    assert not holds(config, "wherefore art thou")

    assert user(config, "disable", "romeo") == 0
    assert not holds(config, shown[1])
    assert user(config, "enable", "romeo") == 0
    assert holds(config, shown[1])
    assert user(config, "remove", "romeo") == 0
    assert not holds(config, shown[1])
    assert capsys.readouterr().out.splitlines() == [
        "disabled romeo@montague.example",
        "enabled romeo@montague.example",
        "removed romeo@montague.example",
    ]
    assert (config.parent / "data").stat().st_mode & 0o777 == 0o700
    assert (config.parent / "data" / "megaphone.sqlite3").stat().st_mode & 0o777 == 0o600


def test_the_list(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert user(config, "list", "--json") == 0
    assert capsys.readouterr().out == "[]\n"
    before = time.time()
    for name in ("romeo", "Bücher", "juliet"):
        assert user(config, "add", name, "--random") == 0
    assert user(config, "disable", "juliet") == 0
    capsys.readouterr()
    assert user(config, "list", "--json") == 0
    listed = json.loads(capsys.readouterr().out)
    assert [each["jid"] for each in listed] == [
        "bücher@montague.example",
        "juliet@montague.example",
        "romeo@montague.example",
    ]
    assert [each["disabled"] for each in listed] == [False, True, False]
    for each in listed:
        assert before <= each["created_unix_seconds"] == each["password_set_unix_seconds"] <= time.time()
        assert each["waiting_messages"] == 0
    assert user(config, "list") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split("  ")[0] == "ACCOUNT"
    assert len(lines) == 4


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (
            ["add", "romeo", "--random"],
            1,
            "there is an account romeo@montague.example already; `megaphone user passwd`",
        ),
        (["passwd", "nobody", "--random"], 1, "there is no account nobody@montague.example"),
        (["remove", "nobody"], 1, "there is no account nobody@montague.example"),
        (["disable", "nobody"], 1, "there is no account nobody@montague.example"),
        (["enable", "nobody"], 1, "there is no account nobody@montague.example"),
        (["add", "juliet@capulet.example", "--random"], 2, "the domain of {file} is montague.example"),
        (["add", "ju/liet", "--random"], 2, "ju/liet is no JID: the local part 'ju/liet' holds one of"),
        (["add", "", "--random"], 2, " is not the JID of an account, such as juliet@montague.example"),
        (["add", "juliet@montague.example/balcony"], 2, "is not the JID of an account"),
        (["add", "juliet"], 2, "nobody is there to type a password"),
        (["add", "juliet", "--password-file", "/nonexistent"], 2, "/nonexistent: cannot be read: No such file"),
        (["add", "juliet", "--password-file", "{empty}"], 2, "the password is empty"),
        (["add", "juliet", "--password-file", "{long}"], 2, "a password has at most 1023 bytes"),
        (["add", "juliet", "--password-file", "{binary}"], 2, "{binary}: is not UTF-8"),
        (["add", "juliet", "--password-file", "{control}"], 2, "this cannot be a password: "),
        (["token", "romeo"], 2, "{file}: token_key: there is no [[token_key]] to sign tokens with"),
        (["token", "romeo", "--days", "0"], 2, "--days must be above 0 and at most 3650, not 0"),
        (["token", "romeo", "--days", "nan"], 2, "--days must be above 0 and at most 3650, not nan"),
    ],
)
def test_refusals(
    config: Path, words: list[str], code: int, said: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert user(config, "add", "romeo", "--random") == 0
    files = {"empty": b"\nx\n", "long": b"x" * 1024 + b"\n", "binary": b"\xff\n", "control": b"a\x07b\n"}
    names = {"file": str(config)}
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
        names[name] = str(tmp_path / name)
    assert user(config, *(word.format(**names) for word in words)) == code
    shown = capsys.readouterr().err
    assert shown.startswith("megaphone: error: ")
    assert said.format(**names) in shown
    assert user(config, "list") == 0
    assert "juliet" not in capsys.readouterr().out


@pytest.mark.parametrize(("second", "code", "said"), [("mercutio1", 0, "added"), ("mercutio2", 2, "two different")])
def test_a_password_is_asked_for_twice(config: Path, second: str, code: int, said: str) -> None:
    controlling, terminal = pty.openpty()
    asked = subprocess.Popen(
        [sys.executable, "-m", "megaphone", "user", "add", "romeo", "-c", str(config)],
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        start_new_session=True,  # without a controlling terminal, so that getpass uses this one
    )
    os.close(terminal)
    shown = b""
    for prompt, typed in ((b"Password for romeo@montague.example: ", "mercutio1"), (b"Once more: ", second)):
        while not shown.endswith(prompt):
            shown += os.read(controlling, 1000)
        os.write(controlling, typed.encode() + b"\n")
    while True:
        try:
            shown += os.read(controlling, 1000)
        except OSError:  # the other side is closed
            break
    os.close(controlling)
    assert asked.wait(60) == code, shown
    assert said.encode() in shown
    assert b"mercutio" not in shown
    assert holds(config, "mercutio1") == (code == 0)


def test_a_token_is_signed_with_the_first_key(config: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    keys = []
    for name in ("new", "old"):
        file = tmp_path / f"{name}.key"
        file.write_text(name * 20 + "\n")
        file.chmod(0o600)
        config.write_text(config.read_text() + f'[[token_key]]\nid = "{name}"\nsecret_file = "{name}.key"\n')
        keys.append(TokenKey(name, (name * 20).encode()))
    assert user(config, "token", "romeo", "--days", "2") == 0
    token = capsys.readouterr().out.strip()
    now = time.time()
    assert TokenKeys(ROMEO.domain, keys[:1]).check(token, now + 1.9 * 86_400) == ROMEO
    (tmp_path / "new.key").chmod(0o644)
    assert user(config, "token", "romeo") == 2
    assert "token_key[0].secret_file" in capsys.readouterr().err


def test_an_edge_has_no_accounts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from megaphone.config.rules import SMALLEST_CONFIG

    path = tmp_path / "edge.toml"
    path.write_text(SMALLEST_CONFIG)
    assert user(path, "list") == 2
    assert capsys.readouterr().err == f"megaphone: error: {path}: fronts servers that keep their accounts themselves\n"


def test_a_database_that_is_none(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = config.parent / "data"
    data.mkdir()
    (data / "megaphone.sqlite3").write_text("Two households, both alike in dignity, in fair Verona\n" * 100)
    assert user(config, "list") == 1
    assert capsys.readouterr().err == f"megaphone: error: {data}/megaphone.sqlite3: is not a database\n"
