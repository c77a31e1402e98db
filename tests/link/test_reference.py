"""The reference edge and server side against each other: bytes pass, and each lie of the server side is noticed."""

import asyncio
import os
import ssl
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.link.edge import Edge, RefusedError
from tests.link.frames import GOES_ON, Frame, Open, Reason, Shutdown, Type, beat, number, raw
from tests.link.serve import echo, ignore_stream, swallow
from tests.link.server import ReferenceServer, ServerSession, run
from tests.link.session import SessionEndError, Violation
from tests.link.wire import Wire
from tests.servers.certificates import CertificateAuthority

SECRET = bytes(range(32))
STREAM = 7


def test_bytes_pass_over_many_broken_sockets() -> None:
    async def main() -> None:
        data = os.urandom(200_000)
        async with ReferenceServer(SECRET, serve=echo) as server, Edge(server.address, SECRET) as edge:
            stream = edge.open()
            for cut in (0, 1, 5, 8, 9, 100, 5_000, 20_000):
                for break_socket in (Wire.cut_sending, Wire.cut_receiving):
                    assert edge.wire is not None
                    stream.write(data)
                    break_socket(edge.wire, cut)
                    await edge.until(lambda: not edge.attached)
                    assert await edge.reattach()
                    assert await stream.read_exactly(len(data)) == data
            await stream.close()
            assert not edge.streams

    run(main())


def test_unix_socket(tmp_path: Path) -> None:
    async def main() -> None:
        path = tmp_path / "link.sock"
        async with ReferenceServer(SECRET, listen=path) as server, Edge(server.address, SECRET) as edge:
            stream = edge.open()
            stream.write(b"over a Unix socket")
            assert await stream.read_exactly(18) == b"over a Unix socket"
            assert await edge.cut_and_reattach()
            await edge.ping_and_wait()

    run(main())


def test_tls(authority: CertificateAuthority) -> None:
    async def main() -> None:
        files = authority.issue("127.0.0.1")
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(files.chain, files.key)
        trust = ssl.create_default_context(cafile=str(authority.certificate))
        async with ReferenceServer(SECRET, tls=context) as server, Edge(server.address, SECRET, tls=trust) as edge:
            stream = edge.open()
            stream.write(b"over TLS")
            assert await stream.read_exactly(8) == b"over TLS"
            assert await edge.cut_and_reattach()
            await edge.ping_and_wait()

    run(main())


def send(frame: Frame) -> Callable[[ServerSession], None]:
    return lambda session: session.send(frame)


def end_lying(session: ServerSession) -> None:
    session.streams[STREAM].put_shutdown(sent=1)


def talk_after_the_end(session: ServerSession) -> None:
    stream = session.streams[STREAM]
    stream.put_shutdown()
    session.send(Frame(Type.SEND_DATA, STREAM, b"x"))


def overstep(session: ServerSession) -> None:
    for _ in range(4):
        session.streams[STREAM].put_data(bytes(16_384))
    session.streams[STREAM].put_data(b"x")


LIES: dict[str, Callable[[ServerSession], None]] = {
    "data for an id that is not open": send(Frame(Type.SEND_DATA, 99, b"x")),
    "an end of an id that is not open": send(Frame(Type.SHUTDOWN, 99, Shutdown().encode())),
    "credit moves back": send(Frame(Type.GET_DATA, STREAM, number(65_535))),
    "credit above the window": send(Frame(Type.GET_DATA, STREAM, number(65_537))),
    "one byte too many": overstep,
    "the sent total is wrong": end_lying,
    "data after the end": talk_after_the_end,
    "a link's reason for a stream": lambda session: session.streams[STREAM].put_shutdown(Reason.PROTOCOL_ERROR),
    "more acknowledged than sent": send(Frame(Type.ACK, 0, number(1 << 30))),
    "an acknowledgement within a frame": send(Frame(Type.ACK, 0, number(1))),
    "PONG without PING": send(Frame(Type.PONG, 0, beat(b"12345678", 0))),
    "OPEN": send(Frame(Type.OPEN, 3, Open().encode())),
    "the edge's kind of data": send(Frame(Type.PUT_DATA, STREAM, b"x")),
    "CHALLENGE again": send(Frame(Type.CHALLENGE, 0, bytes(38))),
    "an unknown type": lambda session: session.put_raw(raw(0x42, 0)),
    "a frame too long": lambda session: session.put_raw(raw(Type.SEND_DATA, STREAM, length=16_385)),
    "garbage": lambda session: session.put_raw(b"HTTP/1.1 400 Bad Request\r\n\r\n"),
}


@pytest.mark.parametrize("lie", LIES)
def test_the_edge_notices(lie: str) -> None:
    async def main() -> None:
        async with ReferenceServer(SECRET, serve=ignore_stream) as server:
            edge = await Edge(server.address, SECRET).connect()
            session = await server.wait_session()
            edge.open(identifier=STREAM)
            await edge.ping_and_wait()
            LIES[lie](session)
            with pytest.raises(Violation):
                await edge.wait_link_end()
            await edge.leave()
            await _told(session)

    run(main())


async def _told(session: ServerSession) -> None:
    """The server side is told why."""
    with pytest.raises(SessionEndError):
        await session.until(lambda: False)
    assert isinstance(session.failure, SessionEndError)
    assert session.failure.end.reason in (Reason.PROTOCOL_ERROR, Reason.CREDIT_OVERSTEPPED)


WELCOMES = {
    "another epoch": lambda welcome: replace(welcome, epoch=9),
    "a window too small": lambda welcome: replace(welcome, window=4_095),
    "a session that cannot go on yet": lambda welcome: replace(welcome, flags=GOES_ON),
    "a new session with bytes received": lambda welcome: replace(welcome, received=1),
    "features nobody offered": lambda welcome: replace(welcome, features=0xFF),
    "another version": lambda welcome: replace(welcome, version=2),
    "no streams": lambda welcome: replace(welcome, streams=0),
    "a wrong proof": lambda welcome: replace(welcome, proof=bytes(32)),
}


@pytest.mark.parametrize("lie", WELCOMES)
def test_the_edge_checks_welcome(lie: str) -> None:
    async def main() -> None:
        async with ReferenceServer(SECRET) as server:
            server.welcome = WELCOMES[lie]
            with pytest.raises(Exception, match="WELCOME"):
                await Edge(server.address, SECRET).connect()

    run(main())


def refused_after(session: ServerSession) -> None:
    session.fail(SessionEndError(Shutdown()), Shutdown(0, Reason.SYSTEM_SHUTDOWN, "maintenance"))


def test_orders_of_the_server_side() -> None:
    """DRAIN is noticed, SHUTDOWN for id 0 ends all streams with its reason, a dead server refuses."""

    async def main() -> None:
        async with ReferenceServer(SECRET, serve=swallow) as server:
            edge = await Edge(server.address, SECRET).connect()
            session = await server.wait_session()
            stream = edge.open()
            session.drain()
            await edge.until(lambda: edge.draining)
            refused_after(session)
            with pytest.raises(SessionEndError) as ended:
                await stream.read()
            assert ended.value.end.text == "maintenance"
            await edge.leave()
            server.links = 0
            with pytest.raises(RefusedError, match="links"):
                await Edge(server.address, SECRET).connect()
            await server.stop()
            with pytest.raises(OSError, match="Connect call failed"):
                await edge.dial()

    run(main())


def test_no_credit_no_data() -> None:
    """A server side that gives none gets a window and not a byte more; later it gets the rest."""

    async def main() -> None:
        async with (
            ReferenceServer(SECRET, serve=swallow, credit_withheld=True) as server,
            Edge(server.address, SECRET) as edge,
        ):
            session = await server.wait_session()
            stream = edge.open()
            stream.write(bytes(100_000))
            await edge.ping_and_wait()
            assert stream.sent == server.window
            taken = session.streams[stream.id]
            taken.credit_withheld = False
            taken.give_credit()
            await stream.drain()
            await asyncio.wait_for(session.until(lambda: taken.received == 100_000), 20)

    run(main())
