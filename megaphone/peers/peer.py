"""A peer that we are connected with: the connection, and what is said over it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from megaphone.history.batch import Batch
    from megaphone.peers.connection import Connection


class Conversation(Protocol):
    """What is said with one peer about the rooms that both have (`megaphone.history.sync`)."""

    @property
    def closed(self) -> str:
        """Why it has ended; empty while it goes on."""
        ...

    def start(self, now_ms: int) -> list[bytes]:
        """Begin."""
        ...

    def receive(self, data: bytes, now_ms: int) -> list[bytes]:
        """Answer a message."""
        ...

    def push(self, batch: Batch) -> list[bytes]:
        """Tell of a new batch."""
        ...

    def tick(self, now_ms: int) -> list[bytes]:
        """Say what is due."""
        ...


class Peer:
    """A peer that we are connected with."""

    def __init__(self, connection: Connection, conversation: Conversation) -> None:
        self.connection = connection
        self.conversation = conversation
        self.ended = asyncio.Event()
