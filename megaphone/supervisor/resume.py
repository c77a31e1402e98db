"""The new program's side of an upgrade: says whether it can go on from a state, and goes on.

`check` looks at everything that `resume` will need and that can be looked at without holding it: the state itself, the
configuration in it, the layout of shared memory, and that a worker of this version can be started. Should `resume` fail
all the same before it has taken hold, it puts the program before back in its place.
"""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from megaphone import log
from megaphone.errors import ConfigError, MegaphoneError, UpgradeError
from megaphone.supervisor import notify, open_files, reexec, state
from megaphone.supervisor.node import Node
from megaphone.supervisor.program import running
from megaphone.supervisor.role import ROLES, Role
from megaphone.supervisor.serve import refused, serve
from megaphone.supervisor.state import NodeState

_WORKER_SECONDS: Final = 30.0  # to load a worker's modules

_log = log.get_logger("supervisor")


def main(words: Sequence[str] | None = None, roles: Mapping[str, Role] = ROLES) -> int:
    """`check FD` or `resume FD`; the exit code is that of `megaphone serve`."""
    action, descriptor = sys.argv[1:] if words is None else words
    try:
        left = state.read(int(descriptor))
        if action == "check":
            return check(left, roles)
        os.close(int(descriptor))
        serve(resume(left, roles))
    except MegaphoneError as error:
        print(f"megaphone: error: {error}", file=sys.stderr)
        return 2 if isinstance(error, ConfigError) else 1
    return 0


def check(left: NodeState, roles: Mapping[str, Role]) -> int:
    """Says what this program is if it can go on from the state; UpgradeError or ConfigError if it cannot."""
    role = roles.get(left.role)
    if role is None:
        raise UpgradeError(f"this program knows no node of the kind {left.role}")
    state.check_memory(left)
    role.parse(left.config_text, left.config_path)
    _check_worker(role)
    print(msgspec.json.encode(running()).decode())
    return 0


def _check_worker(role: Role) -> None:
    """Loads the modules of a worker, compiled ones too, in a process of its own."""
    words = [role.worker_command[0], "-c", f"import {role.worker_module}"]
    try:
        done = subprocess.run(  # noqa: S603 - our own interpreter
            words, capture_output=True, text=True, timeout=_WORKER_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UpgradeError(f"a worker of this program cannot be started: {error}") from None
    if done.returncode:
        last = done.stderr.strip().rpartition("\n")[2]
        raise UpgradeError(f"a worker of this program cannot be started: {last or f'exit code {done.returncode}'}")


def resume(left: NodeState, roles: Mapping[str, Role]) -> Node:
    """The node, with everything in our hands; else the program before is back, and does not return."""
    for each in state.descriptors(left):
        os.set_inheritable(each, False)
    try:
        open_files.raise_limit()
        node = Node.resume(left, roles[left.role], notify.from_environment())
        settings = node.supervisor.config.log
        log.configure(settings.format, settings.level)
    except Exception as error:
        before = left.upgrade.of
        if before is not None and left.upgrade.stage == "supervisor":
            reexec.execute(before, refused(left, f"the new program could not go on: {error}"))
        raise
    _log.info("supervisor upgraded", version=node.supervisor.program.version, workers=len(left.seats))
    return node
