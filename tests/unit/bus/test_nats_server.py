"""The engine: which nats-server is taken, that ours starts with our configuration and ends, and what is said if not."""

from __future__ import annotations

import json
import os
import stat
from typing import TYPE_CHECKING

import pytest

from megaphone.bus.nats_access import Access, read_servers
from megaphone.bus.nats_connection import MINIMUM_VERSION
from megaphone.bus.nats_server import NATSServer, Settings, configuration, find_program, program_version
from megaphone.errors import BusError
from tests.servers.process import free_port
from tests.unit.bus.test_nats import opened, run

if TYPE_CHECKING:
    from pathlib import Path


def script(path: Path, says: str) -> str:
    path.write_text(f"#!/bin/sh\necho '{says}'\n")
    path.chmod(0o755)
    return str(path)


def test_the_one_of_this_environment_is_new_enough() -> None:
    assert program_version(find_program()) >= MINIMUM_VERSION


def test_one_on_the_path_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = script(tmp_path / "nats-server", "nats-server: v2.12.0")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("sysconfig.get_path", lambda name: str(tmp_path / "nothing"))
    assert find_program() == program


@pytest.mark.parametrize(
    ("says", "words"),
    [("nats-server: v2.10.29", "is 2.10.29, too old"), ("Hello", "is no nats-server"), (None, "No such file")],
)
def test_one_that_cannot_be_used(tmp_path: Path, says: str | None, words: str) -> None:
    path = tmp_path / "nats-server"
    if says is not None:
        script(path, says)
    with pytest.raises(BusError, match=words) as raised:
        find_program(str(path))
    assert "2.12 or newer is needed" in str(raised.value)


def test_none_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("sysconfig.get_path", lambda name: str(tmp_path))
    with pytest.raises(BusError, match="none on PATH"):
        find_program()


def test_it_starts_on_any_port_lets_us_in_and_ends(tmp_path: Path) -> None:
    server = NATSServer(Settings(tmp_path / "nats", user="node", password='h"u\\sh $x'))
    server.start()
    pid = server.pid
    try:
        assert server.port > 0

        async def scenario() -> None:
            access = Access(read_servers(server.url), user="node", password='h"u\\sh $x')
            async with opened(access) as bus:
                assert bus.connection.info["jetstream"]
                assert bus.publish("news", b"")
                await bus.round_trip()

        run(scenario())
        mode = stat.S_IMODE((tmp_path / "nats" / "nats-server.conf").stat().st_mode)
        assert mode == 0o600
    finally:
        server.stop()
    server.stop()
    assert server.pid == 0
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_why_it_does_not_start(tmp_path: Path) -> None:
    server = NATSServer(Settings(tmp_path / "nats", port=free_port(), certificate=str(tmp_path / "none"), key="none"))
    with pytest.raises(BusError, match=r"did not start: .*none"):
        server.start()
    assert server.pid == 0


def test_limits_are_in_the_configuration(tmp_path: Path) -> None:
    settings = Settings(tmp_path, payload_bytes=1, pending_bytes=2, store_bytes=3, connections=4)
    said = json.loads(configuration(settings))
    assert [said[key] for key in ("max_payload", "max_pending", "max_connections")] == [1, 2, 4]
    assert said["jetstream"]["max_file_store"] == 3
    assert said["host"] == "127.0.0.1"
