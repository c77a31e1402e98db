"""The supervisor together with its pages: opens every address first, then runs until the node has drained.

Or until it leaves everything to another program of this process: `run` then returns the state that one goes on from.
"""

import os
from collections.abc import Awaitable, Callable
from typing import Final

import trio

from megaphone import __version__
from megaphone.config.schema import Config
from megaphone.errors import MegaphoneError
from megaphone.supervisor import signals
from megaphone.supervisor.admin import Admin
from megaphone.supervisor.banner import banner
from megaphone.supervisor.holdings import Holdings
from megaphone.supervisor.listeners import Bound
from megaphone.supervisor.notify import Notifier
from megaphone.supervisor.program import Program, running
from megaphone.supervisor.role import Role
from megaphone.supervisor.state import VERSION, Duplicate, NodeState, UpgradeState
from megaphone.supervisor.supervisor import Supervisor
from megaphone.supervisor.upgrade import Upgrade

_LEAVE_SECONDS: Final = 2.0  # for operators' requests that are being answered


class Node:
    """One machine's Megaphone, from the opened addresses to the end of the drain."""

    def __init__(
        self,
        config: Config,
        *,
        config_text: str,
        config_path: str,
        notifier: Notifier,
        role: Role,
        program: Program | None = None,
        left: NodeState | None = None,
    ) -> None:
        """Opens everything, ConfigError when an address cannot be; or goes on with what another program has left."""
        self.holdings = Holdings(config, config_path) if left is None else Holdings.adopt(left)
        self.supervisor = Supervisor(
            config,
            self.holdings,
            config_text=config_text,
            config_path=config_path,
            notifier=notifier,
            role=role,
            program=program or running(),
        )
        if left is not None:
            self.supervisor.adopt(left.seats)
        self.upgrade = Upgrade(self.supervisor, UpgradeState() if left is None else left.upgrade)
        self._goes_on = self.upgrade.under_way
        self._left = False

    @classmethod
    def resume(cls, left: NodeState, role: Role, notifier: Notifier, program: Program | None = None) -> "Node":
        """The node that another program of this process has left; ConfigError if we cannot use its configuration."""
        return cls(
            role.parse(left.config_text, left.config_path),
            config_text=left.config_text,
            config_path=left.config_path,
            notifier=notifier,
            role=role,
            program=program,
            left=left,
        )

    @property
    def admin_address(self) -> str:
        """Where the admin pages are, with the real port; "" when they are switched off."""
        return self.holdings.admin[0].address if self.holdings.admin else ""

    def banner(self) -> str:
        """What listens where, and what it fronts."""
        return banner(
            self.supervisor.config,
            self.supervisor.listeners.bound,
            version=__version__,
            pid=os.getpid(),
            workers=len(self.supervisor.seats),
            config_path=self.supervisor.config_path,
            admin=self.admin_address,
        )

    async def run(self) -> NodeState | None:
        """Runs until the node has drained, then returns None, or was left; raises what the supervisor raises."""
        failure: MegaphoneError | None = None
        left: NodeState | None = None
        admin = Admin(self.supervisor, self.upgrade, self.snapshot, admin_address=self.admin_address)
        try:
            async with trio.open_nursery() as requests:
                accepting = await requests.start(self._accept, admin, requests)
                requests.start_soon(self._leave, admin, accepting)
                if self._goes_on:
                    requests.start_soon(self.upgrade.go_on)
                try:
                    await self.supervisor.run()
                except MegaphoneError as error:
                    failure = error  # not raised here: a nursery would wrap it in a group
                requests.cancel_scope.cancel()
            if self._left:
                left = self.state(os.dup)
        finally:
            self.holdings.close(keep_files=left is not None)
            self.supervisor.notifier.close()
        if failure is not None:
            raise failure
        return left

    async def _accept(
        self,
        admin: Admin,
        requests: trio.Nursery,
        task_status: trio.TaskStatus[trio.CancelScope] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        async with trio.open_nursery() as accepting:
            for bound in self.holdings.admin:
                accepting.start_soon(_serve, admin.serve_tcp, bound, requests)
            if self.holdings.control is not None:
                accepting.start_soon(_serve, admin.serve_control, self.holdings.control, requests)
            task_status.started(accepting.cancel_scope)

    async def _leave(self, admin: Admin, accepting: trio.CancelScope) -> None:
        """When another program is to go on: who connects and what is signalled from now on waits for it."""
        await self.upgrade.approved.wait()
        signals.hold()
        accepting.cancel()
        await admin.finish(_LEAVE_SECONDS)
        if self.supervisor.draining.is_set():
            self.upgrade.refuse("the node is draining")
            signals.release()
            return
        self._left = True
        self.supervisor.leave()

    def snapshot(self) -> NodeState:
        """What another program would go on from, as it is now."""
        return self.state(lambda descriptor: descriptor)

    def state(self, duplicate: Duplicate) -> NodeState:
        """What another program goes on from, with descriptors that `duplicate` makes of ours."""
        supervisor, held = self.supervisor, self.holdings
        last = held.last_reload
        return NodeState(
            version=VERSION,
            role=supervisor.role.name,
            program=supervisor.program,
            config_path=supervisor.config_path,
            config_text=supervisor.config_text,
            started_at_seconds=held.started_at_seconds,
            seats=[seat.keep(duplicate, supervisor.config_text) for seat in held.seats],
            listeners=[bound.state(duplicate) for bound in held.listeners.bound],
            admin=[bound.state(duplicate) for bound in held.admin],
            control=None if held.control is None else held.control.state(duplicate),
            board_bytes=held.seats[0].board.size_bytes,
            sketch_fd=duplicate(held.sketch.descriptor),
            sketch_bytes=len(held.sketch.memory),
            bus=held.bus.state(duplicate),
            ticket_keys=list(held.ticket_keys.keys),
            ticket_keys_made_seconds=held.ticket_keys.made_seconds,
            history=[(entry.at_seconds, entry.worker) for entry in held.history],
            reloads=dict(held.reloads),
            last_reload=last and (last[0], last[1].reason, last[1].workers),
            requests=[(path, status, count) for (path, status), count in held.requests.items()],
            upgrade=self.upgrade.state,
        )


async def _serve(serve: Callable[[trio.SocketStream], Awaitable[None]], bound: Bound, requests: trio.Nursery) -> None:
    # Duplicates: when the loop is done with them, the sockets themselves stay open.
    listeners = [trio.SocketListener(trio.socket.from_stdlib_socket(each.dup())) for each in bound.sockets]
    await trio.serve_listeners(serve, listeners, handler_nursery=requests)
