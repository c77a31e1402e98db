"""A light client for tests with hundreds of sessions: asyncio streams, SASL PLAIN, no stanza objects."""

import asyncio
import base64
import contextlib
import itertools
import ssl
from pathlib import Path
from xml.etree import ElementTree as ET
from xml.sax.saxutils import escape, quoteattr

from tests.scenarios.transcript import STREAM
from tests.servers.model import Account, Endpoint

CLIENT = "{jabber:client}"
ERRORS = "{urn:ietf:params:xml:ns:xmpp-streams}"
TIMEOUT_SECONDS = 60.0  # on a busy machine; nothing waits this long when it works

_numbers = itertools.count(1)


class StreamEndError(Exception):
    """The server ended the stream; `condition` is its stream error, None without one."""

    def __init__(self, condition: str | None) -> None:
        super().__init__(condition or "without a stream error")
        self.condition = condition


class LightClient:
    """One logged-in session; `elements` are what the server sent after binding."""

    def __init__(self, account: Account, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.account = account
        self.jid = account.jid
        self.condition: str | None = None
        self.other_host: str | None = None  # that a see-other-host named
        self.elements: asyncio.Queue[ET.Element | None] = asyncio.Queue()
        self._reader = reader
        self._writer = writer
        self._parser: ET.XMLPullParser
        self._depth = 0
        self._task: asyncio.Task[None] | None = None

    @property
    def local_port(self) -> int:
        """The client's own port, by which the edge knows it."""
        return int(self._writer.get_extra_info("sockname")[1])

    @property
    def certificate(self) -> bytes:
        """The certificate the server showed, in DER."""
        return bytes(self._writer.get_extra_info("ssl_object").getpeercert(True))

    @classmethod
    async def login(
        cls,
        endpoint: Endpoint,
        account: Account,
        authority: Path,
        *,
        source: str | None = None,
        resume: tuple[str, int] | None = None,
    ) -> "LightClient":
        """Connect (from the address `source`), log in, bind. StreamEndError if the server ends the stream.

        Instead of binding, `resume` a stream by its identifier, so many stanzas of which had arrived (XEP-0198 5).
        """
        context = ssl.create_default_context(cafile=str(authority))
        context.set_alpn_protocols(["xmpp-client"])
        async with asyncio.timeout(TIMEOUT_SECONDS):
            reader, writer = await asyncio.open_connection(
                endpoint.host,
                endpoint.port,
                ssl=context if endpoint.tls == "direct" else None,
                server_hostname=account.domain if endpoint.tls == "direct" else None,
                local_addr=None if source is None else (source, 0),
            )
            client = cls(account, reader, writer)
            try:
                await client._negotiate(context if endpoint.tls == "starttls" else None, resume)
            except BaseException:
                writer.transport.abort()
                raise
            client._task = asyncio.create_task(client._receive())
            return client

    async def _negotiate(self, starttls: ssl.SSLContext | None, resume: tuple[str, int] | None) -> None:
        await self._open()
        if starttls is not None:
            self.send("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>")
            await self._next()
            await self._writer.start_tls(starttls, server_hostname=self.account.domain)
            await self._open()
        secret = base64.b64encode(f"\0{self.account.user}\0{self.account.password}".encode()).decode()
        self.send(f"<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>{secret}</auth>")
        answer = await self._next()
        assert answer.tag.endswith("}success"), ET.tostring(answer)
        await self._open()
        if resume is not None:
            self.send(f"<resume xmlns='urn:xmpp:sm:3' previd={quoteattr(resume[0])} h='{resume[1]}'/>")
            answer = await self._next()
            assert answer.tag.endswith("}resumed"), ET.tostring(answer)
            return
        self.send("<iq type='set' id='bind'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>")
        bound = await self._next()
        self.jid = bound.findtext(".//{*}jid", default="")
        assert self.jid, ET.tostring(bound)

    async def _open(self) -> None:
        self._parser, self._depth = ET.XMLPullParser(("start", "end")), 0
        self.send(
            f"<?xml version='1.0'?><stream:stream to={quoteattr(self.account.domain)} xmlns='jabber:client' "
            f"xmlns:stream='{STREAM}' version='1.0'>"
        )
        features = await self._next()
        assert features.tag == f"{{{STREAM}}}features", ET.tostring(features)

    def send(self, xml: str) -> None:
        """Send text as it is."""
        self._writer.write(xml.encode())

    async def _next(self) -> ET.Element:
        while True:
            for event, element in self._parser.read_events():
                self._depth += 1 if event == "start" else -1
                if event == "end" and self._depth == 1:
                    if element.tag == f"{{{STREAM}}}error":
                        self.condition = next(child.tag.removeprefix(ERRORS) for child in element)
                        self.other_host = element.findtext(f"{ERRORS}see-other-host")
                    else:
                        return element
                elif event == "end" and self._depth == 0:
                    raise StreamEndError(self.condition)
            try:
                data = await self._reader.read(65_536)
            except OSError:
                data = b""
            if not data:
                raise StreamEndError(self.condition)
            self._parser.feed(data)

    async def _receive(self) -> None:
        with contextlib.suppress(StreamEndError):
            while True:
                await self.elements.put(await self._next())
        await self.elements.put(None)
        self._writer.transport.abort()

    async def next(self, timeout_seconds: float = TIMEOUT_SECONDS) -> ET.Element:
        """The next element; StreamEndError if there is none, TimeoutError if nothing comes."""
        async with asyncio.timeout(timeout_seconds):
            element = await self.elements.get()
        if element is None:
            self.elements.put_nowait(None)
            raise StreamEndError(self.condition)
        return element

    async def ping(self, timeout_seconds: float = TIMEOUT_SECONDS) -> None:
        """One round trip to the server; skips what else arrives."""
        identifier = f"ping-{next(_numbers)}"
        self.send(
            f"<iq type='get' id='{identifier}' to={quoteattr(self.account.domain)}><ping xmlns='urn:xmpp:ping'/></iq>"
        )
        async with asyncio.timeout(timeout_seconds):
            while (await self.next(timeout_seconds)).get("id") != identifier:
                pass

    async def end(self, timeout_seconds: float = TIMEOUT_SECONDS) -> str | None:
        """Wait until the server ends the stream; the condition it gave."""
        with contextlib.suppress(StreamEndError):
            while True:
                await self.next(timeout_seconds)
        return self.condition

    def message(self, to: str, body: str) -> None:
        """Send a chat message."""
        self.send(f"<message type='chat' to={quoteattr(to)}><body>{escape(body)}</body></message>")

    async def close(self) -> None:
        """Drop the connection without ceremony."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        self._writer.transport.abort()
