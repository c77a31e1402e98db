"""Runs a node until it has drained, in this program or, after an upgrade, in another one of the same process."""

import gc

import msgspec
import trio

from megaphone import log
from megaphone.supervisor import reexec, signals
from megaphone.supervisor.node import Node
from megaphone.supervisor.state import NodeState
from megaphone.supervisor.upgrade import REFUSED

_log = log.get_logger("supervisor")


def serve(node: Node) -> None:
    """Returns when the node has drained; raises what `Node.run` raises."""
    signals.prepare()
    while (left := trio.run(node.run)) is not None:
        reason = _become_other(left)
        _log.error("this program goes on", reason=reason)
        supervisor = node.supervisor
        node = Node.resume(refused(left, reason), supervisor.role, supervisor.notifier.again(), supervisor.program)
        del supervisor
        gc.collect()  # the mappings of shared memory have descriptors of their own


def _become_other(left: NodeState) -> str:
    """Why the other program could not be started; else it does not return."""
    assert left.upgrade.to is not None  # noqa: S101 - that is why the node was left
    try:
        reexec.execute(left.upgrade.to, left)
    except OSError as error:
        return f"{left.upgrade.to.command[0]} cannot be started: {error.strerror}"


def refused(left: NodeState, reason: str) -> NodeState:
    """The state with the upgrade stopped: nothing has changed."""
    counts = left.upgrade.counts | {REFUSED: left.upgrade.counts.get(REFUSED, 0) + 1}
    upgrade = msgspec.structs.replace(left.upgrade, stage=REFUSED, reason=reason, counts=counts)
    return msgspec.structs.replace(left, upgrade=upgrade)
