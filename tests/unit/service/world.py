"""A world of services without sockets: users spread over one or more homes, and dialogues that they play.

A dialogue is lines. `juliet/balcony >> <stanza/>` is what a client sends (it binds the first time it is named);
the `<<` lines behind it are all that any client gets because of it, for each client in order. `elsewhere <<` is what is
routed to other domains. `juliet/balcony ends`, `inactive`, `active` and `binds` are events; `at 86400` moves the clock.
An attribute or text `*` matches any; lines that are indented belong to the line before.
"""

from __future__ import annotations

import re
from collections import deque
from typing import TYPE_CHECKING

from megaphone.service.service import Service
from megaphone.service.settings import Settings
from megaphone.stream.jid import JID
from megaphone.stream.stanza import Stanza, parse
from megaphone.wire.stamp import stamp
from tests.unit.memory_archive import MemoryArchive
from tests.unit.service.twin_store import TwinStore

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

    from megaphone.service.session import Session

DOMAIN = "example.org"
ROOMS = "conference.example.org"
PLAIN_TYPES = {None, "chat", "normal", "headline"}
LINE = re.compile(r"(\S+) (<<|>>|binds|ends|inactive|active)(?: (.*))?", re.DOTALL)


class Client:
    """What stands at the other end of a session's stream."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.got: list[bytes] = []
        self.closed: str | None = None


class WorldOutlet:
    def __init__(self, world: World) -> None:
        self.world = world

    def deliver(self, session: Session, stanza: bytes) -> None:
        assert not session.ended
        parse(stanza)  # raises for what is not well-formed
        session.stream.got.append(stanza)  # type: ignore[attr-defined]

    def deliver_stored(self, session: Session, stanza: bytes, key: int) -> None:
        self.deliver(session, stanza)
        self.world.given.append((session, key))

    def route(self, stanza: bytes, to: JID) -> None:
        self.world.routed.append((stanza, to))

    def close(self, session: Session, condition: str, text: str = "") -> None:
        session.stream.closed = condition  # type: ignore[attr-defined]

    def token(self) -> str:
        self.world.tokens += 1
        return f"token{self.world.tokens}"


class World:
    def __init__(self, *users: str, homes: int = 1, fast: bool = False, **settings: object) -> None:
        self.fast = fast
        self.now = 0.0
        self.tokens = 0
        self.settles = True  # clients acknowledge what was kept for them at once
        self.store = TwinStore()
        self.archive = MemoryArchive()
        self.routed: deque[tuple[bytes, JID]] = deque()
        self.given: list[tuple[Session, int]] = []
        self.elsewhere = Client("elsewhere")
        self.clients: dict[str, Client] = {}
        self.sessions: dict[str, Session] = {}
        for user in users or ("juliet", "romeo", "nurse"):
            self.store.add(JID.parse(f"{user}@{DOMAIN}"))
        self.settings = Settings(is_local_domain=lambda domain: domain == ROOMS, **settings)  # type: ignore[arg-type]
        self.services = [self.new_service() for _ in range(homes)]

    def new_service(self) -> Service:
        return Service(DOMAIN, WorldOutlet(self), self.store, self.archive, self.settings)

    def home_of(self, jid: JID) -> Service:
        return self.services[sum(jid.local.encode()) % len(self.services)]

    # --- events ---

    def bind(self, name: str, *, anonymous: bool = False) -> Session:
        local, _, resource = name.partition("/")
        jid = JID.parse(f"{local}@{DOMAIN}")
        client = Client(name)
        session = self.home_of(jid).bind(jid, resource or None, self.now, stream=client, anonymous=anonymous)
        client.name = f"{local}/{session.jid.resource}"
        self.clients[client.name] = client
        self.sessions[client.name] = session
        self._run()
        return session

    def send(self, name: str, stanza: str | bytes) -> None:
        if name not in self.sessions:
            self.bind(name)
        session = self.sessions[name]
        data = stanza.encode() if isinstance(stanza, str) else stanza
        read = Stanza.read(stamp(data, from_=str(session.jid)))
        if self.fast and session.plain_sender and is_plain(read) and read.to and read.to.domain == DOMAIN:
            self.routed.append((read.data, read.to))
        else:
            self.home_of(session.jid).receive(session, read, self.now)
        self._run()

    def end(self, name: str, *, requeue: tuple[bytes, ...] = ()) -> None:
        session = self.sessions.pop(name)
        self.home_of(session.jid).ended(session, self.now)
        self.home_of(session.jid).requeue(session, requeue, self.now)
        self._run()

    def set_active(self, name: str, active: bool) -> None:
        session = self.sessions[name]
        self.home_of(session.jid).client_state(session, active)
        self._run()

    def receive_routed(self, stanza: str) -> None:
        """Bring in a stanza from elsewhere."""
        read = Stanza.read(stanza.encode())
        assert read.to is not None
        self.routed.append((read.data, read.to))
        self._run()

    def _run(self) -> None:
        steps = 0
        while self.routed or self.given:
            steps += 1
            assert steps < 10_000, "stanzas answer each other for ever"
            if not self.routed:
                if not self.settles:
                    break
                session, key = self.given.pop(0)
                self.home_of(session.jid).settled(session, key)
                continue
            data, to = self.routed.popleft()
            read = Stanza.read(data)
            assert read.to == to
            assert read.from_ is not None
            if to.domain != DOMAIN:
                self.elsewhere.got.append(data)
                continue
            target = self.home_of(to).plain_targets.get(str(read.to).encode()) if self.fast and is_plain(read) else None
            if target is not None:
                target.stream.got.append(data)  # type: ignore[attr-defined]
            else:
                self.home_of(to).receive_routed(read, self.now)
        for service in self.services:
            check_targets(service)

    # --- dialogues ---

    def take(self, name: str) -> list[bytes]:
        """Return what a client has got since last time."""
        client = self.elsewhere if name == "elsewhere" else self.clients[name]
        got, client.got = client.got, []
        return got

    def play(self, script: str) -> None:
        for line in lines_of(script):
            if line.startswith("at "):
                self.now = float(line[3:])
                continue
            found = LINE.fullmatch(line)
            assert found, f"no line of a dialogue: {line}"
            name, verb, stanza = found.groups()
            if verb == "<<":
                client = self.elsewhere if name == "elsewhere" else self.clients[name]
                assert client.got, f"{name} got nothing; expected {stanza}\n{self._unread()}"
                actual = client.got.pop(0)
                assert matches(parse(stanza.encode()), parse(actual)), f"{name} got\n{actual!r}\nexpected\n{stanza}"
                continue
            assert not self._unread(), f"before {line}:\n{self._unread()}"
            if verb == ">>":
                self.send(name, stanza)
            elif verb == "binds":
                self.bind(name)
            elif verb == "ends":
                self.end(name)
            else:
                self.set_active(name, verb == "active")
        assert not self._unread(), self._unread()

    def _unread(self) -> str:
        clients = [*self.clients.values(), self.elsewhere]
        return "\n".join(f"{each.name} << {stanza.decode()}" for each in clients for stanza in each.got)


def lines_of(script: str) -> list[str]:
    lines: list[str] = []
    for line in script.splitlines():
        if line.strip() and not line.strip().startswith("#"):
            if re.match(r"\s*(at \d|\S+ (<<|>>|binds|ends|inactive|active))", line):
                lines.append(line.strip())
            else:
                lines[-1] += " " + line.strip()
    return lines


def is_plain(stanza: Stanza) -> bool:
    """Whether the host may deliver a stanza by itself."""
    return stanza.kind == "message" and stanza.type in PLAIN_TYPES


def check_targets(service: Service) -> None:
    """What the host relies on: a target is there, is looked at, and nobody else has a say."""
    for key, session in service.plain_targets.items():
        assert not session.ended
        assert not session.inactive
        assert not session.user.blocked
        assert not any(other.carbons for other in session.user.sessions if other is not session)
        assert session in session.user.sessions
        assert key in (str(session.jid).encode(), str(session.jid.bare).encode())


def matches(expected: Element, actual: Element) -> bool:
    """Whether two elements say the same, white space between elements aside; `*` matches any value."""
    if expected.tag != actual.tag or set(expected.attrib) != set(actual.attrib) or len(expected) != len(actual):
        return False
    if any(value not in ("*", actual.get(name)) for name, value in expected.attrib.items()):
        return False
    if (expected.text or "").strip() not in ("*", (actual.text or "").strip()):
        return False
    return all(matches(*pair) for pair in zip(expected, actual, strict=True))
