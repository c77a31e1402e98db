"""The worker's end of the channel to its supervisor: JSON lines over an inherited socket."""

from __future__ import annotations

import asyncio
import json
import socket
from typing import Any

LINE_LIMIT_BYTES = 16 * 1024 * 1024


class Channel:
    """Messages to and from the supervisor (documented in megaphone/supervisor/channel.py)."""

    def __init__(self, descriptor: int) -> None:
        self._socket = socket.socket(fileno=descriptor)
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    def first_message(self) -> dict[str, Any]:
        """Read the start message, blocking; EOFError if the supervisor went away before it said anything."""
        line = bytearray()
        while not line.endswith(b"\n"):
            # byte by byte would be slow, but nothing may be read beyond the first line: later ones are the loop's
            data = self._socket.recv(65_536, socket.MSG_PEEK)
            if not data:
                raise EOFError
            end = data.find(b"\n") + 1 or len(data)
            line += self._socket.recv(end)
        message: dict[str, Any] = json.loads(line)
        return message

    async def open(self) -> None:
        """Hand the socket to the event loop."""
        self._reader, self._writer = await asyncio.open_unix_connection(sock=self._socket, limit=LINE_LIMIT_BYTES)

    async def receive(self) -> dict[str, Any] | None:
        """Return the next message, or None when the supervisor is gone."""
        assert self._reader is not None  # noqa: S101 - open() comes first
        try:
            line = await self._reader.readline()
        except (OSError, ValueError):
            return None
        if not line.endswith(b"\n"):
            return None
        message: dict[str, Any] = json.loads(line)
        return message

    def send_now(self, message: dict[str, Any]) -> None:
        """Send one message before the event loop runs (a fatal reason)."""
        self._socket.setblocking(True)
        self._socket.sendall(json.dumps(message).encode() + b"\n")

    async def send(self, message: dict[str, Any]) -> None:
        """Send one message; a supervisor that is gone hears nothing."""
        assert self._writer is not None  # noqa: S101 - open() comes first
        self._writer.write(json.dumps(message).encode() + b"\n")
        try:
            await self._writer.drain()
        except OSError:
            return
