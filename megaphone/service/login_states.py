"""The states of a login and the ways between them, as one table.

WAIT_HEADER ── header ──► WAIT_AUTH ◄──────────── failure ─────────────┐
                           │  ▲ │                                      │
          <auth/>,         │  │ └─ PLAIN ──► WAIT_VERIFIED ── verified()┤
          challenge        ▼  │ failure            │                   │
                      WAIT_RESPONSE ── success ────┤ success           │
                                                   ▼
                   AUTHENTICATED: here the connection may move to another worker, which goes on from
                   (account, anonymous) alone
                                                   ▼
                      WAIT_RESTART ── header ──► WAIT_BIND ◄──── refused ───┐
                                                   │ ├─ bind ───► WAIT_BOUND ───┴─► bound() ──► BOUND
                                                   │ └─ resume ─► WAIT_RESUMED ───► resumed() ► BOUND
every state ── stream error, </stream:stream> ──► DONE
"""

from enum import Enum


class State(Enum):
    """Where a login stands."""

    WAIT_HEADER = "wait for the stream header"
    WAIT_AUTH = "wait for <auth/>"
    WAIT_RESPONSE = "wait for <response/>"
    WAIT_VERIFIED = "wait for the host to check a password"
    WAIT_RESTART = "authenticated; wait for the new stream header"
    WAIT_BIND = "wait for the client to bind a resource or to resume"
    WAIT_BOUND = "wait for the host to bind the resource"
    WAIT_RESUMED = "wait for the host to resume the session"
    BOUND = "the session has its stream"
    DONE = "the stream is over"


class Event(Enum):
    """What a client's words, or the host's, come to."""

    HEADER = "a good stream header"
    CHALLENGED = "a SASL message that is answered with a challenge"
    PASSWORD = "a password that has to be checked"  # noqa: S105
    SUCCEEDED = "SASL succeeded"
    FAILED = "SASL failed, and may be tried again"
    BIND = "a request to bind a resource"
    RESUME = "a request to resume a session"
    REFUSED = "a request that is answered with an error"
    BOUND = "the host has bound the resource"
    RESUMED = "the host has resumed the session"
    ERROR = "what gets a stream error"
    END = "</stream:stream>"


class Action(Enum):
    """What the host has to do after it sent the bytes."""

    CONTINUE = "wait for the client's next element"
    VERIFY = "make `check` (in a thread if it likes) and call verified()"
    AUTHENTICATED = "wait for a new stream header: the client is `account`"
    BIND = "bind `resource`, or one of the host's choice if it is None, and call bound() or refuse_bind()"
    RESUME = "find the session `resume.previd` and call resumed() or refuse_resume()"
    ATTACHED = "pass what follows to the session"
    CLOSE = "close the connection"


TRANSITIONS: dict[tuple[State, Event], tuple[State, Action]] = {
    (State.WAIT_HEADER, Event.HEADER): (State.WAIT_AUTH, Action.CONTINUE),
    (State.WAIT_AUTH, Event.CHALLENGED): (State.WAIT_RESPONSE, Action.CONTINUE),
    (State.WAIT_AUTH, Event.PASSWORD): (State.WAIT_VERIFIED, Action.VERIFY),
    (State.WAIT_AUTH, Event.SUCCEEDED): (State.WAIT_RESTART, Action.AUTHENTICATED),
    (State.WAIT_AUTH, Event.FAILED): (State.WAIT_AUTH, Action.CONTINUE),
    (State.WAIT_RESPONSE, Event.CHALLENGED): (State.WAIT_RESPONSE, Action.CONTINUE),
    (State.WAIT_RESPONSE, Event.PASSWORD): (State.WAIT_VERIFIED, Action.VERIFY),
    (State.WAIT_RESPONSE, Event.SUCCEEDED): (State.WAIT_RESTART, Action.AUTHENTICATED),
    (State.WAIT_RESPONSE, Event.FAILED): (State.WAIT_AUTH, Action.CONTINUE),
    (State.WAIT_VERIFIED, Event.SUCCEEDED): (State.WAIT_RESTART, Action.AUTHENTICATED),
    (State.WAIT_VERIFIED, Event.FAILED): (State.WAIT_AUTH, Action.CONTINUE),
    (State.WAIT_RESTART, Event.HEADER): (State.WAIT_BIND, Action.CONTINUE),
    (State.WAIT_BIND, Event.BIND): (State.WAIT_BOUND, Action.BIND),
    (State.WAIT_BIND, Event.RESUME): (State.WAIT_RESUMED, Action.RESUME),
    (State.WAIT_BIND, Event.REFUSED): (State.WAIT_BIND, Action.CONTINUE),
    (State.WAIT_BOUND, Event.BOUND): (State.BOUND, Action.ATTACHED),
    (State.WAIT_BOUND, Event.REFUSED): (State.WAIT_BIND, Action.CONTINUE),
    (State.WAIT_RESUMED, Event.RESUMED): (State.BOUND, Action.ATTACHED),
    (State.WAIT_RESUMED, Event.REFUSED): (State.WAIT_BIND, Action.CONTINUE),
}
TRANSITIONS |= {
    (state, event): (State.DONE, Action.CLOSE)
    for state in State
    if state not in (State.BOUND, State.DONE)
    for event in (Event.ERROR, Event.END)
}
