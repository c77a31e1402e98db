"""Puts the embedded service of one worker together: streams, logins, sessions, rooms, their homes and their store."""

from __future__ import annotations

import secrets
import time
from functools import partial
from typing import TYPE_CHECKING

from megaphone.bus.homes import name_at_home
from megaphone.bus.node_bus import NodeBus
from megaphone.dispatch.counters import Slot
from megaphone.edge.connection import ClientConnection, adopt_connection
from megaphone.embedded.cluster import Cluster
from megaphone.embedded.frames import HomeFrames
from megaphone.embedded.guesses import Guesses
from megaphone.embedded.hand_over import HandOver, Record
from megaphone.embedded.histories import Histories
from megaphone.embedded.host import Host, SessionOutlet
from megaphone.embedded.logins import Logins
from megaphone.embedded.moving import MovingService
from megaphone.embedded.occupants import Occupants
from megaphone.embedded.promises import Promises
from megaphone.embedded.relay import Relay
from megaphone.embedded.router import Router
from megaphone.embedded.sessions import Sessions
from megaphone.embedded.settings import login_settings, retention_settings, room_settings, service_settings, sm_limits
from megaphone.embedded.stream import Streams
from megaphone.history.manifest import USER
from megaphone.rooms.rooms import Rooms
from megaphone.service.authenticator import Authenticator
from megaphone.service.service import Service
from megaphone.storage.accounts import SQLiteAccounts
from megaphone.storage.rooms import SQLiteRooms
from megaphone.storage.storage import Storage
from megaphone.storage.taken import SQLiteTaken
from megaphone.storage.users import SQLiteUsers
from megaphone.stream.jid import JID

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Sequence

    from megaphone.bus.node_bus import BusPlace
    from megaphone.config.schema import Config
    from megaphone.dispatch.counters import Board
    from megaphone.dispatch.dispatcher import Dispatcher
    from megaphone.dispatch.moving import RestoreConnection, RestoreOwner
    from megaphone.edge.clients import Clients
    from megaphone.edge.limits import ListenerFacts
    from megaphone.embedded.nodes import Nodes
    from megaphone.embedded.nodes_settings import NodesSettings, Report
    from megaphone.embedded.relay import RemoteConnection
    from megaphone.embedded.stream import EmbeddedStream
    from megaphone.rooms.ports import RoomSettings
    from megaphone.service.session import Session
    from megaphone.service.tokens import TokenKey
    from megaphone.sockets.poller import Poller


class Embedded:
    """The embedded service of one worker. StorageError if its database cannot be opened.

    `facts_of(listen)` gives the facts of a listener of the configuration; `place` is the worker's among those of
    its node. With `cluster` there are other nodes; `report` is the log.
    """

    def __init__(
        self,
        config: Config,
        *,
        loop: asyncio.AbstractEventLoop,
        poller: Poller,
        dispatcher: Dispatcher,
        board: Board,
        clients: Clients,
        place: BusPlace,
        token_keys: Sequence[TokenKey],
        facts_of: Callable[[int], ListenerFacts],
        listen_of: Callable[[ClientConnection], int],
        fault: Callable[[Exception], None],
        taking_over: bool,
        cluster: NodesSettings | None,
        report: Report,
    ) -> None:
        self._loop = loop
        self.resting = taking_over  # nothing is due: another process does it
        self.left = False  # ... for good
        self._board = board
        self._clients = clients
        self._facts_of = facts_of
        self._counted_before: dict[int, int] = {}
        domain, service, rooms = config.domain[0].name, config.service, config.rooms
        index, workers = place.index, place.workers
        self.domain = domain
        self.storage = Storage(
            service.data,
            worker=index,
            call_soon=loop.call_soon_threadsafe,
            on_committed=lambda _: self._committed(),
            # what others have been told must not be forgotten when power fails: else we say something else in its place
            pragmas=() if cluster is None else ("PRAGMA synchronous = FULL",),
        )
        users = SQLiteUsers(self.storage)
        self.streams = Streams(poller, dispatcher, board, None)
        self.router = Router(
            domain=domain, rooms_domain=rooms.domain, index=index, workers=workers, now=time.time, fault=fault
        )
        taker = HomeFrames(self.streams, self.router)
        self._node_bus = NodeBus(poller, place, taker, later=loop.call_soon, fault=fault)
        self.bus = self.router.bus = self.streams.bus = self._node_bus.mesh
        self.subjects = self.router.subjects = self._node_bus.subjects
        self.hand_over: HandOver | None = None
        if self.bus is not None:
            self.hand_over = HandOver(loop, place.fds[1], place.connections, self._adopt, fault)
        self.histories = Histories(
            self.storage,
            service.data,
            is_home=lambda jid: self.router.is_local_domain(jid.domain) and self.router.home(jid) == index,
            now=time.time,
            began=self._began,
            settings=retention_settings(config),
        )
        self.promises = Promises(self.histories.writes, self.bus)
        self.histories.hold, self.histories.later = self.promises.hold, self.router.later
        self.histories.wait = loop.call_later
        self.sessions = Sessions(
            board=board,
            router=self.router,
            promises=self.promises,
            store=users,
            resume_seconds=service.resume_seconds,
            limits=sm_limits(config),
        )
        self.service = Service(
            domain,
            SessionOutlet(self.sessions, self.router),
            users,
            self.histories.users,
            service_settings(config, self.router.is_local_domain),
        )
        self.rooms = Rooms(
            rooms.domain,
            self.router,
            SQLiteRooms(self.storage, rooms.domain),
            self.histories.rooms,
            self._room_settings(config),
        )
        self._accounts = SQLiteAccounts(self.storage)
        self.authenticator = Authenticator(
            domain,
            self._accounts,
            token=secrets.token_bytes,
            secret=self.storage.secret("logins"),
            settings=login_settings(config, token_keys, self._anonymous_name),
        )
        self.logins = Logins(
            loop=loop,
            board=board,
            streams=self.streams,
            router=self.router,
            sessions=self.sessions,
            authenticator=self.authenticator,
            accounts=self._accounts,
            promises=self.promises,
            give=self._give,
            listen_of=listen_of,
        )
        self._dispatcher = dispatcher
        self.host = self.streams.host = Host(
            board=board,
            router=self.router,
            promises=self.promises,
            sessions=self.sessions,
            logins=self.logins,
            seal=self.histories.turn_ended,
        )
        self.streams.plain_targets = self.service.plain_targets
        self.router.service = self.service
        self.router.rooms = self.rooms
        self.router.occupants = Occupants(self.streams, self._session_of)
        self.router.promises = self.promises
        if self.bus is not None:
            self.logins.relay = self.router.relay = Relay(self.bus, dispatcher, board, self.logins.attach)
            self.router.taken = SQLiteTaken(self.storage, index)
            Guesses(self.subjects, self.authenticator, index, time.time)
        self.cluster: Cluster | None = None
        if cluster is not None:
            self.cluster = Cluster(
                self,
                cluster,
                users,
                keepers=1 if config.cluster is None else config.cluster.keepers,
                resume_seconds=service.resume_seconds,
                report=report,
                fault=fault,
            )
        self.streams.home_of = self.router.home_of_user
        self.streams.domain = self.domain.encode()
        self.moving = MovingService(self)
        if not taking_over:
            self.rooms.load(lambda room: self.router.home(room) == index)
        self.router.drain()

    # --- life ------------------------------------------------------------

    def apply(self, config: Config, token_keys: Sequence[TokenKey]) -> None:
        """Put those parts of a new configuration in force that need no restart."""
        self.authenticator.apply(login_settings(config, token_keys, self._anonymous_name))
        self.service.apply(service_settings(config, self.router.is_local_domain))
        self.rooms.apply(self._room_settings(config))
        self.histories.retention.settings = retention_settings(config)
        self.sessions.apply(config.service.resume_seconds, sm_limits(config))
        if self.cluster is not None:
            self.cluster.apply(config.service.resume_seconds)

    def open(self) -> None:
        """Start talking to the other workers."""
        self._node_bus.open()
        if self.hand_over is not None:
            self.hand_over.open()
        if self.cluster is not None:
            self.cluster.open()

    def sweep(self) -> None:
        """Do what is due; called 8 times a second."""
        if self.resting:
            return
        now = self._loop.time()
        self._node_bus.sweep(now)
        if self.hand_over is not None:
            self.hand_over.sweep()
        if self.cluster is not None:
            self.cluster.sweep(now)
        self.sessions.sweep()
        self.histories.sweep(now)
        self.router.drain()
        self.put_on_board()

    def drain(self) -> None:
        """The worker goes: the rooms at home here tell their occupants (status 332), unless another worker has them."""
        if self.left:
            return
        self.rooms.shut_down()
        self.router.drain()

    def close(self) -> None:
        """End everything; what is queued is written."""
        if self.left:
            return
        self.router.drain()
        self.leave()

    def leave(self) -> None:
        """Close what is open; nobody is told anything."""
        if self.cluster is not None:
            self.cluster.close()
        if self.hand_over is not None:
            self.hand_over.close()
        self._node_bus.close()
        self.histories.close()
        self.storage.close()

    async def leave_cluster(self, *, goodbye: bool) -> None:
        """Leave the cluster, if there is one; without goodbye another process goes on. The last thing of all."""
        if self.cluster is not None:
            await self.cluster.nodes.close(goodbye=goodbye)

    def put_on_board(self) -> None:
        """Show what others have counted; counters go on from where the process before this one left them."""
        board, writer, bus = self._board, self.storage.writer, self.bus
        rooms, users = self.rooms.counts, self.service.home.counts
        counted: dict[int, int] = {
            Slot.STORE_WRITES: writer.committed,
            Slot.ARCHIVE_APPENDED: rooms.appended + users.appended,
            Slot.ARCHIVE_ERASED: rooms.erased + users.erased,
            Slot.ARCHIVE_QUERIES: rooms.queries + users.queries,
            Slot.ARCHIVE_GIVEN: rooms.given + users.given,
        }
        if bus is not None:
            counted |= {
                Slot.BUS_FRAMES_IN: bus.frames_in,
                Slot.BUS_FRAMES_OUT: bus.frames_out,
                Slot.BUS_BYTES_IN: bus.bytes_in,
                Slot.BUS_BYTES_OUT: bus.bytes_out,
                Slot.BUS_REFUSED: bus.refused,
            }
        if self.cluster is not None:
            counted |= self.cluster.counted
            for slot, value in self.cluster.gauges.items():
                board.set(slot, value)
        for slot, value in counted.items():
            board.set(slot, self._counted_before.setdefault(slot, board.get(slot)) + value)
        board.set(Slot.STORE_WAITING, writer.position - writer.committed)
        board.set(Slot.PROMISES_WAITING, len(self.promises))
        board.set(Slot.ROOMS, len(self.rooms))
        board.set(Slot.OCCUPANTS, len(self.router.occupants))

    def end_sessions(self, jid: str, condition: str) -> int:
        """End the sessions here of a bare or full JID, those too that wait for their client; return how many."""
        try:
            wanted = JID.parse(jid)
        except ValueError:
            return 0
        user = self.service.home.users.get(wanted.local) if wanted.domain == self.domain else None
        sessions = [] if user is None else [each for each in user.sessions if wanted.resource in ("", each.resource)]
        for session in sessions:
            self.sessions.kick(session, condition)
        self.router.drain()
        return len(sessions)

    @property
    def nodes(self) -> Nodes | None:
        """The other nodes; None without a cluster."""
        return None if self.cluster is None else self.cluster.nodes

    # --- connections ------------------------------------------------------------

    def connection(self, id_: int) -> ClientConnection | RemoteConnection | None:
        """Return the connection with this id."""
        found: ClientConnection | RemoteConnection | None = self._dispatcher.connection(id_)
        return found

    @property
    def owners(self) -> dict[str, RestoreOwner]:
        """How owners of connections are restored, by the kind of their record."""
        restorers: dict[str, RestoreOwner] = {"stream": self.moving.restore_owner}
        if self.bus is not None:
            restorers["relayed"] = self.router.relay.restore_owner
        return restorers

    @property
    def remote_connections(self) -> dict[str, RestoreConnection]:
        """How connections are restored whose sockets are in other workers, by the kind of their record."""
        return {} if self.bus is None else {"remote": self.router.relay.restore_remote}

    def open_stream(self, connection: ClientConnection, domain: str) -> EmbeddedStream:
        """Return the owner of a connection whose header names our domain."""
        return self.logins.open(connection, domain)

    def _give(self, peer: int, record: Record, descriptor: int) -> None:
        assert self.hand_over is not None  # noqa: S101 - with one worker every home is here
        self.hand_over.give(peer, record, descriptor)

    def _adopt(self, record: Record, descriptor: int) -> None:
        facts = self._facts_of(record.listen)
        connection = adopt_connection(
            self._clients, facts, descriptor, record.address, record.port, record.account[1], record.tls
        )
        if connection is not None:
            self.logins.adopt(connection, record)

    def _anonymous_name(self) -> str:
        """A local part that nobody can guess, at home here, so that its connection can stay."""
        return name_at_home(secrets.token_hex(8), self.domain, self.router.index, self.router.workers)

    def _room_settings(self, config: Config) -> RoomSettings:
        return room_settings(config, self.storage.secret("rooms"), partial(self._may_create, config.rooms.create))

    def _may_create(self, who: str, creator: JID) -> bool:
        """Who may make rooms, `create` in [rooms] says."""
        if who == "accounts":
            return creator.domain == self.domain and self._accounts.credentials(creator) is not None
        return who == "anyone"

    def _session_of(self, jid: JID) -> Session | None:
        user = self.service.home.users.get(jid.local)
        return None if user is None else user.session(jid.resource)

    def _began(self, kind: str, owner: JID) -> float:
        """Since when there is a room or user of a name; 0 if that is not known, infinity if there is none."""
        if kind == USER:
            created = self.histories.upkeep.account_created(owner.local)
            return float("inf") if created is None else created
        room = self.rooms.room(owner)
        return 0.0 if room is None else room.created

    def _committed(self) -> None:
        self.histories.committed()
        self.promises.look()
