"""Takes a worker over from its predecessor: builds everything, asleep, and wakes it when the predecessor has committed.

Until TAKEN has been said nothing here may be noticed by anybody. If the predecessor ends before it commits, or says
what cannot be used, all that was built is let go of, and this process ends: the predecessor goes on, or the supervisor
starts another worker.
"""

from __future__ import annotations

import asyncio
import os
import socket
from typing import TYPE_CHECKING, Any, Protocol

from megaphone.dispatch.moving import RestoreConnection, RestoreOwner
from megaphone.errors import MoveError
from megaphone.worker.hand_over import (
    OLDEST,
    VERSION,
    Commit,
    Complete,
    ConnectionRecord,
    Connections,
    Dropped,
    Frozen,
    Hello,
    Part,
    Refused,
    Taken,
)
from megaphone.worker.line import Line, LineLostError, wake
from megaphone.worker.predecessor import program_version

if TYPE_CHECKING:
    from collections.abc import Callable

    from megaphone.dispatch.moving import SharedPart


class TakeOverError(Exception):
    """There is nothing to take over, and why."""


class Taking(Protocol):
    """What a successor asks of its process."""

    index: int
    parts: list[SharedPart]
    restore_connection: dict[str, RestoreConnection]  # by the kind that `Moved` names
    restore_owner: dict[str, RestoreOwner]

    def take_over_board(self, generation: int) -> None:
        """Count on the worker's board: its counters go on, its gauges are those of this process."""


class Successor:
    """One attempt to take a worker over; `listening` is the socket that the predecessor connects to."""

    def __init__(self, process: Taking, listening: int, fault: Callable[[Exception], None]) -> None:
        self._process = process
        self._listening = socket.socket(fileno=listening)
        self._fault = fault
        self._parts = {part.name: part for part in process.parts}
        self._asleep: dict[int, Any] = {}
        self._refused: set[int] = set()

    async def run(self) -> int:
        """Take over and return how many connections have moved; TakeOverError if it has not come to that."""
        line = None
        try:
            line = await self._accept()
            generation = await self._listen(line)
            line.send_now(Taken())
        except LineLostError as error:
            self._let_go()
            raise TakeOverError(str(error)) from None
        except BaseException:
            self._let_go()
            raise
        finally:
            self._listening.close()
            if line is not None:
                line.close()
        return self._wake(generation)

    async def _accept(self) -> Line:
        self._listening.setblocking(False)
        loop = asyncio.get_running_loop()
        came: asyncio.Future[None] = loop.create_future()
        loop.add_reader(self._listening, wake, came)
        try:
            await came
            end, _ = self._listening.accept()
        except OSError as error:
            raise LineLostError(f"the predecessor cannot be reached: {error.strerror}") from None
        finally:
            loop.remove_reader(self._listening)
        return Line(end)

    async def _listen(self, line: Line) -> int:
        """Take what the predecessor says until it commits; returns the next generation."""
        greeted = complete = False
        while True:
            message, descriptors = await line.receive()
            try:
                match message:
                    case Hello() if not greeted:
                        self._check(message)
                        greeted = True
                        await line.send(Hello(VERSION, OLDEST, program_version(), self._process.index))
                    case Connections(records) if greeted:
                        self._take_connections(records, descriptors)
                    case Dropped(ids) if greeted:
                        for connection_id in ids:
                            self._drop(connection_id)
                    case Part(name, data) if greeted:
                        taken, descriptors = descriptors, []
                        self._take_part(name, data, taken)
                    case Frozen(connections) if greeted:
                        if len(self._asleep) + len(self._refused) != connections:
                            raise MoveError(f"{connections} connections were said, and {len(self._asleep)} are here")
                        complete = True
                        await line.send(Complete(sorted(self._refused)))
                    case Commit(generation) if complete:
                        return generation
                    case _:
                        raise MoveError("that was not its turn")
            except MoveError as error:
                await line.send(Refused(str(error)))
                raise TakeOverError(str(error)) from None
            finally:
                for descriptor in descriptors:
                    os.close(descriptor)

    def _check(self, hello: Hello) -> None:
        if hello.index != self._process.index:
            raise MoveError(f"this is worker {self._process.index}, not {hello.index}")
        if hello.version < OLDEST or hello.oldest > VERSION:
            raise MoveError(f"version {hello.version} ({hello.program}) is not understood here, which speaks {VERSION}")

    # --- what comes ------------------------------------------------------------

    def _take_connections(self, records: list[ConnectionRecord], descriptors: list[int]) -> None:
        """Build these connections; of the descriptors those that are left stay the caller's."""
        for record in records:
            self._drop(record.id)
            ours = descriptors[: record.connection_descriptors]
            del descriptors[: record.connection_descriptors]
            theirs = descriptors[: record.owner_descriptors]
            del descriptors[: record.owner_descriptors]
            try:
                self._asleep[record.id] = self._build(record, ours, theirs)
            except MoveError as error:
                self._refused.add(record.id)
                self._fault(error)

    def _build(self, record: ConnectionRecord, ours: list[int], theirs: list[int]) -> Any:
        process = self._process
        restore_connection = process.restore_connection.get(record.connection_kind)
        restore_owner = process.restore_owner.get(record.owner_kind) if record.owner_kind else None
        if restore_connection is None or (record.owner_kind and restore_owner is None):
            for descriptor in (*ours, *theirs):
                os.close(descriptor)
            raise MoveError(f"nothing here restores {record.connection_kind!r} with {record.owner_kind!r}")
        try:
            connection = restore_connection(record.id, record.connection, ours)
        except MoveError:
            for descriptor in theirs:
                os.close(descriptor)
            raise
        if restore_owner is not None:
            try:
                connection.owner = restore_owner(connection, record.owner, theirs)
            except MoveError:
                connection.leave()
                raise
        return connection

    def _drop(self, connection_id: int) -> None:
        self._refused.discard(connection_id)
        connection = self._asleep.pop(connection_id, None)
        if connection is not None:
            _leave(connection)

    def _take_part(self, name: str, data: bytes, descriptors: list[int]) -> None:
        part = self._parts.get(name)
        if part is None:
            for descriptor in descriptors:
                os.close(descriptor)
            raise MoveError(f"there is no {name!r} here")
        part.restore(data, descriptors)

    # --- the end of it ------------------------------------------------------------

    def _let_go(self) -> None:
        for connection in self._asleep.values():
            _leave(connection)
        self._asleep.clear()
        for part in self._process.parts:
            part.leave()

    def _wake(self, generation: int) -> int:
        """Be the worker. One connection's trouble must not cost the others theirs."""
        self._process.take_over_board(generation)
        for part in self._process.parts:
            part.activate()
        moved = 0
        for connection in self._asleep.values():
            try:
                connection.activate()
                if connection.owner is not None:
                    connection.owner.activate(connection)
                moved += 1
            except Exception as error:  # noqa: BLE001
                self._fault(error)
                _leave(connection)
        self._asleep.clear()
        for part in self._process.parts:
            part.go_on()
        return moved


def _leave(connection: Any) -> None:
    if connection.owner is not None:
        connection.owner.leave(connection)
    connection.leave()
