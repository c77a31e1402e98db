"""A slixmpp client that records all it sends and receives, and lets a script wait for what it expects."""

import asyncio
import copy
import itertools
import socket
import ssl
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import slixmpp

from tests.scenarios.transcript import SETTLING, STREAM, Entry, Transcript
from tests.servers.model import Account, Endpoint

CLIENT = "jabber:client"
STEP_TIMEOUT_SECONDS = 60.0
RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # struct linger: close() sends RST

Match = Callable[[ET.Element], bool]


class UnexpectedError(AssertionError):
    """The server did not send what the script waits for."""


def stanza(name: str, *, of: str | None = None, kind: str | None = None, child: str | None = None) -> Match:
    """Matches a stanza by element name, `from`, `type` and the qualified name of a child or descendant."""

    def match(element: ET.Element) -> bool:
        return (
            element.tag == f"{{{CLIENT}}}{name}"
            and (of is None or element.get("from") == of)
            and (kind is None or element.get("type") == kind)
            and (child is None or element.find(f".//{child}") is not None)
        )

    return match


class Client(slixmpp.ClientXMPP):
    """One user's device. `name` is what it is called in the transcript."""

    def __init__(
        self,
        name: str,
        account: Account,
        endpoint: Endpoint,
        authority: Path,
        transcript: Transcript,
        *,
        resource: str | None = None,
        mechanism: str = "SCRAM-SHA-1",
        stream_management: bool = False,
    ) -> None:
        jid = account.jid if resource is None else f"{account.jid}/{resource}"
        context = ssl.create_default_context(cafile=str(authority))
        context.set_alpn_protocols(["xmpp-client"])
        super().__init__(jid, account.password, sasl_mech=mechanism, ssl_context=context)
        self.name = name
        self.account = account
        self.endpoint = endpoint
        self.transcript = transcript
        self.enable_direct_tls = endpoint.tls == "direct"
        self.enable_starttls = endpoint.tls == "starttls"
        self.enable_plaintext = endpoint.tls == "none"
        self.use_aiodns = False
        self.whitespace_keepalive = False
        # What the script does not say must not happen: slixmpp by itself would answer subscription requests.
        self.roster.auto_authorize = None
        self.roster.auto_subscribe = False
        if stream_management:
            self.register_plugin("xep_0198")
        self.register_plugin("xep_0352")
        self._ids = itertools.count(1)
        self._changed = asyncio.Event()
        self._consumed: set[int] = set()
        self._answers: dict[str, asyncio.Future[ET.Element]] = {}
        for event in (
            "connection_failed",
            "failed_auth",
            "session_start",
            "sm_enabled",
            "session_resumed",
            "disconnected",
        ):
            self.add_event_handler(event, self._noting(event))

    # Recording ------------------------------------------------------------------------------------------------------

    def _record(self, direction: str, element: ET.Element | None, event: str = "") -> None:
        self.transcript.entries.append(Entry(self.transcript.steps[-1], self.name, direction, element, event))
        self._changed.set()

    def _noting(self, event: str) -> Callable[[Any], None]:
        return lambda _: self._record("event", None, event)

    def send_raw(self, data: str | bytes) -> None:
        """Send, and record the elements in `data`."""
        text = data if isinstance(data, str) else data.decode()
        if text.startswith("<stream:stream"):
            self._record("out", ET.fromstring(text + "</stream:stream>"))
        elif text == self.stream_footer:
            self._record("event", None, "sent </stream:stream>")
        else:
            for element in ET.fromstring(f"<x xmlns='{CLIENT}' xmlns:stream='{STREAM}'>{text}</x>"):
                self._record("out", element)
        super().send_raw(data)

    def drip(self, byte: int) -> None:
        """Send one byte in a TLS record of its own; not recorded, since it is no element."""
        self.transport.write(bytes([byte]))

    def start_stream_handler(self, xml: ET.Element) -> None:
        """Record the server's stream header."""
        header = ET.Element(xml.tag, dict(xml.attrib))
        self._record("in", header)
        super().start_stream_handler(xml)

    def incoming_filter(self, xml: ET.Element) -> ET.Element:
        """Record an incoming element before slixmpp touches it."""
        kept = copy.deepcopy(xml)
        kept.tail = None
        self._record("in", kept)
        if kept.tag == f"{{{CLIENT}}}iq" and kept.get("type") in ("result", "error"):
            answer = self._answers.pop(kept.get("id", ""), None)
            if answer is not None and not answer.done():
                answer.set_result(kept)
        return xml

    def abort(self) -> None:
        """Note the end of the server's stream, which slixmpp answers by closing the socket."""
        if self.transport is not None and self.disconnect_reason == "End of stream":
            self._record("event", None, "received </stream:stream>")
        super().abort()

    # Waiting --------------------------------------------------------------------------------------------------------

    async def _until(self, condition: Callable[[], Any], what: str) -> Any:
        try:
            async with asyncio.timeout(STEP_TIMEOUT_SECONDS):
                while (result := condition()) is None or result is False:  # an Element without children is falsy
                    self._changed.clear()
                    await self._changed.wait()
                return result
        except TimeoutError:
            seen = "\n".join(self.transcript.lines()[-20:])
            raise UnexpectedError(
                f"{self.name}: no {what} within {STEP_TIMEOUT_SECONDS:g} s; last seen:\n{seen}"
            ) from None

    async def expect(self, *matches: Match) -> list[ET.Element]:
        """Wait until each of `matches` was met by an element of its own in this step; returns those elements."""
        found = []
        for number, match in enumerate(matches):
            found.append(await self._until(lambda match=match: self._take(match), f"expected element {number + 1}"))
        return found

    def _take(self, match: Match) -> ET.Element | None:
        step = self.transcript.steps[-1]
        for entry in self.transcript.entries:
            if entry.client != self.name or entry.direction != "in" or entry.step != step or entry.element is None:
                continue
            if id(entry) not in self._consumed and match(entry.element):
                self._consumed.add(id(entry))
                return entry.element
        return None

    async def expect_event(self, event: str) -> None:
        """Wait until `event` was noted in this step."""
        step = self.transcript.steps[-1]

        def noted() -> bool:
            return any(e.client == self.name and e.step == step and e.event == event for e in self.transcript.entries)

        await self._until(noted, event)

    # Acting ---------------------------------------------------------------------------------------------------------

    async def login(self) -> None:
        """Connect and negotiate until the session stands (and stream management, if asked for)."""
        self.connect(self.endpoint.host, self.endpoint.port)
        await self.expect_event("session_start")
        if "xep_0198" in self.plugin:
            await self.expect_event("sm_enabled")

    def say(self, xml: str) -> None:
        """Send one stanza through slixmpp, so that stream management counts it."""
        element = ET.fromstring(f"<x xmlns='{CLIENT}'>{xml}</x>")[0]
        kind = {"message": slixmpp.Message, "presence": slixmpp.Presence, "iq": slixmpp.Iq}[
            element.tag.partition("}")[2]
        ]
        self.send(kind(self, xml=element))

    async def ask(self, kind: str, payload: str, to: str | None = None, prefix: str = "") -> ET.Element:
        """Send an IQ and return its answer, result or error."""
        identifier = f"{prefix}{self.name}-{next(self._ids)}"
        answer = asyncio.get_running_loop().create_future()
        self._answers[identifier] = answer
        address = "" if to is None else f" to='{to}'"
        self.say(f"<iq type='{kind}' id='{identifier}'{address}>{payload}</iq>")
        return await self._until(lambda: answer.result() if answer.done() else None, f"answer to {payload[:60]}")

    async def settle(self, to: str | None = None) -> None:
        """Ping the server: what slixmpp had queued is sent, our session has dealt with it, and its answers are here.

        With a bare JID instead of the server, what we have said to that user has been dealt with, too.
        """
        await self.ask("get", "<ping xmlns='urn:xmpp:ping'/>", to or self.boundjid.host, prefix=SETTLING)

    async def cut(self) -> None:
        """Drop the socket as a lost network does: no stream end, no TLS close, RST."""
        raw: socket.socket = self.transport.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
        self.transport.abort()
        await self.expect_event("disconnected")

    async def resume(self) -> None:
        """Connect again and resume the stream."""
        self.connect(self.endpoint.host, self.endpoint.port)
        await self.expect_event("session_resumed")

    async def leave(self) -> None:
        """Close the stream in order and wait for the server's end of it."""
        self.disconnect(wait=STEP_TIMEOUT_SECONDS)
        await self.expect_event("received </stream:stream>")
        await self.expect_event("disconnected")

    async def dispose(self) -> None:
        """Close the socket if it is open and end slixmpp's tasks."""
        self.cancel_connection_attempt()
        self.abort()
        if self._run_out_filters is not None:
            self._run_out_filters.cancel()
            await asyncio.wait([self._run_out_filters])
