"""The client of `megaphone probe`: a slixmpp client that reports when it reaches each step, or why it never will."""

import asyncio
import datetime
import socket
import ssl
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, Literal
from xml.sax.saxutils import quoteattr

import slixmpp
from slixmpp.xmlstream.stanzabase import StanzaBase

from megaphone.cli.login import Trust, condition, why
from megaphone.supervisor.certificate import not_after

STEPS: Final = ("resolve", "connect", "starttls", "tls", "stream", "authenticate", "bind", "message", "disconnect")
STARTTLS_NAMESPACE: Final = "urn:ietf:params:xml:ns:xmpp-tls"
HINTS: Final = "<no-store xmlns='urn:xmpp:hints'/><no-copy xmlns='urn:xmpp:hints'/>"


@dataclass(frozen=True, slots=True)
class Target:
    """What to probe, and as whom."""

    jid: str
    password: str
    host: str
    port: int
    tls: Literal["starttls", "direct"]
    context: Trust
    timeout_seconds: float  # for all steps together


@dataclass(frozen=True, slots=True)
class Step:
    """One step that was reached, or the one that failed."""

    name: str
    succeeded: bool
    seconds: float  # since the step before
    text: str
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Outcome:
    """All steps up to the first that failed; `reason` is None if none did."""

    steps: list[Step]
    reason: str | None
    total_seconds: float


class StepError(Exception):
    """Why the current step cannot be reached."""


async def probe(target: Target, show: Callable[[Step], None]) -> Outcome:
    """Go through all steps; `show` gets each one as it is reached or fails. Raises nothing for a bad server."""
    started = before = time.monotonic()
    steps: list[Step] = []
    reason = None
    client = ProbeClient(target)
    work = asyncio.create_task(client.work())
    names = [name for name in STEPS if name != "starttls" or target.tls == "starttls"]
    try:
        async with asyncio.timeout(target.timeout_seconds):
            for name in names:
                now, text, facts = await client.reached[name]
                steps.append(Step(name, True, now - before, text, facts))
                show(steps[-1])
                before = now
    except StepError as error:
        reason = str(error)
    except TimeoutError:
        reason = f"no answer within {target.timeout_seconds:g} s"
    if reason is not None:
        steps.append(Step(names[len(steps)], False, time.monotonic() - before, reason, {"reason": reason}))
        show(steps[-1])
    work.cancel()
    await asyncio.wait([work])
    await client.dispose()
    return Outcome(steps, reason, time.monotonic() - started)


class ProbeClient(slixmpp.ClientXMPP):
    """`reached[step]` becomes the time, a text and facts when a step is done, or StepError."""

    def __init__(self, target: Target) -> None:
        super().__init__(target.jid, target.password, ssl_context=target.context)
        self.target = target
        self.enable_direct_tls = target.tls == "direct"
        self.enable_starttls = target.tls == "starttls"
        self.whitespace_keepalive = False
        loop = asyncio.get_running_loop()
        self.reached: dict[str, asyncio.Future[tuple[float, str, dict[str, Any]]]] = {
            name: loop.create_future() for name in STEPS
        }
        self._message_id = f"probe-{uuid.uuid4().hex}"
        target.context.began = self._on_handshake_began
        handlers: dict[str, Callable[[Any], Any]] = {
            "connected": self._on_connected,
            "connection_failed": self._on_connection_failed,
            "tls_success": self._on_handshake_done,
            "ssl_invalid_chain": self._on_connection_failed,
            "stream_error": self._on_stream_error,
            "failed_auth": self._on_authentication_failed,
            "no_auth": self._on_no_mechanism,
            "auth_success": self._on_authenticated,
            "session_start": self._on_session_started,
            "message": self._on_message,
            "message_error": self._on_message,
            "disconnected": self._on_disconnected,
        }
        for event, handler in handlers.items():
            self.add_event_handler(event, handler)
        self.add_filter("in", self._seen)

    async def work(self) -> None:
        """Resolve and connect; everything after that happens in event handlers."""
        target = self.target
        try:
            found = await asyncio.get_running_loop().getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            self._fail(f"cannot resolve {target.host}: {getattr(error, 'strerror', None) or error}")
            return
        addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
        self._reach("resolve", ", ".join(addresses), addresses=addresses)
        # One address after the other, as the resolver ordered them (RFC 6724); create_connection does that for a name.
        self.connect(addresses[0] if len(addresses) == 1 else target.host, target.port)

    async def dispose(self) -> None:
        """Close the socket if it is still open and end slixmpp's tasks."""
        self.cancel_connection_attempt()
        self.abort()
        for future in self.reached.values():
            future.cancel()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # Steps ----------------------------------------------------------------------------------------------------------

    def _reach(self, step: str, text: str, **facts: Any) -> None:
        future = self.reached[step]
        if not future.done():
            future.set_result((time.monotonic(), text, facts))

    def _fail(self, reason: str) -> None:
        for step, future in self.reached.items():
            if step == "starttls" and self.target.tls == "direct":
                continue
            if not future.done():
                future.set_exception(StepError(reason))
                future.exception()  # retrieved: only the first one is ever awaited
                self.cancel_connection_attempt()
                return

    def _on_handshake_began(self) -> None:
        if self.target.tls == "direct":
            self._reach("connect", f"port {self.target.port}", port=self.target.port)
        else:
            self._reach("starttls", "the server proceeds")

    def _on_connected(self, _: Any) -> None:
        self._reach("connect", f"port {self.target.port}", port=self.target.port)

    def _on_handshake_done(self, _: Any) -> None:
        tls = self.transport.get_extra_info("ssl_object") if self.transport is not None else None
        if tls is None:
            return
        certificate = tls.getpeercert(True)
        cipher = tls.cipher()
        facts: dict[str, Any] = {
            "version": tls.version(),
            "cipher": cipher[0] if cipher else None,
            "alpn": tls.selected_alpn_protocol(),
            "verified": self.target.context.verify_mode == ssl.CERT_REQUIRED,
        }
        text = f"{facts['version']} {facts['cipher']}"
        if certificate is not None:
            expires = datetime.datetime.fromtimestamp(not_after(certificate), datetime.UTC)
            days = (expires - datetime.datetime.now(datetime.UTC)) / datetime.timedelta(days=1)
            facts |= {"certificate_expires": expires.isoformat(), "certificate_days_left": round(days, 2)}
            text += f", certificate expires {expires:%Y-%m-%d} (in {days:.0f} days)"
        self._reach("tls", text if facts["verified"] else f"{text}, NOT verified", **facts)

    def _seen(self, stanza: StanzaBase) -> StanzaBase:
        if stanza.name == "features":
            self._features(stanza)
        elif stanza.name == "iq" and stanza["type"] == "error" and not self.reached["bind"].done():
            self._fail(condition(stanza["error"]))
        return stanza

    def _features(self, stanza: StanzaBase) -> None:
        mechanisms = [str(element.text) for element in stanza.xml.iterfind(".//{*}mechanism")]
        if not self.reached["tls"].done():
            if stanza.xml.find(f"{{{STARTTLS_NAMESPACE}}}starttls") is None:
                self._fail("the server does not offer STARTTLS here")
        elif mechanisms:
            self._reach("stream", f"offers {', '.join(mechanisms)}", mechanisms=mechanisms)

    def _on_authenticated(self, _: Any) -> None:
        mechanism = str(self.plugin["feature_mechanisms"].mech.name)  # type: ignore[union-attr]
        self._reach("authenticate", mechanism, mechanism=mechanism)

    def _on_session_started(self, _: Any) -> None:
        self._reach("bind", str(self.boundjid), jid=str(self.boundjid))
        body = "<body>megaphone probe</body>"
        self.send_raw(
            f"<message type='chat' to={quoteattr(str(self.boundjid))} id='{self._message_id}'>{body}{HINTS}</message>"
        )

    def _on_message(self, message: StanzaBase) -> None:
        if message["id"] != self._message_id or self.reached["message"].done():
            return
        if message["type"] == "error":
            self._fail(condition(message["error"]))
            return
        self._reach("message", "came back")
        self.disconnect(wait=self.target.timeout_seconds)

    # Failures -------------------------------------------------------------------------------------------------------

    def _on_connection_failed(self, error: Any) -> None:
        self._fail(why(error))

    def _on_stream_error(self, error: StanzaBase) -> None:
        self._fail(f"the server ended the stream: {condition(error)}")

    def _on_authentication_failed(self, failure: StanzaBase) -> None:
        self._fail(f"the server refused the login: {condition(failure)}")

    def _on_no_mechanism(self, _: Any) -> None:
        self._fail("the server offers no mechanism that is safe to use here")

    def _on_disconnected(self, reason: Any) -> None:
        if self.reached["message"].done():
            self._reach("disconnect", "the server closed its stream")
            return
        if isinstance(reason, ssl.SSLError):
            self._fail(why(reason))
            return
        text = "the server closed the connection"
        if isinstance(reason, Exception):
            text += f": {why(reason)}"
        if not self.reached["starttls"].done() and self.target.tls == "starttls":
            text += "; it may expect --tls direct on this port"
        self._fail(text)
