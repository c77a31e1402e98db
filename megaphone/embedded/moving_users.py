"""The users at home in one worker, with their sessions and streams, on their way to the worker's successor.

    UserRecord = service.moving.UserSnapshot ─ what the service knows
               + SessionRecord for each session ─ its connection, and what its client has not acknowledged

A stream comes twice: with its connection (stream_record.pyx), and, by the id of that, with its user. Whichever is first
makes it. Later records of a user change the same objects.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import msgspec

from megaphone.embedded.sessions import Answer
from megaphone.embedded.stream_record import new_stream
from megaphone.service import moving
from megaphone.service.moving import Moving, UserSnapshot
from megaphone.stream import moving as moving_management
from megaphone.stream.jid import JID
from megaphone.stream.moving import ManagementSnapshot

if TYPE_CHECKING:
    from collections.abc import Iterator

    from megaphone.embedded.promises import Promises
    from megaphone.embedded.sessions import Sessions
    from megaphone.embedded.stream import EmbeddedStream, Streams
    from megaphone.service.service import Service
    from megaphone.service.session import Session, User

Name = tuple[str, str]  # local part and resource of a session
ENDED_AT_ONCE = 256  # sessions that are over, in one record


class SessionRecord(msgspec.Struct, array_like=True, frozen=True):
    """One session. `connection` is 0 while it waits for its client; `keys` are those of the queue in the store."""

    connection: int
    detached: bool
    management: ManagementSnapshot | None
    keys: list[int]


class UserRecord(msgspec.Struct, array_like=True, frozen=True, tag="user"):
    """One user; `sessions` are those of the snapshot, in the same order."""

    user: UserSnapshot
    sessions: tuple[SessionRecord, ...]


class UserGone(msgspec.Struct, array_like=True, frozen=True, tag="user_gone"):
    """A user who came before has no session any more."""

    local: str


class Ended(msgspec.Struct, array_like=True, frozen=True, tag="ended"):
    """Sessions that are over, oldest first: id, account, how many stanzas were handled (XEP-0198 section 5)."""

    sessions: tuple[tuple[str, JID, int], ...]


class Waiting(msgspec.Struct, array_like=True, frozen=True, tag="waiting"):
    """Who waits for what. `clients`: until when (Unix seconds), which session; in order.

    `answers` were asked for and wait for peers: session, how many stanzas were handled, serials of peers; in order.
    `counts` are how many of them each session waits for, as `Sessions` counts.
    """

    clients: tuple[tuple[float, Name], ...]
    answers: tuple[tuple[Name, int, tuple[tuple[int, int], ...]], ...]
    counts: tuple[tuple[Name, int], ...]


class MovingUsers:
    """The users of one worker, at either end."""

    def __init__(self, service: Service, sessions: Sessions, streams: Streams, promises: Promises) -> None:
        self._service = service
        self._sessions = sessions
        self._streams = streams
        self._promises = promises
        self._moving: Moving | None = None
        self._known: dict[int, EmbeddedStream] = {}  # at the successor: streams by their connection's id

    # --- the predecessor ------------------------------------------------------------

    def everything(self) -> Iterator[UserRecord | Ended]:
        """Yield all that can be said before the end."""
        self._moving = Moving(self._service.home)
        for user in self._moving.everybody():
            yield _record(user, contacts=True)
        ended = list(self._sessions.ended.all())
        self._sessions.ended.added = []
        for start in range(0, len(ended), ENDED_AT_ONCE):
            yield Ended(tuple(ended[start : start + ENDED_AT_ONCE]))

    def changes(self) -> Iterator[UserRecord | UserGone | Ended]:
        """Yield what has changed since it was yielded."""
        if self._moving is None:
            return
        for local, user, contacts in self._moving.changed():
            yield UserGone(local) if user is None else _record(user, contacts=contacts)
        added = self._sessions.ended.added
        if added:
            self._sessions.ended.added = []
            yield Ended(tuple(added))

    def rest(self) -> Waiting:
        """Return what is said at the end alone."""
        return Waiting(
            tuple((deadline, _name(stream.session)) for deadline, stream in self._sessions.deadlines()),
            tuple(
                (_name(keep.stream.session), keep.handled, serials)
                for keep, serials in self._promises.waiting()
                if isinstance(keep, Answer) and _is_current(keep)
            ),
            tuple(
                (_name(stream.session), count)
                for stream, count in self._sessions.answers()
                if stream.session is not None and stream.resumption is not None
            ),
        )

    def end(self) -> None:
        """Note no more what changes."""
        if self._moving is not None:
            self._moving.end()
            self._moving = None
        self._sessions.ended.added = None

    # --- the successor ------------------------------------------------------------

    def stream(self, connection_id: int) -> EmbeddedStream:
        """Return the stream of a connection, made if it is not there yet."""
        stream = self._known.get(connection_id)
        if stream is None:
            stream = self._known[connection_id] = new_stream(self._streams, connection_id)
        return stream

    def take(self, record: UserRecord | UserGone | Ended) -> None:
        """Be what the predecessor said."""
        home = self._service.home
        if isinstance(record, Ended):
            for id_, account, handled in record.sessions:
                self._sessions.ended.add(id_, account, handled)
            return
        local = record.local if isinstance(record, UserGone) else record.user.local
        user = home.users.get(local)
        former = {} if user is None else {each.resource: _stream_of(each) for each in user.sessions}
        for stream in former.values():
            self._sessions.forget(stream)
        if isinstance(record, UserGone):
            moving.remove(home, local)
            return
        streams = {}
        for snapshot, session in zip(record.user.sessions, record.sessions, strict=True):
            old = former.get(snapshot.resource)
            if session.connection:
                streams[snapshot.resource] = self.stream(session.connection)
            elif old is not None and not old.connection_id:
                streams[snapshot.resource] = old
            else:
                streams[snapshot.resource] = new_stream(self._streams, 0)
        user = moving.restore(home, record.user, streams.__getitem__)
        for restored, session in zip(user.sessions, record.sessions, strict=True):
            stream = _stream_of(restored)
            stream.bound(restored, str(restored.jid))
            management = session.management
            self._sessions.restore(
                stream,
                None if management is None else moving_management.restore(management, self._sessions.limits),
                list(session.keys),
                detached=session.detached,
            )

    def take_rest(self, waiting: Waiting) -> None:
        """Wait for whom and what the predecessor waited for."""
        self._sessions.restore_deadlines([(deadline, self._named(name)) for deadline, name in waiting.clients])
        for name, handled, serials in waiting.answers:
            stream = self._named(name)
            self._promises.restore(Answer(self._sessions, stream, stream.resumption, handled), serials)
        self._sessions.restore_answers({self._named(name): count for name, count in waiting.counts})

    def _named(self, name: Name) -> EmbeddedStream:
        local, resource = name
        user = self._service.home.users[local]
        session = user.session(resource)
        if session is None:
            raise ValueError("no such session has come")
        return _stream_of(session)

    def count(self) -> None:
        """Count what has come."""
        streams = [_stream_of(each) for user in self._service.home.users.values() for each in user.sessions]
        self._sessions.count(len(streams), sum(stream.detached for stream in streams))

    def streams(self) -> dict[int, EmbeddedStream]:
        """Return the streams that have come with connections, by these, and know them no longer."""
        known, self._known = self._known, {}
        return known


def _record(user: User, *, contacts: bool) -> UserRecord:
    return UserRecord(moving.snapshot(user, contacts=contacts), tuple(map(_session, user.sessions)))


def _session(session: Session) -> SessionRecord:
    stream = _stream_of(session)
    management = stream.resumption
    return SessionRecord(
        stream.connection_id,
        stream.detached,
        None if management is None else moving_management.snapshot(management),
        [] if management is None else stream.keys,
    )


def _is_current(answer: Answer) -> bool:
    """Whether it is still to be said: see `Sessions.answer`."""
    return answer.stream.session is not None and answer.stream.resumption is answer.management


def _name(session: Session) -> Name:
    return session.user.local, session.resource


def _stream_of(session: Session) -> EmbeddedStream:
    return cast("EmbeddedStream", session.stream)
