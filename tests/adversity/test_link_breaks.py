"""Links that break under traffic: after a return in time nothing is lost, repeated or reordered; else all are told."""

import asyncio
from pathlib import Path

import pytest

from tests.link.frames import Frame, Type
from tests.link.server import ServerSession, run
from tests.scenarios.crowd import log_in_crowd, talk
from tests.scenarios.light import LightClient
from tests.servers.certificates import CertificateAuthority
from tests.servers.linked import linked, until
from tests.servers.megaphone import Edge
from tests.servers.model import CAROL
from tests.servers.prosody import Prosody

TALKERS = 60
MESSAGES = 10
CUTS = 8


async def log_in(edge: Edge, authority: CertificateAuthority, count: int = TALKERS) -> list[LightClient]:
    return await log_in_crowd(edge.direct, (CAROL,), authority.certificate, count)


@pytest.mark.parametrize("how", ["sending", "receiving"])
def test_a_link_cut_within_a_frame_and_restored_loses_nothing(
    tmp_path: Path, authority: CertificateAuthority, prosody_behind_edge: Prosody, how: str
) -> None:
    """Again and again, while 60 clients talk; each socket is cut some bytes after its beginning."""

    async def cut(session: ServerSession) -> None:
        for number in range(CUTS):
            await session.until(lambda: session.wire is not None)
            wire = session.wire
            assert wire is not None
            getattr(wire, f"cut_{how}")(4_001 + 1_117 * number)
            await wire.wait_lost()

    async def main() -> None:
        async with linked(tmp_path, authority, prosody_behind_edge.plain) as (edge, side):
            clients = await log_in(edge, authority)
            sessions = list(side.sessions.values())
            async with asyncio.TaskGroup() as group:
                cutting = [group.create_task(cut(session)) for session in sessions]
                while not all(task.done() for task in cutting):
                    await talk(clients, MESSAGES, 0.02)
            assert list(side.sessions.values()) == sessions, "the sessions are those of the beginning"
            assert len(sessions) == 2
            await until(
                lambda: edge.metric("megaphone_link_attaches_total", session="resumed") == 2 * CUTS, "all are back"
            )
            assert await asyncio.to_thread(edge.metric, "megaphone_link_attaches_total", session="new") == 2
            assert await asyncio.to_thread(edge.metric, "megaphone_connections", state="authenticated") == TALKERS
            await asyncio.gather(*(client.close() for client in clients))

    run(main())


def test_while_the_server_side_is_away_clients_stay_and_wait(
    tmp_path: Path, authority: CertificateAuthority, prosody_behind_edge: Prosody
) -> None:
    """The network is gone for some seconds, not the server: what was said meanwhile arrives afterwards."""

    async def main() -> None:
        async with linked(tmp_path, authority, prosody_behind_edge.plain) as (edge, side):
            clients = await log_in(edge, authority, 20)
            listener = side._listener
            assert listener is not None
            listener.close()
            for session in side.sessions.values():
                assert session.wire is not None
                session.wire.cut()
            await until(lambda: edge.metric("megaphone_links", state="attached") == 0, "no link")
            talking = asyncio.create_task(talk(clients, 20, 0.01))
            await until(lambda: edge.metric("megaphone_link_breaks_total") >= 6, "attempts that fail")
            assert await asyncio.to_thread(edge.metric, "megaphone_connections", state="authenticated") == 20
            loop = asyncio.get_running_loop()
            side._listener = await loop.create_server(side._accepted, *side.address)
            await talking
            assert await asyncio.to_thread(edge.metric, "megaphone_link_attaches_total", session="resumed") == 2
            await asyncio.gather(*(client.close() for client in clients))

    run(main())


@pytest.mark.parametrize("how", ["not in time", "forgotten"])
def test_clients_are_told_when_their_session_is_gone(
    tmp_path: Path, authority: CertificateAuthority, prosody_behind_edge: Prosody, how: str
) -> None:
    async def main() -> None:
        async with linked(tmp_path, authority, prosody_behind_edge.plain, grace_seconds=1) as (edge, side):
            clients = await log_in(edge, authority, 30)
            await side.stop()
            if how == "forgotten":
                await side.start()
            assert {await client.end() for client in clients} == {"remote-connection-failed"}
            await until(
                lambda: edge.metric("megaphone_connections_closed_total", reason="remote-connection-failed") == 30,
                "30 counted",
            )
            if how == "not in time":
                await side.start()
            await until(lambda: edge.metric("megaphone_links", state="attached") == 2, "links again")
            (client,) = await log_in(edge, authority, 1)
            await client.ping()
            await client.close()

    run(main())


def test_what_the_edge_says_again_is_what_it_said_before(
    tmp_path: Path, authority: CertificateAuthority, prosody_behind_edge: Prosody
) -> None:
    """The reference server side counts every byte: a frame too many or too few would end the session."""

    async def main() -> None:
        async with linked(tmp_path, authority, prosody_behind_edge.plain, upstream={"links": 1}) as (edge, side):
            clients = await log_in(edge, authority, 10)
            session: ServerSession = next(iter(side.sessions.values()))
            seen: list[Frame] = []
            session.trace = seen.append
            session.acknowledging = False  # so that all of it is said again
            await talk(clients, 5, 0.0)
            assert session.wire is not None
            session.wire.cut()
            await session.until(lambda: session.wire is not None)
            session.acknowledging = True
            await talk(clients, 5, 0.0)
            assert session.failure is None
            # a frame has what a client said at once, be it one message or several
            assert sum(frame.payload.count(b"</message>") for frame in seen if frame.type is Type.PUT_DATA) >= 100
            await asyncio.gather(*(client.close() for client in clients))

    run(main())
