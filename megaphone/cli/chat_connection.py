"""One connection of a chat to one server: logs in, finds the service of rooms, carries stanzas (slixmpp)."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable
from typing import Any, Final
from xml.etree import ElementTree as ET

import slixmpp
from slixmpp.exceptions import IqError, IqTimeout
from slixmpp.xmlstream.handler import Callback
from slixmpp.xmlstream.matcher import MatchXPath
from slixmpp.xmlstream.stanzabase import StanzaBase
from slixmpp.xmlstream.xmlstream import NotConnectedError

from megaphone.cli import chat_stanzas
from megaphone.cli.chat_settings import Login
from megaphone.cli.login import condition, trust, why
from megaphone.sockets.endpoint import Endpoint

STARTTLS: Final = "{urn:ietf:params:xml:ns:xmpp-tls}starttls"
SERVICES_LIMIT: Final = 20  # items of a domain that are asked whether they are the rooms
ANSWER_SECONDS: Final = 5.0
CLOSE_SECONDS: Final = 1.0
# What a ping through the room to ourselves is answered by our own client, for its nick, or by a network in between
# (XEP-0410, section 3.2); any other error means that we are no occupants.
_INSIDE: Final = frozenset(
    {
        *("service-unavailable", "feature-not-implemented", "item-not-found"),
        *("remote-server-not-found", "remote-server-timeout"),
    }
)
_SCRAM: Final = tuple(f"SCRAM-SHA-{size}{plus}" for size in ("512", "256", "1") for plus in ("-PLUS", ""))


class ServerFailedError(Exception):
    """This server is of no use now, another one may be; `reached` if it answered at all."""

    def __init__(self, reason: str, *, reached: bool) -> None:
        super().__init__(reason)
        self.reached = reached


class RefusedError(Exception):
    """We are not let in, and would not be elsewhere."""


class Connection(slixmpp.ClientXMPP):
    """`presence` and `message` get what comes from anybody; `lost` becomes why the connection ended."""

    def __init__(
        self,
        login: Login,
        server: Endpoint,
        presence: Callable[[ET.Element], None],
        message: Callable[[ET.Element], None],
    ) -> None:
        # On this machine nobody is in between: TLS may be missing, and without a password any certificate will do.
        self._near = login.ca_file is None and _is_loopback(server.host)
        context = trust(login.ca_file, insecure=login.insecure or (self._near and login.account is None))
        super().__init__(login.account or login.domain, login.password, ssl_context=context)
        self._login, self._server = login, server
        self.other_host = ""  # where the server sent us
        self._answered = False
        self.enable_direct_tls = login.tls == "direct"
        self.enable_starttls = login.tls == "starttls"
        self.enable_plaintext = login.tls == "none"
        self.max_redirects = -1  # whom to try next is decided by the session
        self.roster.auto_authorize = False
        self.roster.auto_subscribe = False
        self._set_mechanisms()
        self.register_plugin("xep_0030")
        self.register_plugin("xep_0199")
        loop = asyncio.get_running_loop()
        self.lost: asyncio.Future[str] = loop.create_future()
        self._open: asyncio.Future[None] = loop.create_future()
        for event, respond in {
            "connection_failed": self._on_connection_failed,
            "ssl_invalid_chain": self._on_tls_failed,
            "stream_error": self._on_stream_error,
            "failed_auth": self._on_failed_auth,
            "no_auth": self._on_no_mechanism,
            "session_start": self._on_session_start,
            "disconnected": self._on_disconnected,
        }.items():
            self.add_event_handler(event, respond)
        for name, receive in (("presence", presence), ("message", message)):
            self.register_handler(
                Callback(f"chat {name}", MatchXPath(f"{chat_stanzas.CLIENT}{name}"), _of_element(receive))
            )
        self.add_filter("in", self._on_stanza)

    def _set_mechanisms(self) -> None:
        mechanisms: Any = self.plugin["feature_mechanisms"]
        if self._login.account is None:
            mechanisms.use_mech = "ANONYMOUS"
            return
        mechanisms.use_mechs = (*_SCRAM, "PLAIN")  # slixmpp gives no password to PLAIN without TLS
        mechanisms.unencrypted_scram = self._near or self._login.tls == "none"

    # What a session does with it ------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Connect and log in; raises ServerFailedError or RefusedError. To be awaited once, under a deadline."""
        host, port = self._server.host, self._server.port
        try:
            await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            reason = getattr(error, "strerror", None) or error
            raise ServerFailedError(f"cannot resolve {host}: {reason}", reached=False) from None
        self.connect(host, port)
        await self._open

    async def find_rooms(self) -> str | None:
        """The domain's service of rooms by XEP-0030: an item that is conference/text, else the usual names."""
        domain = self._login.domain
        with contextlib.suppress(IqError, IqTimeout):
            items = await self._ask(domain, "items")
            names = [name for item in items.iterfind("{*}item") if (name := item.get("jid")) and not item.get("node")]
            services = names[:SERVICES_LIMIT]
            found = await asyncio.gather(*(self._has_rooms(service) for service in services))
            for service, has_rooms in zip(services, found, strict=True):
                if has_rooms:
                    return service
        for service in (f"rooms.{domain}", f"conference.{domain}"):
            if await self._has_rooms(service):
                return service
        return None

    async def accept_defaults(self, room: str) -> None:
        """Unlock a room that we created (section 10.1.2); RefusedError if that is refused."""
        try:
            await self._iq(room, "set", chat_stanzas.instant_room(), ANSWER_SECONDS)
        except IqError as error:
            raise RefusedError(f"the new room {room} cannot be configured: {error.condition}") from None
        except IqTimeout:
            raise ServerFailedError(f"no answer from {room}", reached=True) from None

    async def is_inside(self, room: str, nick: str, timeout_seconds: float) -> bool:
        """Whether the room still knows us (XEP-0410); TimeoutError if there is no answer at all."""
        try:
            await self._iq(f"{room}/{nick}", "get", ET.Element("{urn:xmpp:ping}ping"), timeout_seconds)
        except IqError as error:
            return error.condition in _INSIDE
        except IqTimeout:
            raise TimeoutError from None
        return True

    def watch_nodes(self, known: Callable[[tuple[str, ...]], None]) -> None:
        """Ask which nodes the server's cluster has, and for news of them, which are messages; others do not know it."""
        iq = self.make_iq(ito=slixmpp.JID(self._login.domain), itype="set")
        iq.append(chat_stanzas.watch_nodes())

        def answered(answer: asyncio.Future[StanzaBase]) -> None:
            if not answer.cancelled() and answer.exception() is None:
                known(chat_stanzas.read_nodes(answer.result().xml) or ())

        asked: asyncio.Future[StanzaBase] = iq.send(timeout=ANSWER_SECONDS)  # type: ignore[no-untyped-call]
        asked.add_done_callback(answered)

    def send_stanza(self, stanza: str) -> None:
        """Send it if the connection is there; if it is not, `lost` tells."""
        with contextlib.suppress(NotConnectedError):
            self.send_raw(stanza)

    async def close(self) -> None:
        """End the stream if it can be ended quickly, and everything slixmpp does for it."""
        self.cancel_connection_attempt()
        if self.transport is not None:
            if not self.lost.done():
                await self.disconnect(wait=CLOSE_SECONDS, ignore_send_queue=True)
            self.abort()
        if self._run_out_filters is not None:
            self._run_out_filters.cancel()
        for name in list(self.scheduled_events):
            self.cancel_schedule(name)
        self.lost.cancel()
        self._open.cancel()

    def abort(self) -> None:
        """Drop the connection; slixmpp's own cannot be called twice over TLS."""
        if self.transport is not None and not self.transport.is_closing():
            super().abort()

    def exception(self, exception: BaseException) -> None:
        """An error in a handler of ours or of slixmpp ends the connection instead of being swallowed."""
        self._fail(ServerFailedError(f"cannot go on: {exception!r}", reached=True))

    # Asking ---------------------------------------------------------------------------------------------------------

    async def _has_rooms(self, service: str) -> bool:
        try:
            info = await self._ask(service, "info")
        except (IqError, IqTimeout, slixmpp.InvalidJID):
            return False
        kinds = [(each.get("category"), each.get("type")) for each in info.iterfind("{*}identity")]
        return ("conference", "text") in kinds

    async def _ask(self, jid: str, what: str) -> ET.Element:
        query = f"{{http://jabber.org/protocol/disco#{what}}}query"
        answer = await self._iq(jid, "get", ET.Element(query), ANSWER_SECONDS)
        found = answer.find(query)
        return found if found is not None else ET.Element(query)

    async def _iq(self, to: str, kind: str, payload: ET.Element, timeout_seconds: float) -> ET.Element:
        iq = self.make_iq(ito=slixmpp.JID(to), itype=kind)  # type: ignore[arg-type]
        iq.append(payload)
        answer: asyncio.Future[StanzaBase] = iq.send(timeout=timeout_seconds)  # type: ignore[no-untyped-call]
        try:
            await asyncio.wait(_either(answer, self.lost), return_when=asyncio.FIRST_COMPLETED)
            if not answer.done():
                raise ServerFailedError(self.lost.result(), reached=True)
            return answer.result().xml
        finally:
            answer.cancel()

    # What slixmpp reports -------------------------------------------------------------------------------------------

    def _on_stanza(self, stanza: StanzaBase) -> StanzaBase | None:
        if stanza.name != "features":
            return stanza
        self._answered = True
        offered = stanza.xml.find(STARTTLS)
        if self._login.tls == "starttls" and not self._near and offered is None and "starttls" not in self.features:
            self._fail(ServerFailedError("the server does not offer STARTTLS here", reached=True))
            return None
        if self._login.tls == "none" and offered is not None and len(stanza.xml) == 1:
            self._fail(ServerFailedError("the server lets in nobody without TLS: leave out --tls none", reached=True))
            return None
        return stanza

    def _on_session_start(self, _: Any) -> None:
        if not self._open.done():
            self._open.set_result(None)

    def _on_connection_failed(self, error: Any) -> None:
        self._fail(ServerFailedError(why(error), reached=isinstance(error, ssl.SSLError)))

    def _on_tls_failed(self, error: Any) -> None:
        self._fail(ServerFailedError(why(error), reached=True))

    def _on_stream_error(self, error: StanzaBase) -> None:
        if error["condition"] == "see-other-host":
            self.other_host = str(error["see_other_host"])
        self._fail(ServerFailedError(f"the server ended the stream: {condition(error)}", reached=True))

    def _on_failed_auth(self, failure: StanzaBase) -> None:
        mechanism = str(self.plugin["feature_mechanisms"].mech.name)  # type: ignore[union-attr]
        if mechanism.endswith("-PLUS"):
            return  # slixmpp goes on without channel binding
        reason = f"the server refused the login: {condition(failure)}"
        passing = failure["condition"] == "temporary-auth-failure"
        self._fail(ServerFailedError(reason, reached=True) if passing else RefusedError(reason))

    def _on_no_mechanism(self, _: Any) -> None:
        if self._login.account is None:
            self._fail(RefusedError(f"{self._login.domain} lets in nobody without an account: give --account JID"))
        else:
            self._fail(RefusedError("the server offers no mechanism that is safe to use here"))

    def _on_disconnected(self, reason: Any) -> None:
        text = "the server closed the connection"
        if isinstance(reason, Exception):
            text += f": {why(reason)}"
        if not self._answered and self._login.tls == "starttls":
            text += "; it may expect --tls direct on this port"
        self._fail(ServerFailedError(text, reached=True))

    def _fail(self, error: ServerFailedError | RefusedError) -> None:
        if not self._open.done():
            self._open.set_exception(error)
            self._open.exception()  # retrieved, also if nobody waits any more
        if not self.lost.done():
            self.lost.set_result(str(error))
        self.cancel_connection_attempt()
        self.abort()


def _of_element(receive: Callable[[ET.Element], None]) -> Callable[[StanzaBase], None]:
    return lambda stanza: receive(stanza.xml)


def _either(*futures: asyncio.Future[Any]) -> set[asyncio.Future[Any]]:
    return set(futures)


def _is_loopback(host: str) -> bool:
    return host in ("localhost", "::1") or host.startswith("127.")
