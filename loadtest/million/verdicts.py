"""The figures that a run shall reach, and whether it does."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from loadtest.swarm import Histogram

MEMORY_BYTES: Final = 10_000_000_000  # Megaphone's own, with its sockets, at a million sessions
SESSION_BYTES: Final = 4_000
LOGINS_PER_SECOND: Final = 3_000.0
P99_SECONDS: Final = 0.250
SOAK_GROWTH: Final = 0.02
BACK_SECONDS: Final = 60.0
WORST_LOGIN_SECONDS: Final = 30.0
SILENCE_SECONDS: Final = 0.250


@dataclass(frozen=True, slots=True)
class Verdict:
    """A figure beside its limit, both for people; `value` is what was measured, `note` what explains it."""

    name: str
    value: float
    shown: str
    wanted: str
    met: bool
    note: str = ""

    def as_json(self) -> dict[str, Any]:
        """Everything."""
        return {
            "name": self.name,
            "value": round(self.value, 4),
            "shown": self.shown,
            "wanted": self.wanted,
            "met": self.met,
            "note": self.note,
        }

    def line(self) -> str:
        """For a terminal."""
        return f"{'met   ' if self.met else 'MISSED'}  {self.name}: {self.shown} (wanted: {self.wanted})" + (
            f", {self.note}" if self.note else ""
        )


def all_met(verdicts: Iterable[Verdict]) -> bool:
    """Whether nothing was missed."""
    return all(verdict.met for verdict in verdicts)


def sessions(reached: int, wanted: int) -> Verdict:
    """All that were asked for were there at once."""
    return Verdict("sessions at once", reached, f"{reached:,}", f"{wanted:,}", reached >= wanted)


def lost(count: int) -> Verdict:
    """Of sessions, while they were held."""
    return Verdict("sessions lost in the hold", count, f"{count:,}", "0", count == 0)


def messages(unanswered: int, bounced: int, sent: int) -> Verdict:
    """Every message arrives, and none is answered with an error."""
    missing = unanswered + bounced
    note = f"of {sent:,}" + (f"; {bounced:,} came back" if bounced else "")
    return Verdict("messages that did not arrive", missing, f"{missing:,}", "0", sent > 0 and missing == 0, note)


def rate(per_second: float, wanted: float) -> Verdict:
    """Messages a second as delivered; a hundredth is left to the seconds at both ends."""
    return Verdict(
        "messages", per_second, f"{per_second:,.0f}/s", f"at least {wanted:,.0f}/s", per_second >= wanted * 0.99
    )


def latency(p99: float, count: int) -> Verdict:
    """The 99th percentile of one-to-one messages, from being sent to being read by the receiver."""
    return Verdict(
        "p99 of a message",
        p99,
        f"{p99 * 1000:.1f} ms",
        f"below {P99_SECONDS * 1000:.0f} ms",
        count > 0 and p99 < P99_SECONDS,
    )


def logins(per_second: float) -> Verdict:
    """Over the whole ramp, with the load generator on the same processors."""
    return Verdict(
        "logins",
        per_second,
        f"{per_second:,.0f}/s",
        f"at least {LOGINS_PER_SECOND:,.0f}/s",
        per_second >= LOGINS_PER_SECOND,
    )


def memory(total: int) -> Verdict:
    """Megaphone's own: workers, supervisor, and what the kernel keeps for them."""
    return Verdict(
        "memory of Megaphone and its sockets",
        total / 1e9,
        f"{total / 1e9:.2f} GB",
        f"at most {MEMORY_BYTES / 1e9:.0f} GB",
        0 < total <= MEMORY_BYTES,
    )


def session_memory(each: float) -> Verdict:
    """User memory of the workers for each session, beyond what they had without any."""
    return Verdict(
        "worker memory of a session",
        each,
        f"{each / 1000:.2f} kB",
        f"at most {SESSION_BYTES / 1000:.0f} kB",
        0 < each <= SESSION_BYTES,
    )


def undisturbed(lost_count: int, on_killed: int) -> Verdict:
    """After a kill, only sessions of the killed workers may be lost."""
    others = max(0, lost_count - on_killed)
    note = f"{lost_count:,} lost; {on_killed:,} lived in the killed workers"
    return Verdict("other sessions disturbed", others, f"{others:,}", "0", others == 0 and lost_count > 0, note)


def back(seconds: float | None) -> Verdict:
    """From the kill until 99 % of all sessions are there."""
    shown = f"{seconds:.1f} s" if seconds is not None else "not seen"
    met = seconds is not None and seconds <= BACK_SECONDS
    return Verdict("99 % are back after", seconds or 0.0, shown, f"at most {BACK_SECONDS:.0f} s", met)


def worst_login(seconds: float) -> Verdict:
    """Of those who came back: from connecting to being bound."""
    met = 0 < seconds <= WORST_LOGIN_SECONDS
    return Verdict("worst login", seconds, f"{seconds:.2f} s", f"at most {WORST_LOGIN_SECONDS:.0f} s", met)


def soak_growth(early: float, late: float) -> Verdict:
    """Megaphone's memory at the end, against that after the first minutes; it may be less."""
    growth = late / early - 1 if early else 0.0
    note = f"{early / 1e6:,.1f} MB, then {late / 1e6:,.1f} MB"
    met = early > 0 and growth <= SOAK_GROWTH
    return Verdict("growth of memory", growth, f"{growth:+.2%}", f"at most {SOAK_GROWTH:+.0%}", met, note)


def upgrade(code: int | None, seconds: float, told: str) -> Verdict:
    """The command that replaces the program has done so: its exit code, None if it did not end."""
    shown = "not ended" if code is None else f"exit code {code}" if code else f"{seconds:.1f} s"
    return Verdict("upgrade", seconds, shown, "done", code == 0, "" if code == 0 else told)


def connections_lost(count: int, tls12: int) -> Verdict:
    """From before the upgrade on; those of TLS 1.2 cannot move, and are another matter."""
    note = f"and {tls12:,} of TLS 1.2, which cannot move" if tls12 else ""
    return Verdict("connections lost", count, f"{count:,}", "0", count == 0, note)


def moved(count: int, wanted: int) -> Verdict:
    """Connections that the workers have handed over to their successors."""
    return Verdict("connections moved", count, f"{count:,}", f"{wanted:,}", count >= wanted)


def exact(lost: int, repeated: int, reordered: int, sent: int) -> Verdict:
    """Every message arrives once, in the order of its pair."""
    wrong = lost + repeated + reordered
    note = f"of {sent:,}; {lost:,} lost, {repeated:,} repeated, {reordered:,} reordered"
    return Verdict("messages lost, repeated or reordered", wrong, f"{wrong:,}", "0", sent > 0 and wrong == 0, note)


def silence(during: Histogram, before: Histogram) -> Verdict:
    """The longest delivery to each session in a window, over sessions; beside that of a window without an upgrade."""
    p99 = during.percentile(99)

    def words(longest: Histogram) -> str:
        values = (longest.percentile(50), longest.percentile(99), longest.maximum)
        return "p50 {:.0f} ms, p99 {:.0f} ms, longest {:.0f} ms".format(*(value * 1000 for value in values))

    return Verdict(
        "p99 of the longest silence of a client",
        p99,
        f"{p99 * 1000:.1f} ms",
        f"below {SILENCE_SECONDS * 1000:.0f} ms",
        during.count > 0 and p99 < SILENCE_SECONDS,
        f"{words(during)}, of {during.count:,} clients; before it {words(before)}",
    )
