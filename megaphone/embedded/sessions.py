"""The sessions of one worker and their connections: XEP-0198, XEP-0352, what happens when a connection goes.

bound ─► connected ── connection lost ──► waiting (only with XEP-0198) ── resumed ──► connected
             │                               │ time is over
             └── </stream:stream>, error ────┴──► ended: what was not acknowledged goes back to the service
"""

from __future__ import annotations

import secrets
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, cast

from megaphone.dispatch.counters import Reason, Slot
from megaphone.edge.reasons import reason_of
from megaphone.errors import StorageError
from megaphone.service import moving, offline
from megaphone.stream import resumption
from megaphone.stream.nonza import Ack, AckRequest, ClientState, Enable, Resume, read_nonza
from megaphone.stream.resumption import EndedSessions, HandledTooManyError, SMLimits, StreamManagement
from megaphone.wire.writer import STREAM_END, stream_error

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from megaphone.dispatch.counters import Board
    from megaphone.embedded.promises import Promises
    from megaphone.embedded.router import Router
    from megaphone.embedded.stream import EmbeddedStream
    from megaphone.service.session import Session
    from megaphone.storage.users import SQLiteUsers
    from megaphone.stream.jid import JID

# A connection that ended so may have been lost on the way: its client comes back. All else was somebody's decision.
LOST: Final = frozenset(
    {Reason.CLIENT_RESET, Reason.IDLE_TIMEOUT, Reason.SLOW_CONSUMER, Reason.REMOTE_CONNECTION_FAILED, Reason.INTERNAL}
)
_MESSAGE: Final = b"<message"
_ANSWERS_LIMIT: Final = 16  # that one stream waits for; whoever asks more often gets one answer for several questions
_MINUS_ONE: Final = (1 << 64) - 1  # a gauge goes down by wrapping


class Sessions:
    """The sessions at home in one worker. `resume_seconds` is how long one waits for its client; 0: not at all."""

    def __init__(
        self,
        *,
        board: Board,
        router: Router,
        promises: Promises,
        store: SQLiteUsers,
        resume_seconds: int,
        limits: SMLimits,
    ) -> None:
        self._board = board
        self._router = router
        self._promises = promises
        self._store = store
        self._resume_seconds = resume_seconds
        self._limits = limits
        self._by_id: dict[str, EmbeddedStream] = {}
        self.ended = EndedSessions()
        self._waiting: deque[tuple[float, EmbeddedStream]] = deque()  # by the time when they have waited long enough
        self._answers: dict[EmbeddedStream, int] = {}  # how many each stream waits for, until all is safe
        self._unkept: deque[tuple[Session, int]] = deque()  # sent with this count while nothing could be written
        self.place = ""  # what ids of resumable sessions begin with: who has made them, for other nodes
        self._lent: set[EmbeddedStream] = set()  # to other nodes (user_resuming)
        self._key = 0  # under which the stanza under way is kept in the store: > 0 by us, < 0 by the service

    def apply(self, resume_seconds: int, limits: SMLimits) -> None:
        """Take other limits, for sessions that enable XEP-0198 from now on."""
        self._resume_seconds = resume_seconds
        self._limits = limits

    # --- begin ------------------------------------------------------------

    def bound(self, stream: EmbeddedStream, session: Session) -> None:
        """A resource was bound on this stream."""
        stream.bound(session, str(session.jid))
        self._board.add(Slot.SESSIONS_BOUND, 1)
        self._board.add(Slot.SESSIONS, 1)

    def resumable(self, previd: str, account: JID) -> EmbeddedStream | None:
        """Return the stream of the session that can be resumed under this id, if it is the account's."""
        stream = self._by_id.get(previd)
        if stream is None or stream.session.user.jid != account or stream in self._lent:
            return None
        return stream

    def handled(self, previd: str, account: JID) -> int | None:
        """Return how many stanzas were handled of a session that can no longer be resumed, if that is known."""
        return self.ended.handled(previd, account)

    def resume(self, stream: EmbeddedStream, old: EmbeddedStream, wish: Resume, again: Callable[[], None]) -> None:
        """Go on with a session on a new stream (XEP-0198 section 5).

        The answer acknowledges what the client has said, so it waits until that is safe; meanwhile nothing more is
        taken of either stream. `again` is called if the session has gone elsewhere by then.
        """
        stream.streams.settle()
        self.await_client(old)
        if self._promises.all_kept:
            self._go_on(stream, old, wish)
            return

        def when_safe() -> None:
            if not stream.connection_id:
                return  # it has hung up meanwhile; the session waits on
            if old.session is None:
                again()
            else:
                self._go_on(stream, old, wish)
            stream.go_on()
            self._router.drain()

        stream.wait()
        self._promises.when_safe(when_safe)

    def await_client(self, stream: EmbeddedStream) -> None:
        """End the connection of a session that is going to be resumed on another, if it still has one."""
        if stream.connection_id:
            stream.say(resumption.REPLACED)
            self._detach(stream)
            stream.end("", Reason.SERVER_CLOSED)

    def _go_on(self, stream: EmbeddedStream, old: EmbeddedStream, wish: Resume) -> None:
        stream.streams.settle()
        management: StreamManagement = old.resumption
        try:
            first = management.acknowledged
            stanzas = management.resume(wish.h)
        except HandledTooManyError as error:
            stream.say(error.answer)
            stream.end("", Reason.INVALID_XML)
            return
        self._settle(old, (wish.h - first) & resumption.COUNT_MASK)
        session: Session = old.session
        self._touch(session)
        old.session = None
        self._attached(old)
        answer = stream.login.resumed(resumption.resumed(management.id, management.handled))
        stream.bound(session, str(session.jid))
        session.stream = stream
        stream.resumable(management)
        stream.keys, old.keys = old.keys, []
        old.resumable(None)
        self._by_id[management.id] = stream
        stream.say(answer.data)
        for stanza in stanzas:
            stream.say(stanza)
        self._board.add(Slot.SESSIONS_RESUMED, 1)
        self._router.service.client_state(session, True)
        stream.at_turn_end()

    # --- what a client says between stanzas ------------------------------------------------------------

    def take_element(self, stream: EmbeddedStream, data: bytes) -> None:
        """Take a first-level element that is no stanza."""
        stream.streams.settle()  # what was said before it is not counted after it
        self._touch(stream.session)
        try:
            nonza = read_nonza(data)
        except ValueError as error:
            self.close(stream, str(error.args[0]), str(error.args[1]))
            return
        management: StreamManagement | None = stream.resumption
        if isinstance(nonza, AckRequest) and management is not None:
            self._answer_when_safe(stream, management)
        elif isinstance(nonza, Ack) and management is not None:
            self._acknowledged(stream, management, nonza.h)
        elif isinstance(nonza, Enable):
            self._enable(stream, nonza)
        elif isinstance(nonza, ClientState):
            self._router.service.client_state(stream.session, nonza.active)
        elif isinstance(nonza, Resume):
            stream.say(resumption.failed("unexpected-request"))
        else:
            self.close(stream, "unsupported-stanza-type", "")

    def _answer_when_safe(self, stream: EmbeddedStream, management: StreamManagement) -> None:
        waiting = self._answers.get(stream, 0)
        if waiting >= _ANSWERS_LIMIT:
            self._answers[stream] = _ANSWERS_LIMIT + 1  # once more, when those have been given
            return
        self._answers[stream] = waiting + 1
        self._promises.when_safe(Answer(self, stream, management, management.handled))

    def answer(self, waited: Answer) -> None:
        """Everything before this answer is safe."""
        stream = waited.stream
        left = self._answers.pop(stream) - 1
        if left:
            self._answers[stream] = left
        if stream.resumption is waited.management:  # else it has been said with <resumed/>, or is not to be said
            stream.say(resumption.answer(waited.handled))
            if left == _ANSWERS_LIMIT:
                self._answers[stream] = left - 1
                self._answer_when_safe(stream, waited.management)

    def _acknowledged(self, stream: EmbeddedStream, management: StreamManagement, h: int) -> None:
        try:
            count = management.acknowledge(h)
        except HandledTooManyError as error:
            stream.say(error.answer)
            stream.end("", Reason.INVALID_XML)
            return
        self._settle(stream, count)
        stream.at_turn_end()

    def _enable(self, stream: EmbeddedStream, wish: Enable) -> None:
        if stream.resumption is not None:
            stream.say(resumption.failed("unexpected-request"))
            return
        wanted = wish.resume and self._resume_seconds
        id_ = self.place + resumption.resumption_id(secrets.token_bytes) if wanted else ""
        stream.resumable(StreamManagement(id_, self._limits))
        stream.keys = []
        if id_:
            self._by_id[id_] = stream
        stream.say(resumption.enabled(id_, self._resume_seconds))

    # --- to the client ------------------------------------------------------------

    def deliver(self, session: Session, stanza: bytes) -> None:
        """Send a stanza to the client of a session."""
        stream = _stream_of(session)
        stream.streams.settle()
        if (
            self._router.keeping
            and stream.resumption is not None
            and not session.user.anonymous
            and stanza.startswith(_MESSAGE)
        ):
            try:
                self._key = self._store.spool_add(session.user.jid, stanza, self._router.now())
            except StorageError:  # it is delivered all the same; until it can be kept nobody is told that it is safe
                management: StreamManagement = stream.resumption
                self._unkept.append((session, (management.sent_count + 1) & resumption.COUNT_MASK))
                self._promises.hold(True)
        stream.deliver(stanza)
        self._key = 0

    def _keep_late(self) -> None:
        """Keep what could not be kept when it was delivered, unless its client has it by now."""
        while self._unkept:
            session, count = self._unkept[0]
            stream = _stream_of(session)
            management: StreamManagement | None = stream.resumption
            if management is not None and not session.ended:
                at = (count - management.acknowledged - 1) & resumption.COUNT_MASK
                if at < len(stream.keys):
                    try:
                        self._touch(session)
                        stream.keys[at] = self._store.spool_add(
                            session.user.jid, management.waiting[at], self._router.now()
                        )
                    except StorageError:
                        return
            self._unkept.popleft()
        self._promises.hold(False)

    def deliver_stored(self, session: Session, stanza: bytes, key: int) -> None:
        """Send a message that the service keeps until it is settled."""
        stream = _stream_of(session)
        stream.streams.settle()
        self._key = -key
        stream.deliver(stanza)
        self._key = 0
        if stream.resumption is None:
            self._router.later(lambda: self._router.service.settled(session, key))

    def queue(self, stream: EmbeddedStream, stanza: bytes) -> None:
        """Send a stanza that waits for its acknowledgement."""
        management: StreamManagement = stream.resumption
        if self._router.service.home.touched is not None:
            self._touch(stream.session)
        fits = management.sent(stanza)
        stream.keys.append(self._key)
        stream.say(stanza)
        if not fits:
            self._board.add(Slot.OVERFLOWS, 1)
            if stream.connection_id:
                self.close(stream, "resource-constraint", "too much waits for your acknowledgement")
            else:
                self._router.later(lambda: self._finish(stream))
        elif management.wants_request(pause=False):
            stream.say(resumption.REQUEST)
        else:
            stream.at_turn_end()

    def ask(self, stream: EmbeddedStream) -> None:
        """At the end of a turn: ask for an acknowledgement if one is due."""
        management: StreamManagement | None = stream.resumption
        if management is not None and stream.connection_id and management.wants_request(pause=True):
            self._touch(stream.session)
            stream.say(resumption.REQUEST)

    def _settle(self, stream: EmbeddedStream, count: int) -> None:
        """The client has these: what was kept of them is kept no longer."""
        keys = stream.keys[:count]
        del stream.keys[:count]
        if not any(keys):
            return
        session: Session = stream.session
        kept = [key for key in keys if key > 0]
        if kept:
            self._store.spool_remove(session.user.jid, kept)
        for key in keys:
            if key < 0:
                self._router.service.settled(session, -key)

    # --- the end ------------------------------------------------------------

    def close(self, stream: EmbeddedStream, condition: str, text: str) -> None:
        """End the stream of a session with a stream error."""
        stream.say(stream_error(condition, text) + STREAM_END)
        stream.end("", reason_of(condition))

    def end_session(self, session: Session, condition: str, text: str) -> None:
        """End the stream of a session with a stream error; one that waits for its client is over at once."""
        stream = _stream_of(session)
        if stream.connection_id:
            self.close(stream, condition, text)
        else:
            self._router.later(lambda: self._finish(stream))

    def kick(self, session: Session, condition: str) -> None:
        """End a session for an operator."""
        stream = _stream_of(session)
        if stream.connection_id:
            stream.end(condition, Reason.KICKED)
        else:
            self._router.later(lambda: self._finish(stream))

    def take_stream_end(self, stream: EmbeddedStream) -> None:
        """The client has said goodbye."""
        stream.say(STREAM_END)
        stream.end("", Reason.CLIENT_CLOSED)

    def gone(self, stream: EmbeddedStream, reason: int) -> None:
        """The connection of a session is gone."""
        stream.streams.settle()
        if stream.session is None or stream.detached:
            return  # the session goes on elsewhere, or is about to
        management: StreamManagement | None = stream.resumption
        if management is None or not management.id or reason not in LOST or stream.session.ended:
            self._finish(stream)
        else:
            self._detach(stream)

    def _detach(self, stream: EmbeddedStream) -> None:
        """The session waits for its client."""
        self._touch(stream.session)
        stream.detached = True
        self._board.add(Slot.SESSIONS_WAITING, 1)
        self._waiting.append((self._router.now() + self._resume_seconds, stream))

    def sweep(self) -> None:
        """End the sessions that have waited long enough; called 8 times a second."""
        if self._unkept:
            self._keep_late()
        now = self._router.now()
        while self._waiting and self._waiting[0][0] <= now:
            _, stream = self._waiting.popleft()
            if stream in self._lent:
                self._waiting.append((now, stream))  # another node may have it: that is known soon
                break
            if stream.detached:
                self._board.add(Slot.SESSIONS_EXPIRED, 1)
                self._finish(stream)
        self._router.drain()

    def _attached(self, stream: EmbeddedStream) -> None:
        """The session waits no longer."""
        if stream.detached:
            stream.detached = False
            self._board.add(Slot.SESSIONS_WAITING, _MINUS_ONE)

    def _finish(self, stream: EmbeddedStream) -> None:
        """The session is over: the service gets back what its client has not acknowledged."""
        session: Session | None = stream.session
        if session is None:
            return
        now = self._router.now()
        management: StreamManagement | None = stream.resumption
        stream.session = None
        self._lent.discard(stream)
        self._attached(stream)
        self._board.add(Slot.SESSIONS, _MINUS_ONE)
        self._router.service.ended(session, now)
        if management is None:
            return
        if self._by_id.pop(management.id, None) is not None:
            self.ended.add(management.id, session.user.jid, management.handled)
        stream.resumable(None)
        keys, stream.keys = stream.keys, []
        stanzas = management.take_all()
        self._router.service.requeue(
            session, [stanza for stanza, key in zip(stanzas, keys, strict=True) if key >= 0], now
        )
        kept = [key for key in keys if key > 0]
        if kept:
            self._store.spool_remove(session.user.jid, kept)

    # --- another node goes on (user_resuming.py) ------------------------------------------------------------

    def by_id(self, id_: str) -> EmbeddedStream | None:
        """Return the stream of a resumable session."""
        return self._by_id.get(id_)

    def deadline_of(self, stream: EmbeddedStream) -> float:
        """Return until when (Unix seconds) a session waits for its client."""
        return next((deadline for deadline, each in self.deadlines() if each is stream), self._router.now())

    def keep_all(self, user: JID, stanzas: Sequence[bytes]) -> list[int]:
        """Keep the messages among these in the store; returns their keys, 0 for what is none. StorageError."""
        now = self._router.now()
        return [self._store.spool_add(user, each, now) if each.startswith(_MESSAGE) else 0 for each in stanzas]

    def adopt(self, stream: EmbeddedStream, management: StreamManagement, keys: list[int], deadline: float) -> None:
        """Let a session of another node wait here for its client."""
        self.restore(stream, management, keys, detached=True)
        self._board.add(Slot.SESSIONS, 1)
        self._board.add(Slot.SESSIONS_WAITING, 1)
        at = max(deadline, self._router.now())
        place = next((place for place, (each, _) in enumerate(self._waiting) if each > at), len(self._waiting))
        self._waiting.insert(place, (at, stream))

    def lend(self, stream: EmbeddedStream, *, lent: bool) -> None:
        """Let nobody resume a session here as long as another node may have it."""
        if lent:
            self._lent.add(stream)
        else:
            self._lent.discard(stream)

    def is_lent(self, session: Session) -> bool:
        """Whether another node may have it."""
        return _stream_of(session) in self._lent

    def give_away(self, stream: EmbeddedStream, stanzas: int) -> list[tuple[bytes, int]]:
        """Another node has this session, and the first stanzas of what its client has not acknowledged, for good.

        Returns what has come for it since, without what the service keeps, and the keys in the store (0: in none).
        """
        session: Session = stream.session
        management: StreamManagement = stream.resumption
        self._touch(session)
        self._settle(stream, stanzas)
        late, keys = management.take_all()[stanzas:], stream.keys
        self.forget(stream)
        self._lent.discard(stream)
        stream.keys = []
        self._board.add(Slot.SESSIONS, _MINUS_ONE)
        self._board.add(Slot.SESSIONS_WAITING, _MINUS_ONE)
        moving.give_away(self._router.service.home, session)
        offline.abandoned(self._router.service.home, session)
        return [(stanza, key) for stanza, key in zip(late, keys, strict=True) if key >= 0]

    def came_late(self, session: Session, stanza: bytes, key: int, *, taken: bool) -> None:
        """What `give_away` has returned was taken by the other node, or has to find another place."""
        if not taken:
            self._router.service.requeue(session, (stanza,), self._router.now())
        if key:
            self._store.spool_remove(session.user.jid, (key,))

    # --- another process goes on (moving_users.py) ------------------------------------------------------------

    def _touch(self, session: Session | None) -> None:
        """Note that something of a session has changed, if anybody wants to know."""
        if session is not None:
            self._router.service.home.touch(session.user.local)

    @property
    def limits(self) -> SMLimits:
        """Those of sessions that enable XEP-0198 now."""
        return self._limits

    def deadlines(self) -> Iterator[tuple[float, EmbeddedStream]]:
        """Yield the sessions that wait for their clients, by the time when they have waited long enough."""
        return ((deadline, stream) for deadline, stream in self._waiting if stream.detached)

    def answers(self) -> Iterator[tuple[EmbeddedStream, int]]:
        """Yield how many answers each stream waits for."""
        return iter(self._answers.items())

    def restore(
        self, stream: EmbeddedStream, management: StreamManagement | None, keys: list[int], *, detached: bool
    ) -> None:
        """Let a stream that has its session go on where another process was."""
        stream.resumable(management)
        stream.keys = keys
        stream.detached = detached
        if management is not None and management.id:
            self._by_id[management.id] = stream

    def forget(self, stream: EmbeddedStream) -> None:
        """Take back `restore`."""
        management: StreamManagement | None = stream.resumption
        if management is not None and self._by_id.get(management.id) is stream:
            del self._by_id[management.id]
        stream.session = None
        stream.resumable(None)
        stream.detached = False

    def restore_deadlines(self, waiting: list[tuple[float, EmbeddedStream]]) -> None:
        """Wait for these clients until then; in order."""
        self._waiting.extend(waiting)

    def restore_answers(self, answers: dict[EmbeddedStream, int]) -> None:
        """Know how many answers each stream waits for; the promises bring them."""
        self._answers.update(answers)

    def count(self, sessions: int, waiting: int) -> None:
        """Show how many sessions were restored, and how many of them wait for their clients."""
        self._board.add(Slot.SESSIONS, sessions)
        self._board.add(Slot.SESSIONS_WAITING, waiting)


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """One `<a/>`, which waits until everything before it is safe."""

    sessions: Sessions
    stream: EmbeddedStream
    management: StreamManagement
    handled: int

    def __call__(self) -> None:
        """Say it."""
        self.sessions.answer(self)


def _stream_of(session: Session) -> EmbeddedStream:
    """To the service its `stream` is opaque."""
    return cast("EmbeddedStream", session.stream)
