"""The systemd unit: systemd accepts it, and it fits what the supervisor does."""

import configparser
import shutil
import subprocess
from pathlib import Path

import pytest

from megaphone.cli.output import DEFAULT_CONFIG, USAGE
from megaphone.config.schema import Config

UNIT = Path(__file__).parents[3] / "deploy" / "systemd" / "megaphone.service"


@pytest.fixture
def service() -> configparser.SectionProxy:
    parser = configparser.RawConfigParser(strict=True, allow_no_value=True)
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read(UNIT)
    return parser["Service"]


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
def test_systemd_understands_it() -> None:
    done = subprocess.run(
        ["systemd-analyze", "verify", str(UNIT)], capture_output=True, text=True, timeout=60, check=False
    )
    about_it = [line for line in done.stderr.splitlines() if UNIT.name in line]
    assert (done.returncode, about_it) == (0, [])


def test_it_waits_for_the_drain_and_does_not_repeat_what_cannot_work(service: configparser.SectionProxy) -> None:
    config = Config()
    assert int(service["TimeoutStopSec"]) > config.drain.deadline_seconds
    assert int(service["TimeoutStartSec"]) > config.restart.start_timeout_seconds
    assert service["RestartPreventExitStatus"] == str(USAGE)
    assert service["KillMode"] == "mixed"
    assert service["Type"].startswith("notify")


def test_it_provides_what_the_defaults_need(service: configparser.SectionProxy) -> None:
    config = Config()
    assert f"serve -c {DEFAULT_CONFIG}" in service["ExecStart"]
    assert config.admin.socket.startswith(f"/run/{service['RuntimeDirectory']}/")
    assert int(service["LimitNOFILE"]) > 2 * config.node.max_connections
