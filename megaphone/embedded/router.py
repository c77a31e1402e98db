"""Brings stanzas home: to users and rooms of this worker, or over the bus to those of another.

    route(stanza, to) ─┬─ home is here ──► work: taken in order, when the core has returned ─► Service, Rooms
                       └─ another worker ─► ROUTE frame ─► its router

The core never calls itself through here: what it says to homes on this worker waits in `work` until it has returned, so
that every stanza finds the state that the one before has left.
"""

from __future__ import annotations

from collections import Counter, deque
from typing import TYPE_CHECKING, Any

import msgspec

from megaphone.bus.homes import home_of
from megaphone.bus.subjects import SubjectFrame
from megaphone.embedded.frames import FrameKind, RouteFlag, route_frame
from megaphone.errors import StorageError
from megaphone.rooms.ports import Audience
from megaphone.stream.jid import JID
from megaphone.stream.stanza import Stanza
from megaphone.wire.stamp import stamp

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from megaphone.bus.local import Incoming, LocalBus
    from megaphone.bus.subjects import Subjects
    from megaphone.embedded.occupants import Occupants
    from megaphone.embedded.promises import Promises
    from megaphone.embedded.relay import Relay
    from megaphone.rooms.rooms import Rooms
    from megaphone.service.service import Service
    from megaphone.storage.taken import SQLiteTaken

_ADDED, _MODERATOR_ADDED, _CHANGED, _MODERATOR_CHANGED, _REMOVED = range(5)


class Router:
    """The routes of one worker. `now` gives Unix seconds; `fault` is told of mistakes of ours.

    `service`, `rooms`, `occupants`, `promises`, and with several workers `bus`, `relay`, `subjects` and `taken`, are
    set before the first stanza.
    """

    service: Service
    rooms: Rooms
    occupants: Occupants
    promises: Promises
    bus: LocalBus | None = None
    relay: Relay
    subjects: Subjects
    taken: SQLiteTaken | None = None

    def __init__(
        self,
        *,
        domain: str,
        rooms_domain: str,
        index: int,
        workers: int,
        now: Callable[[], float],
        fault: Callable[[Exception], None],
    ) -> None:
        self.domain = domain
        self.rooms_domain = rooms_domain
        self.index = index
        self.workers = workers
        self.now = now
        self.keeping = False  # the stanza under way comes from somebody who will be told that it is safe
        self.fault = fault
        self._work: deque[Callable[[], None]] = deque()
        self._draining = False
        self._to_keep = 0  # stanzas that came since the last end of a batch
        self._unwritten = 0  # of these: what wrote no row
        self._unnoted: dict[int, tuple[Incoming, int]] = {}  # by peer: up to where it had such, until that is confirmed
        self._abroad: dict[JID, Counter[int]] = {}  # occupants of the rooms at home here, by other worker

    # --- homes ------------------------------------------------------------

    def home(self, jid: JID) -> int:
        """The worker that is the home of a JID; a domain of ours without rooms is at home everywhere."""
        if jid.local:
            return home_of(f"{jid.local}@{jid.domain}", self.workers)
        return home_of(jid.domain, self.workers) if jid.domain == self.rooms_domain else self.index

    def home_of_user(self, to: bytes) -> int:
        """The home of a user of our domain, by a JID as a client wrote it; our own index for anything else."""
        try:
            jid = JID.parse(to.decode())
        except ValueError:
            return self.index
        return self.home(jid) if jid.domain == self.domain else self.index

    def is_local_domain(self, domain: str) -> bool:
        """Whether somebody of this node answers for a domain."""
        return domain in (self.domain, self.rooms_domain)

    # --- stanzas ------------------------------------------------------------

    def route(self, stanza: bytes, to: JID) -> None:
        """Bring one stanza to the home of `to`."""
        home = self.home(to)
        if home == self.index or self.bus is None:
            keeping = self.keeping
            self._work.append(lambda: self._take(stanza, to, keeping=keeping))
            return
        flags = RouteFlag.KEEP if self.keeping else 0
        payload = route_frame(str(to).encode(), stanza, flags)
        if not self.bus.send_frame(home, FrameKind.ROUTE, payload, keep=self.keeping):
            refused = Stanza.read(stanza)
            if refused.kind != "presence":
                self._refuse(refused, "resource-constraint", "Too much waits for another worker; try again later")

    def take_route(self, to: bytes, stanza: bytes, flags: int) -> None:
        """Take a stanza that another worker has sent to somebody at home here."""
        if flags & RouteFlag.KEEP:
            self._to_keep += 1
            self._unwritten += 1
            self._work.append(lambda: self._take_to_keep(stanza, JID.parse(to.decode())))
        else:
            self._work.append(lambda: self._take(stanza, JID.parse(to.decode()), keeping=False))
        self.drain()

    def _take_to_keep(self, data: bytes, to: JID) -> None:
        before = 0 if self.taken is None else self.taken.position
        self._take(data, to, keeping=True)
        if self.taken is not None and self.taken.position > before:
            self._unwritten -= 1

    def _take(self, data: bytes, to: JID, *, keeping: bool) -> None:
        stanza = Stanza.read(data)
        stanza.to = to
        self.keeping = keeping
        try:
            if to.domain == self.rooms_domain:
                self.rooms.receive(stanza, self.now())
            else:
                self.service.receive_routed(stanza, self.now())
        except Exception as error:  # noqa: BLE001 - whatever it is, whoever waits for an answer gets one
            self.failed(stanza, error)
        finally:
            self.keeping = False

    def failed(self, stanza: Stanza, error: Exception) -> None:
        """The core could not deal with a stanza: because nothing can be stored, or by a mistake of ours."""
        if isinstance(error, StorageError):
            self._refuse(stanza, "resource-constraint", "Nothing can be stored at the moment; try again later")
        else:
            self.fault(error)
            self._refuse(stanza, "internal-server-error", "")

    def _refuse(self, stanza: Stanza, condition: str, text: str) -> None:
        if stanza.answerable and stanza.from_ is not None:
            self.route(stanza.error(condition, from_=stanza.from_.bare, text=text), stanza.from_)

    def later(self, work: Callable[[], None]) -> None:
        """Do this after what waits already."""
        self._work.append(work)

    def drain(self) -> None:
        """Take what waits, and what comes of it."""
        if self._draining:
            return
        self._draining = True
        try:
            while self._work:
                work = self._work.popleft()
                try:
                    work()
                except Exception as error:  # noqa: BLE001 - one stanza's trouble must not cost the others
                    self.fault(error)
        finally:
            self._draining = False

    @property
    def idle(self) -> bool:
        """Whether nothing waits to be taken."""
        return not self._work

    # --- another process goes on ------------------------------------------------------------

    def recount(self, jid: JID) -> None:
        """Find out anew in which other workers the occupants of a room at home here are."""
        room = self.rooms.room(jid)
        homes = () if room is None else map(self.home, room.occupants.by_session)
        workers = Counter(home for home in homes if home != self.index)
        if workers:
            self._abroad[jid] = workers
        else:
            self._abroad.pop(jid, None)

    # --- rooms' outlet ------------------------------------------------------------

    def route_many(self, stanzas: Sequence[bytes], to: JID) -> None:
        """Bring several stanzas without `to` to one session."""
        text = str(to)
        for stanza in stanzas:
            self.route(stamp(stanza, to=text), to)

    def fan_out(
        self, room: JID, stanza: bytes, *, audience: Audience = Audience.ALL, except_: Collection[JID] = ()
    ) -> None:
        """Bring one stanza without `to` to every occupant of a room."""
        sender = str(Stanza.read(stanza).from_ or room)
        self._work.append(lambda: self._fan_out_here(room, stanza, sender, audience.value, except_))
        if self.bus is None or not (workers := self._abroad.get(room)):
            return
        payload = msgspec.msgpack.encode(
            (room, stanza, sender, audience.value, [jid for jid in except_ if self.home(jid) != self.index])
        )
        for worker in workers:
            self.bus.send_frame(worker, FrameKind.FAN_OUT, payload, must=True)

    def _fan_out_here(self, room: JID, stanza: bytes, sender: str, audience: str, except_: Collection[JID]) -> None:
        self.occupants.fan_out(room, stanza, sender, audience, except_)

    def occupant_added(self, room: JID, occupant: JID, *, moderator: bool) -> None:
        """Reach this session from now on."""
        self._tell(room, occupant, _MODERATOR_ADDED if moderator else _ADDED)

    def occupant_changed(self, room: JID, occupant: JID, *, moderator: bool) -> None:
        """Count it among the moderators, or no longer."""
        self._tell(room, occupant, _MODERATOR_CHANGED if moderator else _CHANGED)

    def occupant_removed(self, room: JID, occupant: JID) -> None:
        """Reach this session no more."""
        self._tell(room, occupant, _REMOVED)

    def _tell(self, room: JID, occupant: JID, change: int) -> None:
        home = self.home(occupant)
        if home == self.index or self.bus is None:
            self._work.append(lambda: self._change_occupant(room, occupant, change))
            return
        workers = self._abroad.setdefault(room, Counter())
        if change in (_ADDED, _MODERATOR_ADDED):
            workers[home] += 1
        elif change == _REMOVED:
            workers[home] -= 1
            if workers[home] <= 0:
                del workers[home]
            if not workers:
                del self._abroad[room]
        self.bus.send_frame(home, FrameKind.OCCUPANT, msgspec.msgpack.encode((change, room, occupant)), must=True)

    def _change_occupant(self, room: JID, occupant: JID, change: int) -> None:
        if change == _REMOVED:
            self.occupants.remove(room, occupant)
        elif change in (_ADDED, _MODERATOR_ADDED):
            self.occupants.add(room, occupant, moderator=change == _MODERATOR_ADDED)
        else:
            self.occupants.change(room, occupant, moderator=change == _MODERATOR_CHANGED)

    def listed(self, room: JID, name: str, occupants: int) -> None:
        """Tell the home of the rooms' domain of a public room."""
        self._tell_list((room, name, occupants))

    def unlisted(self, room: JID) -> None:
        """Tell it that the room is gone, or public no longer."""
        self._tell_list((room, None, 0))

    def _tell_list(self, entry: tuple[JID, str | None, int]) -> None:
        home = home_of(self.rooms_domain, self.workers)
        if home == self.index or self.bus is None:
            self._work.append(lambda: self._list(*entry))
        else:
            self.bus.send_frame(home, FrameKind.LISTED, msgspec.msgpack.encode(entry), must=True)

    def _list(self, room: JID, name: str | None, occupants: int) -> None:
        if name is None:
            self.rooms.unlisted(room)
        else:
            self.rooms.listed(room, name, occupants)

    # --- the other workers ------------------------------------------------------------

    def take_frame(self, peer: int, kind: int, payload: bytes) -> None:
        """Take a frame of another worker that is not ROUTE."""
        if kind >= SubjectFrame.SUBJECTS:
            self.subjects.take_frame(peer, kind, payload)
            return
        if kind >= FrameKind.RELAY:
            self.relay.take_frame(peer, kind, payload)
            self.drain()
            return
        values: list[Any] = msgspec.msgpack.decode(payload)
        if kind == FrameKind.FAN_OUT:
            room, stanza, sender, audience, except_ = values
            self._work.append(
                lambda: self._fan_out_here(JID(*room), stanza, sender, audience, [JID(*jid) for jid in except_])
            )
        elif kind == FrameKind.OCCUPANT:
            change, room, occupant = values
            self._work.append(lambda: self._change_occupant(JID(*room), JID(*occupant), change))
        elif kind == FrameKind.LISTED:
            self._work.append(lambda: self._list(JID(*values[0]), values[1], values[2]))
        self.drain()

    def take_batch_end(self, peer: int) -> None:
        """One read of a peer has been dealt with: what was to be kept is confirmed as soon as it is durable."""
        if self.bus is None:
            return
        incoming = self.bus.incoming_from(peer)
        to_keep, self._to_keep = self._to_keep, 0
        unwritten, self._unwritten = self._unwritten, 0
        if incoming is None:
            return
        number = incoming.number
        if unwritten:
            self._unnoted[peer] = incoming, number

        def confirm() -> None:
            incoming.confirm(number)
            source, last = self._unnoted.get(peer, (None, 0))
            if source is incoming and last <= number:
                del self._unnoted[peer]

        self.promises.when_written(confirm)
        if to_keep and not self.promises.only_written:
            self._unnoted[peer] = incoming, number
        elif to_keep and not unwritten and self.taken is not None and self._is_noted(peer, incoming):
            self.taken.note(peer, incoming.instance, number)  # now that the rows of all of it are queued

    def _is_noted(self, peer: int, incoming: Incoming) -> bool:
        """Whether nothing that wrote no row has come by this socket and is not confirmed."""
        return peer not in self._unnoted or self._unnoted[peer][0] is not incoming

    def taken_by(self, peer: int, instance: bytes) -> int:
        """Return the number up to which frames of this process are safe with a peer that is gone."""
        return 0 if self.taken is None else self.taken.number(peer, instance)

    def confirmed(self, peer: int, serial: int) -> None:
        """A peer has confirmed."""
        self.promises.look()

    def peer_lost(self, peer: int) -> None:
        """A worker is gone, and with it every session and room whose home it was."""

        def is_gone(jid: JID) -> bool:
            return self.home(jid) == peer

        def tell() -> None:
            self.rooms.home_lost(is_gone, self.now())
            if home_of(self.rooms_domain, self.workers) == peer:
                self.rooms.list_anew()
            self.service.home_lost(is_gone, self.now())
            for room in self.occupants.rooms():
                if is_gone(room):
                    self.occupants.forget(room)
            for room, workers in list(self._abroad.items()):
                workers.pop(peer, None)
                if not workers:
                    del self._abroad[room]

        self._work.append(tell)
        self.drain()
        self.relay.peer_lost(peer)
        self.subjects.peer_lost(peer)
