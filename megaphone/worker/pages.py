"""The ephemeral pages of one worker: its service, the buses that lead to other workers and nodes, its counters."""

from __future__ import annotations

from typing import TYPE_CHECKING

from megaphone.dispatch.pages_slots import GAUGES, PagesSlot
from megaphone.web.pages import PagesService

if TYPE_CHECKING:
    import asyncio

    from megaphone.bus.members import Member
    from megaphone.bus.ports import Bus
    from megaphone.bus.subjects import Subjects
    from megaphone.config.schema import Config, Pages
    from megaphone.dispatch.counters import Board
    from megaphone.embedded.embedded import Embedded

_NODE_CHARACTERS = 16  # of a node's key


class PagesPart:
    """What a worker with pages on one of its listeners has; `index` is the worker's."""

    def __init__(
        self,
        config: Config,
        *,
        index: int,
        loop: asyncio.AbstractEventLoop,
        board: Board,
        embedded: Embedded | None,
        subjects: Subjects,
    ) -> None:
        self._board = board
        self._before: dict[int, int] = {}
        self._node = ""
        nodes = None if embedded is None else embedded.nodes
        buses: list[Bus] = [subjects]
        if nodes is not None:
            self._node = nodes.own.key[:_NODE_CHARACTERS]
            buses.append(nodes)
        self.service = PagesService(loop, config.pages, buses, node=self._node, worker=index)
        sites = self.service.sites
        subjects.on_peer_lost.append(lambda worker: sites.lose(self._node, worker, self._node))
        if nodes is not None:
            nodes.on_left.append(self._left)
            nodes.on_worker.append(lambda key, worker, _: sites.lose(key[:_NODE_CHARACTERS], worker, self._node))
            nodes.on_up.append(self._cluster_is)

    def _left(self, member: Member) -> None:
        self.service.sites.lose(member.key[:_NODE_CHARACTERS], None, self._node)

    def _cluster_is(self, up: bool) -> None:
        """NATS is there again, with words that were missed, or away, and all other nodes with it."""
        if not up:
            self.service.sites.lose(None, None, self._node)
        else:
            self.service.sites.ask_all()

    def apply(self, table: Pages) -> None:
        """Other settings hold from now on."""
        self.service.apply(table)

    def sweep(self) -> None:
        """Show what was counted; called 8 times a second."""
        board, counts, directory = self._board, self.service.pages.counts, self.service.pages.directory
        for slot, value in zip(
            GAUGES, (len(directory.pages), directory.holders, directory.wants, counts.visitors), strict=True
        ):
            board.set(slot, value)
        for slot in PagesSlot:
            if slot not in GAUGES:
                before = self._before.setdefault(slot, board.get(slot))
                board.set(slot, before + getattr(counts, slot.name.lower()))

    def close(self) -> None:
        """The worker ends."""
        self.service.close()
