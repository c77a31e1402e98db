"""Another program in this process: it is asked first whether it could go on, then takes everything over by exec.

    python -m megaphone.supervisor check FD     a child: says whether it could go on from the state in FD
    python -m megaphone.supervisor resume FD    the same process after execve(2): goes on

The child gets the state and no other descriptor, so it can do no harm. The process keeps its number, its children, its
limits and what systemd has put into its environment.
"""

import os
import subprocess
import sys
from typing import Final, NoReturn

import msgspec
import trio

from megaphone.supervisor import state as states
from megaphone.supervisor.process import environment
from megaphone.supervisor.program import Program
from megaphone.supervisor.state import NodeState

CHECK_SECONDS: Final = 60.0
_OUTPUT_LIMIT_BYTES: Final = 65_536
_REASON_LIMIT: Final = 1000  # characters


async def check(program: Program, state: NodeState) -> str:
    """Why the program cannot go on from this state; "" when it can, as it says itself."""
    descriptor = states.write(state)
    try:
        process = await trio.lowlevel.open_process(
            [*program.command, "check", str(descriptor)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=(descriptor,),
            env=program.environment(environment(os.environ)),
        )
    except OSError as error:
        return f"{program.command[0]} cannot be started: {error.strerror}"
    finally:
        os.close(descriptor)
    try:
        with trio.fail_after(CHECK_SECONDS):
            said, complained = await _outputs(process)
            returncode = await process.wait()
    except trio.TooSlowError:
        return f"the new program did not say within {CHECK_SECONDS:g} s whether it can go on"
    finally:
        process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()
    if returncode:
        return _last_line(complained) or f"the new program ended with status {returncode}"
    return _mismatch(program, said)


async def _outputs(process: trio.Process) -> tuple[bytes, bytes]:
    found = {1: b"", 2: b""}

    async def read(number: int, stream: trio.abc.ReceiveStream | None) -> None:
        while stream is not None and (data := await stream.receive_some(_OUTPUT_LIMIT_BYTES)):
            found[number] = (found[number] + data)[-_OUTPUT_LIMIT_BYTES:]

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read, 1, process.stdout)
        nursery.start_soon(read, 2, process.stderr)
    return found[1], found[2]


def _last_line(text: bytes) -> str:
    lines = [line.strip() for line in text.decode("utf-8", "replace").splitlines() if line.strip()]
    return lines[-1].removeprefix("megaphone: error: ")[:_REASON_LIMIT] if lines else ""


def _mismatch(wanted: Program, said: bytes) -> str:
    try:
        found = msgspec.json.decode(_last_line(said), type=Program)
    except msgspec.DecodeError:
        return "the new program is not one that can take over: it did not say what it is"
    if wanted.fingerprint and not found.is_same_as(wanted):
        return (
            f"the program is another one than was asked for when this process starts it: "
            f"{found.version} ({found.fingerprint}), not {wanted.version} ({wanted.fingerprint})"
        )
    return ""


def execute(program: Program, state: NodeState) -> NoReturn:
    """Becomes the program, which goes on from the state; OSError when it cannot be started, and nothing has changed."""
    descriptor = states.write(state)
    inherited = [descriptor, *states.descriptors(state)]
    sys.stdout.flush()
    sys.stderr.flush()
    try:
        for each in inherited:
            os.set_inheritable(each, True)
        os.execve(  # noqa: S606 - what was asked for over the control socket, by the user we run as or by root
            program.command[0],
            [*program.command, "resume", str(descriptor)],
            program.environment(os.environ),
        )
    finally:
        for each in inherited:
            os.set_inheritable(each, False)
        os.close(descriptor)
