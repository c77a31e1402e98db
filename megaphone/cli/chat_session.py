"""A chat from its first connection to its last: goes around the servers, enters the room, and enters it again.

```
 next server ◄──────────── lost, or no use ◄───────────────┐
     │  open                                               │
     ▼                                                     │
 logged in ── join ──► inside ── ping (XEP-0410), lines ───┤
     │ refused           │ removed for good                │
     └───────────────────┴────────► ChatError              └ leave(): unavailable, end of the stream
```
"""

import asyncio
import random
import time
import uuid
from collections.abc import Callable, Coroutine
from typing import Any, Final
from xml.etree import ElementTree as ET

from megaphone.cli import chat_stanzas
from megaphone.cli.chat_connection import Connection, RefusedError, ServerFailedError
from megaphone.cli.chat_events import Event, NotSent, RoomSaid, ServerChanged, ServersUpdated
from megaphone.cli.chat_refusals import is_passing, refusal_in_words
from megaphone.cli.chat_room import Place, Room
from megaphone.cli.chat_servers import Rotation
from megaphone.cli.chat_settings import ChatError, Settings
from megaphone.cli.chat_text import sendable, too_long
from megaphone.cli.output import FAILED, UNREACHABLE
from megaphone.sockets.endpoint import Endpoint

PENDING_LIMIT: Final = 20  # lines of ours that the room has not reflected; the next one waits
STABLE_SECONDS: Final = 10.0  # a connection that lasted so long was a good one
HISTORY_MARGIN_SECONDS: Final = 60  # asked for beyond what was missed; what was seen is not shown again
CATCH_UP_SECONDS: Final = 5.0
LEAVE_SECONDS: Final = 5.0
LOCKED_PAUSES: Final = (0.1, 0.2, 0.4, 0.8, 1.6)  # somebody else creates the room just now
CONFLICT_PAUSES: Final = (0.5, 1.0, 2.0, 4.0)  # until the room drops what is left of our lost connection


class Session:
    """`show` gets each event in order; `room` is None until its address is known."""

    def __init__(self, settings: Settings, show: Callable[[Event], None]) -> None:
        self.settings = settings
        self.room: Room | None = None
        self.rotation = Rotation(settings.servers, random.random)
        self._show_event = show
        self._show_error: OSError | None = None
        self._changed = asyncio.Event()
        self._leaving = asyncio.Event()
        self._connection: Connection | None = None
        self._joined_at: float | None = None  # through the present connection
        self._heard_at: float | None = None  # the last stanza after which nothing was missed
        self._ever_joined = False
        self._nodes: tuple[str, ...] | None = None  # of the server's cluster, as far as it tells

    # For the front ends ---------------------------------------------------------------------------------------------

    @property
    def inside(self) -> bool:
        """Whether what is said now is heard now."""
        return self._connection is not None and self.room is not None and self.room.place is Place.INSIDE

    @property
    def ever_inside(self) -> bool:
        """Whether the room was entered at all."""
        return self._ever_joined

    @property
    def leaving(self) -> bool:
        """Whether `leave` was called."""
        return self._leaving.is_set()

    async def run(self) -> None:
        """Chat until `leave`; ChatError for any other end."""
        work = asyncio.create_task(self._work())
        leaving = asyncio.create_task(self._leaving.wait())
        try:
            await asyncio.wait({work, leaving}, return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                await self._say_goodbye()
        finally:
            for task in (work, leaving):
                task.cancel()
            await asyncio.wait({work, leaving})
        if self._show_error is not None:
            raise self._show_error
        error = None if work.cancelled() else work.exception()
        if error is not None and not self._leaving.is_set():
            raise error

    def leave(self) -> None:
        """Leave the room and end `run`."""
        self._leaving.set()

    async def say(self, text: str) -> None:
        """Say a line when there is room for it: at most PENDING_LIMIT lines may wait for their reflection."""
        while self.room is None or len(self.room.pending) >= PENDING_LIMIT:
            await self._change()
        self.say_nowait(text)

    def say_nowait(self, text: str) -> bool:
        """Say a line, now or when we are inside again; False if too many wait already."""
        if self.room is None or len(self.room.pending) >= PENDING_LIMIT:
            return False
        text = sendable(text)
        if (reason := too_long(text)) is not None:
            self._show(NotSent(text, reason))
            return True
        self.room.say(text, uuid.uuid4().hex)
        self._send_unsent()
        return True

    async def wait_heard(self, timeout_seconds: float) -> int:
        """Wait until the room was entered and has reflected all that was said; returns how many lines it has not."""
        try:
            async with asyncio.timeout(timeout_seconds):
                while self.room is None or not self._ever_joined or self.room.pending:
                    await self._change()
        except TimeoutError:
            pass
        return 0 if self.room is None else len(self.room.pending)

    # Servers --------------------------------------------------------------------------------------------------------

    async def _work(self) -> None:
        failures: dict[Endpoint, ServerFailedError] = {}
        while True:
            server = self.rotation.current
            self._joined_at = None
            try:
                await self._through(server)
            except RefusedError as error:
                raise ChatError(str(error), FAILED) from None
            except ServerFailedError as error:
                failures[server] = error
                if not self._ever_joined and len(failures) == len(self.settings.servers):
                    code = FAILED if any(each.reached for each in failures.values()) else UNREACHABLE
                    raise ChatError("; ".join(f"{at}: {why}" for at, why in failures.items()), code) from None
                await self._go_on(server, str(error))

    async def _go_on(self, server: Endpoint, reason: str) -> None:
        lost = self._joined_at is not None
        if self._joined_at is not None and time.monotonic() - self._joined_at >= STABLE_SECONDS:
            self.rotation.served_well()
        pause = self.rotation.failed()
        when = f" in {pause:.1f} s" if pause else ""
        what = f"lost {server}" if lost else f"{server}: {reason}"
        self._show(ServerChanged(f"{what}, trying {self.rotation.current}{when}"))
        await asyncio.sleep(pause)

    async def _through(self, server: Endpoint) -> None:
        connection = Connection(self.settings.login, server, self._on_presence, self._on_message)
        connection.lost.add_done_callback(lambda _: self._changed.set())
        self._connection = connection
        try:
            await self._in_time(connection.open(), reached=False)
            connection.watch_nodes(self._on_nodes)
            if self.room is None:
                self.room = Room(await self._room_jid(connection), self.settings.nick)
            again = self._ever_joined
            await self._join(connection, self.room)
            if again:
                self._show(ServerChanged(f"joined again through {server}"))
            await self._stay(connection, self.room)
        finally:
            self.rotation.prefer(connection.other_host)
            self._connection = None
            await connection.close()

    async def _in_time(self, step: Coroutine[Any, Any, None], *, reached: bool) -> None:
        try:
            async with asyncio.timeout(self.settings.timeout_seconds):
                await step
        except TimeoutError:
            reason = f"no answer within {self.settings.timeout_seconds:g} s"
            raise ServerFailedError(reason, reached=reached) from None

    # The room -------------------------------------------------------------------------------------------------------

    async def _room_jid(self, connection: Connection) -> str:
        if "@" in self.settings.room:
            return self.settings.room
        domain = self.settings.login.domain
        service = await connection.find_rooms()
        if service is None:
            raise RefusedError(f"{domain} has no rooms; write the room in full: {self.settings.room}@SERVICE")
        return f"{self.settings.room}@{service}".lower()

    async def _join(self, connection: Connection, room: Room) -> None:
        nick = self.settings.nick
        locked, conflicts = iter(LOCKED_PAUSES), iter(CONFLICT_PAUSES)
        while (refusal := await self._try_to_join(connection, room, nick)) is not None:
            pause = None
            if refusal.condition == "item-not-found":
                pause = next(locked, None)
            elif refusal.condition == "conflict" and self._ever_joined:
                pause = next(conflicts, None)
                if pause is None and nick == self.settings.nick:
                    nick, pause = f"{nick}-{uuid.uuid4().hex[:4]}", 0.0
                    self._show(RoomSaid(f"{self.settings.nick} is still taken, joining as {nick}"))
            if pause is None:
                words = refusal_in_words(refusal, room.jid, nick)
                if self._ever_joined and is_passing(refusal):
                    raise ServerFailedError(words, reached=True)
                raise RefusedError(words)
            await asyncio.sleep(pause)
        self._joined_at, self._ever_joined = time.monotonic(), True
        if room.locked:
            await connection.accept_defaults(room.jid)
            room.locked = False
        try:
            async with asyncio.timeout(CATCH_UP_SECONDS):
                await self._until(connection, lambda: room.place is not Place.CATCHING_UP)
        except TimeoutError:
            room.end_catching_up()
        self._send_unsent()

    async def _try_to_join(self, connection: Connection, room: Room, nick: str) -> chat_stanzas.StanzaError | None:
        first = self._heard_at is None
        missed = None if self._heard_at is None else int(time.monotonic() - self._heard_at) + HISTORY_MARGIN_SECONDS
        stanza = chat_stanzas.join(
            room.jid,
            nick,
            password=self.settings.room_password,
            maxstanzas=self.settings.history if first else None,
            seconds=missed,
        )
        room.begin_join(nick)
        connection.send_stanza(stanza)
        await self._in_time(self._until(connection, lambda: room.place is not Place.ENTERING), reached=True)
        return room.refusal

    async def _stay(self, connection: Connection, room: Room) -> None:
        while room.place is not Place.OUTSIDE:
            try:
                async with asyncio.timeout(self.settings.ping_seconds):
                    await self._until(connection, lambda: room.place is Place.OUTSIDE)
            except TimeoutError:
                try:
                    inside = await connection.is_inside(room.jid, room.nick, self.settings.ping_seconds)
                except TimeoutError:
                    raise ServerFailedError("no answer to a ping", reached=True) from None
                if not inside:
                    room.vanish()
        removal = room.removal
        if removal is not None and removal.again:
            raise ServerFailedError(removal.text, reached=True)
        raise RefusedError(f"no longer in {room.jid}: {removal.text if removal and removal.text else 'removed'}")

    async def _say_goodbye(self) -> None:
        connection, room = self._connection, self.room
        if connection is None or room is None or room.place in (Place.OUTSIDE, Place.ENTERING):
            return
        connection.send_stanza(chat_stanzas.leave(room.jid, room.nick))
        try:
            async with asyncio.timeout(LEAVE_SECONDS):
                await self._until(connection, lambda: room.place is Place.OUTSIDE)
        except (TimeoutError, ServerFailedError):
            pass  # gone all the same

    # What arrives ---------------------------------------------------------------------------------------------------

    def _on_presence(self, stanza: ET.Element) -> None:
        if self.room is not None and (presence := chat_stanzas.read_presence(stanza, self.room.jid)) is not None:
            self._received(self.room, self.room.receive_presence(presence))

    def _on_nodes(self, names: tuple[str, ...]) -> None:
        if names and self._nodes is not None and names != self._nodes:
            self._show(ServersUpdated(names))
        self._nodes = names or self._nodes

    def _on_message(self, stanza: ET.Element) -> None:
        if stanza.get("from") == self.settings.login.domain and (names := chat_stanzas.read_nodes(stanza)) is not None:
            self._on_nodes(names)
        if self.room is not None and (message := chat_stanzas.read_message(stanza, self.room.jid)) is not None:
            self._received(self.room, self.room.receive_message(message))

    def _received(self, room: Room, events: list[Event]) -> None:
        if room.place is Place.INSIDE:
            self._heard_at = time.monotonic()
        for event in events:
            self._show(event)
        self._changed.set()

    def _send_unsent(self) -> None:
        if self._connection is None or self.room is None:
            return
        lines, given_up = self.room.take_unsent()
        for text, identifier in lines:
            self._connection.send_stanza(chat_stanzas.say(self.room.jid, text, identifier))
        for event in given_up:
            self._show(event)
        self._changed.set()

    def _show(self, event: Event) -> None:
        try:
            self._show_event(event)
        except OSError as error:  # whoever read our lines has gone
            self._show_error = error
            self.leave()

    # Waiting --------------------------------------------------------------------------------------------------------

    async def _change(self) -> None:
        self._changed.clear()
        await self._changed.wait()

    async def _until(self, connection: Connection, condition: Callable[[], bool]) -> None:
        while not condition():
            if connection.lost.done():
                raise ServerFailedError(connection.lost.result(), reached=True)
            await self._change()
