"""The exchange of a connection: what `exchange.Exchange` promises to those who serve routes."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from megaphone.web.connection import HTTPConnection
    from megaphone.web.exchange import Headers, MessageConnection, Messages, Request


class HeldExchange:
    """One request of a connection until it is answered, or its client has gone."""

    __slots__ = ("_connection", "on_ending", "on_gone", "request")

    def __init__(self, request: Request, connection: HTTPConnection) -> None:
        self.request = request
        self.on_gone: Callable[[], None] | None = None
        self.on_ending: Callable[[], None] | None = None
        self._connection: HTTPConnection | None = connection

    @property
    def answered(self) -> bool:
        """Whether nothing can be answered any more."""
        return self._connection is None

    def answer(self, status: int, headers: Headers = (), body: bytes | memoryview = b"") -> None:
        """Answer the request, unless it has been."""
        connection = self._connection
        if connection is not None:
            connection.answer(status, headers, body)

    def open_messages(
        self,
        subscriber: Messages,
        *,
        message_bytes: int,
        protocol: bytes | None = None,
        origins: Collection[bytes] | None = None,
    ) -> MessageConnection | None:
        """Answer 101 and speak WebSocket; None: refused, answered, or too late."""
        connection = self._connection
        if connection is None:
            return None
        return connection.open_messages(subscriber, message_bytes, protocol, origins)

    def let_go(self) -> None:
        """It has been answered."""
        self._connection = self.on_gone = self.on_ending = None

    def lose(self) -> None:
        """The client is not there any more."""
        gone = self.on_gone
        self.let_go()
        if gone is not None:
            gone()
