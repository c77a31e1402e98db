"""A WebSocket server that sends every message back, for RFC 6455's judges: the compiled codec, asyncio, no XMPP."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from megaphone.wire.websocket import ANY_FRAMES, CLOSE_CODES, NO_STATUS, Event, MessageReader, Opcode
from megaphone.wire.websocket_handshake import accept_value
from megaphone.wire.websocket_writer import close, pong, text_header

MESSAGE_BYTES = 1 << 25
CLIENTS_ONLY = 1010  # a server may not say it (RFC 6455 section 7.4.1)
REQUEST_BYTES = 8192


class Echo(asyncio.Protocol):
    """One client: its request, then its messages, each sent back when it is whole."""

    transport: asyncio.Transport

    def __init__(self) -> None:
        self.reader = MessageReader(message_bytes=MESSAGE_BYTES, frames=ANY_FRAMES, text_only=False)
        self.request: bytes | None = b""
        self.message = bytearray()
        self.opcode = Opcode.TEXT_FRAME

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        if self.request is not None:
            self.request += data
            head, ended, data = self.request.partition(b"\r\n\r\n")
            if not ended:
                if len(head) > REQUEST_BYTES:
                    self.transport.close()
                return
            self.accept(head)
            self.request = None
        self.read(memoryview(bytearray(data)))

    def accept(self, head: bytes) -> None:
        fields = {}
        for line in head.split(b"\r\n")[1:]:
            name, _, value = line.partition(b":")
            fields[name.lower()] = value.strip()
        accepted = accept_value(fields[b"sec-websocket-key"])
        self.transport.write(
            b"HTTP/1.1 101 Switching Protocols\r\nServer: Megaphone\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: %b\r\n\r\n" % accepted
        )

    def read(self, data: memoryview) -> None:
        while data and not self.transport.is_closing():
            event, consumed, payload, detail = self.reader.read(data)
            data = data[consumed:]
            if event is Event.MORE:
                return
            if event is Event.DATA:
                assert isinstance(detail, tuple)
                self.take(payload, *detail)
            elif event is Event.PING:
                self.transport.write(pong(payload))
            elif event is Event.CLOSE:
                assert isinstance(detail, int)
                self.end(NO_STATUS if detail == CLIENTS_ONLY else detail)
            elif event is Event.ERROR:
                assert isinstance(detail, int)
                self.end(CLOSE_CODES[detail])

    def take(self, payload: bytes, opcode: Opcode, first: bool, final: bool) -> None:
        if first:
            self.opcode = opcode
        self.message += payload
        if final:
            header = text_header(len(self.message))
            self.transport.write(bytes([header[0] & 0xF0 | self.opcode]) + header[1:])
            self.transport.write(self.message)
            self.message = bytearray()

    def end(self, code: int) -> None:
        self.transport.write(close(code))
        self.transport.close()


@asynccontextmanager
async def echo_server() -> AsyncIterator[int]:
    """Listens on loopback; yields the port."""
    server = await asyncio.get_running_loop().create_server(Echo, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]
