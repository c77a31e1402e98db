"""What the open sessions of a swarm do."""

from dataclasses import dataclass, fields
from typing import Literal

from loadtest.swarm.errors import SwarmError

KeepAlive = Literal["none", "space", "ping"]

Behaviour = Literal["regular", "slow", "half-open", "silent", "hostile"]
"""What kind of client a session is:

`regular`   does what the settings say, and answers pings
`slow`      logs in, then reads `slow_bytes_per_second` only
`half-open` opens its stream and never says another word
`silent`    logs in, then neither says nor answers anything
`hostile`   logs in where its input needs it, sends one of a list of bad inputs and expects the stream error for it
"""
BEHAVIOURS = ("regular", "slow", "half-open", "silent", "hostile")

RATE_LIMIT = 1_000_000.0
SECONDS_LIMIT = 86_400.0
BODY_BYTES_LIMIT = 8_192


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Rates are of the whole swarm and a second; all of it can be changed while it runs (`Swarm.change`).

    `presence`: send initial presence after the resource is bound (RFC 6121 section 4.2).
    `pipeline`: with the last message of SASL say at once the new header, the binding and the presence (XEP-0305).
    Without it, that is done only where the server announces `urn:xmpp:features:pipelining`.
    `keep_alive`: white space or a ping (XEP-0199) each `keep_alive_seconds` of each session, spread evenly over them.
    `ping_timeout_seconds`: a ping not answered by then makes the session lost (`ping:timeout`).
    `chat_per_second`: messages of type chat from random sessions of ours to random peers (`Swarm.peers`), with a body
    of `body_bytes` (40 to 8192).
    `pairs`: chat only in fixed pairs. The session in place i of this swarm (the i-th that was opened, if none has given
    up its place) talks to line i of `Swarm.peers`, all in turn, and numbers what it says; who hears of such numbers
    counts what is missing, repeated or early. Peers are given once, before the first message.
    `room_per_second`: messages of random occupants of ours to their room (`Swarm.enter`).
    `presence_per_second`: changes of presence (`show`) of random sessions.
    `reconnect`: a session that is lost comes back, after a random part of `reconnect_seconds`, which doubles with every
    failure up to `reconnect_limit_seconds` (full jitter). One that ended by `conflict` does not come back.
    `login_timeout_seconds`: from the first packet to the end of the login. `close_timeout_seconds`: how long a session
    that leaves waits for the server's `</stream:stream>`.
    `slow_bytes_per_second`: what a slow reader reads; 0: nothing at all. `slow_messages_per_second`: messages that
    regular sessions send to slow ones, so that there is something not to read.
    `hostile_timeout_seconds`: how long a hostile session waits for the stream error.
    """

    presence: bool = True
    pipeline: bool = False
    keep_alive: KeepAlive = "none"
    keep_alive_seconds: float = 60.0
    ping_timeout_seconds: float = 60.0
    chat_per_second: float = 0.0
    pairs: bool = False
    body_bytes: int = 100
    room_per_second: float = 0.0
    presence_per_second: float = 0.0
    reconnect: bool = False
    reconnect_seconds: float = 1.0
    reconnect_limit_seconds: float = 60.0
    login_timeout_seconds: float = 60.0
    close_timeout_seconds: float = 10.0
    slow_bytes_per_second: int = 0
    slow_messages_per_second: float = 0.0
    hostile_timeout_seconds: float = 30.0

    def __post_init__(self) -> None:
        if self.keep_alive not in ("none", "space", "ping"):
            raise SwarmError(f"keep_alive is none, space or ping, not {self.keep_alive!r}")
        if not 40 <= self.body_bytes <= BODY_BYTES_LIMIT:
            raise SwarmError(f"body_bytes is 40 to {BODY_BYTES_LIMIT}, not {self.body_bytes}")
        if self.slow_bytes_per_second < 0:
            raise SwarmError(f"slow_bytes_per_second is not negative: {self.slow_bytes_per_second}")
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name.endswith("_per_second") and not 0 <= value <= RATE_LIMIT:
                raise SwarmError(f"{field.name} is 0 to {RATE_LIMIT:.0f}, not {value}")
            if field.name.endswith("_seconds") and not 0 < value <= SECONDS_LIMIT:
                raise SwarmError(f"{field.name} is more than 0, at most {SECONDS_LIMIT:.0f}, not {value}")
