"""A swarm without a server: what it refuses, how it counts failures, and how it says that descriptors are missing."""

import socket
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from loadtest.swarm import Accounts, Settings, Swarm, SwarmError, Target, TargetError

TARGET = Target(host="127.0.0.1", ports=(9,), domain="a.test")


@pytest.fixture
def swarm() -> Iterator[Swarm]:
    with Swarm(TARGET, Accounts.anonymous(), limit=100) as made:
        yield made


@pytest.fixture
def refusing_port() -> Iterator[int]:
    with socket.socket() as bound:  # bound, but not listening
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


def test_what_it_refuses(swarm: Swarm) -> None:
    with pytest.raises(SwarmError, match="at most 100"):
        swarm.open(101)
    with pytest.raises(SwarmError, match="regular, slow, half-open, silent, hostile, not 'lazy'"):
        swarm.open(1, behaviour="lazy")  # type: ignore[arg-type]
    with pytest.raises(SwarmError, match="log in at once"):
        swarm.open(1, at_once=0)
    with pytest.raises(SwarmError, match="not the JID of a room"):
        swarm.enter(["a<b"], 1)
    with pytest.raises(SwarmError, match="different rooms"):
        swarm.enter(["a@rooms.test", "A@rooms.test"], 1)
    with pytest.raises(SwarmError, match="full JIDs"):
        swarm.peers(b"a'b")
    with pytest.raises(SwarmError, match="chat_per_second"):
        swarm.change(chat_per_second=-1)
    with pytest.raises(TargetError, match="different kinds"):
        Swarm(Target(host="127.0.0.1", ports=(1,), domain="a", source_addresses=("::1",)), Accounts.anonymous())
    with pytest.raises(TargetError, match="cannot trust"):
        Swarm(Target(host="::1", ports=(1,), domain="a", security="tls", ca_file="/missing"), Accounts.anonymous())
    with pytest.raises(SwarmError, match="1 to 1000000"):
        Swarm(TARGET, Accounts.anonymous(), limit=0)


def test_after_its_end(swarm: Swarm) -> None:
    swarm.free()
    swarm.free()
    for act in (swarm.turn, swarm.counters, swarm.fileno, swarm.jids):
        with pytest.raises(SwarmError, match="freed"):
            act()


def test_peers_are_counted_and_replaced(swarm: Swarm) -> None:
    swarm.peers(b"a@b/c\nd@e/f\n\ng@h/i")
    assert swarm.counters()["peers"] == 3
    swarm.peers(b"")
    assert swarm.counters()["peers"] == 0
    assert swarm.jids() == b""


def test_nobody_can_chat_alone(swarm: Swarm) -> None:
    swarm.change(chat_per_second=1000)
    assert swarm.wait(lambda: swarm.counters()["chat_unsent"] >= 10, 10)
    assert swarm.counters()["chat_sent"] == 0


def test_sessions_that_were_not_begun_can_be_dropped(swarm: Swarm) -> None:
    swarm.open(100)
    swarm.close(40)
    assert swarm.counters()["wanted"] == 60
    swarm.abort()
    assert swarm.counters()["wanted"] == swarm.counters()["connects"] == 0


def test_a_refused_connection_is_a_failure_by_its_reason(refusing_port: int) -> None:
    target = Target(host="127.0.0.1", ports=(refusing_port,), domain="a.test")
    with Swarm(target, Accounts.anonymous()) as swarm:
        swarm.open(300)
        assert swarm.wait(lambda: swarm.counters()["login_failures"] == 300, 10)
        assert swarm.failures() == {"connect:ECONNREFUSED": 300}
        assert swarm.counters()["connecting"] == swarm.counters()["waiting"] == 0


def test_who_is_refused_comes_back_later_and_later(refusing_port: int) -> None:
    target = Target(host="127.0.0.1", ports=(refusing_port,), domain="a.test")
    settings = Settings(reconnect=True, reconnect_seconds=0.02, reconnect_limit_seconds=86_400)
    with Swarm(target, Accounts.anonymous(), settings) as swarm:
        swarm.open(20)
        assert swarm.wait(lambda: swarm.counters()["reconnects"] >= 60, 20)
        assert swarm.counters()["waiting"] + swarm.counters()["connecting"] == 20
        swarm.close()
        assert swarm.counters()["waiting"] == 0


def test_new_connections_are_paced(refusing_port: int) -> None:
    target = Target(host="127.0.0.1", ports=(refusing_port,), domain="a.test")
    with Swarm(target, Accounts.anonymous()) as swarm:
        began = time.monotonic()
        swarm.open(1000, per_second=100)
        swarm.wait(lambda: False, 0.5)
        seconds = time.monotonic() - began  # more than half of one, on a busy machine
        assert 0 < swarm.counters()["connects"] <= 100 * seconds + 10 < 1000


SHORT_OF_DESCRIPTORS = """
import resource
from loadtest.swarm import Accounts, DescriptorLimitError, Swarm, Target

resource.setrlimit(resource.RLIMIT_NOFILE, (100, 200))
swarm = Swarm(Target(host="127.0.0.1", ports=(9,), domain="a.test"), Accounts.anonymous())
swarm.open(120)  # the soft limit is raised for it
assert resource.getrlimit(resource.RLIMIT_NOFILE) == (200, 200)
try:
    swarm.open(100)
except DescriptorLimitError as error:
    assert error.asked == 100 and error.limit == 200 and error.used > 120, vars(error)
    print(error)
"""


def test_too_few_descriptors_are_told_with_numbers() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SHORT_OF_DESCRIPTORS], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert "100 more sessions need 100 descriptors" in done.stdout
    assert "of 200 (RLIMIT_NOFILE)" in done.stdout
