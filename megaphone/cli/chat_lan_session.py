"""One chat on the LAN from beginning to end: database, key, listener, peers, mDNS, and the lines of the user.

typed ──► log (signed, on disk) ──► peers                 peers ──► log ──► window ──► shown
"""

import asyncio
import contextlib
import fcntl
import os
import signal
import sys
import time
from collections import deque
from collections.abc import Callable, Coroutine, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from megaphone.cli import chat_lan_lines as lines
from megaphone.cli.chat_lan import LanSettings
from megaphone.cli.chat_text import readable
from megaphone.cli.chat_typing import (
    EXIT,
    in_background,
    piped_lines,
    show,
    show_above_prompt,
    terminal_restored,
    typed_lines,
)
from megaphone.errors import HistoryError, PeerError, StorageError
from megaphone.history.answers import Refusal
from megaphone.history.batch import Batch
from megaphone.history.clock import HybridClock
from megaphone.history.entry import Kind, Origin
from megaphone.history.manifest import RoomID
from megaphone.history.ports import Placed
from megaphone.history.replica import Replica
from megaphone.history.sync import Conversation
from megaphone.peers.connection import Ourselves
from megaphone.peers.discovery import Advertised, Discovery
from megaphone.peers.events import EntriesRefused, Event, Trouble
from megaphone.peers.hello import INSTANCE_BYTES
from megaphone.peers.identity import Identity
from megaphone.peers.known import Known
from megaphone.peers.listener import Listener, listen
from megaphone.peers.mesh import Mesh
from megaphone.peers.names import fingerprint, fingerprint_digits, hash_to_port
from megaphone.peers.pins import Pins, Verdict
from megaphone.peers.room import Window, said
from megaphone.storage.history_file import HistoryFile
from megaphone.storage.node_key import NodeKey, verify

FLUSH_AGAIN_SECONDS: Final = 1.0
COMMIT_SECONDS: Final = 2.0
NEXT_ADDRESS_SECONDS: Final = 0.5  # before a peer's next address is tried too
ORIGINS_LIMIT: Final = 1_000  # whose entries are taken: everybody's on the LAN, but not of any number of made-up keys


async def chat(settings: LanSettings) -> None:
    """Chat until `exit`, the end of standard input, SIGTERM or SIGHUP; PeerError, StorageError or OSError otherwise."""
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    on_terminal = sys.stdin.isatty() and sys.stdout.isatty()
    with _alone(settings.database), contextlib.ExitStack() as closing:
        if settings.key.exists() and not settings.database.exists():
            raise PeerError(
                f"{settings.key} has no database beside it: with it you would contradict what you have said before; "
                "bring the database back, or remove the key, and the others will see a changed one"
            )
        if on_terminal:
            closing.enter_context(terminal_restored())
        session = LanSession(settings, show_above_prompt if on_terminal else show, closing)
        source = typed_lines() if on_terminal else piped_lines(sys.stdin.fileno())
        await session.run(source)


@contextlib.contextmanager
def _alone(database: Path) -> Iterator[None]:
    """Let nobody else use the database: two with one key would contradict each other."""
    database.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(f"{database}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise PeerError(f"{database} is in use by another chat; give --database FILE, or another name") from None
        yield
    finally:
        os.close(descriptor)


class LanSession:
    """What a running chat is made of."""

    def __init__(self, settings: LanSettings, show: Callable[[list[str]], None], closing: contextlib.ExitStack) -> None:
        self._settings = settings
        self._print = show
        self._unprintable: OSError | None = None
        self._leaving = asyncio.Event()
        loop = asyncio.get_running_loop()
        self._store = HistoryFile(
            str(settings.database),
            verifier=verify,
            on_damage=lambda room, damages: loop.call_soon(self._on_damage, room, len(damages)),
            call_soon=loop.call_soon_threadsafe,
            on_committed=self._on_committed,
        )
        closing.callback(self._store.close)
        key = NodeKey.open(str(settings.key))
        self._known = Known(str(settings.known))
        closing.callback(self._known.close)
        self._look_after_damage()
        self._pins = Pins(self._known, settings.trusted)
        self._pin_ourselves(key.origin)
        self._replica = Replica(self._store, HybridClock(), key, verify, self._is_taken)
        self._log = self._replica.open(settings.room)
        self._origins = set(self._log.heads())
        self._replica.on_entries = self._on_entries
        self._replica.on_refusal = self._on_refusal
        self._unwritten: deque[tuple[int, Batch]] = deque()
        """Batches of ours by the position at which they are on disk: nobody gets them before."""
        self._all_written = asyncio.Event()
        self._again: asyncio.TimerHandle | None = None
        self._window = Window(settings.history, _now_ms())
        self._listening = listen(settings.host, self._ports())
        self._us = Ourselves(
            Identity(key, settings.key.read_bytes()),
            settings.name,
            self._listening.getsockname()[1],
            os.urandom(INSTANCE_BYTES),
        )
        self._known.put_port(self._us.port)
        self._mesh = Mesh(
            self._us, self._known, self._pins, verify, lambda peer: Conversation(self._replica, peer), self._on_event
        )
        self._replica.on_batch = self._mesh.push

    def _show(self, shown: list[str]) -> None:
        """Print lines; when nobody reads them any more the chat is over."""
        try:
            self._print(shown)
        except OSError as error:
            self._unprintable = error
            self._leaving.set()

    def _pin_ourselves(self, key: Origin) -> None:
        """Our own name is nobody else's here."""
        name = self._settings.name
        match self._pins.check(name, key):
            case Verdict.NEW:
                self._pins.pin(name, key)
            case Verdict.CHANGED:
                raise PeerError(f"{name} is known here with another key than {self._settings.key}'s; see --trust")
            case Verdict.TOO_MANY_NAMES:
                raise PeerError(f"{self._settings.key} has been used with other names already; give --database FILE")

    def _is_taken(self, origin: Origin) -> bool:
        if origin not in self._origins and len(self._origins) >= ORIGINS_LIMIT:
            return False
        self._origins.add(origin)
        return True

    def _ports(self) -> list[int]:
        if self._settings.port is not None:
            return [self._settings.port]
        last = self._known.port
        return [*([] if last is None else [last]), hash_to_port(self._settings.name), 0]

    # Running --------------------------------------------------------------------------------------------------------

    async def run(self, source: Iterator[str]) -> None:
        """Chat until the user leaves."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, self._leaving.set)
        self._begin()
        tasks = {asyncio.create_task(each) for each in (*self._network(), self._say_all(source), self._leave())}
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            await self._written_all()
            await self._mesh.leave()
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
        if self._unprintable is not None:
            raise self._unprintable

    async def _written_all(self) -> None:
        """Wait until what was said is on disk."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(COMMIT_SECONDS):
                await self._all_written.wait()

    def _begin(self) -> None:
        us, settings = self._us, self._settings
        self._show(lines.info(f"you are {settings.name}, key {fingerprint(us.identity.origin)}, port {us.port}"))
        for line in self._window.first(self._log.page(settings.history + 1)):
            self._show(lines.said(line, settings.room.name, self._pins))
        for address in settings.peers:
            self._mesh.dial(address)
        for met in self._known.peers():
            self._mesh.dial(met.address, fingerprint_digits(met.key))

    def _network(self) -> list[Coroutine[Any, Any, None]]:
        tasks = [Listener(self._listening, self._mesh.serve).run(), self._mesh.run()]
        if self._settings.mdns:
            node = fingerprint_digits(self._us.identity.origin)
            discovery = Discovery(self._us.name, node, self._us.port, self._heard, self._mdns_trouble)
            self._mesh.resolve = discovery.resolve
            tasks.append(discovery.run())
        return tasks

    async def _leave(self) -> None:
        await self._leaving.wait()

    # What is said ---------------------------------------------------------------------------------------------------

    async def _say_all(self, source: Iterator[str]) -> None:
        typed = in_background(source)
        while (text := await typed.get()) is not None and text.strip() != EXIT:
            if text.strip():
                self._say(text)

    def _say(self, text: str) -> None:
        """Write a line into the log; the peers get it when it is on disk."""
        if not self._flush():
            self._show([f"warning> not said, for the line before is not on disk yet: {readable(text)}"])
            return
        room = self._settings.room.id
        try:
            placed = self._replica.append(room, Kind.NOTE, said(self._settings.name, text), _now_ms())
        except (ValueError, HistoryError) as error:
            self._show([f"warning> not said: {error}"])
            return
        self._show_new([placed])
        self._flush()

    def _flush(self) -> bool:
        """Seal and store what was said; False if the store does not take it, which is tried again soon."""
        try:
            batches = self._replica.flush(_now_ms())
        except StorageError as error:
            self._mesh.warn("", b"flush", Trouble(f"what you said is not on disk, and nobody gets it yet: {error}"))
            if self._again is None:
                self._again = asyncio.get_running_loop().call_later(FLUSH_AGAIN_SECONDS, self._flush_again)
            return False
        self._all_written.clear()
        self._unwritten += ((self._log.written, batch) for batch in batches)
        self._on_committed(self._store.committed)
        return True

    def _flush_again(self) -> None:
        self._again = None
        self._flush()

    def _on_committed(self, position: int) -> None:
        while self._unwritten and self._unwritten[0][0] <= position:
            self._mesh.push(self._unwritten.popleft()[1])
        if not self._unwritten:
            self._all_written.set()

    # What is heard --------------------------------------------------------------------------------------------------

    def _on_entries(self, room: RoomID, entries: Sequence[Placed]) -> None:
        if room == self._settings.room.id:
            self._show_new(entries)

    def _show_new(self, entries: Sequence[Placed]) -> None:
        new, left_out = self._window.new(entries)
        if left_out:
            self._show(lines.info(f"{left_out} older lines are kept and not shown"))
        for line in new:
            self._show(lines.said(line, self._settings.room.name, self._pins))

    def _on_refusal(self, _: RoomID, origin: Origin, refusal: Refusal) -> None:
        self._mesh.warn(str(refusal), origin, EntriesRefused(origin, refusal))

    def _look_after_damage(self) -> None:
        """Tell what was found damaged at the start."""
        store = self._store
        if store.put_aside:
            saved = f"{store.salvaged} lines were saved, the old file is {store.put_aside}"
            self._show([f"warning> the database was damaged: {saved}"])
        elif store.found:
            self._show(["warning> parts of the database were damaged and will be asked for again"])

    def _on_damage(self, room: RoomID, count: int) -> None:
        if room in self._replica.logs:
            self._replica.logs[room].reload()
            self._on_event(Trouble(f"the database is damaged in {count} places; what is lost is asked for again"))

    def _on_event(self, event: Event) -> None:
        self._show(lines.happened(event))

    def _heard(self, peer: Advertised) -> None:
        for number, address in enumerate(peer.addresses):
            self._mesh.dial(address, peer.node, advertised=True, after_seconds=number * NEXT_ADDRESS_SECONDS)

    def _mdns_trouble(self, trouble: str) -> None:
        if trouble:
            self._on_event(Trouble(f"mDNS does not work ({trouble}): only known peers and those of --peer are dialled"))
        else:
            self._show(lines.info("mDNS works again"))


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
