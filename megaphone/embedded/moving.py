"""The embedded service of a worker moves to the worker's successor (docs/reference/hand-over.md).

    predecessor                                                       successor
      everything(): users, rooms, lists, while they go on changing ─►   is built from that, and says nothing
      freeze(), settled(): threads, commits
      changes(), then what is short and all sockets ───────────────►   is now what the predecessor was
      leave()                                                          activate(), go_on()

What does not come along is lost as with any lost connection: sessions wait for their client or end, and those at the
other end of a relayed connection are told.
"""

from __future__ import annotations

import asyncio
import os
import time
from typing import TYPE_CHECKING, Final

import msgspec

from megaphone.bus.moving import MovingBus
from megaphone.dispatch.counters import Reason
from megaphone.dispatch.moving import SharedPart
from megaphone.embedded.chunks import Assembled, chunks, with_descriptors
from megaphone.embedded.left import Left
from megaphone.embedded.moving_users import Ended, MovingUsers, UserGone, UserRecord, Waiting
from megaphone.embedded.nodes_moving import NodesRecord
from megaphone.embedded.stream_record import restore_stream
from megaphone.errors import MoveError
from megaphone.rooms import moving as moving_rooms
from megaphone.rooms.moving import Listing, RoomGone, RoomSnapshot, Talk
from megaphone.stream.jid import JID

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from megaphone.dispatch.dispatcher import Connection, Owner
    from megaphone.dispatch.moving import Chunk
    from megaphone.embedded.embedded import Embedded
    from megaphone.service.failed_logins import FailedLogins, Failures

# While it serves a chunk must not hold up its clients; when it stands still, fewer are better.
_EARLY: Final = (32 * 1024, 64)
_LATE: Final = (512 * 1024, 4096)
_FAILURES_AT_ONCE: Final = 256
_DESCRIPTORS_AT_ONCE: Final = 200
_MOMENT_SECONDS: Final = 0.1  # for passwords that are being checked, and what other nodes were asked
_LOOK_SECONDS: Final = 0.002


class Head(msgspec.Struct, array_like=True, frozen=True, tag="head"):
    """What must be the same in both processes, and what is counted on from."""

    domain: str
    rooms_domain: str
    workers: int
    pushes: int
    opening: int
    last_id: int


class Failed(msgspec.Struct, array_like=True, frozen=True, tag="failed"):
    """Failed logins of addresses and of accounts (local parts): how many, last, locked until; None: forgotten."""

    addresses: tuple[tuple[str, tuple[int, float, float] | None], ...]
    accounts: tuple[tuple[JID, tuple[int, float, float] | None], ...]


class InRoom(msgspec.Struct, array_like=True, frozen=True, tag="in_room"):
    """Who of this worker is in a room, wherever that is at home, in order; and whether as a moderator."""

    room: JID
    occupants: tuple[tuple[JID, bool], ...]


class Bus(msgspec.Struct, array_like=True, frozen=True, tag="bus"):
    """The mesh (bus.moving), what its peers subscribe to, and what is relayed: peer, id, whether the socket is here."""

    mesh: bytes
    subjects: list[tuple[str, list[int]]]
    relayed: list[tuple[int, int, bool]]


class Given(msgspec.Struct, array_like=True, frozen=True, tag="given"):
    """Connections on their way from worker to worker (embedded.hand_over).

    `waiting`: to which worker, and the record; their descriptors come first, then those of sockets that bring some.
    """

    waiting: tuple[tuple[int, bytes], ...]
    incoming: int


Record = (
    Head
    | UserRecord
    | UserGone
    | Ended
    | Waiting
    | RoomSnapshot
    | Talk
    | RoomGone
    | Listing
    | Failed
    | InRoom
    | Bus
    | Given
    | NodesRecord
)
_decoder = msgspec.msgpack.Decoder(list[Record])


class MovingService(SharedPart):
    """The embedded service of one worker, at either end."""

    name = "embedded"

    def __init__(self, embedded: Embedded) -> None:
        self._embedded = embedded
        self._users = MovingUsers(embedded.service, embedded.sessions, embedded.streams, embedded.promises)
        self._rooms: moving_rooms.Moving | None = None
        self._bus = None if embedded.bus is None else MovingBus(embedded.bus)
        self._assembled = Assembled()
        # of the successor, until it begins
        self._head: Head | None = None
        self._waiting: Waiting | None = None
        self._in_rooms: dict[JID, tuple[tuple[JID, bool], ...]] = {}
        self._subjects: list[tuple[str, list[int]]] = []
        self._relayed: list[tuple[int, int, bool]] = []
        self._watchers: tuple[JID, ...] = ()

    # --- the predecessor ------------------------------------------------------------

    def begin(self) -> Iterator[Chunk]:
        """Yield all that goes on changing."""
        self._note_nothing()
        yield from chunks(self._everything(), *_EARLY)

    def catch_up(self) -> Iterator[Chunk]:
        """Yield what has changed since `begin`, or since this was called last; the rest is the less."""
        yield from chunks(self._changes(), *_EARLY)

    def _everything(self) -> Iterator[msgspec.Struct]:
        embedded = self._embedded
        yield from self._users.everything()
        self._rooms = moving_rooms.Moving(embedded.rooms)
        yield from self._rooms.everything()
        occupants = embedded.router.occupants
        occupants.touched = set()
        for room in occupants.rooms():
            yield InRoom(room, tuple(occupants.of(room)))
        addresses, accounts = embedded.authenticator.failed_addresses, embedded.authenticator.failed_accounts
        addresses.touched, accounts.touched = set(), set()
        for part in _parts(list(addresses.all())):
            yield Failed(tuple((str(key), failures) for key, failures in part), ())
        for part in _parts(list(accounts.all())):
            yield Failed((), tuple((_account(key), failures) for key, failures in part))

    def _changes(self) -> Iterator[msgspec.Struct]:
        embedded = self._embedded
        yield from self._users.changes()
        if self._rooms is not None:
            yield from self._rooms.changes()
        occupants = embedded.router.occupants
        rooms, occupants.touched = occupants.touched or set(), set()
        for room in rooms:
            yield InRoom(room, tuple(occupants.of(room)))
        for part in _parts(_taken(embedded.authenticator.failed_addresses)):
            yield Failed(tuple((str(key), failures) for key, failures in part), ())
        for part in _parts(_taken(embedded.authenticator.failed_accounts)):
            yield Failed((), tuple((_account(key), failures) for key, failures in part))

    def freeze(self) -> None:
        """Let nothing new in."""
        embedded = self._embedded
        embedded.resting = True
        if self._bus is not None:
            self._bus.freeze()
        if embedded.hand_over is not None:
            embedded.hand_over.freeze()
        if embedded.cluster is not None:
            embedded.cluster.freeze()
        self._run_down()

    async def settled(self) -> None:
        """Wait for the commit of what was written, and a moment for passwords and what other nodes were asked.

        MoveError if nothing can be written.
        """
        embedded, cluster = self._embedded, self._embedded.cluster
        writer = embedded.storage.writer
        deadline = time.monotonic() + _MOMENT_SECONDS
        while True:
            self._run_down()
            if writer.trouble or embedded.promises.held:
                raise MoveError(f"nothing can be written: {writer.trouble}")
            under_way = embedded.logins.checking or (cluster is not None and not cluster.nodes.idle)
            waits = under_way and time.monotonic() < deadline
            if not waits and cluster is not None:
                cluster.give_up()
            if embedded.promises.settled and embedded.subjects.idle and not waits:
                await asyncio.sleep(0)  # whoever was about to move to another worker does it now
                self._run_down()
                if embedded.promises.settled:
                    embedded.put_on_board()
                    return
            writer.flush(0)  # without its usual wait for more
            await asyncio.sleep(_LOOK_SECONDS)

    def _run_down(self) -> None:
        """Let everything happen that only waits for the end of the turn."""
        embedded = self._embedded
        while True:
            embedded.router.drain()
            embedded.promises.look()
            if not embedded.streams.end_turn() and embedded.router.idle and embedded.host.idle:
                return

    def export(self) -> Iterator[Chunk]:
        """Yield what has changed, what is short, and the sockets."""
        embedded = self._embedded
        storage = embedded.storage
        yield from chunks(self._changes(), *_LATE)
        head = Head(
            embedded.domain,
            embedded.router.rooms_domain,
            embedded.router.workers,
            embedded.service.home.pushes,
            storage.opening,
            storage.last_id,
        )
        yield from chunks([head, self._users.rest()], *_LATE)
        if embedded.nodes is not None:
            watchers = tuple(session.jid for session in embedded.service.home.node_watchers)
            yield from chunks([embedded.nodes.export(watchers)], *_LATE)
        if self._bus is not None:
            mesh, descriptors = self._bus.export()
            relayed = embedded.router.relay.under_way()
            yield from with_descriptors(Bus(mesh, embedded.subjects.theirs(), relayed), descriptors)
        if embedded.hand_over is not None:
            waiting = list(embedded.hand_over.waiting())
            for start in range(0, len(waiting), _DESCRIPTORS_AT_ONCE):
                part = waiting[start : start + _DESCRIPTORS_AT_ONCE]
                given = Given(tuple((peer, record) for peer, record, _ in part), 0)
                yield from with_descriptors(given, [descriptor for _, _, descriptor in part])
            incoming = embedded.hand_over.incoming()
            for start in range(0, len(incoming), _DESCRIPTORS_AT_ONCE):
                sockets = incoming[start : start + _DESCRIPTORS_AT_ONCE]
                yield from with_descriptors(Given((), len(sockets)), sockets)

    def give_up(self) -> None:
        """Note no more what changes."""
        self._note_nothing()

    def thaw(self) -> None:
        """Go on as if nothing had been."""
        embedded = self._embedded
        embedded.resting = False
        if self._bus is not None:
            self._bus.thaw()
        if embedded.hand_over is not None:
            embedded.hand_over.thaw()
        if embedded.nodes is not None:
            embedded.nodes.thaw()
        embedded.router.drain()

    def leave(self) -> None:
        """Have no part in it any more; connections that are still here end without a word of the service's."""
        embedded = self._embedded
        self._note_nothing()
        embedded.resting = True
        embedded.left = True
        streams = embedded.streams
        streams.host = Left()
        streams.plain_targets = {}
        streams.bus = None
        if self._bus is not None:
            embedded.router.relay.leave()
            self._bus.leave()
        if embedded.nodes is not None:
            embedded.nodes.leave()
        embedded.leave()

    def _note_nothing(self) -> None:
        self._users.end()
        if self._rooms is not None:
            self._rooms.end()
            self._rooms = None
        authenticator = self._embedded.authenticator
        self._embedded.router.occupants.touched = None
        authenticator.failed_addresses.touched = authenticator.failed_accounts.touched = None

    # --- the successor ------------------------------------------------------------

    def restore(self, data: bytes, descriptors: list[int]) -> None:
        """Take one chunk; see dispatch.moving."""
        try:
            array = self._assembled.take(data)
            records = [] if array is None else _decoder.decode(array)
            for record in records:
                if isinstance(record, Bus | Given):
                    taken, descriptors = descriptors, []
                    self._take_sockets(record, taken)
                else:
                    self._take(record)
        except MoveError:
            raise
        except (ValueError, LookupError, OverflowError, msgspec.MsgspecError) as error:
            raise MoveError(f"not what an embedded service says: {error}") from None
        finally:
            for descriptor in descriptors:
                os.close(descriptor)

    def _take(self, record: Record) -> None:
        embedded = self._embedded
        if isinstance(record, UserRecord | UserGone | Ended):
            self._users.take(record)
        elif isinstance(record, RoomSnapshot | Talk | RoomGone | Listing):
            moving_rooms.take(embedded.rooms, record)
            if isinstance(record, RoomSnapshot):
                embedded.router.recount(record.talk.room)
            elif isinstance(record, RoomGone):
                embedded.router.recount(record.room)
        elif isinstance(record, InRoom):
            self._in_rooms[record.room] = record.occupants
        elif isinstance(record, Failed):
            for address, failures in record.addresses:
                embedded.authenticator.failed_addresses.put(address, failures)
            for account, failures in record.accounts:
                embedded.authenticator.failed_accounts.put(account, failures)
        elif isinstance(record, Waiting):
            self._users.take_rest(record)
            self._waiting = record
        elif isinstance(record, NodesRecord):
            if embedded.cluster is not None:
                embedded.cluster.restore(record)
            self._watchers = record.watchers
        elif isinstance(record, Head):
            ours = (embedded.domain, embedded.router.rooms_domain, embedded.router.workers)
            if (record.domain, record.rooms_domain, record.workers) != ours:
                raise MoveError("the service of another domain, or of another number of workers")
            self._head = record

    def _take_sockets(self, record: Bus | Given, descriptors: list[int]) -> None:
        if isinstance(record, Bus):
            if self._bus is None:
                _close(descriptors)
                raise MoveError("there are no other workers here")
            self._subjects, self._relayed = record.subjects, record.relayed
            self._bus.restore(record.mesh, descriptors)
            return
        hand_over = self._embedded.hand_over
        if hand_over is None or len(record.waiting) + record.incoming != len(descriptors):
            _close(descriptors)
            raise MoveError("not as many connections as were told of")
        waiting = [
            (peer, data, descriptor) for (peer, data), descriptor in zip(record.waiting, descriptors, strict=False)
        ]
        hand_over.restore(waiting, descriptors[len(waiting) :])

    def restore_owner(self, connection: Connection, data: bytes, descriptors: list[int]) -> Owner:
        """Return the stream that a connection brings along."""
        _close(descriptors)
        stream = self._users.stream(connection.id)
        restore_stream(stream, data, self._embedded.logins.authenticators)
        return stream

    def activate(self) -> None:
        """Be what was restored."""
        embedded, head = self._embedded, self._head
        if head is None or self._waiting is None:
            raise MoveError("the service has not come as a whole")
        embedded.service.home.pushes = head.pushes
        embedded.storage.go_on_from(head.opening, head.last_id)
        self._users.count()
        occupants = embedded.router.occupants
        for room, inside in self._in_rooms.items():
            for occupant, moderator in inside:
                occupants.add(room, occupant, moderator=moderator)
        self._in_rooms = {}
        for jid in self._watchers:
            user = embedded.service.home.users.get(jid.local)
            session = None if user is None else user.session(jid.resource)
            if session is not None:
                embedded.service.home.node_watchers[session] = None
        embedded.subjects.restore(self._subjects)

    def go_on(self) -> None:
        """Speak to the other workers, and see who has not come along."""
        embedded = self._embedded
        embedded.resting = False
        if self._bus is not None:
            self._bus.go_on()
            embedded.router.relay.lose(self._relayed)
            self._relayed = []
        for id_, stream in self._users.streams().items():
            connection = embedded.connection(id_)
            if connection is None:
                stream.lose(Reason.CLIENT_RESET)
            elif stream.session is None and stream.login is None:
                connection.finish("internal-server-error", Reason.INTERNAL)
            else:
                embedded.logins.resume_again(stream)
        embedded.promises.look()
        embedded.router.drain()


def _parts(entries: Sequence[tuple[object, Failures | None]]) -> Iterator[Sequence[tuple[object, Failures | None]]]:
    for start in range(0, len(entries), _FAILURES_AT_ONCE):
        yield entries[start : start + _FAILURES_AT_ONCE]


def _taken(failed: FailedLogins) -> list[tuple[object, Failures | None]]:
    """Return what has changed since, those that are forgotten first, then in the order of their last failures."""
    touched, failed.touched = failed.touched or set(), set()
    changed: list[tuple[object, Failures | None]] = [(key, failed.of(key)) for key in touched]
    return sorted(changed, key=lambda entry: 0.0 if entry[1] is None else entry[1][1])


def _account(key: object) -> JID:
    assert isinstance(key, JID)  # noqa: S101 - an account is a bare JID
    return key


def _close(descriptors: list[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)
