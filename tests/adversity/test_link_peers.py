"""Server sides that lie, lag or do not know the secret, and clients that do not read, on links of a whole Megaphone."""

import asyncio
import ssl
from pathlib import Path

import pytest

from tests.link.frames import Frame, Reason, Type, number, raw
from tests.link.serve import swallow
from tests.link.server import ReferenceServer, run
from tests.link.stream import Stream
from tests.scenarios.light import LightClient, StreamEndError
from tests.servers.certificates import CertificateAuthority
from tests.servers.linked import linked, until
from tests.servers.megaphone import Edge
from tests.servers.model import BOB, CAROL, DOMAIN
from tests.servers.prosody import Prosody

OPENED = (
    f"<stream:stream to='{DOMAIN}' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' version='1.0'>"
).encode()


@pytest.mark.parametrize("wrong", ["secret", "version"])
def test_a_refused_link_is_said_and_clients_are_told(
    tmp_path: Path, authority: CertificateAuthority, wrong: str
) -> None:
    options = {"versions": (7, 9)} if wrong == "version" else {}
    secret = b"this is not the secret of the edge" if wrong == "secret" else None
    expected = {"secret": "not-authorized: wrong proof", "version": "unsupported-version: the server understands"}[
        wrong
    ]

    async def main() -> None:
        async with linked(tmp_path, authority, swallow) as (edge, side):
            await side.stop()
            async with ReferenceServer(secret or side.secret, listen=side.address, **options) as other:
                await until(lambda: expected in edge.log.read_text(), expected)
                assert await asyncio.to_thread(edge.metric, "megaphone_link_refused_total") >= 1
                assert not other.sessions
                assert not await asyncio.to_thread(edge.ready)
                with pytest.raises(StreamEndError) as refusal:
                    await LightClient.login(edge.direct, CAROL, authority.certificate)
                assert refusal.value.condition == "remote-connection-failed"

    run(main())


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", Reason.PROTOCOL_ERROR),
        (raw(0x7F, 0), Reason.PROTOCOL_ERROR),
        (Frame(Type.SEND_DATA, 4_000, b"x").encode(), Reason.PROTOCOL_ERROR),
        (Frame(Type.GET_DATA, 1, number(10**9)).encode(), Reason.PROTOCOL_ERROR),
        (Frame(Type.SEND_DATA, 1, b" " * 16_384).encode() * 20, Reason.CREDIT_OVERSTEPPED),
    ],
)
def test_a_server_side_that_lies_is_told_and_left(
    tmp_path: Path, authority: CertificateAuthority, said: bytes, reason: Reason
) -> None:
    """The client does not read, so that credit can be overstepped; everything is fine again with the next link."""

    async def main() -> None:
        limits = {"mailbox_bytes": 1_000}
        async with linked(tmp_path, authority, swallow, upstream={"links": 1}, limits=limits) as (edge, side):
            client = await open_client(edge, authority)
            session = await side.wait_session()
            await session.until(lambda: session.streams)
            session.put_raw(said)
            await until(lambda: session.failure is not None, "the end of the session")
            assert f"{reason.name}: " in str(session.failure)
            client.transport.abort()
            await side.wait_session()
            await until(edge.ready, "ready again")

    run(main())


async def open_client(edge: Edge, authority: CertificateAuthority) -> asyncio.StreamWriter:
    """A client that has opened a stream and does not read."""
    context = ssl.create_default_context(cafile=str(authority.certificate))
    _, writer = await asyncio.open_connection(
        edge.direct.host, edge.direct.port, ssl=context, server_hostname=DOMAIN, limit=1_024
    )
    writer.write(OPENED)
    await writer.drain()
    return writer


def test_a_client_that_never_reads_holds_up_nobody(
    tmp_path: Path, authority: CertificateAuthority, prosody_behind_edge: Prosody
) -> None:
    """Carol's silent client gets megabytes; the others on its link talk meanwhile; then it is closed."""

    async def main() -> None:
        limits = {"slow_consumer_seconds": 5.0, "mailbox_bytes": 20_000}
        async with linked(tmp_path, authority, prosody_behind_edge.plain, upstream={"links": 1}, limits=limits) as (
            edge,
            side,
        ):
            lazy = await LightClient.login(edge.direct, CAROL, authority.certificate)
            others = [await LightClient.login(edge.direct, BOB, authority.certificate) for _ in range(10)]
            # Not over the edge, which would give up a server that is too busy to take all this in 5 s.
            sender = await LightClient.login(prosody_behind_edge.plain, BOB, authority.certificate)
            lazy._writer.transport.pause_reading()
            for _ in range(500):  # more than the kernel's buffers hold
                sender.message(lazy.jid, "x" * 40_000)
            await until(lambda: edge.metric("megaphone_mailbox_full_total") >= 1, "a full mailbox")
            for _ in range(5):
                await asyncio.gather(*(client.ping() for client in others))
            session = next(iter(side.sessions.values()))
            assert session.failure is None
            await until(
                lambda: edge.metric("megaphone_connections_closed_total", reason="slow-consumer") == 1, "its end"
            )
            await asyncio.gather(*(client.ping() for client in (sender, *others)))
            await asyncio.gather(*(client.close() for client in (lazy, sender, *others)))

    run(main())


def test_a_server_that_lags_is_given_streams_as_it_answers(tmp_path: Path, authority: CertificateAuthority) -> None:
    """At most 4 are opening; 30 clients come at once and each is answered in the end."""
    most = 0
    answered = asyncio.Semaphore(0)

    async def lag(stream: Stream) -> None:
        nonlocal most
        session = stream.session
        most = max(most, sum(not each.sent for each in session.streams.values()))
        await stream.read()
        await answered.acquire()
        stream.write(OPENED)
        await stream.wait_end(60.0)

    async def main() -> None:
        upstream = {"links": 1, "opening_streams": 4}
        async with linked(tmp_path, authority, lag, upstream=upstream) as (edge, side):
            clients = [await open_client(edge, authority) for _ in range(30)]
            await until(lambda: edge.metric("megaphone_admission_waiting") >= 26, "a queue")
            assert await asyncio.to_thread(edge.metric, "megaphone_admission_opening") == 4
            for _ in range(40):
                answered.release()
            await until(lambda: edge.metric("megaphone_admission_answer_duration_seconds_count") >= 30, "30 answers")
            assert most <= 4
            assert await asyncio.to_thread(edge.metric, "megaphone_admission_waited_total") >= 26
            for client in clients:
                client.transport.abort()
            assert len(side.sessions) == 1

    run(main())
