"""What there is without a configuration file: where its data are for whom, and that it can be used."""

import os

import pytest

from megaphone.config import default
from megaphone.config.load import check_environment, parse
from megaphone.config.rules import is_loopback
from megaphone.sockets.endpoint import parse_address
from tests.unit.config.test_environment import without_privileges


@pytest.fixture
def ordinary_user() -> None:
    """Leaves out machines where everybody may write to /var/lib/megaphone."""
    with without_privileges():
        if os.access(default.SYSTEM_DATA, os.W_OK, effective_ids=True):
            pytest.skip("an ordinary user may write to the system's data here")


@pytest.mark.usefixtures("ordinary_user")
@pytest.mark.parametrize(
    ("environment", "data", "socket"),
    [
        ({"XDG_DATA_HOME": "/d", "XDG_RUNTIME_DIR": "/r"}, "/d/megaphone", "/r/megaphone/admin.sock"),
        ({"XDG_DATA_HOME": "/d"}, "/d/megaphone", "/d/megaphone/admin.sock"),
        ({"XDG_DATA_HOME": "relative", "XDG_RUNTIME_DIR": "too"}, "{home}", "{home}/admin.sock"),
        ({}, "{home}", "{home}/admin.sock"),
    ],
)
def test_an_ordinary_users_files_are_their_own(environment: dict[str, str], data: str, socket: str) -> None:
    home = os.path.expanduser("~/.local/share/megaphone")
    with without_privileges():
        config = parse(default.default_text(environment), default.NAME)
    assert config.service.data == data.format(home=home)
    assert config.admin.socket == socket.format(home=home)


def test_roots_files_are_the_systems(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    config = parse(default.default_text({"XDG_DATA_HOME": "/d", "XDG_RUNTIME_DIR": "/r"}), default.NAME)
    assert (config.service.data, config.admin.socket) == ("/var/lib/megaphone", "/run/megaphone/admin.sock")


@pytest.mark.usefixtures("ordinary_user")
def test_it_serves_this_machine_only_and_can_be_used(tmp_path_factory: pytest.TempPathFactory) -> None:
    directory = tmp_path_factory.mktemp("d")  # a short name: a Unix socket's path has at most 107 bytes
    strange = directory / 'a "quoted" \\ name'
    strange.mkdir()
    directory.chmod(0o755)
    with without_privileges():
        text = default.default_text({"XDG_DATA_HOME": str(strange), "XDG_RUNTIME_DIR": str(strange)})
    config = parse(text, default.NAME)
    assert config.embedded
    assert config.service.data == f"{strange}/megaphone"
    assert config.service.anonymous
    assert not config.service.plain_without_tls
    for address in (*(listen.address for listen in config.listen), config.admin.address):
        assert is_loopback(parse_address(address).host)
    assert check_environment(config, default.NAME) == ()
