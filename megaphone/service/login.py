"""From a client's stream header to its session: SASL, the new stream, binding or resumption (RFC 6120 sections 6, 7).

A pure state machine: what the client said goes in, bytes and an action for the host come out. The states and the ways
between them are in `login_states.py`.

Whoever runs it keeps the client's bytes back while it waits for the host (WAIT_VERIFIED, WAIT_BOUND, WAIT_RESUMED).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from xml.etree.ElementTree import ParseError

from megaphone.errors import SASLError
from megaphone.service.accounts import PasswordCheck
from megaphone.service.attempt import Attempt, Authenticated, Challenge, Transport
from megaphone.service.discovery import capabilities_feature
from megaphone.service.login_states import TRANSITIONS, Action, Event, State
from megaphone.stream import sasl
from megaphone.stream.binding import Bind, bind_result, is_own_request, read_bind
from megaphone.stream.jid import JID
from megaphone.stream.nonza import SM_NAMESPACE, Resume, nonza_of
from megaphone.stream.opening import own_header, read_opening
from megaphone.stream.resumption import failed
from megaphone.stream.stanza import CLIENT_NAMESPACE, parse
from megaphone.wire.stanza_writer import STANZA_NAMES, iq_error
from megaphone.wire.writer import STREAM_END, stream_error

__all__ = ["Action", "Login", "State", "Step", "Transport"]

if TYPE_CHECKING:
    from collections.abc import Mapping
    from xml.etree.ElementTree import Element

    from megaphone.service.authenticator import Authenticator
    from megaphone.wire.header import StreamHeader

# RFC 6120 section 6.4.5 wants 2 to 5 tries; more that is refused after that (section 7.6) is no accident either.
AUTH_FAILURES = 5
BIND_FAILURES = 10

# After SASL: RFC 6120 section 7.4, RFC 3921 section 3 as RFC 6121 appendix E left it, XEP-0198, RFC 6121 section 2.6.1,
# XEP-0352, XEP-0115 section 6.3.
SESSION_FEATURES = (
    b"<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/>"
    b"<session xmlns='urn:ietf:params:xml:ns:xmpp-session'><optional/></session>"
    b"<sm xmlns='urn:xmpp:sm:3'/>"
    b"<ver xmlns='urn:xmpp:features:rosterver'/>"
    b"<csi xmlns='urn:xmpp:csi:0'/>" + capabilities_feature()
)


@dataclass(frozen=True, slots=True)
class Step:
    """The answer to one event: send `data`, then do `action`.

    `condition` is the stream error in `data`, or "". The others belong to one action each: `account`, `anonymous` and
    `by_token` (the account may have to be made) to AUTHENTICATED, `check` to VERIFY, `resource` (normalised) to BIND,
    `resume` to RESUME.
    """

    data: bytes
    action: Action
    condition: str = ""
    account: JID | None = None
    anonymous: bool = False
    by_token: bool = False
    check: PasswordCheck | None = field(default=None, repr=False)
    resource: str | None = None
    resume: Resume | None = None


class Login:
    """The login of one connection.

    `authenticators` are the domains served here, by their normalised names. `default_domain` is what we call ourselves
    towards a client that named none of them (RFC 6120 section 4.9.1.2); it may be "".
    """

    __slots__ = (
        "_authenticators",
        "_bind_id",
        "account",
        "anonymous",
        "attempt",
        "changes",
        "default_domain",
        "domain",
        "failures",
        "state",
        "transport",
        "wish",
    )

    def __init__(
        self,
        authenticators: Mapping[str, Authenticator],
        transport: Transport,
        *,
        default_domain: str = "",
    ) -> None:
        self._authenticators = authenticators
        self.transport = transport
        self.default_domain = default_domain
        self.attempt: Attempt | None = None  # the run of a mechanism that is under way
        self._bind_id = ""
        self.changes = 0  # another number as soon as anything is different
        self.failures = 0  # what was refused in a row
        self.state = State.WAIT_HEADER
        self.domain: str | None = None  # the normalised domain of the header, once it is a known one
        self.account: JID | None = None
        self.anonymous = False
        self.wish: Resume | None = None  # the session that the client wants to resume

    @classmethod
    def authenticated(cls, account: JID, *, anonymous: bool = False) -> Login:
        """Go on with a client that was authenticated elsewhere: the next it sends is a stream header."""
        login = cls({}, Transport(), default_domain=account.domain)
        login.account, login.anonymous = account, anonymous
        login.state = State.WAIT_RESTART
        return login

    def receive_header(self, header: StreamHeader, stream_id: str) -> Step:
        """Answer a stream header; `stream_id` must be unpredictable (RFC 6120 section 4.7.3).

        Refusals: invalid-namespace, bad-format, unsupported-version, host-unknown.
        """
        self.domain, condition, text = read_opening(header, self._is_known_domain)
        client = None if self.account is None else str(self.account)
        own = own_header(header, self.domain or self.default_domain, stream_id, client)
        if condition:
            return self._error(condition, text, before=own)
        features = SESSION_FEATURES if self.account is not None else self._authenticator().feature(self.transport)
        return Step(own + b"<stream:features>%b</stream:features>" % features, self._take(Event.HEADER))

    def receive_element(self, data: bytes, now: float) -> Step:
        """Answer one whole first-level element; `now` is in Unix seconds."""
        if self.state not in (State.WAIT_AUTH, State.WAIT_RESPONSE, State.WAIT_RESTART, State.WAIT_BIND):
            raise RuntimeError(f"a login cannot take an element in {self.state.name}")
        try:
            element = parse(data)
        except ParseError:
            return self._error("bad-format", "The element cannot be read")
        if self.state is State.WAIT_BIND:
            return self._receive_request(element)
        if self.state is State.WAIT_RESTART:  # section 6.4.6
            return self._error("not-authorized", "After SASL a new stream begins")
        if element.tag.startswith("{" + sasl.SASL_NAMESPACE + "}"):
            return self._receive_sasl(element, now)
        return self._error("not-authorized", "Authenticate first")  # section 4.9.3.12

    def receive_end(self) -> Step:
        """Answer the client's `</stream:stream>` (section 4.4)."""
        return Step(STREAM_END, self._take(Event.END))

    def verified(self, right: bool, now: float) -> Step:
        """Go on after VERIFY: `right` is what `check.holds()` said."""
        if self.state is not State.WAIT_VERIFIED or self.attempt is None:
            raise RuntimeError(f"a login cannot take a verified password in {self.state.name}")
        try:
            return self._succeeded(self.attempt.verified(right, now))
        except SASLError as error:
            return self._failed(error)

    def bound(self, jid: JID) -> Step:
        """Go on after BIND: the host has bound `jid`, a full JID (section 7.6)."""
        return Step(bind_result(self._bind_id, jid), self._take(Event.BOUND))

    def refuse_bind(self, condition: str, text: str = "") -> Step:
        """Go on after BIND: conflict, resource-constraint or not-allowed (sections 7.6.2 and 7.7.2)."""
        return self._refuse(iq_error(condition, id_=self._bind_id, text=text))

    def resumed(self, data: bytes) -> Step:
        """Go on after RESUME: `data` is `<resumed/>` (`resumption.resumed`)."""
        return Step(data, self._take(Event.RESUMED))

    def refuse_resume(self, h: int | None = None) -> Step:
        """Go on after RESUME: there is no such session; `h` is how far it had come, if that is known (XEP-0198, 5)."""
        return self._refuse(failed("item-not-found", h))

    def _is_known_domain(self, domain: str) -> bool:
        return domain in self._authenticators if self.account is None else domain == self.account.domain

    def _authenticator(self) -> Authenticator:
        return self._authenticators[self.domain or ""]

    def _receive_sasl(self, element: Element, now: float) -> Step:
        try:
            message = sasl.read_sasl(element)
            if message is None:
                return self._error("not-authorized", "Authenticate first")
            if isinstance(message, sasl.Abort):
                raise SASLError("aborted")
            if isinstance(message, sasl.Auth):
                if self.attempt is not None:
                    raise SASLError("malformed-request", "Another mechanism was under way")
                self.attempt = self._authenticator().begin(message.mechanism, self.transport)
                if message.message is None and message.mechanism != "ANONYMOUS":  # section 6.4.2, XEP-0175
                    return Step(sasl.challenge(b""), self._take(Event.CHALLENGED))
            elif self.attempt is None:
                raise SASLError("malformed-request", "There was no challenge to respond to")
            return self._answer(self.attempt, message.message or b"", now)
        except SASLError as error:
            return self._failed(error)

    def _answer(self, attempt: Attempt, message: bytes, now: float) -> Step:
        outcome = attempt.receive(message, now)
        if isinstance(outcome, Challenge):
            return Step(sasl.challenge(outcome.message), self._take(Event.CHALLENGED))
        if isinstance(outcome, PasswordCheck):
            return Step(b"", self._take(Event.PASSWORD), check=outcome)
        return self._succeeded(outcome)

    def _succeeded(self, outcome: Authenticated) -> Step:
        self.attempt = None
        self.failures = 0
        self.account, self.anonymous = outcome.account, outcome.anonymous
        return Step(
            sasl.success(outcome.message),
            self._take(Event.SUCCEEDED),
            account=outcome.account,
            anonymous=outcome.anonymous,
            by_token=outcome.by_token,
        )

    def _failed(self, error: SASLError) -> Step:
        self.attempt = None
        self.failures += 1
        answer = sasl.failure(error.condition, error.text)
        if self.failures >= AUTH_FAILURES:  # section 6.4.5
            return self._error("policy-violation", "There were too many failed logins", before=answer)
        return Step(answer, self._take(Event.FAILED))

    def _receive_request(self, element: Element) -> Step:
        namespace, _, name = element.tag[1:].partition("}")
        if namespace == SM_NAMESPACE:
            return self._receive_stream_management(element)
        if namespace != CLIENT_NAMESPACE or name not in STANZA_NAMES:
            return self._error("unsupported-stanza-type", "Bind a resource first")
        request = read_bind(element)
        if isinstance(request, Bind):
            self._bind_id = request.id
            return Step(b"", self._take(Event.BIND), resource=request.resource)
        if request:
            return self._refuse(request)
        if self.account is not None and is_own_request(element, self.account):
            return self._refuse(iq_error("not-authorized", id_=element.get("id", ""), text="Bind a resource first"))
        return self._error("not-authorized", "Bind a resource first")  # section 7.1

    def _receive_stream_management(self, element: Element) -> Step:
        try:
            nonza = nonza_of(element)
        except ValueError as error:
            return self._error(*error.args)
        if isinstance(nonza, Resume):
            self.wish = nonza
            return Step(b"", self._take(Event.RESUME), resume=nonza)
        return self._refuse(failed("unexpected-request"))  # XEP-0198 section 3: after binding

    def _refuse(self, answer: bytes) -> Step:
        self.failures += 1
        if self.failures >= BIND_FAILURES:
            return self._error("policy-violation", "There were too many requests before binding", before=answer)
        return Step(answer, self._take(Event.REFUSED))

    def _error(self, condition: str, text: str, *, before: bytes = b"") -> Step:
        self.attempt = None
        return Step(before + stream_error(condition, text) + STREAM_END, self._take(Event.ERROR), condition)

    def _take(self, event: Event) -> Action:
        self.changes += 1
        try:
            self.state, action = TRANSITIONS[self.state, event]
        except KeyError:
            raise RuntimeError(f"a login cannot take {event.name} in {self.state.name}") from None
        return action
