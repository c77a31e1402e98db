"""Hands a worker over to its successor while both run; until the successor says TAKEN nothing is lost if it fails.

copying    the worker serves; every connection is said, and what has changed since is said again, round after round
opening    nobody new is accepted; those in the middle of a handshake or login have a moment to get through
frozen     nothing is read or sent; the last changes and the shared parts are said
committed  the board and the sketch are not written any more; TAKEN, or the end of the line, decides who goes on
"""

from __future__ import annotations

import asyncio
import socket
import time
from dataclasses import dataclass, field
from importlib import metadata
from typing import TYPE_CHECKING, Any, Protocol

from megaphone.dispatch.marks import Marks
from megaphone.dispatch.moving import CHUNK_LIMIT_BYTES, DESCRIPTORS_LIMIT
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
    Message,
    Part,
    Refused,
    Taken,
)
from megaphone.worker.line import Line, LineLostError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from megaphone.dispatch.dispatcher import Dispatcher
    from megaphone.dispatch.moving import Chunk, SharedPart

_CONNECTIONS_PER_TURN = 32  # then others have their turn
_RECORD_BYTES_PER_MESSAGE = 96 * 1024
_RECORD_LIMIT_BYTES = 12 * 1024 * 1024  # of one connection and its owner
_ROUNDS_LIMIT = 8
_FEW = 100  # changes that a freeze may be begun with
_OPENING_SECONDS = 1.0
_PAUSE_SECONDS = 0.01
_LOOK_SECONDS = 0.002
_SETTLED_SECONDS = 5.0
_ANSWER_SECONDS = 10.0
_OPENING_STATES = frozenset({"negotiating", "connecting", "preauth"})


class HandOverError(Exception):
    """The successor has not taken over, and why; nothing was lost."""


class Handing(Protocol):
    """What a predecessor asks of its process."""

    index: int
    dispatcher: Dispatcher
    parts: list[SharedPart]

    def pause_listeners(self) -> None:
        """Accept nobody for now."""

    def resume_listeners(self) -> None:
        """Accept again."""

    async def freeze(self) -> None:
        """Do nothing of one's own accord any more: no turns of the poller, no sweep, no checks, no commands."""

    def thaw(self) -> None:
        """Go on."""

    def give_board(self) -> None:
        """Count somewhere else from now on: the board is the successor's."""

    def take_board(self) -> None:
        """Count on the board again."""


@dataclass
class Outcome:
    """How a hand-over went."""

    moved: list[Any] = field(default_factory=list)
    stays: list[Any] = field(default_factory=list)
    frozen_seconds: float = 0.0


def program_version() -> str:
    """The version of this program, for people."""
    return metadata.version("megaphone")


class Predecessor:
    """One attempt to hand a worker over."""

    def __init__(self, process: Handing) -> None:
        self._process = process
        self._dispatcher = process.dispatcher
        self._marks = Marks(process.dispatcher)
        self._line: Line | None = None
        self._frozen = self._paused = self._begun = False

    async def run(self, path: str, connections_per_second: float, deadline_seconds: float) -> Outcome:
        """Hand everything over to the successor that listens on `path`; HandOverError, and all goes on, if it fails.

        Afterwards the process is frozen, and what has moved still has its descriptors here (`leave`).
        """
        try:
            async with asyncio.timeout(deadline_seconds):
                await self._greet(path)
                await self._copy(connections_per_second)
                await self._await_openings()
                await self._await_successor()
                await self._catch_up()
                await self._round(1e9)
                await self._await_successor()
                return await self._freeze_and_commit()
        except TimeoutError:
            raise HandOverError("it took too long") from None
        except (LineLostError, MoveError) as error:
            raise HandOverError(str(error)) from None
        finally:
            if self._frozen:
                self._frozen = False
                for part in self._process.parts:
                    part.thaw()
                self._process.thaw()
            if self._begun:
                self._begun = False
                for part in self._process.parts:
                    part.give_up()
            if self._paused:
                self._paused = False
                self._process.resume_listeners()
            if self._line is not None:
                self._line.close()

    # --- the line ------------------------------------------------------------

    async def _greet(self, path: str) -> None:
        end = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            end.connect(path)
        except OSError as error:
            end.close()
            raise HandOverError(f"the successor cannot be reached: {error.strerror}") from None
        self._line = Line(end)
        await self._say(Hello(VERSION, OLDEST, program_version(), self._process.index))
        answer = await self._answer()
        if not isinstance(answer, Hello) or answer.index != self._process.index:
            raise HandOverError("what answers is not the successor of this worker")
        if answer.version < OLDEST:
            raise HandOverError(f"the successor speaks version {answer.version}, and this worker {OLDEST} at least")

    async def _say(self, message: Message, descriptors: Sequence[int] = ()) -> None:
        assert self._line is not None  # noqa: S101 - _greet comes first
        try:
            await self._line.send(message, descriptors)
        except LineLostError:
            last = self._line.last_word()
            if isinstance(last, Refused):
                raise HandOverError(f"the successor refuses: {last.reason}") from None
            raise

    async def _answer(self) -> Message:
        assert self._line is not None  # noqa: S101
        async with asyncio.timeout(_ANSWER_SECONDS):
            message, _ = await self._line.receive()
        if isinstance(message, Refused):
            raise HandOverError(f"the successor refuses: {message.reason}")
        return message

    # --- connections ------------------------------------------------------------

    async def _copy(self, connections_per_second: float) -> None:
        self._begun = True
        for part in self._process.parts:
            for chunk in part.begin():
                await self._say_chunk(part, chunk)
                await asyncio.sleep(0)
        for _ in range(_ROUNDS_LIMIT):
            if await self._round(connections_per_second) <= _FEW:
                return

    async def _round(self, connections_per_second: float = 0) -> int:
        """Say what has changed since the last round, in turns of the loop at this pace, or (0) without stopping."""
        began = time.monotonic()
        said = 0
        self._marks.restart()
        while ids := self._marks.gone(10_000):
            await self._say(Dropped(ids))
        while not self._marks.at_end:
            said += await self._say_connections(self._marks.next(_CONNECTIONS_PER_TURN))
            if connections_per_second:
                await asyncio.sleep(max(0.0, began + said / connections_per_second - time.monotonic()))
        return said

    async def _say_connections(self, connections: list[Any]) -> int:
        records: list[ConnectionRecord] = []
        descriptors: list[int] = []
        dropped: list[int] = []
        said = length = 0
        for connection in connections:
            exported = connection.export()
            owner = connection.owner
            owned = None if exported is None or owner is None else owner.export(connection)
            too_long = (
                exported is not None and len(exported.data) + (len(owned.data) if owned else 0) > _RECORD_LIMIT_BYTES
            )
            if exported is None or (owner is not None and owned is None) or too_long:
                if self._marks.forget(connection):
                    dropped.append(connection.id)
                continue
            if before := self._marks.note(connection):
                dropped.append(before)
            record = ConnectionRecord(
                connection.id, exported.kind, exported.data, len(exported.descriptors), *_owner_fields(owned)
            )
            theirs = [*exported.descriptors, *(owned.descriptors if owned is not None else ())]
            size = len(record.connection) + len(record.owner)
            if records and (
                len(descriptors) + len(theirs) > DESCRIPTORS_LIMIT or length + size > _RECORD_BYTES_PER_MESSAGE
            ):
                await self._say(Connections(records), descriptors)
                records, descriptors, length = [], [], 0
            records.append(record)
            descriptors += theirs
            length += size
            said += 1
        if dropped:
            await self._say(Dropped(dropped))
        if records:
            await self._say(Connections(records), descriptors)
        return said

    async def _await_successor(self) -> None:
        """Wait until the successor has built what was said: what it has not would have to be built in the freeze."""
        assert self._line is not None  # noqa: S101 - _greet comes first
        while self._line.unread_bytes:  # noqa: ASYNC110 - only the kernel knows
            await asyncio.sleep(_LOOK_SECONDS)

    async def _catch_up(self) -> None:
        for part in self._process.parts:
            for chunk in part.catch_up():
                await self._say_chunk(part, chunk)
                await asyncio.sleep(0)

    async def _await_openings(self) -> None:
        """Accept nobody new, and let those get through who are about to."""
        deadline = time.monotonic() + _OPENING_SECONDS
        self._paused = True
        self._process.pause_listeners()
        while True:
            await self._round(1e9)
            opening = sum(1 for each in self._marks.unsaid() if _is_opening(each))
            if not opening or time.monotonic() > deadline:
                return
            await asyncio.sleep(_PAUSE_SECONDS)

    # --- freeze and commit ------------------------------------------------------------

    async def _freeze_and_commit(self) -> Outcome:
        began = time.monotonic()
        self._frozen = True
        await self._process.freeze()
        parts = self._process.parts
        for part in parts:
            part.freeze()
        async with asyncio.timeout(_SETTLED_SECONDS):
            for part in parts:
                await part.settled()
        await self._round()
        for part in parts:
            for chunk in part.export():
                await self._say_chunk(part, chunk)
        await self._say(Frozen(self._marks.said))
        answer = await self._answer()
        if not isinstance(answer, Complete):
            raise HandOverError("the successor answers something else")
        for connection_id in answer.refused:
            connection = self._dispatcher.connection(connection_id)
            if connection is not None:
                self._marks.forget(connection)
        stays = self._marks.unsaid()
        await self._commit(stays)
        self._frozen = self._paused = self._begun = False
        staying = {each.id for each in stays}
        moved = [each for each in self._dispatcher.connections() if each.id not in staying]
        return Outcome(moved, stays, time.monotonic() - began)

    async def _commit(self, stays: list[Any]) -> None:
        """Give everything away; from here on time limits do not decide, but what the successor has said."""
        assert self._line is not None  # noqa: S101
        written_off = [(connection, connection.write_off()) for connection in stays]
        self._process.give_board()
        answer: Message | None = None
        trouble = "the successor answers something else"
        try:
            self._line.send_now(Commit(self._dispatcher.generation))
            answer = await self._answer()
        except (LineLostError, HandOverError, TimeoutError, asyncio.CancelledError) as error:
            # it may have said so just now; what it has not said by now it cannot say any more
            answer = self._line.last_word()
            trouble = str(error) or "no answer in time"
        if isinstance(answer, Taken):
            return
        self._process.take_board()
        for connection, counted in written_off:
            connection.take_back(counted)
        raise HandOverError(trouble)

    async def _say_chunk(self, part: SharedPart, chunk: Chunk) -> None:
        data, descriptors = chunk
        if len(data) > CHUNK_LIMIT_BYTES or len(descriptors) > DESCRIPTORS_LIMIT:
            raise HandOverError(f"{part.name} says too much at once")
        await self._say(Part(part.name, data, len(descriptors)), descriptors)


def _owner_fields(owned: Any) -> Iterator[Any]:
    return iter(()) if owned is None else iter((owned.kind, owned.data, len(owned.descriptors)))


def _is_opening(connection: Any) -> bool:
    row = connection.describe()
    return row is not None and row["state"] in _OPENING_STATES and row["transport"] != "http"
