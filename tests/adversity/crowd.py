"""A crowd of cheap XMPP clients in one process: logged in, exchanging numbered stanzas, counted exactly.

Each client sends `<message to='echo' id='1'>`, 2, 3 … and must get each of them back once and in order; whatever else
arrives is counted as what it is: lost, repeated, reordered, or garbage. A client costs some 2 kB, so thousands of them
fit next to the processes they test.
"""

import asyncio
import base64
import re
import resource
import ssl
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import cast

from tests.servers.model import Endpoint

HEADER = (
    b"<?xml version='1.0'?><stream:stream to='%b' xmlns='jabber:client' "
    b"xmlns:stream='http://etherx.jabber.org/streams' version='1.0'>"
)
AUTH = b"<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>%b</auth>"
BIND = b"<iq type='set' id='bind'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><resource>%d</resource></bind></iq>"
STANZA = b"<message to='echo' id='%d'><body>What light through yonder window breaks?</body></message>"
STREAM_END = b"</stream:stream>"

CONNECTING_AT_ONCE = 200
UNANSWERED_LIMIT = 50  # a client whose worker hangs stops to send at some point, as a person would
TICK_SECONDS = 0.01

_ECHO = re.compile(re.escape(STANZA).replace(b"%d", rb"(\d+)"))
_CONDITION = re.compile(rb"<stream:error><([a-z-]+) ")


@dataclass(slots=True)
class Tally:
    """What happened to one client's stanzas."""

    sent: int = 0
    highest: int = 0  # the highest number that came back
    repeated: int = 0
    reordered: int = 0
    garbage: bytes = b""
    skipped: set[int] = field(default_factory=set)  # numbers that a higher one has overtaken

    @property
    def lost(self) -> int:
        """Sent and not (yet) back."""
        return len(self.skipped) + self.sent - self.highest

    @property
    def complete(self) -> bool:
        """Whether everything sent came back, once and in order."""
        return not (self.lost or self.repeated or self.reordered or self.garbage)

    def take(self, number: int) -> None:
        """Count one stanza that came back."""
        if number == self.highest + 1:
            self.highest = number
        elif self.highest < number <= self.sent:
            self.skipped.update(range(self.highest + 1, number))
            self.highest = number
        elif number in self.skipped:
            self.skipped.remove(number)
            self.reordered += 1
        else:
            self.repeated += 1


class Client(asyncio.Protocol):
    """One client; `ready` is set once it is bound or has failed."""

    def __init__(self, domain: str, number: int) -> None:
        self._domain = domain.encode()
        self._resource = number
        self._buffer = b""
        self._steps: list[tuple[bytes, bytes]] = []
        self._transport: asyncio.Transport
        self.port = 0  # its own
        self.tally = Tally()
        self.condition = ""  # the stream error it got
        self.lost_with: str | None = None  # how its connection ended, None while it stands
        self.ready = asyncio.get_running_loop().create_future()

    @property
    def talking(self) -> bool:
        """Whether it is bound and its connection stands."""
        return not self._steps and self.lost_with is None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to log in: each step is what to send once the answer before it has come."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none, but does the same
        self.port = int(transport.get_extra_info("sockname")[1])
        header = HEADER % self._domain
        secret = base64.b64encode(b"\0user\0password")
        self._steps = [
            (b"</stream:features>", AUTH % secret),
            (b"<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>", header),
            (b"</stream:features>", BIND % self._resource),
            (b"</iq>", b""),
        ]
        self._transport.write(header)

    def data_received(self, data: bytes) -> None:
        """Log in, then count."""
        self._buffer += data
        if not self._steps:
            self._count()
            return
        answer, request = self._steps[0]
        if answer in self._buffer:
            self._buffer = self._buffer.partition(answer)[2]
            del self._steps[0]
            if request:
                self._transport.write(request)
            else:
                self.ready.set_result(None)
        elif b"</stream:error>" in self._buffer:
            self._note_condition()

    def _count(self) -> None:
        at = 0
        while (found := _ECHO.match(self._buffer, at)) is not None:
            self.tally.take(int(found[1]))
            at = found.end()
        self._buffer = self._buffer[at:]
        if self._buffer and (self._buffer.startswith(b"<stream:error>") or STREAM_END.startswith(self._buffer)):
            self._note_condition()
        elif len(self._buffer) >= len(STANZA) + 20:  # longer than any number makes it, and not one of ours
            self.tally.garbage += self._buffer
            self._buffer = b""

    def _note_condition(self) -> None:
        found = _CONDITION.match(self._buffer)
        if found is not None:
            self.condition = found[1].decode()
        if self._buffer.endswith(STREAM_END):
            self._buffer = b""
            self._transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        """Note how it ended."""
        self.lost_with = "end" if error is None else type(error).__name__
        if not self.ready.done():
            self.ready.set_exception(ConnectionError(f"login failed: {self.lost_with} {self.condition}"))

    def send(self) -> None:
        """Send the next numbered stanza, unless too many are unanswered."""
        if self.talking and self.tally.sent - self.tally.highest < UNANSWERED_LIMIT:
            self.tally.sent += 1
            self._transport.write(STANZA % self.tally.sent)

    def close(self) -> None:
        """End the stream; the server's end of it closes the connection."""
        if self.talking:
            self._transport.write(STREAM_END)


class Crowd:
    """Clients of `domain`, and the traffic they make: `stanzas_per_second` of all of them together."""

    def __init__(self, domain: str, *, stanzas_per_second: float) -> None:
        self.clients: list[Client] = []
        self._domain = domain
        self._stanzas_per_second = stanzas_per_second
        self._talk: asyncio.Task[None] | None = None
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, hard), hard))

    async def join(self, endpoint: Endpoint, count: int, *, tls: ssl.SSLContext | None = None) -> list[Client]:
        """Connect and log in `count` more clients; ConnectionError if one cannot."""
        gate = asyncio.Semaphore(CONNECTING_AT_ONCE)
        loop = asyncio.get_running_loop()

        async def one(number: int) -> Client:
            async with gate:
                _, client = await loop.create_connection(
                    lambda: Client(self._domain, number),
                    endpoint.host,
                    endpoint.port,
                    ssl=tls,
                    server_hostname=self._domain if tls is not None else None,
                )
                await client.ready
                return client

        first = len(self.clients)
        joined = list(await asyncio.gather(*(one(number) for number in range(first, first + count))))
        self.clients += joined
        return joined

    def start_talking(self) -> None:
        """Let one client after the other send its next stanza, evenly in time."""
        self._talk = asyncio.create_task(self._talk_on())

    async def stop_talking(self) -> None:
        """Send no more."""
        assert self._talk is not None
        self._talk.cancel()
        await asyncio.wait([self._talk])

    async def _talk_on(self) -> None:
        loop = asyncio.get_running_loop()
        due, last, turn = 0.0, loop.time(), 0
        while True:
            await asyncio.sleep(TICK_SECONDS)
            now = loop.time()
            due = min(due + (now - last) * self._stanzas_per_second, self._stanzas_per_second)
            last = now
            while due >= 1:
                due -= 1
                turn = (turn + 1) % len(self.clients)
                self.clients[turn].send()

    async def close(self) -> None:
        """End every stream in order and wait for the connections to close."""
        for client in self.clients:
            client.close()
        await until(lambda: all(client.lost_with is not None for client in self.clients), "all clients gone")


async def until(condition: Callable[[], bool], what: str, timeout_seconds: float = 60.0) -> None:
    """Return as soon as `condition` holds; TimeoutError that names `what` after `timeout_seconds`."""
    deadline = asyncio.get_running_loop().time() + timeout_seconds
    while not condition():
        if asyncio.get_running_loop().time() > deadline:
            raise TimeoutError(f"{what}: not within {timeout_seconds:g} s")
        await asyncio.sleep(TICK_SECONDS)


async def settled(clients: Iterable[Client], timeout_seconds: float = 60.0) -> None:
    """Wait until everything these clients sent has come back; without success the tallies say what is missing."""
    waiting = list(clients)
    try:
        await until(lambda: all(client.tally.complete for client in waiting), "all stanzas back", timeout_seconds)
    except TimeoutError:
        return


@dataclass(frozen=True, slots=True)
class Losses:
    """The tallies of many clients together."""

    sent: int
    lost: int
    repeated: int
    reordered: int
    garbage: int
    disconnected: int


def losses(clients: Iterable[Client]) -> Losses:
    """Sum up."""
    counted = list(clients)
    return Losses(
        sent=sum(client.tally.sent for client in counted),
        lost=sum(client.tally.lost for client in counted),
        repeated=sum(client.tally.repeated for client in counted),
        reordered=sum(client.tally.reordered for client in counted),
        garbage=sum(bool(client.tally.garbage) for client in counted),
        disconnected=sum(client.lost_with is not None for client in counted),
    )
