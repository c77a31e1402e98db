"""Puts the embedded service of one worker together: streams, logins, sessions, rooms, their homes and their store."""

from __future__ import annotations

import secrets
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import megaphone
from megaphone.bus.homes import name_at_home
from megaphone.bus.local import BusListener, LocalBus
from megaphone.bus.subjects import Subjects
from megaphone.dispatch.cluster_slots import ClusterSlot
from megaphone.dispatch.counters import Slot
from megaphone.edge.connection import ClientConnection, adopt_connection
from megaphone.embedded.changed_rows import ChangedRows
from megaphone.embedded.frames import HomeFrames
from megaphone.embedded.guesses import Guesses
from megaphone.embedded.hand_over import HandOver, Record
from megaphone.embedded.histories import Histories
from megaphone.embedded.history_nodes import HistoryNodes
from megaphone.embedded.host import Host, SessionOutlet
from megaphone.embedded.joined_users import JoinedUsers
from megaphone.embedded.logins import Logins
from megaphone.embedded.moving import MovingService
from megaphone.embedded.nodes import Nodes
from megaphone.embedded.occupants import Occupants
from megaphone.embedded.promises import Promises
from megaphone.embedded.relay import Relay
from megaphone.embedded.retention import RetentionSettings
from megaphone.embedded.room_nodes import RoomNodes
from megaphone.embedded.router import Router
from megaphone.embedded.sessions import Sessions
from megaphone.embedded.stream import Streams
from megaphone.embedded.tables import Tables
from megaphone.history.manifest import USER
from megaphone.rooms.ports import RoomConfig, RoomSettings
from megaphone.rooms.rooms import Rooms
from megaphone.service.authenticator import Authenticator, LoginSettings
from megaphone.service.failed_logins import ACCOUNT_POLICY, ADDRESS_POLICY
from megaphone.service.service import Service
from megaphone.service.settings import Settings
from megaphone.storage.accounts import SQLiteAccounts
from megaphone.storage.rooms import SQLiteRooms
from megaphone.storage.storage import Storage
from megaphone.storage.taken import SQLiteTaken
from megaphone.storage.users import SQLiteUsers
from megaphone.stream.jid import JID
from megaphone.stream.resumption import SMLimits

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Sequence

    from megaphone.config.schema import Config
    from megaphone.dispatch.counters import Board
    from megaphone.dispatch.dispatcher import Dispatcher
    from megaphone.dispatch.moving import RestoreConnection, RestoreOwner
    from megaphone.edge.clients import Clients
    from megaphone.edge.limits import ListenerFacts
    from megaphone.embedded.nodes_settings import NodesSettings, Report
    from megaphone.embedded.relay import RemoteConnection
    from megaphone.embedded.stream import EmbeddedStream
    from megaphone.service.session import Session
    from megaphone.service.tokens import TokenKey
    from megaphone.sockets.poller import Poller
    from megaphone.stream.archive import Archived


class Embedded:
    """The embedded service of one worker. StorageError if its database cannot be opened.

    `facts_of(listen)` gives the facts of a listener of the configuration; `bus_directory` and `bus_fds` are the
    supervisor's (supervisor.bus_sockets). With `cluster` there are other nodes; `report` is the log.
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
        index: int,
        workers: int,
        bus_directory: str,
        bus_fds: Sequence[int],
        token_keys: Sequence[TokenKey],
        facts_of: Callable[[int], ListenerFacts],
        listen_of: Callable[[ClientConnection], int],
        fault: Callable[[Exception], None],
        taking_over: bool = False,
        cluster: NodesSettings | None = None,
        report: Report | None = None,
    ) -> None:
        self._loop = loop
        self.resting = taking_over  # nothing is due: another process does it
        self.left = False  # ... for good
        self._board = board
        self._clients = clients
        self._facts_of = facts_of
        self._counted_before: dict[int, int] = {}
        domain, service, rooms = config.domain[0].name, config.service, config.rooms
        self.domain = domain
        self._create = rooms.create
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
        self.bus: LocalBus | None = None
        self.hand_over: HandOver | None = None
        if workers > 1:
            frames = [f"{bus_directory}/{worker}.frames" for worker in range(workers)]
            self.bus = LocalBus(poller, index, frames, HomeFrames(self.streams, self.router))
            self._bus_listener = BusListener(self.bus, bus_fds[0])
            connections = [f"{bus_directory}/{worker}.connections" for worker in range(workers)]
            self.hand_over = HandOver(loop, bus_fds[1], connections, self._adopt, fault)
        self.histories = Histories(
            self.storage,
            service.data,
            is_home=lambda jid: self.router.is_local_domain(jid.domain) and self.router.home(jid) == index,
            now=time.time,
            began=self._began,
            settings=_retention(config),
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
            limits=_sm_limits(config),
        )
        self.service = Service(
            domain, SessionOutlet(self.sessions, self.router), users, self.histories.users, self._settings(config)
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
            settings=self._login_settings(config, token_keys),
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
        self.router.bus = self.streams.bus = self.bus
        self.subjects = self.router.subjects = Subjects(self.bus, later=loop.call_soon, fault=fault)
        if self.bus is not None:
            Guesses(self.subjects, self.authenticator, index, time.time)
        self.nodes: Nodes | None = None
        self.room_nodes: RoomNodes | None = None
        self.joined_users: JoinedUsers | None = None
        self.history_nodes: HistoryNodes | None = None
        if cluster is not None and report is not None:
            nodes = self.nodes = self._join(cluster, report, fault)
            keepers = 1 if config.cluster is None else config.cluster.keepers
            self.history_nodes = HistoryNodes(nodes, self.histories, keepers=keepers)
            nodes.on_members.append(lambda: self.service.nodes_changed(nodes.names))
            self.service.nodes_changed(nodes.names)
            self.room_nodes = self._join_rooms(nodes, service.resume_seconds, fault)
            self.histories.on_heard = self._heard
            self.joined_users = JoinedUsers(self, nodes, users.waiting_users)
        self.changed_rows: ChangedRows | None = None
        self.tables: Tables | None = None
        if self.nodes is not None:
            self._share_rows(self.nodes)
        self.streams.home_of = self.router.home_of_user
        self.streams.domain = self.domain.encode()
        self.moving = MovingService(self)
        if not taking_over:
            self.rooms.load(lambda room: self.router.home(room) == index)
        self.router.drain()

    def _join(self, cluster: NodesSettings, report: Report, fault: Callable[[Exception], None]) -> Nodes:
        """Return the other nodes."""
        return Nodes(
            cluster,
            self.histories.key.origin,
            worker=self.router.index,
            workers=self.router.workers,
            local=self.subjects,
            turn=self._turn,
            report=report,
            fault=fault,
        )

    def _join_rooms(self, nodes: Nodes, resume_seconds: float, fault: Callable[[Exception], None]) -> RoomNodes:
        return RoomNodes(nodes, self.rooms, resume_seconds=resume_seconds, now=time.time, fault=fault)

    def _heard(self, kind: str, owner: JID, entries: Sequence[Archived]) -> None:
        """Other nodes have added to a log."""
        if kind == "muc":
            self.rooms.heard(owner, entries, time.time())

    def _share_rows(self, nodes: Nodes) -> None:
        """Share accounts, rosters, rooms ... with other nodes: worker 0 carries rows, all hear of what is changed."""
        changed = self.changed_rows = ChangedRows(self.subjects, self.router)
        changed.refresh_room = self.rooms.refresh
        changed.refresh_user = self.service.refresh
        changed.refresh_secret = lambda _: self.authenticator.use_secret(self.storage.secret("logins"))
        if nodes.worker == 0:
            self.tables = Tables(
                self.storage,
                nodes.bus,
                nodes.own.node_key,
                when_written=self.promises.when_written,
                changed=changed.tell,
                resting=lambda: self.resting,
            )

    def _turn(self, work: Callable[[], None]) -> None:
        """Do this in a turn of its own: what it causes is taken in order, and promises are looked at afterwards."""
        self.router.later(work)
        self.router.drain()
        self.promises.look()

    def _settings(self, config: Config) -> Settings:
        service = config.service
        return Settings(
            resource_conflict=service.resource_conflict,
            sessions_per_user=service.sessions_per_user,
            roster_items=service.roster_items,
            offline_messages_per_user=service.offline_messages,
            offline_bytes_per_user=service.offline_bytes,
            version=megaphone.__version__,
            components=((config.rooms.domain, "Rooms"),),
            is_local_domain=self.router.is_local_domain,
            archive=config.archive.users,
            archive_page=config.archive.page_messages,
        )

    def _room_settings(self, config: Config) -> RoomSettings:
        rooms = config.rooms
        return RoomSettings(
            secret=self.storage.secret("rooms"),
            may_create=self._may_create,
            defaults=RoomConfig(history_length=rooms.history_messages),
            rooms_limit=rooms.max_rooms,
            rooms_per_user_limit=rooms.max_rooms_per_user,
            occupants_limit=rooms.max_occupants,
            page_limit=config.archive.page_messages,
        )

    def _login_settings(self, config: Config, token_keys: Sequence[TokenKey]) -> LoginSettings:
        service = config.service
        return LoginSettings(
            tokens=tuple(token_keys),
            anonymous=self._anonymous_name if service.anonymous else None,
            plain_without_tls=service.plain_without_tls,
            iterations=service.scram_iterations,
            address_locks=replace(ADDRESS_POLICY, free_failures=service.failed_logins_per_address),
            account_locks=replace(ACCOUNT_POLICY, free_failures=service.failed_logins_per_account),
        )

    # --- life ------------------------------------------------------------

    def apply(self, config: Config, token_keys: Sequence[TokenKey]) -> None:
        """Put those parts of a new configuration in force that need no restart."""
        self._create = config.rooms.create
        self.authenticator.apply(self._login_settings(config, token_keys))
        self.service.apply(self._settings(config))
        self.rooms.apply(self._room_settings(config))
        self.histories.retention.settings = _retention(config)
        self.sessions.apply(config.service.resume_seconds, _sm_limits(config))
        if self.room_nodes is not None:
            self.room_nodes.others.resume_seconds = config.service.resume_seconds

    def open(self) -> None:
        """Start talking to the other workers."""
        if self.bus is not None:
            self._bus_listener.open()
            self.bus.open()
        if self.hand_over is not None:
            self.hand_over.open()
        if self.nodes is not None:
            self.nodes.open()

    def sweep(self) -> None:
        """Do what is due; called 8 times a second."""
        if self.resting:
            return
        if self.bus is not None:
            self.bus.sweep()
            self._bus_listener.retry()
            self.subjects.sweep(self._loop.time())
        if self.hand_over is not None:
            self.hand_over.sweep()
        if self.nodes is not None:
            self.nodes.sweep(self._loop.time())
        if self.room_nodes is not None:
            self.room_nodes.sweep()
            self.router.drain()
        if self.joined_users is not None:
            self.joined_users.sweep()
        if self.tables is not None:
            self.tables.sweep()
        if self.changed_rows is not None:
            self.changed_rows.sweep()
        self.sessions.sweep()
        self.histories.sweep(self._loop.time())
        if self.history_nodes is not None:
            self.history_nodes.sweep()
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
        if self.tables is not None:
            self.tables.close()
        if self.nodes is not None:
            self.nodes.deafen()
        if self.hand_over is not None:
            self.hand_over.close()
        if self.bus is not None:
            self._bus_listener.close()
            self.bus.close()
        self.histories.close()
        self.storage.close()

    async def leave_cluster(self, *, goodbye: bool) -> None:
        """Leave the cluster, if there is one; without goodbye another process goes on. The last thing of all."""
        if self.nodes is not None:
            await self.nodes.close(goodbye=goodbye)

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
        if self.nodes is not None:
            traffic = self.nodes.traffic
            counted |= {
                ClusterSlot.NATS_MESSAGES_IN: traffic.messages_in,
                ClusterSlot.NATS_MESSAGES_OUT: traffic.messages_out,
                ClusterSlot.NATS_BYTES_IN: traffic.bytes_in,
                ClusterSlot.NATS_BYTES_OUT: traffic.bytes_out,
                ClusterSlot.NATS_REFUSED: traffic.refused,
                ClusterSlot.NATS_LOSSES: traffic.losses,
            }
            counted |= self._histories_counted()
            if self.tables is not None:
                counted |= self.tables.counted
                board.set(ClusterSlot.ROWS_SHARED, int(self.tables.whole))
            board.set(ClusterSlot.NODES, len(self.nodes.members))
            board.set(ClusterSlot.NATS_UP, int(self.nodes.up))
        for slot, value in counted.items():
            board.set(slot, self._counted_before.setdefault(slot, board.get(slot)) + value)
        board.set(Slot.STORE_WAITING, writer.position - writer.committed)
        board.set(Slot.PROMISES_WAITING, len(self.promises))
        board.set(Slot.ROOMS, len(self.rooms))
        board.set(Slot.OCCUPANTS, len(self.router.occupants))

    def _histories_counted(self) -> dict[int, int]:
        nodes = self.history_nodes
        if nodes is None:
            return {}
        return {
            ClusterSlot.HISTORY_TOLD: nodes.told,
            ClusterSlot.HISTORY_HEARD: self.histories.heard,
            ClusterSlot.HISTORY_LOST: nodes.lost,
            **{ClusterSlot[f"HISTORY_{refusal.name}"]: count for refusal, count in nodes.refused.items()},
        }

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

    def _may_create(self, creator: JID) -> bool:
        """Who may make rooms, `create` in [rooms] says."""
        if self._create == "accounts":
            return creator.domain == self.domain and self._accounts.credentials(creator) is not None
        return self._create == "anyone"

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


def _retention(config: Config) -> RetentionSettings:
    return RetentionSettings(
        of_rooms=config.rooms.kept_messages, of_users=config.archive.kept_messages, days=config.archive.days
    )


def _sm_limits(config: Config) -> SMLimits:
    return SMLimits(stanzas=config.service.resume_stanzas, bytes=config.service.resume_bytes)
