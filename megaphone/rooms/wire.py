"""What carries the events of rooms to other nodes, as the rooms see it; the host makes one (embedded.room_nodes)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Collection

    from megaphone.rooms.events import Event, Origin
    from megaphone.stream.jid import JID


class Wire(Protocol):
    """What carries events to the other nodes; in order from one origin, or not at all."""

    @property
    def origin(self) -> Origin:
        """Who we are, in this life."""

    @property
    def name(self) -> str:
        """Our node's name, for people."""

    @property
    def nodes(self) -> Collection[str]:
        """The other nodes that can be reached: 16 hexadecimal digits of each key."""

    @property
    def found(self) -> bool:
        """Whether it is known which other nodes there are, as far as it can be: not yet while this process begins."""

    def home(self, room: JID, node: str) -> int:
        """Which worker of a node a room is at home in."""

    def hear(self, room: JID) -> None:
        """Take what is published about a room from now on; harmless when said twice."""

    def hear_no_more(self, room: JID) -> None:
        """Take it no longer."""

    def publish(self, room: JID, event: Event) -> bool:
        """Say it to all nodes that have this room; False if it is lost."""

    def tell(self, node: str, worker: int, events: list[Event]) -> bool:
        """Say it to one worker of a node; False if it is lost."""
