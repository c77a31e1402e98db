"""A client for dialogues: what it hears waits in a list, in order, until somebody asks for it."""

import asyncio
import itertools
import re
import socket
import ssl
from collections.abc import Callable
from typing import Self

from tests.adversity.embedded_line import Line, attribute, connect
from tests.servers.model import DOMAIN, ROOMS, Endpoint

WAIT_SECONDS = 60.0  # on a busy machine; nothing waits this long when it works
_numbers = itertools.count(1)
_BODY = re.compile(rb"<body>(.*?)</body>", re.DOTALL)
_STATUS = re.compile(rb"""<status code=['"](\d+)['"]""")
_STANZA_ID = re.compile(rb"""<stanza-id [^>]*id=['"](\d+)['"]""")

PERSISTENT = (
    "<iq type='set' id='form' to='{room}'><query xmlns='http://jabber.org/protocol/muc#owner'>"
    "<x xmlns='jabber:x:data' type='submit'>"
    "<field var='FORM_TYPE'><value>http://jabber.org/protocol/muc#roomconfig</value></field>"
    "<field var='muc#roomconfig_persistentroom'><value>{persistent}</value></field></x></query></iq>"
)


def body(element: bytes) -> str:
    """The text of a message."""
    found = _BODY.search(element)
    return "" if found is None else found[1].decode()


def statuses(element: bytes) -> set[str]:
    """The status codes in a presence of a room."""
    return {code.decode() for code in _STATUS.findall(element)}


def stanza_id(element: bytes) -> int:
    """The id that the room has given to a message (XEP-0359); 0 if there is none."""
    found = _STANZA_ID.search(element)
    return 0 if found is None else int(found[1])


def kind_of(element: bytes) -> str:
    """message, presence, iq …"""
    return re.split(rb"[\s/>]", element[1:40], maxsplit=1)[0].decode()


class Talker:
    """One session; `heard` is what has come and nobody has waited for yet."""

    def __init__(self, user: str) -> None:
        self.user = user
        self.elements: list[bytes] = []
        self.line: Line
        self.connected = False
        self.lost = False
        self.resumed = False
        self.count = 0  # stanzas received
        self._news = asyncio.Event()

    @classmethod
    async def login(
        cls,
        user: str,
        endpoint: Endpoint,
        *,
        tls: ssl.SSLContext | None = None,
        resource: str = "one",
        management: bool = False,
        resume: tuple[str, int] | None = None,
        presence: bool = True,
        make_socket: Callable[[], socket.socket] = socket.socket,
    ) -> Self:
        """Log in and send presence; AssertionError with the condition if that is refused."""
        talker = cls(user)
        await talker.connect(
            endpoint,
            tls=tls,
            resource=resource,
            management=management,
            resume=resume,
            presence=presence,
            make_socket=make_socket,
        )
        return talker

    async def connect(
        self,
        endpoint: Endpoint,
        *,
        tls: ssl.SSLContext | None = None,
        resource: str = "one",
        management: bool = False,
        resume: tuple[str, int] | None = None,
        presence: bool = True,
        receive_buffer_bytes: int = 0,
        make_socket: Callable[[], socket.socket] = socket.socket,
    ) -> None:
        """As `login`, for the same talker once more."""
        self.line = Line(self, self.user, DOMAIN, resource=resource, resume=resume, management=management)
        self.connected = self.lost = False
        await connect(
            self.line, endpoint, tls, DOMAIN, receive_buffer_bytes=receive_buffer_bytes, make_socket=make_socket
        )
        await self.until(lambda: self.connected or self.lost, "logged in")
        assert self.connected, f"{self.user}: {self.line.condition or 'hung up'}"
        if presence and not self.resumed:
            self.send("<presence/>")

    @property
    def jid(self) -> str:
        """The full JID."""
        return self.line.jid

    def opened(self, line: Line, resumed: bool) -> None:
        """Logged in."""
        self.connected, self.resumed = True, resumed
        if not resumed:
            self.count = 0
        self._news.set()

    def heard(self, line: Line, element: bytes) -> None:
        """Keep it."""
        if kind_of(element) in ("message", "presence", "iq"):
            self.count += 1
        self.elements.append(element)
        self._news.set()

    def closed(self, line: Line) -> None:
        """The connection is gone."""
        self.lost = True
        self._news.set()

    # --- talk ------------------------------------------------------------

    def send(self, xml: str) -> None:
        """Send text as it is."""
        self.line.send(xml.encode())

    def say(self, to: str, text: str, type_: str = "chat") -> None:
        """Send a message."""
        self.send(f"<message type='{type_}' to='{to}' id='{next(_numbers)}'><body>{text}</body></message>")

    def enter(self, room: str, *, history: int | None = None) -> None:
        """Ask to join a room of `ROOMS` under our own name."""
        wanted = "" if history is None else f"<history maxstanzas='{history}'/>"
        self.send(
            f"<presence to='{room}@{ROOMS}/{self.user}'><x xmlns='http://jabber.org/protocol/muc'>{wanted}</x></presence>"
        )

    async def join(self, room: str, *, history: int | None = None) -> bytes:
        """Join a room; our own presence in it. A new room is opened as it is."""
        self.enter(room, history=history)
        own = await self.hear(
            lambda each: (
                kind_of(each) == "presence"
                and (b"code='110'" in each or attribute(each, "type") == "error")
                and (attribute(each, "from") or "").startswith(f"{room}@{ROOMS}")
            ),
            f"joined {room}",
        )
        assert attribute(own, "type") is None, own
        return own

    async def configure(self, room: str, *, persistent: bool = False) -> None:
        """Open a new room."""
        self.send(PERSISTENT.format(room=f"{room}@{ROOMS}", persistent=int(persistent)))
        answer = await self.hear(lambda each: attribute(each, "id") == "form", "configured")
        assert attribute(answer, "type") == "result", answer

    def leave(self, room: str) -> None:
        """Leave a room."""
        self.send(f"<presence type='unavailable' to='{room}@{ROOMS}/{self.user}'/>")

    # --- wait ------------------------------------------------------------

    async def hear(self, wanted: Callable[[bytes], bool], what: str, timeout_seconds: float = WAIT_SECONDS) -> bytes:
        """The first element that is wanted, now or soon; it is taken out, what else has come stays."""
        found: list[int] = []

        def look() -> bool:
            found[:] = [at for at, each in enumerate(self.elements) if wanted(each)][:1]
            return bool(found) or self.lost

        await self.until(look, what, timeout_seconds)
        assert found, f"{self.user} was hung up on ({self.line.condition}) before: {what}"
        return self.elements.pop(found[0])

    async def hear_message(self, text: str, timeout_seconds: float = WAIT_SECONDS) -> bytes:
        """The message with this text."""
        return await self.hear(
            lambda each: kind_of(each) == "message" and body(each) == text, f"message {text!r}", timeout_seconds
        )

    async def hear_presence(self, from_: str, type_: str | None) -> bytes:
        """A presence of this sender and type."""
        return await self.hear(
            lambda each: (
                kind_of(each) == "presence" and attribute(each, "from") == from_ and attribute(each, "type") == type_
            ),
            f"presence {type_} of {from_}",
        )

    async def until(self, condition: Callable[[], bool], what: str, timeout_seconds: float = WAIT_SECONDS) -> None:
        """Return as soon as `condition` holds, looked at whenever something has come."""
        try:
            async with asyncio.timeout(timeout_seconds):
                while not condition():
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            last = [each[:200] for each in self.elements[-10:]]
            raise TimeoutError(f"{self.user}: {what}: not within {timeout_seconds:g} s; heard {last}") from None

    async def ping(self) -> None:
        """A round trip: everything said to us before has come."""
        identifier = f"ping-{next(_numbers)}"
        self.send(f"<iq type='get' id='{identifier}' to='{DOMAIN}'><ping xmlns='urn:xmpp:ping'/></iq>")
        await self.hear(lambda each: attribute(each, "id") == identifier, "pong")

    async def close(self) -> None:
        """Go."""
        if not self.lost:
            self.line.say_goodbye()
            await self.until(lambda: self.lost, "closed")
