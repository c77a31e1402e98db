"""What the edge says itself before TLS: it answers the first stream and offers STARTTLS (RFC 6120 section 5).

A pure state machine: what the client sent goes in, bytes and an action come out.

    WAIT_HEADER ── header ──► WAIT_STARTTLS ── <starttls/> ──► DONE: TLS, then a new stream that the server answers
         │                       (required)  ── anything ────► DONE: policy-violation
         └── header ──► WAIT_CHOICE ── <starttls/> ──► DONE: TLS, as above
                         (optional)  ── anything ────► DONE: the rest of the stream is the server's

With STARTTLS required the edge's features hold STARTTLS alone, so TLS is mandatory (sections 5.3.1 and 5.4.1) and a
client that goes on without it gets policy-violation (4.9.3.14), as from ejabberd; Prosody would say not-authorized.
With STARTTLS optional a client must also see the server's own features, or the only one would be mandatory again: the
stream is passed on (OFFER), the server's features get `<starttls/>` added (`writer.offer_starttls`), and the client
chooses.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from megaphone.stream.opening import own_header, read_opening
from megaphone.wire.header import StreamHeader
from megaphone.wire.writer import (
    PROCEED,
    STARTTLS_FAILURE,
    STREAM_END,
    TLS_NAMESPACE,
    starttls_features,
    stream_error,
)


class State(Enum):
    """Where the edge's own part of the connection stands."""

    WAIT_HEADER = "wait for the stream header"
    WAIT_STARTTLS = "wait for <starttls/>"
    WAIT_CHOICE = "wait for <starttls/> or anything else"
    DONE = "done"


class Event(Enum):
    """What the client did."""

    HEADER_REQUIRED = "a good header where STARTTLS is required"
    HEADER_OPTIONAL = "a good header where STARTTLS is optional"
    HEADER_REFUSED = "a header that gets a stream error"
    STARTTLS = "<starttls/>"
    STARTTLS_MALFORMED = "a STARTTLS command that is none"
    ELEMENT = "any other element"
    END = "</stream:stream>"


class Action(Enum):
    """What the connection has to do after it sent the bytes."""

    CONTINUE = "wait for the client's next element"
    START_TLS = "begin the TLS handshake"
    OFFER = "pass the stream on, and add STARTTLS to the server's first features"
    RELAY = "pass this element and everything after it on"
    CLOSE = "close the connection"


TRANSITIONS: dict[tuple[State, Event], tuple[State, Action]] = {
    (State.WAIT_HEADER, Event.HEADER_REQUIRED): (State.WAIT_STARTTLS, Action.CONTINUE),
    (State.WAIT_HEADER, Event.HEADER_OPTIONAL): (State.WAIT_CHOICE, Action.OFFER),
    (State.WAIT_HEADER, Event.HEADER_REFUSED): (State.DONE, Action.CLOSE),
    (State.WAIT_STARTTLS, Event.STARTTLS): (State.DONE, Action.START_TLS),
    (State.WAIT_STARTTLS, Event.STARTTLS_MALFORMED): (State.DONE, Action.CLOSE),
    (State.WAIT_STARTTLS, Event.ELEMENT): (State.DONE, Action.CLOSE),
    (State.WAIT_STARTTLS, Event.END): (State.DONE, Action.CLOSE),
    (State.WAIT_CHOICE, Event.STARTTLS): (State.DONE, Action.START_TLS),
    (State.WAIT_CHOICE, Event.STARTTLS_MALFORMED): (State.DONE, Action.CLOSE),
    (State.WAIT_CHOICE, Event.ELEMENT): (State.DONE, Action.RELAY),
    (State.WAIT_CHOICE, Event.END): (State.DONE, Action.RELAY),
}


@dataclass(frozen=True, slots=True)
class Step:
    """The answer to one event: send `data`, then do `action`; `condition` is the stream error in `data`, or ""."""

    data: bytes
    action: Action
    condition: str = ""


class Negotiation:
    """The negotiation of one connection.

    `is_known_domain` knows domains by their normalised names (`stream.domain.normalise_domain`). `default_domain` is
    the name that the edge gives itself towards a client that named no domain of ours (RFC 6120 section 4.9.1.2); it may
    be "".
    """

    __slots__ = ("_default_domain", "_is_known_domain", "_starttls_required", "domain", "state")

    def __init__(
        self, *, is_known_domain: Callable[[str], bool], starttls_required: bool, default_domain: str = ""
    ) -> None:
        self._is_known_domain = is_known_domain
        self._starttls_required = starttls_required
        self._default_domain = default_domain
        self.state = State.WAIT_HEADER
        self.domain: str | None = None  # the normalised domain of the header, once it is a known one

    def receive_header(self, header: StreamHeader, stream_id: str) -> Step:
        """Answer the stream header; `stream_id` must be unpredictable (RFC 6120 section 4.7.3).

        Refusals: invalid-namespace, bad-format, unsupported-version, host-unknown.
        """
        self.domain, condition, text = read_opening(header, self._is_known_domain)
        if condition:
            event, answer = Event.HEADER_REFUSED, stream_error(condition, text) + STREAM_END
        elif self._starttls_required:
            event, answer = Event.HEADER_REQUIRED, starttls_features(required=True)
        else:
            event, answer = Event.HEADER_OPTIONAL, b""
        action = self._take(event)
        if action is Action.OFFER:  # the header, too, is the server's to answer
            return Step(b"", action)
        return Step(own_header(header, self.domain or self._default_domain, stream_id) + answer, action, condition)

    def receive_element(self, local_name: str, namespace: str) -> Step:
        """Answer the start of a first-level element."""
        if (local_name, namespace) == ("starttls", TLS_NAMESPACE):
            return Step(PROCEED, self._take(Event.STARTTLS))
        if local_name == "starttls" or namespace == TLS_NAMESPACE:  # section 5.4.2.2
            return Step(STARTTLS_FAILURE + STREAM_END, self._take(Event.STARTTLS_MALFORMED))
        action = self._take(Event.ELEMENT)
        if action is Action.RELAY:
            return Step(b"", action)
        condition = "policy-violation"
        return Step(stream_error(condition, "STARTTLS is required") + STREAM_END, action, condition)

    def receive_end(self) -> Step:
        """Answer the client's `</stream:stream>` (section 4.4)."""
        action = self._take(Event.END)
        return Step(b"" if action is Action.RELAY else STREAM_END, action)

    def _take(self, event: Event) -> Action:
        try:
            self.state, action = TRANSITIONS[self.state, event]
        except KeyError:
            raise RuntimeError(f"negotiation cannot take {event.name} in {self.state.name}") from None
        return action
