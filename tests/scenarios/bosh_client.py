"""A BOSH client for tests: asyncio streams, one HTTP/1.1 connection for each open request, SASL PLAIN."""

import asyncio
import base64
import contextlib
import itertools
import secrets
import ssl
from collections import deque
from pathlib import Path
from typing import Self
from xml.etree import ElementTree as ET
from xml.sax.saxutils import escape, quoteattr

from tests.scenarios.light import TIMEOUT_SECONDS
from tests.servers.model import Account, Endpoint

HTTPBIND = "{http://jabber.org/protocol/httpbind}"
CLIENT = "{jabber:client}"
STREAMS = "{http://etherx.jabber.org/streams}"

_numbers = itertools.count(1)


class Answer(Exception):  # noqa: N818 - what came instead of 200
    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class Terminated(Exception):  # noqa: N818
    def __init__(self, condition: str | None, body: ET.Element) -> None:
        super().__init__(condition)
        self.condition = condition
        self.body = body


class BoshClient:
    """One session. Requests go out by `send`; while nothing is to be sent, one is held by the server."""

    def __init__(
        self, endpoint: Endpoint, account: Account, authority: Path | None, *, forwarded: dict[str, str] | None = None
    ) -> None:
        self.endpoint = endpoint
        self.account = account
        self.jid = account.jid
        self.rid = 1_000_000 + secrets.randbelow(1_000_000)
        self.sid = ""
        self.attributes: dict[str, str] = {}
        self.headers = forwarded or {}
        self._context = None
        if endpoint.tls != "none":
            self._context = ssl.create_default_context(cafile=str(authority))
            self._context.set_alpn_protocols(["http/1.1"])
        self._elements: deque[ET.Element] = deque()
        self._open: dict[int, asyncio.Task[ET.Element]] = {}
        self.ports: set[int] = set()
        self.lose_answers = 0  # so many answers are read and thrown away, their requests sent again

    # --- HTTP ------------------------------------------------------------

    async def post(self, text: str) -> ET.Element:
        """One request on a connection of its own; `Answer` for a status that is not 200."""
        reader, writer = await asyncio.open_connection(
            self.endpoint.host,
            self.endpoint.port,
            ssl=self._context,
            server_hostname=self.account.domain if self._context else None,
        )
        try:
            data = text.encode()
            fields = "".join(f"{name}: {value}\r\n" for name, value in self.headers.items())
            writer.write(
                f"POST /http-bind HTTP/1.1\r\nHost: {self.account.domain}\r\nContent-Type: text/xml; charset=utf-8\r\n"
                f"Content-Length: {len(data)}\r\n{fields}\r\n".encode()
                + data
            )
            status_line = await reader.readline()
            if not status_line:
                raise ConnectionError("the connection has ended without an answer")
            status = int(status_line.split()[1])
            length = 0
            while (line := await reader.readline()).strip():
                name, _, value = line.partition(b":")
                if name.lower() == b"content-length":
                    length = int(value)
            content = await reader.readexactly(length)
            if status != 200:
                raise Answer(status)
            return ET.fromstring(content)
        finally:
            writer.close()
            with contextlib.suppress(OSError, ssl.SSLError):
                await writer.wait_closed()

    async def _exchange(self, text: str) -> ET.Element:
        body = await self._answered(text)
        if self.lose_answers:
            self.lose_answers -= 1
            body = await self._answered(text)  # as if the first answer had never come
        return body

    async def _answered(self, text: str) -> ET.Element:
        while True:
            try:
                return await self.post(text)
            except Answer as answer:  # whoever reads the answers has a deadline
                if answer.status != 503:
                    raise
                await asyncio.sleep(0.02)

    # --- the session ------------------------------------------------------------

    async def open(self, attributes: str = "wait='20' hold='1'") -> ET.Element:
        """Begin; the server's features."""
        body = await self._exchange(
            f"<body xmlns='http://jabber.org/protocol/httpbind' xmlns:xmpp='urn:xmpp:xbosh' rid='{self.rid}' ver='1.11'"
            f" xmpp:version='1.0' to={quoteattr(self.account.domain)} xml:lang='en' {attributes}/>"
        )
        self._take(body)
        self.attributes = dict(body.attrib)
        self.sid = body.get("sid", "")
        return await self.next()

    def send(self, inner: str = "", attributes: str = "") -> int:
        """A request with the next rid, under way from now on."""
        self.rid += 1
        text = (
            f"<body xmlns='http://jabber.org/protocol/httpbind' xmlns:xmpp='urn:xmpp:xbosh' rid='{self.rid}'"
            f" sid={quoteattr(self.sid)} {attributes}>{inner}</body>"
        )
        self._open[self.rid] = asyncio.create_task(self._exchange(text))
        return self.rid

    def _take(self, body: ET.Element) -> None:
        if body.get("type") == "terminate":
            raise Terminated(body.get("condition"), body)
        self._elements.extend(body)

    async def next(self, timeout_seconds: float = TIMEOUT_SECONDS) -> ET.Element:
        """The server's next element; Terminated at the end."""
        async with asyncio.timeout(timeout_seconds):
            while not self._elements:
                if not self._open:
                    self.send()
                rid = min(self._open)  # answers count in the order of their requests
                self._take(await self._open[rid])
                del self._open[rid]
        return self._elements.popleft()

    async def room(self) -> None:
        """Wait until another request may be sent."""
        async with asyncio.timeout(TIMEOUT_SECONDS):
            while len(self._open) > 1:
                rid = min(self._open)
                self._take(await self._open[rid])
                del self._open[rid]

    async def is_held(self) -> None:
        """Leave one request with the server, which has it: it has answered the one before, as it holds one only."""
        self.send()
        await self.stanza("<iq type='result' id='nobody-asked' xmlns='jabber:client'/>")
        await self.room()

    async def until(self, tag: str) -> ET.Element:
        """The next element with this name."""
        while (element := await self.next()).tag != tag:
            pass
        return element

    async def login(self) -> None:
        """SASL PLAIN, a restart, a resource, presence."""
        features = await self.open()
        assert features.tag == f"{STREAMS}features", ET.tostring(features)
        secret = base64.b64encode(f"\0{self.account.user}\0{self.account.password}".encode()).decode()
        self.send(f"<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>{secret}</auth>")
        answer = await self.next()
        assert answer.tag.endswith("}success"), ET.tostring(answer)
        await self.room()
        self.send(attributes=f"xmpp:restart='true' to={quoteattr(self.account.domain)}")
        await self.until(f"{STREAMS}features")
        bound = await self.ask("<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/>")
        self.jid = bound.findtext(".//{*}jid", default="")
        assert self.jid, ET.tostring(bound)
        await self.stanza("<presence xmlns='jabber:client'/>")

    @classmethod
    async def logged_in(
        cls, endpoint: Endpoint, account: Account, authority: Path | None, **keys: dict[str, str]
    ) -> Self:
        client = cls(endpoint, account, authority, **keys)
        await client.login()
        return client

    async def stanza(self, xml: str) -> None:
        await self.room()
        self.send(xml)

    async def ask(self, payload: str, kind: str = "set", to: str | None = None) -> ET.Element:
        """Send an IQ, and return its answer."""
        number = f"bosh{next(_numbers)}"
        addressed = "" if to is None else f" to={quoteattr(to)}"
        await self.stanza(f"<iq xmlns='jabber:client' type='{kind}' id='{number}'{addressed}>{payload}</iq>")
        while (answer := await self.until(f"{CLIENT}iq")).get("id") != number:
            pass
        return answer

    async def message(self, to: str, body: str) -> None:
        """A chat message, that inherits its namespace from the body as clients write it."""
        await self.stanza(
            f"<message to={quoteattr(to)} type='chat' xmlns='jabber:client'><body>{escape(body)}</body></message>"
        )

    async def next_body(self) -> str:
        """The next message's text."""
        while (body := (await self.until(f"{CLIENT}message")).findtext(f"{CLIENT}body")) is None:
            pass
        return body

    async def terminate(self) -> str | None:
        """Say goodbye; the condition of the answer, None if all is in order."""
        await self.room()
        self.send("<presence type='unavailable' xmlns='jabber:client'/>", "type='terminate'")
        return await self.end()

    async def end(self, timeout_seconds: float = TIMEOUT_SECONDS) -> str | None:
        """The condition with which the server ends the session; whatever comes before it is not looked at."""
        try:
            while True:
                await self.next(timeout_seconds)
        except Terminated as ended:
            return ended.condition
        finally:
            await self.hang_up()

    async def hang_up(self) -> None:
        """Give up all requests."""
        for task in self._open.values():
            task.cancel()
        await asyncio.gather(*self._open.values(), return_exceptions=True)
        self._open.clear()
