"""WebSocket servers of Python libraries, each as a process: they let the load generator's clients log in, and wait.

Each is asked for the least it can keep: no compression, no pings of its own, small buffers, uvloop.
"""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import picows
import uvloop
from aiohttp import WSMsgType, web
from websockets.asyncio.server import ServerConnection, serve

from tests.bench.relays import Certificate
from tests.servers.process import LOOPBACK

_OPENED = "<open xmlns='urn:ietf:params:xml:ns:xmpp-framing' from='bench.example' id='1' version='1.0'/>"
_FEATURES = "<stream:features xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'></stream:features>"
_ANSWERS = {
    "<open": (_OPENED, _FEATURES),
    "<auth": ("<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>",),
    "<iq x": ("<iq xmlns='jabber:client' type='result' id='bind1'></iq>",),
}
_BACKLOG = 4096
_BUFFER_BYTES = 4096  # instead of 16 KiB for each connection


def _answers(message: str) -> tuple[str, ...]:
    """What a login's message is answered with (swarm/websocket.h)."""
    return _ANSWERS[message[:5]]


class _Listener(picows.WSListener):  # type: ignore[misc, unused-ignore]
    def on_ws_frame(self, transport: picows.WSTransport, frame: picows.WSFrame) -> None:
        for answer in _answers(frame.get_payload_as_utf8_text()):
            transport.send(picows.WSMsgType.TEXT, answer.encode())


async def _picows(port: int) -> None:
    server = await picows.ws_create_server(
        lambda request: _Listener(), LOOPBACK, port, backlog=_BACKLOG, read_buffer_init_size=_BUFFER_BYTES
    )
    await server.serve_forever()


async def _websockets(port: int) -> None:
    async def talk(connection: ServerConnection) -> None:
        async for message in connection:
            assert isinstance(message, str)
            for answer in _answers(message):
                await connection.send(answer)

    async with serve(talk, LOOPBACK, port, compression=None, ping_interval=None, backlog=_BACKLOG) as server:
        await server.serve_forever()


async def _aiohttp(port: int) -> None:
    async def talk(request: web.Request) -> web.WebSocketResponse:
        response = web.WebSocketResponse(compress=False, heartbeat=None)
        await response.prepare(request)
        async for message in response:
            if message.type is WSMsgType.TEXT:
                for answer in _answers(message.data):
                    await response.send_str(answer)
        return response

    application = web.Application()
    application.router.add_get("/xmpp-websocket", talk)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, LOOPBACK, port, backlog=_BACKLOG).start()
    await asyncio.Event().wait()


SERVERS: dict[str, Callable[[int], Awaitable[None]]] = {
    "picows": _picows,
    "websockets": _websockets,
    "aiohttp": _aiohttp,
}


def maker(name: str) -> Callable[[Path, int, int, Certificate | None], list[str]]:
    """The command of one, as `relays.Maker` wants it; nothing is behind it."""

    def make(directory: Path, port: int, upstream: int, certificate: Certificate | None) -> list[str]:
        root = Path(__file__).parents[2]
        main = f"import sys; sys.path.insert(0, {str(root)!r}); from tests.bench.web_servers import main; main()"
        return [sys.executable, "-c", main, name, str(port)]

    return make


def main() -> None:
    """Serve until killed."""
    name, port = sys.argv[1:]
    uvloop.run(SERVERS[name](int(port)))


if __name__ == "__main__":
    main()
