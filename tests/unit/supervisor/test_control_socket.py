"""The control socket's file: whose it is, and when it may be replaced."""

import os
import socket
import stat
from pathlib import Path

import pytest

from megaphone.errors import ConfigError
from megaphone.supervisor.control_socket import open_control_socket


def open_at(path: Path) -> None:
    open_control_socket(str(path), file="m.toml").close()


def test_it_is_created_with_its_directory_for_the_owner_only(directory: Path) -> None:
    path = directory / "new" / "deeper" / "admin.sock"
    control = open_control_socket(str(path), file="m.toml")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
    control.close()
    assert not path.exists()


def test_the_file_mode_does_not_depend_on_the_umask_and_leaves_it_alone(directory: Path) -> None:
    before = os.umask(0)
    try:
        control = open_control_socket(str(directory / "admin.sock"), file="m.toml")
        assert stat.S_IMODE((directory / "admin.sock").stat().st_mode) == 0o600
        control.close()
        assert os.umask(0) == 0
    finally:
        os.umask(before)


def test_a_stale_file_is_replaced(directory: Path) -> None:
    path = directory / "admin.sock"
    with socket.socket(socket.AF_UNIX) as killed:
        killed.bind(str(path))
    assert path.exists()
    open_at(path)


def test_one_that_answers_is_not_replaced(directory: Path) -> None:
    path = directory / "admin.sock"
    first = open_control_socket(str(path), file="m.toml")
    with pytest.raises(ConfigError, match=r"m.toml: admin.socket: another Megaphone is running and answers on"):
        open_at(path)
    assert path.exists()
    first.close()


def test_one_with_a_full_queue_is_not_replaced_either(directory: Path) -> None:
    path = directory / "admin.sock"
    with socket.socket(socket.AF_UNIX) as busy, socket.socket(socket.AF_UNIX) as waiting:
        busy.bind(str(path))
        busy.listen(0)
        waiting.connect(str(path))
        with pytest.raises(ConfigError, match="another Megaphone is running"):
            open_at(path)


def test_closing_does_not_remove_a_successors_file(directory: Path) -> None:
    path = directory / "admin.sock"
    first = open_control_socket(str(path), file="m.toml")
    path.unlink()
    second = open_control_socket(str(path), file="m.toml")
    first.close()
    assert path.exists()
    second.close()


def test_another_kind_of_file_is_left_alone(directory: Path) -> None:
    path = directory / "admin.sock"
    path.write_text("precious")
    with pytest.raises(ConfigError, match="exists and is not a socket"):
        open_at(path)
    assert path.read_text() == "precious"


def test_a_directory_that_cannot_be_made(directory: Path) -> None:
    (directory / "file").write_text("")
    with pytest.raises(ConfigError, match=r"cannot create .*: (Not a directory|File exists)"):
        open_at(directory / "file" / "admin.sock")


def test_a_path_that_is_too_long(directory: Path) -> None:
    with pytest.raises(ConfigError, match="is longer than the 107 bytes"):
        open_at(directory / ("x" * 108))
