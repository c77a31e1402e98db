"""A small XMPP client on a virtual stream: login with or without channel binding, stanzas, stream management.

It reads only when asked to, so that a client that takes nothing is one whose `next` is not called.
"""

import asyncio
import base64
import hashlib
import hmac
import itertools
import os
import unicodedata
from typing import Any, cast
from xml.etree import ElementTree as ET
from xml.sax.saxutils import escape, quoteattr

from tests.link.edge import Edge, facts
from tests.link.frames import Open
from tests.link.stream import Stream
from tests.link.wire import DEADLINE_SECONDS
from tests.servers.model import Account

STREAM = "http://etherx.jabber.org/streams"
SASL = "urn:ietf:params:xml:ns:xmpp-sasl"
SM = "urn:xmpp:sm:3"
MUC = "http://jabber.org/protocol/muc"
CLIENT = "{jabber:client}"

_numbers = itertools.count(1)


class LoginError(Exception):
    """SASL ended with a failure; `condition` is its name."""

    def __init__(self, condition: str) -> None:
        super().__init__(condition)
        self.condition = condition


class StreamEndError(Exception):
    """The stream ended; `condition` is its stream error, None without one."""

    def __init__(self, condition: str | None) -> None:
        super().__init__(condition or "without a stream error")
        self.condition = condition


def unique() -> bytes:
    """Something that looks like `tls-unique` data."""
    return os.urandom(12)


class XmppClient:
    """One session of `account`. `binding` is the channel binding the client believes in (None: it has none)."""

    def __init__(self, stream: Stream, account: Account, binding: bytes | None = None) -> None:
        self.stream = stream
        self.account = account
        self.binding = binding
        self.jid = account.jid
        self.features = ET.Element("none")
        self.resumption: str | None = None
        self.received_stanzas = 0  # since stream management is on
        self._counting = False
        self._parser: Any = ET.XMLPullParser(("start", "end"))
        self._depth = 0
        self._condition: str | None = None

    @classmethod
    async def login(
        cls,
        edge: Edge,
        account: Account,
        *,
        mechanism: str = "PLAIN",
        client: Open | None = None,
        binding: bytes | None = None,
        resource: str | None = None,
        identifier: int | None = None,
    ) -> "XmppClient":
        """Open a stream, authenticate and bind."""
        self = cls(edge.open(client or facts(), identifier), account, binding)
        await self.begin()
        await self.authenticate(mechanism)
        await self.bind(resource)
        return self

    # Negotiation ----------------------------------------------------------------------------------------------------

    async def begin(self) -> None:
        """Stream header and features."""
        self._parser, self._depth = ET.XMLPullParser(("start", "end")), 0
        self.send(
            f"<?xml version='1.0'?><stream:stream to={quoteattr(self.account.domain)} xmlns='jabber:client' "
            f"xmlns:stream='{STREAM}' version='1.0'>"
        )
        self.features = await self.next()
        assert self.features.tag == f"{{{STREAM}}}features", ET.tostring(self.features)

    @property
    def mechanisms(self) -> list[str]:
        """What the server offers."""
        return [each.text or "" for each in self.features.iterfind(f".//{{{SASL}}}mechanism")]

    async def authenticate(self, mechanism: str) -> None:
        """PLAIN, SCRAM-SHA-1 or SCRAM-SHA-1-PLUS (with `tls-unique`); LoginError if the server refuses."""
        if mechanism == "PLAIN":
            answer = await self._sasl("auth", f"\0{self.account.user}\0{self.account.password}".encode(), mechanism)
            assert answer.tag == f"{{{SASL}}}success", ET.tostring(answer)
        else:
            await self._scram(mechanism)
        await self.begin()

    async def _sasl(self, step: str, data: bytes, mechanism: str | None = None) -> ET.Element:
        attribute = "" if mechanism is None else f" mechanism='{mechanism}'"
        self.send(f"<{step} xmlns='{SASL}'{attribute}>{base64.b64encode(data).decode()}</{step}>")
        answer = await self.next()
        if answer.tag == f"{{{SASL}}}failure":
            raise LoginError(answer[0].tag.partition("}")[2])
        return answer

    async def _scram(self, mechanism: str) -> None:
        """RFC 5802; with -PLUS the header names `tls-unique`, without it says that the client could do none."""
        plus = mechanism.endswith("-PLUS")
        header = b"p=tls-unique,," if plus else b"n,,"
        bare = f"n={self.account.user},r={os.urandom(12).hex()}".encode()
        challenge = await self._sasl("auth", header + bare, mechanism)
        first = base64.b64decode(challenge.text or "")
        fields = dict(part.split(b"=", 1) for part in first.split(b","))
        password = unicodedata.normalize("NFKC", self.account.password).encode()  # what matters here of SASLprep
        salted = hashlib.pbkdf2_hmac("sha1", password, base64.b64decode(fields[b"s"]), int(fields[b"i"]))
        client_key = hmac.digest(salted, b"Client Key", "sha1")
        data = base64.b64encode(header + ((self.binding or b"") if plus else b""))
        last = b"c=" + data + b",r=" + fields[b"r"]
        said = bare + b"," + first + b"," + last
        signature = hmac.digest(hashlib.sha1(client_key).digest(), said, "sha1")
        proof = bytes(a ^ b for a, b in zip(client_key, signature, strict=True))
        answer = await self._sasl("response", last + b",p=" + base64.b64encode(proof))
        server = hmac.digest(hmac.digest(salted, b"Server Key", "sha1"), said, "sha1")
        assert base64.b64decode(answer.text or "") == b"v=" + base64.b64encode(server), "wrong signature"

    async def bind(self, resource: str | None = None) -> None:
        """Resource binding; `jid` is the full JID then."""
        wish = "" if resource is None else f"<resource>{escape(resource)}</resource>"
        answer = await self.ask("set", f"<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'>{wish}</bind>")
        self.jid = answer.findtext(".//{*}jid", default="")
        assert self.jid, ET.tostring(answer)

    # Stanzas --------------------------------------------------------------------------------------------------------

    def send(self, xml: str) -> None:
        """Send text as it is."""
        self.stream.write(xml.encode())

    def message(self, to: str, body: str) -> None:
        self.send(f"<message type='chat' to={quoteattr(to)}><body>{escape(body)}</body></message>")

    def presence(self, inner: str = "") -> None:
        self.send(f"<presence>{inner}</presence>")

    async def join(self, room: str, nick: str) -> None:
        """Enter a room (XEP-0045 7.2); returns with the own presence from it."""
        self.send(f"<presence to={quoteattr(f'{room}/{nick}')}><x xmlns='{MUC}'/></presence>")
        while True:
            element = await self.next()
            if element.tag == f"{CLIENT}presence" and element.get("from") == f"{room}/{nick}":
                assert element.get("type") != "error", ET.tostring(element)
                return

    async def ask(self, kind: str, payload: str, to: str | None = None) -> ET.Element:
        """Send an IQ; its answer. Other elements that come before it are dropped."""
        identifier = f"q{next(_numbers)}"
        address = "" if to is None else f" to={quoteattr(to)}"
        self.send(f"<iq type='{kind}' id='{identifier}'{address}>{payload}</iq>")
        while True:
            element = await self.next()
            if element.tag == f"{CLIENT}iq" and element.get("id") == identifier:
                return element

    async def ping(self) -> None:
        """One round trip to the server (XEP-0199), answered with whatever."""
        await self.ask("get", "<ping xmlns='urn:xmpp:ping'/>", self.account.domain)

    async def next_body(self, timeout_seconds: float = DEADLINE_SECONDS) -> str:
        """The body of the next message that has one."""
        async with asyncio.timeout(timeout_seconds):
            while True:
                element = await self.next(timeout_seconds)
                if element.tag == f"{CLIENT}message" and (body := element.findtext(f"{CLIENT}body")) is not None:
                    return body

    async def next(self, timeout_seconds: float = DEADLINE_SECONDS) -> ET.Element:
        """The next element of the stream, except for stream management's; StreamEndError at its end."""
        async with asyncio.timeout(timeout_seconds):
            while True:
                for event, element in self._parser.read_events():
                    self._depth += 1 if event == "start" else -1
                    if event == "end" and self._depth == 0:
                        raise StreamEndError(self._condition)
                    if event == "end" and self._depth == 1:
                        if element.tag == f"{{{STREAM}}}error":
                            self._condition = element[0].tag.partition("}")[2]
                        elif self._managed(element):
                            return cast(ET.Element, element)
                data = await self.stream.read(timeout_seconds=timeout_seconds)
                if not data:
                    raise StreamEndError(self._condition)
                self._parser.feed(data)

    def _managed(self, element: ET.Element) -> bool:
        """Whether the element is for the caller; counts and answers for stream management."""
        if element.tag == f"{{{SM}}}r":
            self.send(f"<a xmlns='{SM}' h='{self.received_stanzas}'/>")
            return False
        if element.tag == f"{{{SM}}}a":
            return False
        if self._counting and element.tag in (f"{CLIENT}iq", f"{CLIENT}message", f"{CLIENT}presence"):
            self.received_stanzas += 1
        return True

    # Stream management (XEP-0198) -----------------------------------------------------------------------------------

    async def enable_resumption(self) -> None:
        self.send(f"<enable xmlns='{SM}' resume='true'/>")
        while (answer := await self.next()).tag != f"{{{SM}}}enabled":
            assert answer.tag != f"{{{SM}}}failed", ET.tostring(answer)
        self.resumption = answer.get("id")
        self._counting = True
        assert self.resumption

    async def resume(self, edge: Edge, client: Open | None = None) -> "XmppClient":
        """Go on with this session on a new stream of `edge`; the old one is not touched."""
        after = XmppClient(edge.open(client or facts()), self.account)
        await after.begin()
        await after.authenticate("PLAIN")
        after.send(f"<resume xmlns='{SM}' h='{self.received_stanzas}' previd={quoteattr(self.resumption or '')}/>")
        answer = await after.next()
        assert answer.tag == f"{{{SM}}}resumed", ET.tostring(answer)
        after.jid, after.resumption = self.jid, self.resumption
        after.received_stanzas, after._counting = self.received_stanzas, True
        return after

    async def leave(self) -> None:
        """End the stream as RFC 6120 4.4 says, and the virtual one with it.

        What has come is acknowledged first, or the server would send it to the account's other sessions.
        """
        if self._counting:
            self.send(f"<a xmlns='{SM}' h='{self.received_stanzas}'/>")
        self.send("</stream:stream>")
        try:
            while True:
                await self.next()
        except StreamEndError:
            await self.stream.close()
