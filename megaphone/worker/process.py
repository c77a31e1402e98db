"""What every process under the supervisor does alike: its loop, its channel, the sweep, the drain, its log."""

from __future__ import annotations

import asyncio
import gc
import mmap
import signal
import time
from abc import ABC, abstractmethod
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import uvloop

from megaphone import log
from megaphone.dispatch.counters import BOARD_BYTES, Board, Reason, Slot
from megaphone.dispatch.gauges import gauge_slots
from megaphone.errors import ConfigError
from megaphone.sockets.poller import Poller
from megaphone.sockets.tls_tickets import set_ticket_keys
from megaphone.worker import drain, heartbeat, listing
from megaphone.worker.channel import Channel
from megaphone.worker.predecessor import HandOverError, Predecessor
from megaphone.worker.successor import Successor, TakeOverError

if TYPE_CHECKING:
    from collections.abc import Callable

    from megaphone.config.schema import Config
    from megaphone.dispatch.dispatcher import Dispatcher
    from megaphone.dispatch.moving import RestoreConnection, RestoreOwner, SharedPart
    from megaphone.uplink.health import HealthChecks
    from megaphone.uplink.pool import Upstream
    from megaphone.worker.predecessor import Outcome

FATAL_EXIT = 3
TAKE_OVER_EXIT = 4
SWEEPS_PER_SECOND = 8
_LEAVES_PER_TURN = 200
_LEAVE_SECONDS = 0.2


class Process(ABC):
    """One process; a subclass wires its parts together and says how they are opened, swept and closed."""

    config: Config
    dispatcher: Dispatcher
    checks: HealthChecks

    def __init__(self, start: dict[str, Any], channel: Channel, name: str) -> None:
        self._channel = channel
        self._file: str = start["config_path"]
        self.index: int = start["index"]
        self._workers = int(start["workers"])
        self._log = log.get_logger(name)
        set_ticket_keys([bytes.fromhex(key) for key in start["ticket_keys"]])
        self._board_memory = mmap.mmap(start["board_fd"], 0)
        self._take_over_fd: int = start.get("take_over_fd", -1)
        self.is_successor = self._take_over_fd >= 0  # what is shared is another process's until it has handed over
        self.board = Board(bytearray(BOARD_BYTES) if self.is_successor else self._board_memory)
        self.parts: list[SharedPart] = []
        self.restore_connection: dict[str, RestoreConnection] = {}
        self.restore_owner: dict[str, RestoreOwner] = {}
        self._loop = uvloop.new_event_loop()
        self.poller = Poller(self._wake)
        self.poller.on_fault = self._log_fault
        self._draining: asyncio.Task[None] | None = None
        self._moving: asyncio.Task[None] | None = None  # to a successor, or from a predecessor
        self._handed_over = False
        self.is_replaced = False  # when it drains: the node goes on with another process in its place
        self._free = asyncio.Event()  # not frozen
        self._free.set()
        self._done = asyncio.Event()
        self._exit_code = 0

    # --- what a subclass does ------------------------------------------------------------

    @abstractmethod
    def open_listeners(self) -> None:
        """Start accepting."""

    def pause_listeners(self) -> None:  # noqa: B027 - only those that hand over need it
        """Accept nobody for now."""

    def resume_listeners(self) -> None:  # noqa: B027
        """Accept again."""

    @abstractmethod
    def close_listeners(self) -> None:
        """Stop accepting."""

    def end_held(self) -> None:  # noqa: B027 - only those that hold requests have something to end
        """Answer what clients wait for, as this process ends."""

    @abstractmethod
    def sweep(self) -> None:
        """End what has taken too long; called `SWEEPS_PER_SECOND` times a second."""

    @property
    def drain_condition(self) -> str:
        """The stream error of clients when they are drained."""
        return "system-shutdown"

    @abstractmethod
    def reload(self, text: str) -> None:
        """Put this configuration in force; ConfigError, and nothing has changed, if it cannot be."""

    @abstractmethod
    async def leave(self) -> None:
        """Say what remains to be said when the last connection is gone."""

    @abstractmethod
    def links(self) -> list[dict[str, Any]]:
        """Return a row for each link (docs/reference/command-line.md, `links`)."""

    def nodes(self) -> dict[str, Any]:
        """Return what this worker sees of the cluster (supervisor.channel.NodeList)."""
        return {"up": False, "trouble": "", "nodes": []}

    def end_sessions(self, jid: str, condition: str) -> int | None:
        """End the sessions of a JID that live here and return how many; None if there are only connections."""
        return None

    # --- life ------------------------------------------------------------

    def run(self) -> int:
        """Serve until drained; returns the exit code."""
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._main())
        finally:
            self._loop.close()
        return self._exit_code

    async def _main(self) -> None:
        await self._channel.open()
        if self.is_successor:
            self.poller.frozen = True  # it watches sockets that another process still serves
        else:
            self._loop.add_reader(self.poller.fd, self.poller.turn)
        beating = asyncio.create_task(heartbeat.beat(self.board))
        listening = asyncio.create_task(self._obey())
        if self.is_successor:
            self._moving = asyncio.create_task(self._take_over())
        else:
            self._serve()
            # connections are freed by reference counts alone; what lives now lives for good
            gc.collect()
            gc.freeze()
        await self._channel.send({"type": "ready"})
        await self._done.wait()
        await self.checks.stop()
        for task in (beating, listening):
            task.cancel()
        self._loop.remove_reader(self.poller.fd)

    def _serve(self) -> None:
        self.open_listeners()
        self.checks.start()
        self._sweep()
        self.board.set(Slot.STARTED_NS, time.monotonic_ns())

    def _wake(self) -> None:
        self._loop.call_soon(self.poller.turn)

    def _sweep(self) -> None:
        # first of all, so that whatever happens in here there is a next one
        self._loop.call_later(1 / SWEEPS_PER_SECOND, self._sweep)
        if not self.poller.frozen:
            self.sweep()

    async def _obey(self) -> None:
        while (message := await self._channel.receive()) is not None:
            await self._free.wait()
            answer = self._answer(message)
            if answer is not None:
                await self._channel.send(answer)
        # the supervisor is gone: nobody would restart us, so our clients are better off elsewhere
        limits = self.config.drain
        self._start_drain(limits.connections_per_second / self._workers, limits.deadline_seconds)

    def _answer(self, message: dict[str, Any]) -> dict[str, Any] | None:
        match message["type"]:
            case "reload":
                try:
                    self.reload(message["config_text"])
                except ConfigError as error:
                    return {"type": "reload_failed", "reason": str(error)}
                return {"type": "reloaded"}
            case "ticket_keys":
                set_ticket_keys([bytes.fromhex(key) for key in message["keys"]])
            case "connections":
                rows = self._matching(message["address"], message["jid"], message["state"], None, message["limit"])
                result = [listing.with_round_trip(*each) for each in rows]
                return {"type": "reply", "id": message["id"], "result": result}
            case "page":
                found, next_slot = listing.page(
                    self.dispatcher,
                    search=message["search"],
                    state=message["state"],
                    from_slot=message["from_slot"],
                    limit=message["limit"],
                )
                return {"type": "reply", "id": message["id"], "result": found, "next_slot": next_slot}
            case "talkers":
                found = listing.talkers(self.dispatcher, message["limit"])
                return {"type": "reply", "id": message["id"], "result": found}
            case "links":
                return {"type": "link_list", "id": message["id"], "links": self.links()}
            case "nodes":
                return {"type": "node_list", "id": message["id"], **self.nodes()}
            case "kick":
                jid = message["jid"]
                ended = None if jid is None else self.end_sessions(jid, message["condition"])
                if ended is not None:
                    return {"type": "reply", "id": message["id"], "result": ended}
                rows = self._matching(message["address"], message["jid"], None, message["connection"], None)
                for connection, _ in rows:
                    connection.finish(message["condition"], Reason.KICKED)
                return {"type": "reply", "id": message["id"], "result": len(rows)}
            case "drain":
                self.is_replaced = message.get("replaced", False)
                self._start_drain(message["connections_per_second"], message["deadline_seconds"])
            case "hand_over":
                return self._start_hand_over(message)
        return None

    def _matching(
        self, address: str | None, jid: str | None, state: str | None, connection_id: str | None, limit: int | None
    ) -> list[tuple[Any, dict[str, Any]]]:
        if connection_id is not None:
            try:
                found = self.dispatcher.connection(int(connection_id, 16))
            except (ValueError, OverflowError):  # no id of ours
                found = None
            candidates = [] if found is None else [found]
        else:
            candidates = self.dispatcher.connections()
        rows: list[tuple[Any, dict[str, Any]]] = []
        for connection in candidates:
            if limit is not None and len(rows) >= limit:
                break
            row = connection.describe()
            if row is None:  # its socket is in another worker, which describes it
                continue
            owner = row.get("jid")
            if (
                (address is None or row["address"] == address)
                and (jid is None or (owner is not None and jid in (owner, owner.partition("/")[0])))
                and (state is None or row["state"] == state)
            ):
                rows.append((connection, row))
        return rows

    # --- drain ------------------------------------------------------------

    def _start_drain(self, connections_per_second: float, deadline_seconds: float) -> None:
        if self._handed_over:
            return  # that is what it does already
        if self._moving is not None and not self._moving.done():
            self._moving.cancel()
            if self.is_successor:
                self._exit_code = TAKE_OVER_EXIT
                self._done.set()
                return
        self.close_listeners()
        if self._draining is not None:
            self._draining.cancel()  # the newest word counts: a second signal means "quickly"
        self._draining = asyncio.create_task(self._drain(connections_per_second, deadline_seconds))

    async def _drain(self, connections_per_second: float, deadline_seconds: float) -> None:
        drained = await drain.drain(self.dispatcher, self.drain_condition, connections_per_second, deadline_seconds)
        await self.leave()
        await self._channel.send({"type": "drained", "closed": drained.closed, "cut": drained.cut})
        self._done.set()

    # --- hand-over ------------------------------------------------------------

    def _start_hand_over(self, message: dict[str, Any]) -> dict[str, Any] | None:
        if self._moving is not None and not self._moving.done():
            return {"type": "hand_over_failed", "reason": "it is under way already"}
        if self._draining is not None:
            return {"type": "hand_over_failed", "reason": "this worker drains"}
        if not self.restore_connection:
            return {"type": "hand_over_failed", "reason": "the connections of this process cannot move"}
        self._moving = asyncio.create_task(self._hand_over(message))
        return None

    async def _hand_over(self, message: dict[str, Any]) -> None:
        try:
            outcome = await Predecessor(self).run(
                message["path"], message["connections_per_second"], message["deadline_seconds"]
            )
        except HandOverError as error:
            with suppress(OSError):
                self._log.warning("hand-over failed", reason=str(error))
            await self._channel.send({"type": "hand_over_failed", "reason": str(error)})
            return
        except Exception as error:  # noqa: BLE001 - a mistake of ours, before anything was given away
            self._log_fault(error)
            await self._channel.send({"type": "hand_over_failed", "reason": f"internal error: {error}"})
            return
        self._handed_over = True
        try:
            await self._leave_behind(outcome)
        except Exception as error:  # noqa: BLE001 - everything that matters is the successor's
            self._log_fault(error)
        moved, ended = len(outcome.moved), len(outcome.stays)
        with suppress(OSError):
            self._log.info("handed over", moved=moved, ended=ended, frozen_seconds=round(outcome.frozen_seconds, 4))
        await self._channel.send({"type": "handed_over", "moved": moved, "ended": ended})
        self._done.set()

    async def _leave_behind(self, outcome: Outcome) -> None:
        """Let go of what has moved, then end what has not."""
        for part in self.parts:
            part.leave()
        # the successor has better use for the processor now
        await asyncio.sleep(_LEAVE_SECONDS)
        for number, connection in enumerate(outcome.moved):
            if connection.owner is not None:
                connection.owner.leave(connection)
            connection.leave()
            if number % _LEAVES_PER_TURN == 0:
                await asyncio.sleep(0)
        self._thaw_poller()
        self.end_held()
        limits = self.config.drain
        pace = limits.connections_per_second / self._workers
        await drain.drain(self.dispatcher, self.drain_condition, pace, limits.deadline_seconds)
        await self.leave()

    async def _take_over(self) -> None:
        gc.disable()  # what is built now is built to last
        try:
            moved = await Successor(self, self._take_over_fd, self._log_fault).run()
        except (TakeOverError, asyncio.CancelledError) as error:
            with suppress(OSError):
                self._log.warning("nothing was taken over", reason=str(error) or "told to end")
            self._exit_code = TAKE_OVER_EXIT
            self._done.set()
            return
        except Exception as error:  # noqa: BLE001 - a mistake of ours: the supervisor starts another one
            self._log_fault(error)
            self._exit_code = TAKE_OVER_EXIT
            self._done.set()
            return
        self.board.add(Slot.MOVED, moved)
        self._thaw_poller()
        self._serve()
        gc.freeze()
        gc.enable()
        await self._channel.send({"type": "took_over", "moved": moved})

    async def freeze(self) -> None:
        """Do nothing of one's own accord any more."""
        await self.checks.stop()
        self._free.clear()
        self.poller.frozen = True
        self._loop.remove_reader(self.poller.fd)

    def _thaw_poller(self) -> None:
        self.poller.frozen = False
        self._loop.add_reader(self.poller.fd, self.poller.turn)
        self._wake()
        self._free.set()

    def thaw(self) -> None:
        """Go on after a freeze."""
        self._thaw_poller()
        self.checks.start()

    def give_board(self) -> None:
        """Count where nobody looks: the board is the successor's from now on."""
        self.board.use(bytearray(BOARD_BYTES))

    def take_board(self) -> None:
        """Count on the board again: the successor has failed."""
        self.board.use(self._board_memory)

    def take_over_board(self, generation: int) -> None:
        """Count on the predecessor's board: its counters go on, its gauges are what was counted here so far."""
        gauges = [(slot, self.board.get(slot)) for slot in (*gauge_slots(), Slot.CONNECTION_BYTES)]
        self.board.use(self._board_memory)
        for slot, value in gauges:
            self.board.set(slot, value)
        self.dispatcher.generation = generation

    # --- log ------------------------------------------------------------

    def _log_connection(self, connection: Any, reason: int) -> None:
        with suppress(OSError):  # a log that cannot be written must cost no connection
            self._log.info("connection", reason=Reason(reason).name.lower().replace("_", "-"), **connection.describe())

    def _log_fault(self, error: Exception) -> None:
        with suppress(OSError):
            self._log.error("internal error", exc_info=error)

    def _upstream_changed(self, upstream: Upstream, reason: str) -> None:
        if reason:
            self._log.warning("upstream down", upstream=upstream.name, reason=reason)
        else:
            self._log.info("upstream up", upstream=upstream.name)


def run(channel_descriptor: int, make: Callable[[dict[str, Any], Channel], Process]) -> int:
    """Run one process on an inherited channel; returns its exit code. ConfigError of `make` is fatal."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        # often sent to a whole group of processes; what to do about it is the supervisor's to say
        signal.signal(number, signal.SIG_IGN)
    channel = Channel(channel_descriptor)
    try:
        start = channel.first_message()
    except EOFError:
        return 1
    try:
        process = make(start, channel)
    except ConfigError as error:
        channel.send_now({"type": "fatal", "reason": str(error)})
        return FATAL_EXIT
    return process.run()
