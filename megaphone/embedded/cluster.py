"""Puts together what one worker shares with other nodes of a cluster: rooms, users, histories, rows of the store."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from megaphone.dispatch.cluster_slots import ClusterSlot
from megaphone.embedded.changed_rows import ChangedRows
from megaphone.embedded.history_nodes import HistoryNodes
from megaphone.embedded.joined_users import JoinedUsers
from megaphone.embedded.nodes import Nodes
from megaphone.embedded.room_nodes import RoomNodes
from megaphone.embedded.tables import Tables
from megaphone.history.manifest import MUC

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from megaphone.embedded.embedded import Embedded
    from megaphone.embedded.nodes_moving import NodesRecord
    from megaphone.embedded.nodes_settings import NodesSettings, Report
    from megaphone.storage.users import SQLiteUsers
    from megaphone.stream.archive import Archived
    from megaphone.stream.jid import JID


class Cluster:
    """The other nodes, and what of `embedded` is theirs too. `keepers` nodes keep each log."""

    def __init__(
        self,
        embedded: Embedded,
        settings: NodesSettings,
        users: SQLiteUsers,
        *,
        keepers: int,
        resume_seconds: float,
        report: Report,
        fault: Callable[[Exception], None],
    ) -> None:
        self._embedded = embedded
        router, rooms = embedded.router, embedded.rooms
        nodes = self.nodes = Nodes(
            settings,
            embedded.histories.key.origin,
            worker=router.index,
            workers=router.workers,
            local=embedded.subjects,
            turn=self._turn,
            report=report,
            fault=fault,
        )
        self._histories = HistoryNodes(nodes, embedded.histories, keepers=keepers)
        nodes.on_members.append(self._members_changed)
        self._members_changed()
        self._rooms = RoomNodes(nodes, rooms, resume_seconds=resume_seconds, now=time.time, fault=fault)
        embedded.histories.on_heard = self._heard
        self._users = JoinedUsers(embedded, nodes, self._rooms.others, users.waiting_users)
        changed = self._changed_rows = ChangedRows(embedded.subjects, router)
        changed.refresh_room = rooms.refresh
        changed.refresh_user = embedded.service.refresh
        changed.refresh_secret = lambda _: embedded.authenticator.use_secret(embedded.storage.secret("logins"))
        self._tables: Tables | None = None
        if nodes.worker == 0:  # it carries rows, all hear of what is changed
            self._tables = Tables(
                embedded.storage,
                nodes.bus,
                nodes.own.node_key,
                when_written=embedded.promises.when_written,
                changed=changed.tell,
                resting=lambda: embedded.resting,
            )

    def _turn(self, work: Callable[[], None]) -> None:
        """Do this in a turn of its own: what it causes is taken in order, and promises are looked at afterwards."""
        router = self._embedded.router
        router.later(work)
        router.drain()
        self._embedded.promises.look()

    def _members_changed(self) -> None:
        self._embedded.service.nodes_changed(self.nodes.names)

    def _heard(self, kind: str, owner: JID, entries: Sequence[Archived]) -> None:
        """Other nodes have added to a log."""
        if kind == MUC:
            self._embedded.rooms.heard(owner, entries, time.time())

    # --- life ------------------------------------------------------------

    def apply(self, resume_seconds: float) -> None:
        """Another configuration holds."""
        self._rooms.others.resume_seconds = resume_seconds

    def open(self) -> None:
        """Take part from now on, as soon as NATS is there."""
        self.nodes.open()

    def sweep(self, now: float) -> None:
        """Do what is due; called 8 times a second, `now` by the loop's clock."""
        self.nodes.sweep(now)
        self._rooms.sweep()
        self._embedded.router.drain()
        self._users.sweep()
        if self._tables is not None:
            self._tables.sweep()
        self._changed_rows.sweep()
        self._histories.sweep()

    def close(self) -> None:
        """Call nobody here any more: they are gone."""
        if self._tables is not None:
            self._tables.close()
        self.nodes.deafen()

    # --- another process goes on ------------------------------------------------------------

    def freeze(self) -> None:
        """Let nothing new in; see embedded.moving."""
        self._rooms.freeze()
        self.nodes.freeze()

    def give_up(self) -> None:
        """Wait no more for what other nodes were asked about users."""
        self._users.give_up()

    def restore(self, record: NodesRecord) -> None:
        """Know the nodes that the process before this one knew."""
        self.nodes.restore(record)
        self._members_changed()

    # --- operators ------------------------------------------------------------

    @property
    def counted(self) -> dict[int, int]:
        """What was counted since this process began, by slot of the board."""
        traffic, histories = self.nodes.traffic, self._histories
        return {
            ClusterSlot.NATS_MESSAGES_IN: traffic.messages_in,
            ClusterSlot.NATS_MESSAGES_OUT: traffic.messages_out,
            ClusterSlot.NATS_BYTES_IN: traffic.bytes_in,
            ClusterSlot.NATS_BYTES_OUT: traffic.bytes_out,
            ClusterSlot.NATS_REFUSED: traffic.refused,
            ClusterSlot.NATS_LOSSES: traffic.losses,
            ClusterSlot.HISTORY_TOLD: histories.told,
            ClusterSlot.HISTORY_HEARD: self._embedded.histories.heard,
            ClusterSlot.HISTORY_LOST: histories.lost,
            **{ClusterSlot[f"HISTORY_{refusal.name}"]: count for refusal, count in histories.refused.items()},
            **({} if self._tables is None else self._tables.counted),
        }

    @property
    def gauges(self) -> dict[int, int]:
        """What is so now, by slot of the board."""
        gauges: dict[int, int] = {
            ClusterSlot.NODES: len(self.nodes.members),
            ClusterSlot.NATS_UP: int(self.nodes.up),
        }
        if self._tables is not None:
            gauges[ClusterSlot.ROWS_SHARED] = int(self._tables.whole)
        return gauges
