"""One visitor's message connection: what is said to it waits here while its outbox is full.

Contents wait by reference: a thousand windows that are sent one page share its bytes.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from megaphone.pages.pages import Pages
    from megaphone.pages.phoenix import Version
    from megaphone.pages.visitor import Visitor
    from megaphone.web.exchange import MessageConnection

WAITING_MESSAGES = 512
SLOW_CODE = 1013  # "try again later" (IANA registry of WebSocket close codes)


class PagesSocket:
    """`exchange.Messages` for the edge, `pages.ports.Connection` for the pages.

    `full` is told when something has to wait; `limit_bytes` bounds what does.
    """

    def __init__(
        self, pages: Pages, loop: asyncio.AbstractEventLoop, limit_bytes: int, full: Callable[[PagesSocket], None]
    ) -> None:
        self._pages = pages
        self._loop = loop
        self._clock = loop.time
        self._limit_bytes = limit_bytes
        self._full = full
        self._waiting: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._connection: MessageConnection | None = None
        self._visitor: Visitor | None = None

    def begin(self, connection: MessageConnection, version: Version) -> None:
        """The handshake is done."""
        self._connection = connection
        self._visitor = self._pages.open(self, version, connection.client_address, self._clock())

    # --- exchange.Messages ------------------------------------------------------------

    def take_text(self, text: bytes) -> None:
        """Take a whole message of the visitor."""
        if self._visitor is not None:
            self._pages.take(self._visitor, text, self._clock())

    def closed(self) -> None:
        """Hear that the connection has ended."""
        self._connection = None
        self._waiting.clear()
        if self._visitor is not None:
            self._pages.gone(self._visitor, self._clock())

    # --- pages.ports.Connection ------------------------------------------------------------

    def send_text(self, text: bytes) -> bool:
        """Send one message, now or when there is room."""
        connection = self._connection
        if connection is None:
            return False
        if not self._waiting and not connection.full:
            return connection.send_text(text)
        if len(self._waiting) >= WAITING_MESSAGES or self._waiting_bytes + len(text) > self._limit_bytes:
            self.close(SLOW_CODE, "too slow")
            return False
        self._waiting.append(text)
        self._waiting_bytes += len(text)
        self._full(self)
        return True

    def close(self, code: int, reason: str = "") -> None:
        """End it; harmless when said twice."""
        connection, self._connection = self._connection, None
        if connection is not None:
            self._waiting.clear()
            self._loop.call_soon(connection.close, code, reason)  # its end must not come amid what is under way

    def work(self) -> bool:
        """Send what there is room for; whether something still waits."""
        while self._waiting and self._connection is not None and not self._connection.full:
            text = self._waiting.popleft()
            self._waiting_bytes -= len(text)
            self._connection.send_text(text)
        return bool(self._waiting) and self._connection is not None
