"""BOSH of one worker (XEP-0124, XEP-0206): requests of browsers find their session, here or at another worker.

    POST ─► Exchange ─┬─ no sid ──────────────► a new session here ─┐
                      ├─ a sid of this worker ──► its session ──────┴─► web.bosh_session ─► stream.bosh
                      └─ a sid of another one ──► web.bosh_bus ─► that worker's session

A sid is the worker's index, a dot, and 192 random bits. Who asks for sessions that are not there is made to wait, as
who guesses passwords is; a session that this address has used before is served all the same.
"""

from __future__ import annotations

import secrets
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from megaphone.dispatch.bosh_slots import BoshSlot
from megaphone.dispatch.counters import Reason
from megaphone.edge.connection import adopt_stream
from megaphone.service.failed_logins import FailedLogins, LockPolicy
from megaphone.sockets.client_address import MAPPED_PREFIX
from megaphone.stream.bosh import Session
from megaphone.stream.bosh_body import Body, read_body, shutdown_body, terminal_body
from megaphone.web.bosh_bus import BoshBus
from megaphone.web.bosh_session import LiveSession

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from megaphone.bus.subjects import Subjects
    from megaphone.dispatch.counters import Board
    from megaphone.edge.clients import Clients
    from megaphone.stream.bosh_terms import BoshLimits
    from megaphone.web.exchange import Exchange

SID_BYTES: Final = 24
_TYPE = (b"Content-Type", b"text/xml; charset=utf-8")
_FIELDS = (_TYPE, (b"Cache-Control", b"no-store"))
_TEXT = (b"Content-Type", b"text/plain; charset=utf-8")
_IPV6_PREFIX_BYTES = 8


@dataclass(frozen=True, slots=True)
class BoshSettings:
    """`sessions` of a worker, each with these `limits`; `wrong_sids` of an address cost nothing.

    `depth` and `attributes` are those of [limits], for elements in a body.
    """

    limits: BoshLimits
    sessions: int
    wrong_sids: int
    depth: int
    attributes: int


class Bosh:
    """The sessions of one worker, `index` of `workers`.

    Requests for sessions of another worker go over `bus`; without it they are of no session.
    """

    def __init__(
        self,
        *,
        loop: asyncio.AbstractEventLoop,
        clients: Clients,
        board: Board,
        index: int,
        workers: int,
        bus: Subjects | None,
        settings: BoshSettings,
    ) -> None:
        self._loop = loop
        self._clients = clients
        self._board = board
        self._index = index
        self._workers = workers
        self._sessions: dict[str, LiveSession] = {}  # those too that have ended, for a while
        self._open_sessions = 0
        self._settings = settings
        self._guesses = FailedLogins(lock_policy(settings.wrong_sids))
        self._draining = self._replaced = False
        self._bus = None if bus is None else BoshBus(bus, loop, index, self._take_passed_on)

    def open(self) -> None:
        """Begin to serve: the other workers may talk to this one."""
        if self._bus is not None:
            self._bus.begin()

    def apply(self, settings: BoshSettings) -> None:
        """Take new settings; sessions that exist keep theirs."""
        self._settings = settings
        self._guesses.policy = lock_policy(settings.wrong_sids)

    # --- requests ------------------------------------------------------------

    def take(self, exchange: Exchange, place: int) -> None:
        """Take a request that came by the listener at this `place` of the configuration."""
        request = exchange.request
        listener = self._clients.listener_at(place)
        if listener.tls in ("starttls", "both") and listener.starttls_required and not request.secure:
            exchange.answer(403, [_TEXT], b"this address wants TLS: use https\n")
            return
        try:
            body = read_body(request.body, depth=self._settings.depth, attributes=self._settings.attributes)
        except ValueError:
            _answer(exchange, terminal_body("bad-request"))
            return
        if body.sid is None:
            self._open(exchange, body, place)
            return
        worker = worker_of(body.sid)
        if worker is None or worker == self._index or worker >= self._workers or self._bus is None:
            live = self._find(body.sid, request.client_address)
            if isinstance(live, bytes):
                _answer(exchange, live)
                return
            number = live.take(body, lambda answer: _answer(exchange, answer))
            exchange.on_gone = lambda: live.gone(number)
            exchange.on_ending = lambda: self._end_held(exchange)
            return
        self._pass_on(exchange, worker)

    def _find(self, sid: str, address: bytes) -> LiveSession | bytes:
        """Return the session, or what is answered to who may not have it."""
        counted = address if address.startswith(MAPPED_PREFIX) else address[:_IPV6_PREFIX_BYTES]
        live, now = self._sessions.get(sid), self._loop.time()
        if self._guesses.locked(counted, now) and (live is None or live.address != counted):
            self._board.add(BoshSlot.LOCKED, 1)
            return terminal_body("policy-violation")
        if live is None:
            self._board.add(BoshSlot.WRONG_SID, 1)
            self._guesses.failed(counted, now)
            return terminal_body("item-not-found")
        live.address = counted
        return live

    def _open(self, exchange: Exchange, body: Body, place: int) -> None:
        """Begin a session, whose stream is to the edge one more client's."""
        request = exchange.request
        if body.terminates or body.pause is not None:
            _answer(exchange, terminal_body("bad-request"))
            return
        if self._draining:
            self._board.add(BoshSlot.REFUSED, 1)
            _answer(exchange, shutdown_body(self._settings.limits.see_other_uri))
            return
        connection = None
        if len(self._sessions) < self._settings.sessions:
            outer, inner = socket.socketpair()
            outer.setblocking(False)
            inner.setblocking(False)
            listener = self._clients.listener_at(place)
            connection = adopt_stream(
                self._clients, listener, inner.detach(), request.client_address, 0, request.secure
            )
            if connection is None:
                outer.close()
        if connection is None:
            self._board.add(BoshSlot.REFUSED, 1)
            exchange.answer(503, [_TEXT, (b"Retry-After", b"10")], b"there are too many sessions\n")
            return
        sid = f"{self._index}.{secrets.token_urlsafe(SID_BYTES)}"
        live = LiveSession(self._loop, outer, connection, self._ended, self._forget)
        self._sessions[sid] = live
        self._open_sessions += 1
        self._board.add(BoshSlot.OPENED, 1)
        self._board.set(BoshSlot.OPEN, self._open_sessions)
        address = request.client_address
        live.address = address if address.startswith(MAPPED_PREFIX) else address[:_IPV6_PREFIX_BYTES]
        number = live.begin(
            lambda number, now: Session(sid, body, number, self._settings.limits, now),
            lambda answer: _answer(exchange, answer),
        )
        exchange.on_gone = lambda: live.gone(number)

    def _ended(self) -> None:
        """One session is over; for a while it is known what it was told last."""
        self._open_sessions -= 1
        self._board.set(BoshSlot.OPEN, self._open_sessions)

    def _forget(self, live: LiveSession) -> None:
        """Nobody needs to know this session any more."""
        self._sessions.pop(live.session.sid, None)
        if live.session.expired:
            self._board.add(BoshSlot.EXPIRED, 1)

    # --- other workers ------------------------------------------------------------

    def _pass_on(self, exchange: Exchange, worker: int) -> None:
        """Ask the worker that has the session."""
        assert self._bus is not None  # noqa: S101 - there is another worker
        self._board.add(BoshSlot.PASSED_ON, 1)
        bus = self._bus

        def answered(answer: bytes | None) -> None:
            if answer is None:
                exchange.answer(503, [_TEXT, (b"Retry-After", b"1")], b"the session cannot be reached\n")
            else:
                _answer(exchange, answer)

        request = exchange.request
        number = bus.ask(worker, request.client_address, request.body, self._settings.limits, answered)
        if number is not None:
            exchange.on_gone = lambda: bus.give_up(worker, number)
            exchange.on_ending = lambda: self._end_held(exchange)

    def _take_passed_on(
        self, address: bytes, text: bytes, answer: Callable[[bytes], None]
    ) -> Callable[[], None] | None:
        """Take a request that another worker got; returns what to call if its client goes away."""
        body = read_body(text, depth=255, attributes=255)  # it has been measured there
        live = self._find(body.sid or "", address)
        if isinstance(live, bytes):
            answer(live)
            return None
        number = live.take(body, answer)
        return lambda: live.gone(number)

    # --- the end ------------------------------------------------------------

    def drain(self, condition: str, *, replaced: bool) -> None:
        """Begin no more sessions, and end those that are with the stream error of `condition`.

        `replaced`: another process goes on here, and so do the sessions of other workers.
        """
        self._draining, self._replaced = True, replaced
        for live in list(self._sessions.values()):
            live.finish(condition, Reason.SYSTEM_SHUTDOWN)

    def _end_held(self, exchange: Exchange) -> None:
        """The connection of a held request is ended. If all of the node goes, its session does, wherever it is."""
        if self._draining and not self._replaced:
            uri = self._settings.limits.see_other_uri
            _answer(exchange, shutdown_body(uri))


def worker_of(sid: str) -> int | None:
    """Return the index of the worker that has made this sid; None if none has."""
    index = sid.partition(".")[0]
    return int(index) if index.isascii() and index.isdigit() and len(index) <= 4 else None


def lock_policy(wrong_sids: int) -> LockPolicy:
    """Return how an address is slowed down that asks for sessions that are not there."""
    return LockPolicy(free_failures=wrong_sids, first_lock_seconds=1.0, longest_lock_seconds=60.0, forget_seconds=300.0)


def _answer(exchange: Exchange, body: bytes) -> None:
    exchange.answer(200, _FIELDS, body)
