"""Two edges in this process, of which the second one takes over from the first as a successor does from a worker."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from megaphone.config.schema import Limits
from megaphone.dispatch.counters import BOARD_BYTES, Slot
from megaphone.dispatch.gauges import gauge_slots
from megaphone.edge.admission import Admission
from megaphone.edge.connection import restore_connection
from megaphone.edge.sketch import Sketch, sketch_bytes
from megaphone.errors import MoveError
from megaphone.uplink.link_part import LinkPart
from tests.unit.edge.edge_under_test import EdgeUnderTest

if TYPE_CHECKING:
    from megaphone.edge.limits import ListenerFacts
    from tests.unit.edge.conftest import MakeEdge
    from tests.unit.edge.edge_under_test import ScriptedServer

Choice = Callable[[Any], bool]


class Successor:
    """An edge that opens nothing of its own before it has taken over from `before`, an edge or a successor itself."""

    def __init__(
        self, make_edge: MakeEdge, before: EdgeUnderTest | Successor, *servers: ScriptedServer, **options: Any
    ) -> None:
        self.former = before if isinstance(before, Successor) else None
        self.before = before.edge if isinstance(before, Successor) else before
        self.edge: EdgeUnderTest = make_edge(*servers, **options)
        for server in servers:
            server.edge = self.before
        self.part = LinkPart(self.edge.uplink)
        self.part.sleep()
        self.edge.clients.listener_at = lambda _: self.facts()
        self.edge.count_references()

    def facts(self) -> ListenerFacts:
        """Of the first edge's first listener."""
        return self.before.listeners[0].facts if self.former is None else self.former.facts()

    def hand_over(
        self, *, stays: Choice = lambda _: False, commit: bool = True, early: Choice = lambda _: True
    ) -> None:
        """All connections move but for those that stay; those for which `early` holds are said twice."""
        before = self.before
        part = LinkPart(before.uplink)
        here = {each.id: each for each in before.dispatcher.connections()}
        there: dict[int, Any] = {}
        for number in [each for each in here if early(here[each])] + list(here):
            self._move(here[number], there)
        before.poller.frozen = True
        part.freeze()
        for chunk, descriptors in part.export():
            assert len(chunk) <= 1024 * 1024
            self.part.restore(bytes(chunk), list(descriptors))
        if not commit:
            for each in there.values():
                each.owner.leave(each)
                each.leave()
            before.poller.frozen = False
            part.thaw()
            before.woken = True
            return
        self.part.activate()
        for number, each in there.items():
            if stays(here[number]):
                each.owner.leave(each)
                each.leave()
            else:
                each.activate()
                each.owner.activate(each)
        moved = [here[number] for number, each in there.items() if not stays(here[number])]
        self._take_board()
        for each in moved:
            owner = each.owner
            each.leave()
            owner.leave(each)
        part.leave()
        self._take_peers()
        before.poller.frozen = False
        self.part.go_on()

    @staticmethod
    def _descriptors(moved: Any) -> list[int]:
        return [os.dup(descriptor) for descriptor in moved.descriptors]

    def _move(self, connection: Any, there: dict[int, Any]) -> None:
        connection_moved = connection.export()
        owner_moved = connection.owner.export(connection) if connection.owner is not None else None
        if connection_moved is None or owner_moved is None:
            return
        if connection.id in there:
            former = there.pop(connection.id)
            former.owner.leave(former)
            former.leave()
        restored = restore_connection(
            self.edge.clients, connection.id, connection_moved.data, self._descriptors(connection_moved)
        )
        try:
            assert owner_moved.kind == "link"
            restored.owner = self.part.restore_owner(restored, owner_moved.data, self._descriptors(owner_moved))
        except MoveError:
            restored.leave()
            raise
        there[connection.id] = restored

    def _take_board(self) -> None:
        """The counters go on, the gauges are the successor's."""
        before, after = self.before, self.edge
        memory, private = bytearray(BOARD_BYTES), bytearray(BOARD_BYTES)
        for slot in range(BOARD_BYTES // 8):
            at = slice(8 * slot, 8 * slot + 8)
            memory[at] = before.board.get(slot).to_bytes(8, "little")
        for slot in gauge_slots():
            private[8 * slot : 8 * slot + 8] = before.board.get(slot).to_bytes(8, "little")
            memory[8 * slot : 8 * slot + 8] = after.board.get(slot).to_bytes(8, "little")
        after.board.use(memory)
        before.board.use(private)
        stay = before.dispatcher.open_connections - after.dispatcher.open_connections
        after.board.set(Slot.ACCEPTED, after.board.get(Slot.ACCEPTED) - stay)
        before.board.add(Slot.ACCEPTED, stay)
        after.closed += before.closed
        before.closed.clear()

    def _take_peers(self) -> None:
        before, after = self.before, self.edge
        for peer in before.peers:
            peer.edge = after
        after.peers, before.peers = before.peers, []
        before.sketch = Sketch(bytearray(sketch_bytes(1)), 0, 1)  # what is looked at in the end: the rows are another's


class Moving:
    """Makes edges that count addresses in one sketch, as the processes of one worker do."""

    def __init__(self, make_edge: MakeEdge, *servers: ScriptedServer, **options: Any) -> None:
        self._make_edge = make_edge
        self._servers = servers
        self._options = options
        self._sketch = bytearray(sketch_bytes(1))

    def edge(self) -> EdgeUnderTest:
        """The first one."""
        return self._make_edge(*self._servers, sketch_memory=self._sketch, **self._options)

    def successor(self, before: EdgeUnderTest | Successor, **options: Any) -> Successor:
        """One that is to take over."""
        made = Successor(self._make_edge, before, *self._servers, **self._options | options)
        made.edge.sketch = Sketch(self._sketch, 0, 1, keep=True)
        made.edge.clients.admission = Admission(made.edge.sketch, self._options.get("limits", Limits()))
        return made


def make_pair(make_edge: MakeEdge, *servers: ScriptedServer, **options: Any) -> tuple[EdgeUnderTest, Successor]:
    """An edge and its successor."""
    moving = Moving(make_edge, *servers, **options)
    before = moving.edge()
    return before, moving.successor(before)
