"""A cheap XMPP server for tests: logs anybody in, echoes what it gets, and misbehaves on request.

    header ─► features ─► <auth/> ─► <success/> ─► header ─► features ─► <iq/> bind ─► echo, byte for byte

Misbehaviour is ordered by whoever is connected, so one server serves all tests: a stream header from `mute@…` is never
answered, and after binding one message to the name of a command starts that command (COMMANDS).
"""

import asyncio
import re
import socket
import sys
from typing import cast

import uvloop

from tests.servers.process import LOOPBACK

STREAM_HEADER = (
    b"<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'"
    b" id='fake' from='example.test' version='1.0'>"
)
AUTH_FEATURES = (
    b"<stream:features><mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><mechanism>PLAIN</mechanism></mechanisms>"
    b"</stream:features>"
)
BIND_FEATURES = b"<stream:features><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></stream:features>"
SUCCESS = b"<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>"
BOUND = b"<iq type='result' id='bind'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><jid>%b</jid></bind></iq>"
STREAM_END = b"</stream:stream>"

FLOOD_STANZA = b"<message from='flood'><body>%b</body></message>" % (b"x" * 4000)
HALF_STANZA = b"<message from='fake'><body>it was a dark and stormy"
OTHER_HALF = b" night</body></message>"
PAUSE_SECONDS = 0.3
COMMANDS = ("flood", "die", "vanish", "end", "deaf", "dawdle", "stall", "hush")

_RESOURCE = re.compile(rb"<resource>([^<]*)</resource>")
_COMMAND = re.compile(rb"<message to='(%b)'/>" % "|".join(COMMANDS).encode())


class FakeSession(asyncio.Protocol):
    """One connection; `_step` says what must come next."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport
        self._buffer = b""
        self._step = self._header
        self._features = AUTH_FEATURES
        self._flooding = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none, but does the same

    def data_received(self, data: bytes) -> None:
        """One step after the other, as long as there is something whole to answer."""
        self._buffer += data
        while self._buffer and self._step():
            pass

    def eof_received(self) -> bool:
        """The edge will send no more: say nothing, and keep our half open."""
        return True

    def pause_writing(self) -> None:
        """The edge does not read: no more flood for now."""
        self._flooding = False

    def resume_writing(self) -> None:
        """The edge reads again."""
        self._flood()

    def _take(self, end: bytes) -> bytes:
        """The buffer up to and including `end`, or b"" if that has not come yet."""
        taken, found, rest = self._buffer.partition(end)
        if not found:
            return b""
        self._buffer = rest
        return taken + found

    def _header(self) -> bool:
        if self._buffer.lstrip().startswith(STREAM_END):
            self._end()
            return False
        if b"<stream:stream" not in self._buffer:
            return False
        start_tag, closed, rest = self._buffer.partition(b"<stream:stream")[2].partition(b">")
        if not closed:
            return False
        self._buffer = rest
        if b"from='mute@" in start_tag:
            self._step = self._swallow
            return True
        self._transport.write(STREAM_HEADER + self._features)
        self._step = self._auth if self._features is AUTH_FEATURES else self._bind
        return True

    def _auth(self) -> bool:
        if self._buffer.lstrip().startswith(STREAM_END):
            self._end()
            return False
        if not self._take(b"</auth>"):
            return False
        self._transport.write(SUCCESS)
        self._features = BIND_FEATURES
        self._step = self._header
        return True

    def _bind(self) -> bool:
        request = self._take(b"</iq>")
        if not request:
            return False
        resource = _RESOURCE.search(request)
        self._transport.write(BOUND % (b"user@example.test/" + (resource[1] if resource else b"fake")))
        self._step = self._echo
        return True

    def _echo(self) -> bool:
        data, self._buffer = self._buffer, b""
        command = _COMMAND.match(data)
        if command is not None:
            self._obey(command[1].decode())
            return False
        self._transport.write(data)
        if data.endswith(STREAM_END):
            self._transport.close()
        return False

    def _swallow(self) -> bool:
        self._buffer = b""
        return False

    def _end(self) -> None:
        self._transport.write(STREAM_END)
        self._transport.close()

    def _obey(self, command: str) -> None:
        self._step = self._swallow
        match command:
            case "flood":  # send for ever, as fast as the edge takes it
                self._flood()
            case "die":  # in the middle of a stanza, in order
                self._transport.write(HALF_STANZA)
                self._transport.close()
            case "dawdle":  # finish it only after a while
                self._transport.write(HALF_STANZA)
                asyncio.get_running_loop().call_later(PAUSE_SECONDS, self._transport.write, OTHER_HALF)
            case "stall":  # never finish it
                self._transport.write(HALF_STANZA)
            case "vanish":  # between stanzas, without a goodbye
                self._transport.abort()
            case "end":
                self._end()
            case "deaf":  # read nothing any more, and let the kernel take little
                self._transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                self._transport.pause_reading()
            case "hush":  # read on, and say nothing any more
                pass

    def _flood(self) -> None:
        self._flooding = True
        while self._flooding and not self._transport.is_closing():
            self._transport.write(FLOOD_STANZA)  # calls pause_writing when enough is waiting


async def serve(port: int) -> None:
    """Listen on loopback for ever."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(FakeSession, LOOPBACK, port, backlog=4096)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))
