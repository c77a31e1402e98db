"""The compiled swarm."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from loadtest.swarm.accounts import Accounts
from loadtest.swarm.histogram import Histogram
from loadtest.swarm.settings import Behaviour, Settings
from loadtest.swarm.target import Target

class Swarm:
    """Sessions of one server, driven by whoever calls `turn`; at most `limit` (1 to 1,000,000) at a time.

    Memory is taken as sessions come: some 150 bytes for an idle one, with TLS 1.3 350, and in pairs that talk 16 more.
    """

    def __init__(
        self, target: Target, accounts: Accounts, settings: Settings = ..., *, limit: int = 20_000
    ) -> None: ...
    @property
    def settings(self) -> Settings: ...
    def change(self, **settings: Any) -> None:
        """Put other values of `Settings` in force, by name; those not named stay."""

    def fileno(self) -> int:
        """A descriptor that is readable when `turn` has something to do; valid until `free`."""

    def turn(self, limit: int = 1024) -> float:
        """Handle at most `limit` ready sessions and what is due, without blocking.

        Returns the seconds until something is due: 0.0 if more is ready, at most 1.0.
        """

    def wait(self, until: Callable[[], bool], timeout_seconds: float) -> bool:
        """Turn until `until()`, asked after each turn, or the deadline; whether it came true. This one blocks."""

    @property
    def room(self) -> int:
        """How many more sessions it may have now: `limit` less those that are there, come, or are just leaving."""

    def open(
        self,
        count: int,
        *,
        behaviour: Behaviour = "regular",
        at_once: int | None = None,
        per_second: float | None = None,
    ) -> None:
        """Have `count` more sessions, in the background.

        `at_once` (default 64): logins in flight; `per_second` (default 0.0, no limit): new connections a second. Both
        stay in force, also for sessions that come back. Raises DescriptorLimitError or SwarmError (more than `limit`).
        """

    def close(self, count: int | None = None) -> None:
        """Let sessions (None: all) leave in order: unavailable, `</stream:stream>`, and the server's answer to it.

        Sessions that have not begun are dropped first; then open ones go, in no particular order.
        """

    def abort(self, count: int | None = None) -> None:
        """As `close`, but with a reset (RST) instead of a farewell."""

    def enter(self, rooms: Sequence[str], occupants: int) -> None:
        """Let `occupants` sessions of ours enter each room (XEP-0045), in the background; one session has one room.

        Replaces the list given before; those inside stay where they are, or leave if their room is no longer listed.
        """

    def jids(self, sample: int = 2_000) -> bytes:
        """Full JIDs of at most `sample` random open regular sessions, one a line, for `peers` of any process."""

    def peers(self, jids: bytes) -> None:
        """To whom sessions chat from now on: one full JID a line. Empty (as at first): our own open sessions.

        With `Settings.pairs`, the partners in the order of the sessions' places; SwarmError when the pairs have talked.
        """

    def counters(self) -> dict[str, int]:
        """What is and what was.

        Now: wanted, connecting, open, closing, waiting (for reconnect), occupants, peers.
        Sessions, ever: connects, logins, login_failures, reconnects, lost, closed, close_timeouts, aborted.
        Traffic: bytes_in, bytes_out, stanzas_in, stanzas_skipped (too big to look into), stanza_errors.
        Chat: chat_sent, chat_received, chat_delayed (delivered from storage), chat_bounced, chat_unsent (the socket or
        the swarm was full, or nobody was there); slow_sent, slow_received.
        Pairs, by those who were talked to: chat_missed (has not come although later ones have; less again when it
        does), chat_reordered (came behind a later one), chat_repeated (came twice, or more than 32 too late).
        Others: spaces_sent, pings_sent, pings_answered, pings_heard (and answered), presence_sent, presence_received.
        Rooms: room_joins, room_sent, room_received, room_delayed, room_expected (deliveries due to occupants of this
        swarm of what it sent), room_bounced.
        Hostile: hostile_sent, hostile_refused (with a right error), hostile_wrong.
        """

    def failures(self) -> dict[str, int]:
        """Failures ever, by reason `where:what`.

        For example connect:ECONNREFUSED, tls:handshake, login:timeout, sasl:not-authorized, stream:policy-violation,
        bind:conflict, session:ECONNRESET, session:closed, ping:timeout, message:service-unavailable, room:forbidden.
        """

    def histograms(self) -> dict[str, Histogram]:
        """Durations ever (subtract an earlier state for those of an interval).

        login (connect to bound), chat (sent to delivered, in the swarm of the receiver), ping, room (sent to delivered,
        per delivery), join, close, lateness (how much later than planned this swarm sent chat: if it is large, the load
        generator is the bottleneck).
        """

    def longest_deliveries(self) -> Histogram:
        """The longest delivery to each session of a pair that had one since the last call: of how many, how long."""

    def free(self) -> None:
        """Reset what is open, and give back all memory and descriptors. May be called more than once."""

    def __enter__(self) -> Swarm: ...
    def __exit__(self, *exc: object) -> None: ...

def bucket(microseconds: int) -> int:
    """The bucket that the engine counts a duration in; `histogram.bucket_of` is the same in Python."""

def heard(numbers: Iterable[int]) -> list[tuple[str, int]]:
    """What a partner makes of the numbers (from 1) in the order they come: `next`, `late` or `again`, and new gaps."""

def scanned(pieces: Iterable[bytes]) -> list[tuple[str, bytes]]:
    """Read a stream as sessions do: each `header`, `element` or `end` with its bytes; pieces may be cut anywhere."""
