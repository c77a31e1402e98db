"""A client over WebSocket for tests: the websockets library, SASL PLAIN, one message one element."""

import asyncio
import base64
import contextlib
import itertools
import ssl
from pathlib import Path
from typing import Self
from xml.etree import ElementTree as ET
from xml.sax.saxutils import escape, quoteattr

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from tests.scenarios.light import TIMEOUT_SECONDS
from tests.servers.model import Account, Endpoint

FRAMING = "{urn:ietf:params:xml:ns:xmpp-framing}"
CLIENT = "{jabber:client}"
STREAMS = "{http://etherx.jabber.org/streams}"

_numbers = itertools.count(1)


class WebSocketClient:
    """One logged-in session; what the server says afterwards is waited for element by element."""

    def __init__(self, account: Account, socket: ClientConnection) -> None:
        self.account = account
        self.jid = account.jid
        self.socket = socket

    @classmethod
    async def login(
        cls, endpoint: Endpoint, account: Account, authority: Path, *, forwarded: str | None = None
    ) -> Self:
        """Connect, log in, bind, and say to be there; `forwarded` is the client, in TLS, of the proxy that this is."""
        in_tls = endpoint.tls != "none"
        context = ssl.create_default_context(cafile=str(authority)) if in_tls else None
        if context is not None:
            context.set_alpn_protocols(["http/1.1"])
        socket = await connect(
            f"{'wss' if in_tls else 'ws'}://{account.domain}:{endpoint.port}/xmpp-websocket",
            subprotocols=[Subprotocol("xmpp")],
            ssl=context,
            host=endpoint.host,
            port=endpoint.port,
            proxy=None,
            max_size=None,
            additional_headers={"X-Forwarded-For": forwarded, "X-Forwarded-Proto": "https"} if forwarded else None,
            open_timeout=TIMEOUT_SECONDS,
        )
        assert socket.subprotocol == "xmpp"
        client = cls(account, socket)
        await client._negotiate()
        return client

    async def _negotiate(self) -> None:
        await self._open()
        secret = base64.b64encode(f"\0{self.account.user}\0{self.account.password}".encode()).decode()
        await self.send(f"<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>{secret}</auth>")
        answer = await self.next()
        assert answer.tag.endswith("}success"), ET.tostring(answer)
        await self._open()
        bound = await self.ask("<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/>")
        self.jid = bound.findtext(".//{*}jid", default="")
        assert self.jid, ET.tostring(bound)
        await self.send("<presence xmlns='jabber:client'/>")

    async def _open(self) -> None:
        domain = quoteattr(self.account.domain)
        await self.send(f"<open xmlns='urn:ietf:params:xml:ns:xmpp-framing' to={domain} version='1.0'/>")
        opened = await self.next()
        assert (opened.tag, opened.get("from")) == (f"{FRAMING}open", self.account.domain), ET.tostring(opened)
        assert opened.get("id")
        features = await self.next()
        assert features.tag == f"{STREAMS}features", ET.tostring(features)

    async def send(self, xml: str) -> None:
        """One message."""
        await self.socket.send(xml)

    async def next(self) -> ET.Element:
        """The next message, which is one element; websockets' ConnectionClosed at the end."""
        async with asyncio.timeout(TIMEOUT_SECONDS):
            text = await self.socket.recv()
        assert isinstance(text, str)
        assert text.startswith("<")
        return ET.fromstring(text)

    async def until(self, tag: str) -> ET.Element:
        """The next element with this name."""
        while (element := await self.next()).tag != tag:
            pass
        return element

    async def ask(self, payload: str, kind: str = "set", to: str | None = None) -> ET.Element:
        """Send an IQ, and return its answer."""
        number = f"ws{next(_numbers)}"
        addressed = "" if to is None else f" to={quoteattr(to)}"
        await self.send(f"<iq xmlns='jabber:client' type='{kind}' id='{number}'{addressed}>{payload}</iq>")
        while (answer := await self.until(f"{CLIENT}iq")).get("id") != number:
            pass
        return answer

    async def message(self, to: str, body: str) -> None:
        """A chat message."""
        await self.send(
            f"<message xmlns='jabber:client' to={quoteattr(to)} type='chat'><body>{escape(body)}</body></message>"
        )

    async def next_body(self) -> str:
        """The next message's text."""
        while (body := (await self.until(f"{CLIENT}message")).findtext(f"{CLIENT}body")) is None:
            pass
        return body

    async def close(self) -> int:
        """Say <close/>, wait for the server's and for the end; the status code of that."""
        await self.send("<close xmlns='urn:ietf:params:xml:ns:xmpp-framing'/>")
        await self.until(f"{FRAMING}close")
        return await self.end()

    async def end(self) -> int:
        """The status code that the server ends the WebSocket with; whatever comes before it is not looked at."""
        with contextlib.suppress(ConnectionClosed):
            async with asyncio.timeout(TIMEOUT_SECONDS):
                while True:
                    await self.socket.recv()
        code = self.socket.close_code
        assert code is not None
        return code
