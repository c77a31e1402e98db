"""A child that an earlier program of this process has started."""

import os
import signal
import subprocess
import sys

import pytest
import trio

from megaphone.supervisor.process import Process, exit_text

pytestmark = pytest.mark.trio


def child(code: str) -> int:
    """Started behind Python's back, as it is after an exec."""
    return os.posix_spawn(sys.executable, [sys.executable, "-c", code], os.environ)


@pytest.mark.parametrize(
    ("code", "returncode", "text"),
    [
        ("", 0, "exited with status 0"),
        ("raise SystemExit(7)", 7, "exited with status 7"),
        ("import os; os.kill(os.getpid(), 9)", -9, "killed by SIGKILL"),
    ],
)
async def test_how_it_ended(code: str, returncode: int, text: str) -> None:
    process = Process(child(code))
    with trio.fail_after(60):
        assert await process.wait() == returncode
    assert (process.poll(), exit_text(returncode)) == (returncode, text)
    process.kill()  # nothing happens
    assert await process.wait() == returncode


async def test_it_can_be_killed_while_somebody_waits() -> None:
    process = Process(child("import time; time.sleep(1000)"))
    assert process.poll() is None
    async with trio.open_nursery() as nursery:
        with trio.fail_after(60):
            nursery.start_soon(process.wait)
            await trio.testing.wait_all_tasks_blocked()
            process.kill()
    assert process.poll() == -signal.SIGKILL


async def test_one_that_has_ended_before_is_waited_for() -> None:
    pid = child("")
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    with trio.fail_after(60):
        assert await Process(pid).wait() == 0


async def test_one_that_is_not_there() -> None:
    done = subprocess.Popen([sys.executable, "-c", ""])
    done.wait()
    with pytest.raises(ProcessLookupError):
        Process(done.pid)
