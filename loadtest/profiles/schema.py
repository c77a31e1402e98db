"""What a profile can say: tables and keys, with units, ranges and defaults.

Rates are per session or per User, so that a profile means the same for a hundred sessions and for a million.
"""

from typing import Annotated

import msgspec
from msgspec import Meta

Seconds = Annotated[float, Meta(ge=0, le=864_000)]
Milliseconds = Annotated[float, Meta(gt=0, le=864_000_000)]
Percent = Annotated[float, Meta(ge=0, le=100)]


class Table(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One table of a profile."""


class Sessions(Table, frozen=True):
    """How many sessions a User owns, and how they come and go.

    `logins_per_second` is of one User, 0: no limit but `logins_at_once`. `life_seconds`: how long a session stays on
    average before it leaves in order and another comes; 0: to the end. `reconnect`: a lost session comes back, with
    back-off from `reconnect_seconds` on.
    """

    per_user: Annotated[int, Meta(ge=1, le=100_000)] = 1_000
    logins_per_second: Annotated[float, Meta(ge=0, le=100_000)] = 100.0
    logins_at_once: Annotated[int, Meta(ge=1, le=10_000)] = 64
    login_timeout_seconds: Annotated[float, Meta(gt=0, le=3_600)] = 60.0
    life_seconds: Seconds = 0.0
    reconnect: bool = False
    reconnect_seconds: Annotated[float, Meta(gt=0, le=3_600)] = 1.0


class Activity(Table, frozen=True):
    """What each session does; an interval of 0 means never.

    `space_seconds`, `ping_seconds`: a keep-alive of white space or a ping (XEP-0199), one of the two. `chat_seconds`: a
    message to a random other session. `show_seconds`: a change of presence. `room_occupants`: sessions share rooms of
    this size (XEP-0045), each session in one, and `room_seconds`: each says something there.
    """

    presence: bool = True
    space_seconds: Seconds = 0.0
    ping_seconds: Seconds = 0.0
    ping_timeout_seconds: Annotated[float, Meta(gt=0, le=3_600)] = 60.0
    chat_seconds: Seconds = 0.0
    body_bytes: Annotated[int, Meta(ge=40, le=8_192)] = 100
    show_seconds: Seconds = 0.0
    room_occupants: Annotated[int, Meta(ge=0, le=100_000)] = 0
    room_seconds: Seconds = 0.0


class Odd(Table, frozen=True):
    """Clients beside the regular ones, in percent of their number; they come back when the server ends them.

    `slow`: log in and read `slow_bytes_per_second` only, of a message to each every `slow_message_seconds`.
    `half_open`: open a stream and never say another word. `silent`: log in, then neither say nor answer anything.
    `hostile`: send bad input, expect the stream error for it.
    """

    slow_percent: Percent = 0.0
    slow_bytes_per_second: Annotated[int, Meta(ge=0, le=1_000_000)] = 0
    slow_message_seconds: Seconds = 1.0
    half_open_percent: Percent = 0.0
    silent_percent: Percent = 0.0
    hostile_percent: Percent = 0.0


class Timing(Table, frozen=True):
    """`ramp_seconds`: by then all sessions must be live and in their rooms. `hold_seconds`: how long it goes on."""

    ramp_seconds: Annotated[float, Meta(gt=0, le=86_400)] = 60.0
    hold_seconds: Annotated[float, Meta(gt=0, le=864_000)] = 60.0


class Disturbance(Table, frozen=True):
    """The tester's own command is run, or process killed, `after_seconds` of the hold."""

    after_seconds: Seconds = 10.0


class Criteria(Table, frozen=True):
    """What must hold for the test to pass; what is left out is not asked.

    `live_percent`: at least so many of the wanted sessions, in the ramp and at the end. `lost_percent`: at most so many
    sessions lost during the hold. `back_seconds`: from the disturbance's end until `back_percent` are live for good.
    `disturbed_percent`: at least so many sessions lost by it, else it proves nothing. `…_p99_ms`: at most, during the
    hold, of logins: ever. `undelivered_percent`: messages sent, neither delivered nor returned. `rate_percent`: sent,
    of the messages that were to be sent. `refused_percent`: hostile input that got its stream error.
    `failures_percent`: of the sessions, by reason (`session:ECONNRESET`, or `session` for all of these); `"*"` is for
    each reason not named.
    """

    live_percent: Percent = 100.0
    lost_percent: Annotated[float, Meta(ge=0)] | None = None
    back_seconds: Seconds | None = None
    back_percent: Percent = 99.0
    disturbed_percent: Percent | None = None
    login_p99_ms: Milliseconds | None = None
    message_p99_ms: Milliseconds | None = None
    ping_p99_ms: Milliseconds | None = None
    room_p99_ms: Milliseconds | None = None
    undelivered_percent: Percent | None = None
    rate_percent: Percent | None = None
    refused_percent: Percent | None = None
    failures_percent: dict[str, Annotated[float, Meta(ge=0)]] = {}


class Profile(Table, frozen=True):
    """One scenario: what sessions do, for how long, and what makes it a success; `user`: the class of its Users."""

    summary: str
    user: str = "FlockUser"
    sessions: Sessions = Sessions()
    activity: Activity = Activity()
    odd: Odd = Odd()
    timing: Timing = Timing()
    disturbance: Disturbance | None = None
    criteria: Criteria = Criteria()
