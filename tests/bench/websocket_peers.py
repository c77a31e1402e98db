"""The readers that Megaphone's is measured beside, each driven as a server would: bytes of a read in, text out."""

import asyncio
import base64
import logging
import os
import socket
from collections.abc import Callable
from typing import Any

import picows
from picows.picows import WSProtocol
from websockets.frames import Opcode
from websockets.protocol import OPEN
from websockets.server import ServerProtocol
from wsproto import ConnectionType
from wsproto.connection import Connection
from wsproto.events import TextMessage

Feed = Callable[[bytes], int]  # takes a read, returns how many messages ended in it


def wsproto_reader() -> Feed:
    """wsproto's server; it decodes text as it comes."""
    peer = Connection(ConnectionType.SERVER)

    def feed(data: bytes) -> int:
        peer.receive_data(data)
        return sum(isinstance(event, TextMessage) and event.message_finished for event in peer.events())

    return feed


def websockets_reader() -> Feed:
    """websockets' server protocol, whose callers put fragments together and decode them."""
    logger = logging.getLogger("websockets.bench")
    logger.setLevel(logging.WARNING)
    peer = ServerProtocol(state=OPEN, max_size=None, logger=logger)
    parts: list[bytes] = []

    def feed(data: bytes) -> int:
        peer.receive_data(data)
        messages = 0
        for frame in peer.events_received():
            if frame.opcode in (Opcode.TEXT, Opcode.CONT):
                parts.append(frame.data)
                if frame.fin:
                    b"".join(parts).decode()
                    parts.clear()
                    messages += 1
        return messages

    return feed


class _Transport:
    """A transport that sends nothing."""

    def __init__(self) -> None:
        self.socket = socket.socket()

    def get_extra_info(self, name: str) -> Any:
        return self.socket if name == "socket" else None

    def get_write_buffer_size(self) -> int:
        return 1  # keeps picows from writing to the socket by itself

    def write(self, data: bytes) -> None:
        """The answer to the opening handshake; nobody reads it."""


class _Listener(picows.WSListener):
    def __init__(self) -> None:
        self.messages = 0

    def on_ws_frame(self, transport: picows.WSTransport, frame: picows.WSFrame) -> None:
        frame.get_payload_as_utf8_text()
        self.messages += frame.fin


def picows_reader() -> Feed:
    """The protocol of picows' server, compiled, with a listener in Python; its loop does not run while it is measured.

    There is no public way to the protocol without sockets: the arguments are those of version 2.3.
    """
    listener, logger = _Listener(), logging.getLogger("picows.bench")
    logger.setLevel(logging.WARNING)

    async def connect() -> Any:
        protocol = WSProtocol(
            None,  # host and port
            None,  # path
            False,  # it is a server
            lambda request: listener,
            logger,
            True,  # disconnect on an exception
            None,  # handshake timeout
            False,  # no automatic pings
            20,
            20,
            picows.WSAutoPingStrategy.PING_WHEN_IDLE,
            True,  # automatic pongs
            1 << 20,  # frame limit in bytes
            None,  # extra header fields
            1 << 16,  # bytes of its read buffer to begin with
        )
        protocol.connection_made(_Transport())
        return protocol

    loop = asyncio.new_event_loop()
    protocol = loop.run_until_complete(connect())
    loop.close()

    def feed(data: bytes) -> int:
        before, offset = listener.messages, 0
        while offset < len(data):
            buffer = protocol.get_buffer(-1)
            size = min(len(buffer), len(data) - offset)
            buffer[:size] = data[offset : offset + size]
            protocol.buffer_updated(size)
            offset += size
        return listener.messages - before

    key = base64.b64encode(os.urandom(16))
    feed(
        b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %b\r\n\r\n" % key
    )
    return feed


PEERS: dict[str, Callable[[], Feed]] = {
    "picows": picows_reader,
    "websockets": websockets_reader,
    "wsproto": wsproto_reader,
}
