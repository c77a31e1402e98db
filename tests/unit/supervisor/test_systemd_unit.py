"""The systemd units: systemd accepts them, and they fit what the supervisor does."""

import configparser
import shutil
import subprocess
from pathlib import Path

import pytest

from megaphone.cli.output import DEFAULT_CONFIG, DEFAULT_HUB_CONFIG, USAGE
from megaphone.config.hub import HubAdmin
from megaphone.config.schema import Config

MOST_EXPOSURE = 1.5
UNITS = Path(__file__).parents[3] / "deploy" / "systemd"
COMMANDS = {
    "megaphone.service": tuple(f"{words} -c {DEFAULT_CONFIG}" for words in ("serve", "check", "reload")),
    "megaphone-hub.service": tuple(f"{words} -c {DEFAULT_HUB_CONFIG}" for words in ("hub", "hub --check", "reload")),
}


@pytest.fixture(params=COMMANDS)
def unit(request: pytest.FixtureRequest) -> Path:
    return UNITS / str(request.param)


@pytest.fixture
def service(unit: Path) -> configparser.SectionProxy:
    parser = configparser.RawConfigParser(strict=False, allow_no_value=True)  # SystemCallFilter= is there twice
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read(unit)
    return parser["Service"]


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
def test_systemd_understands_it(unit: Path) -> None:
    done = subprocess.run(
        ["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, timeout=60, check=False
    )
    about_it = [line for line in done.stderr.splitlines() if unit.name in line]
    assert (done.returncode, about_it) == (0, [])


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
def test_it_exposes_little(unit: Path) -> None:
    """systemd's own judgement, from 0 (nothing) to 10; a service without any restriction has 9.6."""
    words = ["systemd-analyze", "security", "--offline=true", f"--threshold={MOST_EXPOSURE * 10:.0f}", str(unit)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout
    assert "Overall exposure level" in done.stdout


def test_it_waits_for_the_drain_and_does_not_repeat_what_cannot_work(service: configparser.SectionProxy) -> None:
    config = Config()
    assert int(service["TimeoutStopSec"]) > config.drain.deadline_seconds
    assert int(service["TimeoutStartSec"]) > config.restart.start_timeout_seconds
    assert service["RestartPreventExitStatus"] == str(USAGE)
    assert service["KillMode"] == "mixed"
    assert service["Type"].startswith("notify")


def test_it_provides_what_the_defaults_need(unit: Path, service: configparser.SectionProxy) -> None:
    config = Config()
    serve, check, _ = COMMANDS[unit.name]
    assert service["ExecStart"].endswith(f" megaphone {serve}")
    assert service["ExecStartPre"].endswith(f" megaphone {check}")
    for socket in (config.admin.socket, HubAdmin().socket):
        assert socket.startswith(f"/run/{service['RuntimeDirectory']}/")
    assert int(service["LimitNOFILE"]) > 2 * config.node.max_connections


def test_it_feeds_the_watchdog_and_can_be_reloaded(unit: Path, service: configparser.SectionProxy) -> None:
    config = Config()
    assert int(service["WatchdogSec"]) > config.restart.heartbeat_timeout_seconds
    assert service["NotifyAccess"] == "main"
    *_, reload = COMMANDS[unit.name]
    assert service["ExecReload"].endswith(f" megaphone {reload}")
    upgrade = config.upgrade.deadline_seconds + config.drain.deadline_seconds + config.restart.start_timeout_seconds
    assert int(service["TimeoutStartSec"]) > 2 * upgrade
    assert service["Restart"] == "on-failure"
