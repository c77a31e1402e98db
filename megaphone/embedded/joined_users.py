"""Puts together what one worker needs for users that have sessions on several nodes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from megaphone.embedded.stream_record import new_stream
from megaphone.embedded.user_nodes import UserNodes
from megaphone.embedded.user_resuming import Resuming

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from megaphone.embedded.embedded import Embedded
    from megaphone.embedded.nodes import Nodes


class JoinedUsers:
    """The users of one worker, joined with those of other nodes. `waiting` is that of `storage.users`."""

    def __init__(self, embedded: Embedded, nodes: Nodes, waiting: Callable[[int], Sequence[tuple[int, str]]]) -> None:
        self.nodes = UserNodes(nodes, embedded.service, embedded.router, embedded.promises, waiting)
        self.resuming = Resuming(
            nodes,
            embedded.router,
            embedded.sessions,
            embedded.promises,
            new_stream=lambda: new_stream(embedded.streams, 0),
            moved=lambda session, node: None,
            came=lambda session: None,
            taken_back=self.nodes.announce_again,
        )
        self.nodes.is_lent = embedded.sessions.is_lent
        embedded.logins.user_nodes, embedded.logins.resuming = self.nodes, self.resuming
        self.give_up = self.nodes.give_up

    def sweep(self) -> None:
        """Do what is due; called 8 times a second."""
        self.nodes.sweep()
        self.resuming.sweep()
