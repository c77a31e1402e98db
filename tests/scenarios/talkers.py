"""slixmpp clients that talk to each other without a pause, and notice whatever is lost, repeated, late or cut off."""

import asyncio
import contextlib
import secrets
import ssl
import time
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

import slixmpp

from tests.servers.model import Account, Endpoint

STEP_TIMEOUT_SECONDS = 60.0
SAY_EVERY_SECONDS = 0.03
AHEAD = 20  # messages that are on their way at most


class Talker(slixmpp.ClientXMPP):
    """One session; `heard` is what each of the others has said, in order of arrival."""

    def __init__(self, account: Account, resource: str, endpoint: Endpoint, authority: Path) -> None:
        context = ssl.create_default_context(cafile=str(authority))
        super().__init__(f"{account.jid}/{resource}", account.password, sasl_mech="PLAIN", ssl_context=context)
        self.endpoint = endpoint
        self.enable_direct_tls = endpoint.tls == "direct"
        self.enable_starttls = endpoint.tls == "starttls"
        self.enable_plaintext = endpoint.tls == "none"
        self.plugin["feature_mechanisms"].unencrypted_plain = True
        self.use_aiodns = False
        self.whitespace_keepalive = False
        self.heard: dict[str, list[int]] = {}
        self.said = 0
        self.silences: list[float] = []  # seconds between two messages that came
        self.ends: list[str] = []
        self._heard_at: float | None = None
        self._started = asyncio.Event()
        self.add_event_handler("session_start", lambda _: self._started.set())
        self.add_event_handler("message", self._hear)
        for event in ("disconnected", "stream_error", "connection_failed", "failed_auth"):
            self.add_event_handler(event, lambda _, event=event: self.ends.append(event))

    async def login(self) -> None:
        """Connect until the session stands and the server knows that we are available."""
        self.connect(self.endpoint.host, self.endpoint.port)
        async with asyncio.timeout(STEP_TIMEOUT_SECONDS):
            await self._started.wait()
        self.send_presence()

    @property
    def local_port(self) -> int:
        """The client's own port, by which the edge knows it."""
        return int(self.transport.get_extra_info("sockname")[1])

    def _hear(self, message: Any) -> None:
        if message["type"] == "error":
            self.ends.append(f"bounced: {message['error']['condition']}")
            return
        now = time.monotonic()
        if self._heard_at is not None:
            self.silences.append(now - self._heard_at)
        self._heard_at = now
        self.heard.setdefault(message["from"].full, []).append(int(message["body"].partition(" ")[0]))

    async def talk(self, other: "Talker", stopping: asyncio.Event) -> None:
        """Say a numbered message again and again, some long, all with letters of two bytes.

        The other one may be some messages behind: on a busy machine the server is slower than we are.
        """
        name, to = self.boundjid.full, other.boundjid.full
        while not stopping.is_set():
            if self.said - len(other.heard.get(name, ())) >= AHEAD:
                await asyncio.sleep(SAY_EVERY_SECONDS)
                continue
            filling = "Ärger " * (400 if self.said % 50 == 49 else 3)
            self.send_message(mto=to, mbody=f"{self.said} {filling}", mtype="chat")
            self.said += 1
            await asyncio.sleep(SAY_EVERY_SECONDS)


class Conversation:
    """Talkers in a ring: each says to the next, all the time."""

    def __init__(self, talkers: Sequence[Talker]) -> None:
        self.talkers = talkers
        self._stopping = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    def begin(self) -> None:
        """Let everybody talk."""
        for talker, other in zip(self.talkers, [*self.talkers[1:], self.talkers[0]], strict=True):
            self._tasks.append(asyncio.create_task(talker.talk(other, self._stopping)))

    async def go_on(self, messages: int) -> None:
        """Wait until everybody has heard so many more messages."""
        wanted = [self._heard(talker) + messages for talker in self.talkers]
        await _until(
            lambda: all(self._heard(talker) >= many for talker, many in zip(self.talkers, wanted, strict=True)),
            lambda: f"heard {[self._heard(talker) for talker in self.talkers]} of {wanted}, {self._ends()}",
        )

    async def end(self) -> None:
        """Stop talking and check that everything was heard, once and in order, and nobody was cut off."""
        self._stopping.set()
        await asyncio.gather(*self._tasks)
        for talker, other in zip(self.talkers, [*self.talkers[1:], self.talkers[0]], strict=True):
            name = talker.boundjid.full
            await _until(
                lambda other=other, name=name, said=talker.said: len(other.heard.get(name, ())) >= said,
                lambda other=other, name=name, said=talker.said: (
                    f"of {name} not heard: {sorted({*range(said)} - {*other.heard.get(name, ())})}, {self._ends()}"
                ),
            )
            assert other.heard[name] == list(range(talker.said))
            # what the server kept for earlier sessions may come as well
            assert not other.heard.keys() & {each.boundjid.full for each in self.talkers} - {name}
        assert self._ends() == {}

    def _heard(self, talker: Talker) -> int:
        return sum(map(len, talker.heard.values()))

    def _ends(self) -> dict[str, list[str]]:
        return {talker.boundjid.full: talker.ends for talker in self.talkers if talker.ends}

    def longest_silence_seconds(self) -> float:
        """The longest that anybody heard nothing."""
        return max(max(talker.silences, default=0.0) for talker in self.talkers)


@contextlib.asynccontextmanager
async def conversation(
    accounts: Sequence[Account], endpoints: Sequence[Endpoint], authority: Path, *, plugins: Sequence[str] = ()
) -> AsyncIterator[Conversation]:
    """A talker for each endpoint and account, with slixmpp's plugins, logged in and talking; closed at the end."""
    talkers = [
        # names that the server has not seen: it may still be busy with the end of earlier sessions
        Talker(account, f"{endpoint.tls}-{number}-{secrets.token_hex(4)}", endpoint, authority)
        for number, endpoint in enumerate(endpoints)
        for account in accounts
    ]
    try:
        for talker in talkers:
            for plugin in plugins:
                talker.register_plugin(plugin)
            await talker.login()
        talking = Conversation(talkers)
        talking.begin()
        yield talking
    finally:
        for talker in talkers:
            talker.cancel_connection_attempt()
            talker.abort()


async def _until(condition: Callable[[], bool], state: Callable[[], str]) -> None:
    deadline = time.monotonic() + STEP_TIMEOUT_SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"not within {STEP_TIMEOUT_SECONDS:g} s: {state()}"
        await asyncio.sleep(0.02)
