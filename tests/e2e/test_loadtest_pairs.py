"""Fixed pairs of the swarm over a real node: nothing is wrong by itself, and what somebody does on the way is seen."""

import asyncio
import re
import threading
from collections.abc import Callable, Iterator

import pytest

from loadtest.swarm import Accounts, Settings, Swarm, SwarmError, Target
from tests.adversity.embedded_node import EmbeddedNode
from tests.servers.certificates import CertificateAuthority
from tests.servers.model import DOMAIN
from tests.servers.process import LOOPBACK

PATIENCE = 60.0
PAIRS = 6
EACH = 20  # messages of a pair
TAMPERED = 7  # the number of the message that is tampered with
NUMBERED = re.compile(rb"<body>swarm-[0-9a-f]{16}-([0-9a-f]{8}) ")
END = b"</message>"

Tamper = Callable[[list[bytes], int, bytes], list[bytes]]


def untouched(_held: list[bytes], _number: int, message: bytes) -> list[bytes]:
    return [message]


def lose(_held: list[bytes], number: int, message: bytes) -> list[bytes]:
    return [] if number == TAMPERED else [message]


def repeat(_held: list[bytes], number: int, message: bytes) -> list[bytes]:
    return [message, message] if number == TAMPERED else [message]


def swap(held: list[bytes], number: int, message: bytes) -> list[bytes]:
    if number == TAMPERED:
        held.append(message)
        return []
    late, held[:] = held[:], []
    return [message, *late]


class Relay:
    """Between clients and a server; what the server says in numbered messages goes through `tamper`."""

    def __init__(self, port: int, tamper: Tamper) -> None:
        self._server_port = port
        self._tamper = tamper
        self._loop = asyncio.new_event_loop()
        self._listening = threading.Event()
        self.port = 0
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> "Relay":
        self._thread.start()
        assert self._listening.wait(PATIENCE)
        return self

    def __exit__(self, *exc: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def _run(self) -> None:
        server = self._loop.run_until_complete(asyncio.start_server(self._client, LOOPBACK, 0))
        self.port = server.sockets[0].getsockname()[1]
        self._listening.set()
        self._loop.run_forever()
        server.close()
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        self._loop.run_until_complete(asyncio.sleep(0))
        self._loop.close()

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        above, below = await asyncio.open_connection(LOOPBACK, self._server_port)
        try:
            await asyncio.gather(self._pass(reader, below), self._pass_tampered(above, writer))
        except ConnectionError:  # either side has gone: so does the other
            pass
        finally:
            writer.close()
            below.close()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65_536):
            writer.write(data)
        writer.write_eof()

    async def _pass_tampered(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        kept, held = b"", list[bytes]()
        while data := await reader.read(65_536):
            kept += data
            while (begin := kept.find(b"<message")) >= 0 and (end := kept.find(END, begin)) >= 0:
                end += len(END)
                message, before, kept = kept[begin:end], kept[:begin], kept[end:]
                found = NUMBERED.search(message)
                assert found is not None
                writer.write(before + b"".join(self._tamper(held, int(found[1], 16), message)))
            if begin < 0:
                writer.write(kept)
                kept = b""
        writer.write_eof()


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory, authority: CertificateAuthority) -> Iterator[EmbeddedNode]:
    service = EmbeddedNode(tmp_path_factory.mktemp("pairs-node"), authority, accounts=())
    try:
        service.start()
        yield service
    finally:
        service.stop()


def pair_up(swarm: Swarm, *, arrive: int) -> dict[str, int]:
    """Let all pairs talk, EACH messages at least; the counters when `arrive` more or fewer have come than were sent."""
    swarm.open(PAIRS)
    assert swarm.wait(lambda: swarm.counters()["open"] == PAIRS, PATIENCE), swarm.failures()
    partners = swarm.jids(PAIRS).splitlines()
    assert len(set(partners)) == PAIRS
    swarm.peers(b"\n".join(partners))
    swarm.change(chat_per_second=200.0)
    assert swarm.wait(lambda: swarm.counters()["chat_sent"] >= PAIRS * EACH, PATIENCE), swarm.counters()
    swarm.change(chat_per_second=0.0)

    def difference() -> int:
        return swarm.counters()["chat_received"] - swarm.counters()["chat_sent"]

    assert swarm.wait(lambda: difference() == arrive, PATIENCE), swarm.counters()
    assert not swarm.wait(lambda: difference() != arrive, 0.5), swarm.counters()
    assert swarm.failures() == {}
    return swarm.counters()


@pytest.mark.parametrize(
    ("tamper", "missed", "repeated", "reordered"),
    [(untouched, 0, 0, 0), (lose, PAIRS, 0, 0), (repeat, 0, PAIRS, 0), (swap, 0, 0, PAIRS)],
)
def test_what_happens_on_the_way_is_noticed(
    node: EmbeddedNode, tamper: Tamper, missed: int, repeated: int, reordered: int
) -> None:
    with Relay(node.plain.port, tamper) as relay:
        target = Target(host=LOOPBACK, ports=(relay.port,), domain=DOMAIN)
        with Swarm(target, Accounts.anonymous(), Settings(pairs=True)) as swarm:
            counters = pair_up(swarm, arrive=repeated - missed)
            assert [counters[f"chat_{what}"] for what in ("missed", "repeated", "reordered")] == [
                missed,
                repeated,
                reordered,
            ]


def test_the_longest_delivery_of_each_session(node: EmbeddedNode) -> None:
    target = Target(host=LOOPBACK, ports=(node.plain.port,), domain=DOMAIN)
    with Swarm(target, Accounts.anonymous(), Settings(pairs=True)) as swarm:
        pair_up(swarm, arrive=0)
        longest = swarm.longest_deliveries()
        assert longest.count == PAIRS
        assert longest.maximum == swarm.histograms()["chat"].maximum
        assert longest.percentile(50) >= swarm.histograms()["chat"].percentile(50)
        # it begins anew
        assert swarm.longest_deliveries().count == 0
        with pytest.raises(SwarmError, match="partners stay"):
            swarm.peers(b"a@b/c")
