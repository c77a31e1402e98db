"""Routers of several workers in one process, joined by a real mesh; what they bring home is noted, not understood."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, cast

from megaphone.bus.homes import home_of
from megaphone.bus.local import BusListener, LocalBus
from megaphone.dispatch.counters import BOARD_BYTES, Board
from megaphone.dispatch.dispatcher import Dispatcher
from megaphone.embedded.frames import HomeFrames
from megaphone.embedded.promises import Promises
from megaphone.embedded.router import Router
from megaphone.embedded.stream import Streams
from megaphone.sockets.poller import Poller
from megaphone.stream.jid import JID
from megaphone.stream.stanza import Stanza

DOMAIN, ROOMS = "example.net", "rooms.example.net"
DEADLINE_SECONDS = 10.0
NOW = 1_700_000_000.0


class Sockets:
    """The listening sockets of a mesh, which outlive its workers."""

    def __init__(self, directory: Path, workers: int) -> None:
        self.paths = [str(directory / f"{index}.frames") for index in range(workers)]
        self.listening = []
        for path in self.paths:
            made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            made.setblocking(False)
            made.bind(path)
            made.listen(64)
            self.listening.append(made)

    def close(self) -> None:
        for each in self.listening:
            each.close()


class Writes:
    """A store whose commits a test decides."""

    position = 0
    committed = 0


class Core:
    """Stands for the service, the rooms and the occupants of a worker: (what, who, bytes or more), in order."""

    def __init__(self, home: Home) -> None:
        self.home = home
        self.heard: list[tuple[Any, ...]] = []
        self.error: Exception | None = None
        self.on_stanza: Callable[[Stanza], None] | None = None

    def receive_routed(self, stanza: Stanza, now: float) -> None:
        self._receive("user", stanza, now)

    def receive(self, stanza: Stanza, now: float) -> None:
        self._receive("room", stanza, now)

    def _receive(self, what: str, stanza: Stanza, now: float) -> None:
        assert now == NOW
        if self.error is not None:
            raise self.error
        self.heard.append((what, str(stanza.to), stanza.data))
        if self.home.router.keeping:
            self.home.writes.position += 1
        if self.on_stanza is not None:
            self.on_stanza(stanza)

    def home_lost(self, is_lost: Callable[[JID], bool], now: float) -> None:
        assert now == NOW
        self.heard.append(("lost", frozenset(jid for jid in EVERYBODY if is_lost(jid))))

    def list_anew(self) -> None:
        self.heard.append(("list anew",))

    def listed(self, room: JID, name: str, occupants: int) -> None:
        self.heard.append(("listed", room, name, occupants))

    def unlisted(self, room: JID) -> None:
        self.heard.append(("unlisted", room))


class Audience:
    """Stands for embedded.occupants."""

    def __init__(self, heard: list[tuple[Any, ...]]) -> None:
        self.heard = heard
        self.inside: dict[JID, set[JID]] = {}

    def add(self, room: JID, occupant: JID, *, moderator: bool) -> None:
        self.inside.setdefault(room, set()).add(occupant)
        self.heard.append(("added", room, occupant, moderator))

    def change(self, room: JID, occupant: JID, *, moderator: bool) -> None:
        self.heard.append(("changed", room, occupant, moderator))

    def remove(self, room: JID, occupant: JID) -> None:
        self.inside.get(room, set()).discard(occupant)
        self.heard.append(("removed", room, occupant))

    def fan_out(self, room: JID, stanza: bytes, from_: str, audience: str, except_: Collection[JID]) -> int:
        self.heard.append(("said", room, stanza, from_, audience, frozenset(except_)))
        return 0

    def rooms(self) -> list[JID]:
        return [room for room, inside in self.inside.items() if inside]

    def forget(self, room: JID) -> None:
        self.heard.append(("forgotten", room))
        self.inside.pop(room, None)


class NoRelay:
    """Stands for embedded.relay."""

    def __init__(self, heard: list[tuple[Any, ...]]) -> None:
        self.heard = heard

    def take_frame(self, peer: int, kind: int, payload: bytes) -> None:
        self.heard.append(("relay", peer, kind, payload))

    def peer_lost(self, peer: int) -> None:
        self.heard.append(("relay lost", peer))


class NoSubjects:
    """Nobody publishes anything."""

    def peer_lost(self, peer: int) -> None: ...


class Home:
    """One worker's router with all it is wired to."""

    def __init__(self, town: Town, index: int) -> None:
        self.index = index
        self.faults = town.faults
        self.poller = Poller()
        self.poller.on_fault = town.faults.append
        board = Board(bytearray(BOARD_BYTES))
        self.streams = Streams(self.poller, Dispatcher(index, 16), board, None)
        self.router = Router(
            domain=DOMAIN,
            rooms_domain=ROOMS,
            index=index,
            workers=town.workers,
            now=lambda: NOW,
            fault=town.faults.append,
        )
        self.bus = LocalBus(
            self.poller, index, town.sockets.paths, HomeFrames(self.streams, self.router), town.limit_bytes
        )
        self.writes = Writes()
        self.core = Core(self)
        self.heard = self.core.heard
        router = cast(Any, self.router)
        router.service = router.rooms = self.core
        router.occupants = Audience(self.heard)
        router.relay = NoRelay(self.heard)
        router.bus = self.bus
        self.promises = router.promises = Promises(self.writes, self.bus)
        self.streams.bus, self.streams.domain = self.bus, DOMAIN.encode()
        router.subjects = NoSubjects()
        self._listener = BusListener(self.bus, town.sockets.listening[index].dup().detach())
        self._listener.open()
        self.bus.open()

    def commit(self) -> None:
        self.writes.committed = self.writes.position
        self.promises.look()

    def close(self) -> None:
        self._listener.close()
        self.bus.close()


class Town:
    """The workers of one node."""

    def __init__(self, directory: Path, workers: int = 3, limit_bytes: int = 1_000_000) -> None:
        self.workers = workers
        self.limit_bytes = limit_bytes
        self.sockets = Sockets(directory, workers)
        self.faults: list[Exception] = []
        self.homes: dict[int, Home] = {}
        for index in range(workers):
            self.start(index)
        self.until(lambda: all(home.bus.is_up(peer) for home in self.homes.values() for peer in range(workers)))

    def start(self, index: int) -> Home:
        self.homes[index] = Home(self, index)
        return self.homes[index]

    def kill(self, index: int) -> None:
        """Every socket of the process ends."""
        self.homes.pop(index).close()

    def step(self) -> None:
        for home in list(self.homes.values()):
            home.bus.sweep()
            home.poller.turn()

    def until(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + DEADLINE_SECONDS
        while not condition():
            self.step()
            assert time.monotonic() < deadline, {index: home.heard[-5:] for index, home in self.homes.items()}

    def rest(self) -> None:
        """Go on until everything under way has arrived."""
        for _ in range(3):
            expected = {index: home.bus.frames_out for index, home in self.homes.items()}
            self.until(
                lambda: (
                    sum(home.bus.frames_in for home in self.homes.values())
                    >= sum(home.bus.frames_out for home in self.homes.values())
                )
            )
            if expected == {index: home.bus.frames_out for index, home in self.homes.items()}:
                return

    def close(self) -> None:
        for index in list(self.homes):
            self.kill(index)
        self.sockets.close()


def user_at(home: int, workers: int = 3, number: int = 0) -> JID:
    """A user who is at home there."""
    return at_home(home, workers, DOMAIN)[number]


def room_at(home: int, workers: int = 3, number: int = 0) -> JID:
    """A room that is at home there."""
    return at_home(home, workers, ROOMS)[number]


def at_home(home: int, workers: int, domain: str) -> list[JID]:
    return [JID(f"n{number}", domain) for number in range(60) if home_of(f"n{number}@{domain}", workers) == home]


EVERYBODY = [JID(f"n{number}", domain) for number in range(60) for domain in (DOMAIN, ROOMS)]
