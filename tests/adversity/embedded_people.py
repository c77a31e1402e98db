"""People who talk one to one with stream management and come back whenever their connection is lost, and a ledger.

Each message has a number. The ledger notes which numbers the server has acknowledged to their senders (XEP-0198), and
which have come to the recipient's account. What was acknowledged must arrive; nothing may come twice to one session,
however often it was resumed.
"""

import asyncio
import random
import ssl
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from tests.adversity.embedded_line import Line, attribute, connect
from tests.servers.model import Endpoint

COUNT_MASK = 0xFFFFFFFF
RETRY_SECONDS = (0.1, 0.2, 0.5, 1.0, 2.0)
CONNECTING_AT_ONCE = 64
LOGIN_SECONDS = 30.0
AWAY_SECONDS = 4.0  # at most, after a connection that was lost on the client's side: its session waits
UNACKNOWLEDGED_LIMIT = 50  # who waits longer says nothing more for a while
ANSWER_EVERY = 8  # stanzas received before an unasked <a/>
_MESSAGE = b"<message type='chat' to='%b' id='%d'><body>%b</body></message>"
_PRESENCE = b"<presence/>"
_REQUEST = b"<r xmlns='urn:xmpp:sm:3'/>"
_ANSWER = b"<a xmlns='urn:xmpp:sm:3' h='%d'/>"


@dataclass(slots=True)
class Ledger:
    """What became of every message, by its number."""

    sent: int = 0
    acknowledged: set[int] = field(default_factory=set)
    arrived: set[int] = field(default_factory=set)
    refused: dict[int, str] = field(default_factory=dict)  # came back as an error
    twice: list[tuple[str, int]] = field(default_factory=list)  # (user, number) twice to one session
    astray: list[tuple[str, int]] = field(default_factory=list)  # to somebody else's account
    out_of_order: list[tuple[str, int]] = field(default_factory=list)  # behind a later one of its sender, same session
    surprises: list[str] = field(default_factory=list)  # what no client should ever see
    sessions: int = 0
    resumed: int = 0
    losses: int = 0

    @property
    def missing(self) -> set[int]:
        """Acknowledged, and neither arrived nor refused."""
        return self.acknowledged - self.arrived - self.refused.keys()


class Person:
    """One user with one session at a time; numbers are `number * count + position`, so that they tell who it is for."""

    def __init__(self, crowd: "Crowd", user: str, endpoint: Endpoint) -> None:
        self.user = user
        self.crowd = crowd
        self.endpoint = endpoint
        self.line: Line | None = None
        self.unacknowledged: deque[int] = deque()  # numbers, 0 for what is no message
        self.leaving = False
        self.away_seconds = 0.0
        self._previd = ""
        self._received = 0
        self._told = 0
        self._acknowledged = 0  # of what we have sent, modulo 2 to the 32nd
        self._seen: set[int] = set()  # numbers that came to this session
        self._last: dict[str, int] = {}  # by sender: the highest number, this session
        self._task: asyncio.Task[None] | None = None
        self._down = asyncio.Event()

    @property
    def talking(self) -> bool:
        """Whether there is a session and its line stands."""
        return self.line is not None and self.line.open

    # --- connections ------------------------------------------------------------

    def start(self) -> None:
        """Come, and come back until `leaving`."""
        self._task = asyncio.create_task(self._live())

    async def stop(self) -> None:
        """Go, with a goodbye."""
        self.leaving = True
        if self.talking and self.line is not None:
            self.line.say_goodbye()
        if self._task is not None:
            done, _ = await asyncio.wait([self._task], timeout=10.0)
            if not done:
                self._task.cancel()

    async def _live(self) -> None:
        failures = 0
        while not self.leaving:
            self._down = asyncio.Event()
            line = Line(
                self,
                self.user,
                self.crowd.domain,
                resource="one",
                resume=(self._previd, self._received) if self._previd else None,
            )
            async with self.crowd.gate:
                try:
                    async with asyncio.timeout(LOGIN_SECONDS):
                        await connect(line, self.endpoint, self.crowd.tls, self.crowd.domain)
                        while not line.open and not line.down:
                            self._down.clear()
                            await self._down.wait()
                except TimeoutError:
                    self.crowd.ledger.surprises.append(f"{self.user}: no login within {LOGIN_SECONDS:g} s")
                    line.drop()
                except OSError:
                    pass
            if line.open:
                failures = 0
                while not line.down:
                    self._down.clear()
                    await self._down.wait()
                self.crowd.ledger.losses += 1
            if line.condition not in ("", "system-shutdown", "remote-connection-failed", "conflict"):
                self.crowd.ledger.surprises.append(f"{self.user}: {line.condition}")
            self.line = None
            if not self.leaving:
                pause = RETRY_SECONDS[min(failures, len(RETRY_SECONDS) - 1)]
                failures += 1
                away, self.away_seconds = self.away_seconds, 0.0
                await asyncio.sleep(pause * random.uniform(0.5, 1.5) + away)

    def opened(self, line: Line, resumed: bool) -> None:
        """A session is there, or goes on."""
        ledger = self.crowd.ledger
        self.line = line
        if line.handled_before is not None:
            self._take_count(line.handled_before)
        if resumed:
            ledger.resumed += 1
            again, self.unacknowledged = self.unacknowledged, deque()
            for number in again:
                self._send(number)
        else:
            ledger.sessions += 1
            self.unacknowledged.clear()  # nobody knows; nothing was promised
            self._previd = line.resumption_id
            self._received = self._told = self._acknowledged = 0
            self._seen, self._last = set(), {}
            self._send(0)
        self._down.set()

    def closed(self, line: Line) -> None:
        """The line is down."""
        self._down.set()

    # --- talk ------------------------------------------------------------

    def say_something(self) -> None:
        """Send a message to somebody, unless too much waits for its acknowledgement."""
        if len(self.unacknowledged) < UNACKNOWLEDGED_LIMIT:
            self._send(self.crowd.next_number())

    def ask(self) -> None:
        """Ask how far the server is."""
        if self.line is not None and self.unacknowledged:
            self.line.send(_REQUEST)

    def _send(self, number: int) -> None:
        assert self.line is not None
        self.unacknowledged.append(number)
        if not number:
            self.line.send(_PRESENCE)
            return
        recipient = self.crowd.recipient(number)
        self.line.send(_MESSAGE % (recipient.encode(), number, self.user.encode()))
        if random.random() < 0.3:
            self.line.send(_REQUEST)

    def _take_count(self, h: int) -> None:
        count = (h - self._acknowledged) & COUNT_MASK
        if count > len(self.unacknowledged):
            self.crowd.ledger.surprises.append(f"{self.user}: acknowledged {h}, {count} more than known")
            return
        self._acknowledged = h
        for _ in range(count):
            number = self.unacknowledged.popleft()
            if number:
                self.crowd.ledger.acknowledged.add(number)

    def heard(self, line: Line, element: bytes) -> None:
        """Take what the server says."""
        if element.startswith(b"<r"):
            self._told = self._received
            line.send(_ANSWER % self._received)
        elif element.startswith(b"<a"):
            self._take_count(int(attribute(element, "h") or -1))
        elif element.startswith((b"<message", b"<presence", b"<iq")):
            self._received = (self._received + 1) & COUNT_MASK
            if element.startswith(b"<message"):
                self._take_message(element)
            if self._received - self._told >= ANSWER_EVERY and random.random() < 0.5:
                self._told = self._received
                line.send(_ANSWER % self._received)
        else:
            self.crowd.ledger.surprises.append(f"{self.user} heard {element[:200]!r}")

    def _take_message(self, element: bytes) -> None:
        ledger = self.crowd.ledger
        number = int(attribute(element, "id") or 0)
        if attribute(element, "type") == "error":
            ledger.refused[number] = element.partition(b"<error")[2][:200].decode(errors="replace")
            return
        if not self.crowd.is_for(number, self.user):
            ledger.astray.append((self.user, number))
            return
        if number in self._seen:
            ledger.twice.append((self.user, number))
        self._seen.add(number)
        sender = (attribute(element, "from") or "").partition("/")[0]
        if number < self._last.get(sender, 0) and b"urn:xmpp:delay" not in element:
            ledger.out_of_order.append((self.user, number))
        self._last[sender] = max(number, self._last.get(sender, 0))
        ledger.arrived.add(number)


class Crowd:
    """People and their talk. `part` of `parts`: this process' share of all numbers; anybody talks to anybody."""

    def __init__(
        self,
        domain: str,
        users: Sequence[str],
        *,
        tls: ssl.SSLContext | None = None,
        part: int = 0,
        parts: int = 1,
        connecting: int = CONNECTING_AT_ONCE,
    ) -> None:
        self.domain = domain
        self.users = users
        self.tls = tls
        self.ledger = Ledger()
        self.people: list[Person] = []
        self.gate = asyncio.Semaphore(connecting)
        self._part, self._parts = part, parts
        self._talk: asyncio.Task[None] | None = None
        self._position = {user: position for position, user in enumerate(users)}

    def add(self, user: str, endpoint: Endpoint) -> Person:
        """One more person, who begins to connect."""
        person = Person(self, user, endpoint)
        self.people.append(person)
        person.start()
        return person

    # --- numbers ------------------------------------------------------------

    def next_number(self) -> int:
        """A number for a message to somebody by chance."""
        self.ledger.sent += 1
        count = self.ledger.sent * self._parts + self._part
        return count * len(self.users) + random.randrange(len(self.users))

    def recipient(self, number: int) -> str:
        """The bare JID that a message is for."""
        return f"{self.users[number % len(self.users)]}@{self.domain}"

    def is_for(self, number: int, user: str) -> bool:
        """Whether a message is for this user."""
        return number > 0 and self.users[number % len(self.users)] == user

    # --- life ------------------------------------------------------------

    def start_talking(self, messages_per_second: float, *, drops_per_second: float = 0.0) -> None:
        """Let people talk, evenly in time; now and then one loses the connection."""
        self._talk = asyncio.create_task(self._talk_on(messages_per_second, drops_per_second))

    async def stop_talking(self) -> None:
        """Say no more."""
        if self._talk is not None:
            self._talk.cancel()
            await asyncio.wait([self._talk])
            self._talk = None

    async def _talk_on(self, messages_per_second: float, drops_per_second: float) -> None:
        loop = asyncio.get_running_loop()
        last, messages, drops = loop.time(), 0.0, 0.0
        while True:
            await asyncio.sleep(0.02)
            now = loop.time()
            passed, last = min(now - last, 1.0), now
            messages += passed * messages_per_second
            drops += passed * drops_per_second
            while messages >= 1:
                messages -= 1
                person = random.choice(self.people)
                if person.talking:
                    person.say_something()
            while drops >= 1:
                drops -= 1
                person = random.choice(self.people)
                if person.talking and person.line is not None:
                    person.away_seconds = random.uniform(0.0, AWAY_SECONDS)
                    random.choice((person.line.drop, person.line.hang_up))()

    async def everybody_talking(self, timeout_seconds: float) -> None:
        """Wait until all have a session."""
        await until(lambda: all(person.talking for person in self.people), "everybody is there", timeout_seconds)

    async def all_acknowledged(self, timeout_seconds: float) -> None:
        """Wait until the server has acknowledged everything; it is asked again and again."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_seconds
        while waiting := [person for person in self.people if person.unacknowledged]:
            if loop.time() > deadline:
                raise TimeoutError(f"{len(waiting)} people wait for an acknowledgement, such as {waiting[0].user}")
            for person in waiting:
                if person.talking:
                    person.ask()
            await asyncio.sleep(0.2)

    async def stop(self) -> None:
        """Everybody leaves."""
        await self.stop_talking()
        await asyncio.gather(*(person.stop() for person in self.people))


async def until(condition: Callable[[], bool], what: str, timeout_seconds: float = 20.0) -> None:
    """Return as soon as `condition` holds; TimeoutError that names `what` after `timeout_seconds`."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout_seconds
    while not condition():
        if loop.time() > deadline:
            raise TimeoutError(f"{what}: not within {timeout_seconds:g} s")
        await asyncio.sleep(0.02)
