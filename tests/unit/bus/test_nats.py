"""The bus over a real nats-server: servers that are killed, slow subscribers, logins, TLS, versions."""

from __future__ import annotations

import asyncio
import json
import threading
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
import uvloop

from megaphone.bus.nats import NATSBus
from megaphone.bus.nats_access import Access, Server
from megaphone.bus.nats_connection import Pace
from megaphone.bus.ports import Limits, Message, NoAnswer, NobodyThere
from megaphone.errors import BusError, BusRefusedError, BusUnreachableError
from tests.servers.nats import NATS
from tests.servers.process import LOOPBACK, free_port
from tests.unit.bus.test_nats_access import seed_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine
    from pathlib import Path

    from megaphone.bus.ports import Answer
    from tests.servers.certificates import CertificateAuthority

DEADLINE_SECONDS = 60.0
PACE = Pace(connect=20.0, ping=20.0, pause=0.5)  # a busy machine loses no connection


def run(work: Coroutine[Any, Any, None]) -> None:
    """On the loop that workers have; the conformance suite is on asyncio's own."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(asyncio.wait_for(work, DEADLINE_SECONDS))


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0.002)


class Changes(list[tuple[bool, str]]):
    """What a bus has told of its connection."""

    def __call__(self, up: bool, text: str) -> None:
        self.append((up, text))

    @property
    def ups(self) -> list[bool]:
        return [up for up, _ in self]


@asynccontextmanager
async def opened(access: Access, *, expect_faults: bool = False, **options: Any) -> AsyncIterator[NATSBus]:
    faults: list[Exception] = []
    bus = NATSBus(access, "test", fault=faults.append, pace=options.pop("pace", PACE), **options)
    await bus.open()
    try:
        yield bus
    finally:
        await bus.close()
    assert expect_faults or faults == []


# --- the connection is lost ------------------------------------------------------------


def test_the_server_is_killed_amid_publishes_and_requests(nats: NATS) -> None:
    async def scenario() -> None:
        changes, heard, said, refused = Changes(), list[int](), list[int](), list[int]()
        answers: dict[int, list[Answer]] = {}
        async with opened(nats.access, on_change=changes) as first, opened(nats.access) as second:
            second.subscribe("news", lambda message: heard.append(int(message.payload)))
            second.subscribe("double", lambda message: message.payload * 2)
            await second.round_trip()

            async def talk(enough: Callable[[], bool]) -> None:
                while not enough():
                    number = len(said) + len(refused)
                    (said if first.publish("news", b"%d" % number) else refused).append(number)
                    got: list[Answer] = []
                    if first.request("double", b"%d" % number, 10.0, got.append):
                        answers[number] = got
                    if number % 10 == 0:
                        await asyncio.sleep(0 if number < 20_000 else 0.001)

            await talk(lambda: len(said) + len(refused) >= 2000)
            talking = asyncio.create_task(talk(lambda: not first.up))
            await until(lambda: len(heard) > 500)
            await asyncio.to_thread(nats.kill)
            await talking
            await until(lambda: changes.ups == [True, False])
            assert not first.up
            await talk(lambda: len(refused) >= 100)
            assert not first.publish("news", b"-1")
            assert not first.request("double", b"", 1.0, lambda answer: None)
            await until(lambda: all(answers.values()))

            await asyncio.to_thread(nats.start)
            await until(lambda: first.up and second.up)
            assert changes.ups == [True, False, True]
            await second.round_trip()  # its subscriptions were said again before it was up
            before, turned_away = len(said), len(refused)
            await talk(lambda: len(said) + len(refused) >= before + turned_away + 100)
            assert len(said) == before + 100
            await until(lambda: len(heard) > 0 and heard[-1] == said[-1])
            assert heard[-100:] == said[-100:]
            await until(lambda: all(answers.values()))

        assert refused
        assert heard == sorted(set(heard)), "repeated, or out of order"
        assert set(heard) <= set(said), "invented, or refused and said all the same"
        assert all(len(got) == 1 for got in answers.values())
        for number, (answer,) in answers.items():
            assert answer in (b"%d" % number * 2, NobodyThere(asked=True)), answer
        assert NobodyThere(asked=True) in [answer for (answer,) in answers.values()]
        assert first.connection.traffic.losses >= 1

    run(scenario())


def test_a_server_that_says_nothing_any_more_is_lost(nats: NATS) -> None:
    import signal

    async def scenario() -> None:
        changes = Changes()
        pace = Pace(connect=5.0, ping=0.5, pause=0.5)
        async with opened(nats.access, on_change=changes, pace=pace) as bus:
            nats.process.signal(signal.SIGSTOP)
            await until(lambda: changes.ups == [True, False])
            assert "PING" in changes[-1][1]
            nats.process.signal(signal.SIGCONT)
            await until(lambda: bus.up)

    run(scenario())


def test_another_server_of_the_list_takes_over(tmp_path: Path) -> None:
    servers = [NATS(tmp_path / f"nats{number}") for number in range(2)]
    dead = Server(LOOPBACK, free_port())
    access = Access((dead, *(server.access.servers[0] for server in servers)))

    async def scenario() -> None:
        changes, heard = Changes(), list[bytes]()
        async with opened(access, on_change=changes) as bus:
            bus.subscribe("news", lambda message: heard.append(message.payload))
            urls = [str(server.access.servers[0]) for server in servers]
            where = urls.index(changes[0][1])
            servers[where].kill()
            await until(lambda: changes.ups == [True, False, True])
            assert changes[-1][1] == urls[1 - where]
            assert bus.publish("news", b"here")
            await until(lambda: heard == [b"here"])

    for server in servers:
        server.start()
    try:
        run(scenario())
    finally:
        for server in servers:
            server.stop()


def test_what_changes_while_there_is_no_server_holds_afterwards(nats: NATS) -> None:
    async def scenario() -> None:
        heard: list[str] = []

        def hear(message: Message) -> None:
            heard.append(message.subject)

        async with opened(nats.access) as bus:
            ends = bus.subscribe("ends", hear)
            bus.subscribe("stays", hear)
            nats.kill()
            await until(lambda: not bus.up)
            ends.end()
            bus.subscribe("begins", hear)
            nats.start()
            await until(lambda: bus.up)
            for subject in ("ends", "stays", "begins"):
                assert bus.publish(subject, b"")
            await bus.round_trip()
            assert heard == ["stays", "begins"]

    run(scenario())


def test_time_is_over_by_itself(nats: NATS) -> None:
    async def scenario() -> None:
        answers: list[Answer] = []
        async with opened(nats.access) as bus:
            bus.subscribe("silence", lambda message: None)
            assert bus.request("silence", b"", 0.2, answers.append)
            await until(lambda: answers == [NoAnswer()])

    run(scenario())


def test_closing_answers_what_is_under_way(nats: NATS) -> None:
    async def scenario() -> None:
        answers: list[Answer] = []
        async with opened(nats.access) as bus:
            bus.subscribe("silence", lambda message: None)
            assert bus.request("silence", b"", 1000.0, answers.append)
        await until(lambda: answers == [NobodyThere(asked=True)])
        assert not bus.publish("silence", b"")

    run(scenario())


class Wire:
    """A way to a server that can be cut, and that holds back what the server says."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.writers: list[asyncio.StreamWriter] = []
        self.open = asyncio.Event()
        self.open.set()
        self.asked = asyncio.Event()

    async def take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection(LOOPBACK, self.port)
        self.writers = [writer, far_writer]
        writer.write(await far_reader.readline())  # INFO passes

        async def pass_on(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
            while data := await source.read(65_536):
                if target is far_writer and b"PING" in data:
                    self.asked.set()
                if target is writer:
                    await self.open.wait()
                target.write(data)
            target.close()

        await asyncio.gather(pass_on(reader, far_writer), pass_on(far_reader, writer), return_exceptions=True)

    def cut(self) -> None:
        self.asked.clear()
        for writer in self.writers:
            writer.transport.abort()


def test_what_changes_while_a_server_makes_up_its_mind_holds_too(nats: NATS) -> None:
    async def scenario() -> None:
        heard: list[str] = []

        def hear(message: Message) -> None:
            heard.append(message.subject)

        wire = Wire(nats.settings.port)
        async with await asyncio.start_server(wire.take, LOOPBACK, 0) as server:
            access = Access((Server(LOOPBACK, server.sockets[0].getsockname()[1]),))
            async with opened(access, pace=Pace(ping=30.0)) as bus:
                ends = bus.subscribe("ends", hear)
                wire.open.clear()
                wire.cut()
                await wire.asked.wait()
                assert not bus.up
                ends.end()
                bus.subscribe("begins", hear)
                wire.open.set()
                await until(lambda: bus.up)
                assert bus.publish("ends", b"")
                assert bus.publish("begins", b"")
                await bus.round_trip()
                assert heard == ["begins"]
                assert bus.connection.traffic.messages_in == 1  # the server has forgotten the other one
                assert bus.connection.traffic.connects == 2

    run(scenario())


# --- a slow subscriber ------------------------------------------------------------


class SlowSubscriber(threading.Thread):
    """A process that takes one message and no other until `gate` opens; it has a loop of its own."""

    def __init__(self, access: Access) -> None:
        super().__init__()
        self.access = access
        self.ready, self.stuck, self.gate, self.done = (threading.Event() for _ in range(4))
        self.changes = Changes()
        self.heard = 0

    def run(self) -> None:
        run(self.listen())

    async def listen(self) -> None:
        async with opened(self.access, on_change=self.changes) as bus:
            bus.subscribe("news", self.hear)
            await bus.round_trip()
            self.ready.set()
            await until(self.done.is_set)

    def hear(self, _: Message) -> None:
        self.heard += 1
        self.stuck.set()
        self.gate.wait(DEADLINE_SECONDS)


def test_a_slow_subscriber_is_told_and_the_others_go_on(tmp_path: Path) -> None:
    nats = NATS(tmp_path / "nats", pending_bytes=1_048_576)
    nats.start()
    slow = SlowSubscriber(nats.access)
    slow.start()

    async def scenario() -> None:
        heard: list[int] = []
        sizes = bytes(100_000)
        async with opened(nats.access) as speaker, opened(nats.access) as quick:
            quick.subscribe("news", lambda message: heard.append(len(message.payload)))
            await quick.round_trip()
            await asyncio.to_thread(slow.ready.wait, DEADLINE_SECONDS)
            for number in range(400):
                await until(lambda: speaker.publish("news", sizes))
                await until(lambda number=number: len(heard) >= number - 3)  # too much for one, and not for another
            await until(lambda: len(heard) == 400)
            assert slow.stuck.is_set()
            slow.gate.set()
            await until(lambda: slow.changes.ups[:2] == [True, False])
            await until(lambda: slow.changes.ups[-1])
            assert 1 <= slow.heard < 400
            before = slow.heard
            await until(lambda: speaker.publish("news", b"again"))
            await until(lambda: slow.heard > before)
            assert speaker.connection.traffic.losses == 0

    try:
        run(scenario())
    finally:
        slow.gate.set()
        slow.done.set()
        slow.join(DEADLINE_SECONDS)
        nats.stop()
    assert not slow.is_alive()


# --- who we are ------------------------------------------------------------


def login(server: NATS, **options: str) -> Access:
    return Access(server.access.servers, **options)


@pytest.mark.parametrize(
    ("settings", "right", "wrong"),
    [
        ({"user": "node", "password": "hush"}, {"user": "node", "password": "hush"}, {"user": "node", "password": "x"}),
        ({"token": "hush"}, {"token": "hush"}, {"token": "x"}),
        ({"token": "hush"}, {"token": "hush"}, {}),
    ],
)
def test_logins(tmp_path: Path, settings: dict[str, str], right: dict[str, str], wrong: dict[str, str]) -> None:
    nats = NATS(tmp_path / "nats", **settings)
    nats.start()

    async def scenario() -> None:
        async with opened(login(nats, **right)) as bus:
            assert bus.publish("news", b"")
            await bus.round_trip()
        with pytest.raises(BusRefusedError, match="Authorization Violation") as raised:
            async with opened(login(nats, **wrong)):
                pass
        assert "nats://127.0.0.1:" in str(raised.value)

    try:
        run(scenario())
    finally:
        nats.stop()


def test_an_nkey(tmp_path: Path) -> None:
    good, bad = tmp_path / "good.nk", tmp_path / "bad.nk"
    good.write_text(seed_of(bytes(range(32))))
    bad.write_text(seed_of(bytes(range(1, 33))))
    nats = NATS(tmp_path / "nats", nkeys=(Access((), nkey_file=str(good)).login("")["nkey"],))
    nats.start()

    async def scenario() -> None:
        async with opened(login(nats, nkey_file=str(good))) as bus:
            await bus.round_trip()
        with pytest.raises(BusRefusedError, match="Authorization Violation"):
            async with opened(login(nats, nkey_file=str(bad))):
                pass

    try:
        run(scenario())
    finally:
        nats.stop()


def test_a_password_that_is_changed_under_us(tmp_path: Path) -> None:
    nats = NATS(tmp_path / "nats", user="node", password="old")
    nats.start()

    async def scenario() -> None:
        async with opened(nats.access) as bus:
            nats.kill()
            nats.start(password="new")
            await until(lambda: "Authorization Violation" in bus.connection.trouble)
            assert not bus.publish("news", b"")
            nats.kill()
            nats.start(password="old")
            await until(lambda: bus.up)
            assert bus.connection.trouble == ""

    try:
        run(scenario())
    finally:
        nats.stop()


def test_tls(tmp_path: Path, authority: CertificateAuthority) -> None:
    files = authority.issue("localhost")
    nats = NATS(tmp_path / "nats", certificate=str(files.chain), key=str(files.key), ca=str(authority.certificate))
    nats.start()
    port = nats.settings.port
    ours = {"ca": str(authority.certificate), "certificate": str(files.chain), "key": str(files.key)}

    async def scenario() -> None:
        heard: list[bytes] = []
        for server in (Server("localhost", port, tls=True), Server("localhost", port)):  # the server asks for it too
            async with opened(Access((server,), **ours)) as bus:
                bus.subscribe("news", lambda message: heard.append(message.payload))
                assert bus.publish("news", bytes(100_000))
                await bus.round_trip()
        assert heard == [bytes(100_000)] * 2
        with pytest.raises(BusRefusedError, match="TLS"):  # an authority that we do not know
            async with opened(Access((Server("localhost", port, tls=True),))):
                pass
        with pytest.raises(BusError):  # no certificate of ours
            async with opened(Access((Server("localhost", port, tls=True),), ca=ours["ca"])):
                pass

    try:
        run(scenario())
    finally:
        nats.stop()


def test_a_server_without_tls_where_tls_is_asked_for(nats: NATS) -> None:
    async def scenario() -> None:
        with pytest.raises(BusRefusedError, match="speaks no TLS"):
            async with opened(Access((Server(LOOPBACK, nats.settings.port, tls=True),))):
                pass

    run(scenario())


# --- servers that cannot be used ------------------------------------------------------------


def test_messages_that_the_server_would_not_take(tmp_path: Path) -> None:
    nats = NATS(tmp_path / "nats", payload_bytes=10_000)
    nats.start()

    async def scenario() -> None:
        with pytest.raises(BusRefusedError, match="10000 bytes, and 1048576 are needed"):
            async with opened(nats.access):
                pass
        async with opened(nats.access, limits=Limits(payload_bytes=10_000)) as bus:
            assert bus.publish("news", bytes(10_000))
            await bus.round_trip()

    try:
        run(scenario())
    finally:
        nats.stop()


@pytest.mark.parametrize(
    ("first_line", "error", "words"),
    [
        ({"version": "2.10.29"}, BusRefusedError, "2.10.29, and 2.12 is needed"),
        ({"version": "next"}, BusRefusedError, "next, and 2.12 is needed"),
        ({"version": "2.12.0", "headers": False}, BusRefusedError, "no headers"),
        ({"tls_required": True, "then": "MSG mp 1 2\r\nhi\r\n"}, BusUnreachableError, "more than INFO before"),
        ({"tls_required": True, "then": "MSG mp 1 2"}, BusRefusedError, "more than INFO before"),
        ("SSH-2.0-OpenSSH_9.2\r\n", BusUnreachableError, "no NATS server"),
        ("", BusUnreachableError, "the server hung up"),
        (None, BusUnreachableError, "no answer within"),
    ],
)
def test_what_no_server_of_ours_is(first_line: dict[str, Any] | str | None, error: type[BusError], words: str) -> None:
    """These say what servers that are not to be had here say; the real ones are in all other tests."""
    info = {"server_id": "x", "version": "2.15.1", "max_payload": 1_048_576, "headers": True}

    async def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if first_line is not None:
            text = first_line if isinstance(first_line, str) else f"INFO {json.dumps(info | first_line)}\r\n"
            if isinstance(first_line, dict):
                text += first_line.get("then", "")
            writer.write(text.encode())
            await writer.drain()
            writer.close()

    pace = Pace(connect=0.5 if first_line is None else 20.0)

    async def scenario() -> None:
        async with await asyncio.start_server(greet, LOOPBACK, 0) as server:
            port = server.sockets[0].getsockname()[1]
            with pytest.raises(error, match=words):
                async with opened(Access((Server(LOOPBACK, port),)), pace=pace):
                    pass

    run(scenario())


def test_no_server_at_all() -> None:
    async def scenario() -> None:
        with pytest.raises(BusUnreachableError, match=r"refused|Connect call failed"):
            async with opened(Access((Server(LOOPBACK, free_port()),))):
                pass

    run(scenario())


def test_clusters_do_not_hear_each_other(nats: NATS) -> None:
    async def scenario() -> None:
        heard: list[str] = []
        faults: list[Exception] = []
        buses = [NATSBus(nats.access, name, fault=faults.append) for name in ("one", "two")]
        for bus in buses:
            await bus.open()
            bus.subscribe("news", lambda message, bus=bus: heard.append(bus.prefix.decode()))
        answers: list[Answer] = []
        assert buses[0].publish("news", b"")
        assert buses[0].request("other", b"", 10.0, answers.append)
        for bus in (*buses, *buses):
            await bus.round_trip()
        assert heard == ["mp.one."]
        assert answers == [NobodyThere(asked=False)]
        for bus in buses:
            await bus.close()
        assert faults == []

    run(scenario())
