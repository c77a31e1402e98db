"""Health checks against scripted servers: what counts as healthy, and how many checks decide."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
import uvloop

from megaphone.config.schema import Config, Domain, Health
from megaphone.config.schema import Upstream as UpstreamTable
from megaphone.dispatch.counters import BOARD_BYTES, Board, UpstreamSlot
from megaphone.uplink.health import HealthChecks, Unhealthy, check
from megaphone.uplink.pool import Pool, Upstream
from megaphone.wire.proxy_protocol import Parsed, parse
from tests.unit.edge.dialogue import ANSWER, FEATURES

PATIENCE_SECONDS = 60.0
Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def run(scenario: Coroutine[Any, Any, None]) -> None:
    """On the loop that workers have."""

    async def in_time() -> None:
        async with asyncio.timeout(PATIENCE_SECONDS):
            await scenario

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(in_time())


def pool_of(*addresses: str, proxy_protocol: bool = False) -> tuple[Pool, Board]:
    tables = tuple(
        UpstreamTable(name=f"u{index}", address=address, proxy_protocol=proxy_protocol)
        for index, address in enumerate(addresses)
    )
    names = tuple(table.name for table in tables)
    board = Board(bytearray(BOARD_BYTES))
    return Pool(Config(upstream=tables, domain=(Domain(name="example.org", upstreams=names),)), board, 1), board


@contextlib.asynccontextmanager
async def serving(script: Script, *, path: Path | None = None, host: str = "127.0.0.1") -> AsyncIterator[str]:
    """A server that does this on each connection; gives its address."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            await script(reader, writer)
        writer.close()

    if path is not None:
        server: asyncio.Server = await asyncio.start_unix_server(serve, path)
        address = f"unix:{path}"
    else:
        server = await asyncio.start_server(serve, host, 0)
        port = server.sockets[0].getsockname()[1]
        address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    try:
        yield address
    finally:
        server.close()


def answering(*pieces: bytes) -> Script:
    """Answers the stream header with these pieces, then waits for the other end to hang up."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"version='1.0'>")
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0)
        await reader.read()

    return script


# --- one check ---


@pytest.mark.parametrize(
    "pieces",
    [
        (ANSWER + FEATURES,),
        (ANSWER, FEATURES),
        tuple(bytes([byte]) for byte in ANSWER + FEATURES),
        (ANSWER + b" \n<message/>" + FEATURES + b"<message/>",),
        (ANSWER + b"<features xmlns='http://etherx.jabber.org/streams'/>",),
    ],
)
def test_features_are_health(pieces: tuple[bytes, ...]) -> None:
    async def scenario() -> None:
        async with serving(answering(*pieces)) as address:
            pool, _ = pool_of(address)
            await check(pool.upstreams[0], "example.org")

    run(scenario())


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (ANSWER + b"<stream:error><host-unknown xmlns='x'/></stream:error>", "answered with a stream error"),
        (ANSWER + b"</stream:stream>", "did not open an XMPP stream"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "did not open an XMPP stream"),
        (b"\x15\x03\x03\x00\x02\x02\x46", "did not open an XMPP stream"),
        (ANSWER + b"<stream:features>" + b"x" * 70_000, "did not open an XMPP stream"),
    ],
)
def test_other_answers_are_not(answer: bytes, reason: str) -> None:
    async def scenario() -> None:
        async with serving(answering(answer)) as address:
            pool, _ = pool_of(address)
            with pytest.raises(Unhealthy, match=reason):
                await check(pool.upstreams[0], "example.org")

    run(scenario())


@pytest.mark.parametrize("said", [b"", ANSWER, ANSWER + b"<stream:features>"])
def test_a_server_that_hangs_up_is_not(said: bytes) -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"version='1.0'>")
        writer.write(said)

    async def scenario() -> None:
        async with serving(script) as address:
            pool, _ = pool_of(address)
            with pytest.raises(Unhealthy, match="closed without stream features"):
                await check(pool.upstreams[0], "example.org")

    run(scenario())


def test_a_check_looks_like_a_polite_client_and_says_it_is_the_proxy() -> None:
    async def scenario() -> None:
        heard: list[bytes] = []

        async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            heard.append(await reader.readuntil(b"version='1.0'>"))
            writer.write(ANSWER + FEATURES)
            heard.append(await reader.read())

        async with serving(script) as address:
            pool, _ = pool_of(address, proxy_protocol=True)
            await check(pool.upstreams[0], "example.org")
            while len(heard) < 2:
                await asyncio.sleep(0)
        parsed = parse(heard[0])
        assert isinstance(parsed, Parsed)
        assert parsed.source is None
        assert heard[0][parsed.length :].startswith(b"<?xml version='1.0'?><stream:stream ")
        assert b" to='example.org' " in heard[0]
        assert heard[1] == b"</stream:stream>"

    run(scenario())


def test_unix_and_ipv6_upstreams_are_checked(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with (
            serving(answering(ANSWER + FEATURES), path=tmp_path / "xmpp.sock") as unix,
            serving(answering(ANSWER + FEATURES), host="::1") as six,
        ):
            pool, _ = pool_of(unix, six)
            for upstream in pool.upstreams:
                await check(upstream, "example.org")

    run(scenario())


def test_nobody_there_is_an_oserror(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        nowhere = f"127.0.0.1:{listening.getsockname()[1]}"

    async def scenario() -> None:
        pool, _ = pool_of(nowhere, f"unix:{tmp_path}/none.sock")
        for upstream in pool.upstreams:
            with pytest.raises(OSError, match="Errno"):
                await check(upstream, "example.org")

    run(scenario())


# --- rise and fall ---


class Answers:
    """A server whose health the test decides, check by check."""

    def __init__(self) -> None:
        self.healthy = True
        self.checks = 0

    async def script(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"version='1.0'>")
        self.checks += 1
        if self.healthy:
            writer.write(ANSWER + FEATURES)
            await reader.read()


async def after_checks(answers: Answers, board: Board, count: int) -> None:
    """The verdicts of so many more checks are in."""
    ok, failed = (board.upstream_slot(0, slot) for slot in (UpstreamSlot.UP_CHECKS_OK, UpstreamSlot.UP_CHECKS_FAILED))
    end = board.get(ok) + board.get(failed) + count
    while board.get(ok) + board.get(failed) < end:
        await asyncio.sleep(0.001)


def test_so_many_failures_take_it_out_and_so_many_successes_bring_it_back() -> None:
    async def scenario() -> None:
        answers = Answers()
        changes: list[tuple[str, str]] = []

        def changed(upstream: Upstream, reason: str) -> None:
            changes.append((upstream.name, reason))

        async with serving(answers.script) as address:
            pool, board = pool_of(address)
            upstream = pool.upstreams[0]
            healthy = board.upstream_slot(0, UpstreamSlot.UP_HEALTHY)
            assert board.get(healthy) == 0, "it is tried from the start, but nobody has seen it yet"
            checks = HealthChecks(pool, board, Health(interval_seconds=0.02, rise=2, fall=3), changed)
            checks.start()
            await after_checks(answers, board, 1)
            assert board.get(healthy) == 1
            assert board.get(board.upstream_slot(0, UpstreamSlot.UP_CHECK_NS)) > 0
            answers.healthy = False
            while upstream.healthy:
                await asyncio.sleep(0.001)
            assert board.get(healthy) == 0
            assert board.get(board.upstream_slot(0, UpstreamSlot.UP_CHECKS_FAILED)) == 3
            assert changes == [("u0", "closed without stream features")]
            assert pool.choose("example.org") == "remote-connection-failed"
            good = board.get(board.upstream_slot(0, UpstreamSlot.UP_CHECKS_OK))
            answers.healthy = True
            while not upstream.healthy:
                await asyncio.sleep(0.001)
            assert board.get(board.upstream_slot(0, UpstreamSlot.UP_CHECKS_OK)) == good + 2
            assert changes[1:] == [("u0", "")]
            assert pool.choose("example.org") is upstream
            await checks.stop()

    run(scenario())


def test_a_silent_server_is_not_waited_for_forever() -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async def scenario() -> None:
        reasons: list[str] = []
        async with serving(script) as address:
            pool, board = pool_of(address)
            health = Health(interval_seconds=0.01, timeout_seconds=0.05, fall=1)
            checks = HealthChecks(pool, board, health, lambda _, reason: reasons.append(reason))
            checks.start()
            while not reasons:
                await asyncio.sleep(0.001)
            await checks.stop()
        assert reasons == ["no answer in time"]
        assert not pool.upstreams[0].healthy

    run(scenario())


def test_an_upstream_without_a_domain_is_checked_once_it_has_one() -> None:
    async def scenario() -> None:
        answers = Answers()
        async with serving(answers.script) as address:
            pool, board = pool_of(address)
            with_domain = pool.domains
            pool.domains = {}
            checks = HealthChecks(pool, board, Health(interval_seconds=0.01), lambda *_: None)
            checks.start()
            for _ in range(20):
                await asyncio.sleep(0.001)
            assert answers.checks == 0
            pool.domains = with_domain
            await after_checks(answers, board, 1)
            await checks.stop()

    run(scenario())
