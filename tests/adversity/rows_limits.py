"""Too much of it: connections and accepts of one address, one prefix and all, stanzas and bytes of one connection."""

import contextlib
import select
import time
from collections.abc import Iterator

from tests.adversity.plays import CLOSE_NOTIFY, GOOD, long
from tests.adversity.scene import CONNECTIONS_OF_A_WORKER, PROXY, WORKERS, Scene
from tests.adversity.table import END, HEADER, Piece, Play, Row, Section, error
from tests.adversity.visitor import TIMEOUT_SECONDS, Answer, Silence, Visitor

TOO_MANY = (HEADER, error("policy-violation", "too many connections"), END)
LIMIT = 5
RATE = 20  # per second
BURST = 20


# --- connections and accepts ---


def one_more(*sources: str) -> Play:
    """`LIMIT` connections from these addresses in turn stay open and get an answer; the answer to one more."""

    def play(scene: Scene) -> Answer:
        with contextlib.ExitStack() as stack:
            for number in range(LIMIT):
                stack.enter_context(_opened(scene.visit(scene.starttls, sources[number % len(sources)])))
            with scene.visit(scene.starttls, sources[LIMIT % len(sources)]) as visitor:
                return visitor.answer()

    return play


@contextlib.contextmanager
def _opened(visitor: Visitor) -> Iterator[Visitor]:
    with visitor:
        visitor.open()
        yield visitor
        visitor.leave()


def one_more_direct(scene: Scene) -> Answer:
    """The same on a direct TLS listener."""
    source = "127.1.2.1"
    with contextlib.ExitStack() as stack:
        for _ in range(LIMIT):
            stack.enter_context(_opened(scene.inside(source)))
        with scene.visit(scene.direct, source) as visitor:
            return visitor.answer()


def proxied(address: str) -> bytes:
    """A PROXY header that makes the client one of 2001:db8::/32."""
    return b"PROXY TCP6 %b 2001:db8::1 50000 5222\r\n" % address.encode()


def one_more_behind_proxy(scene: Scene) -> Answer:
    """`LIMIT` clients of one IPv6 /64 behind the proxy stay open; the answer to one more."""
    with contextlib.ExitStack() as stack:
        for number in range(LIMIT):
            visitor = scene.visit(scene.proxied, PROXY)
            visitor.send(proxied(f"2001:db8:0:7:{number}::1"))
            stack.enter_context(_opened(visitor))
        with scene.visit(scene.proxied, PROXY) as visitor:
            visitor.send(proxied("2001:db8:0:7:ffff::1"))
            return visitor.answer()


def until_refused(port: str, *, sources: int, at_most: int) -> Play:
    """Connections one after the other, from `sources` addresses in turn, all kept open, until one is refused."""

    def play(scene: Scene) -> Answer:
        with contextlib.ExitStack() as stack:
            for number in range(at_most):
                visitor = scene.visit(getattr(scene, port), f"127.2.{number % sources}.1")
                visitor.send(GOOD)
                try:
                    visitor.read_until(b"</stream:features>")
                except Silence:
                    with visitor:
                        return visitor.answer()
                stack.enter_context(visitor)
                stack.callback(visitor.leave)
        raise AssertionError(f"{at_most} connections, and none refused")

    return play


def until_worker_full(scene: Scene) -> Answer:
    """One connection more than all workers may have; nobody says anything, so FIN is all that can come."""
    with contextlib.ExitStack() as stack:
        visitors = [
            stack.enter_context(scene.visit(scene.starttls)) for _ in range(WORKERS * CONNECTIONS_OF_A_WORKER + 1)
        ]
        refused, _, _ = select.select(visitors, [], [], TIMEOUT_SECONDS)
        return refused[0].answer()


CONNECTIONS = (
    Row(
        sent="`connections_per_address = 5`, the sixth",
        play=one_more("127.1.1.1"),
        answer=TOO_MANY,
        reason="address-limit",
        limit="connections_per_address",
        limits={"connections_per_address": LIMIT},
    ),
    Row(
        sent="`connections_per_address = 5`, the sixth, direct TLS",
        play=one_more_direct,
        reason="address-limit",
        limit="connections_per_address",
        limits={"connections_per_address": LIMIT},
    ),
    Row(
        sent="`connections_per_prefix = 5`, the sixth of an IPv4 /24",
        play=one_more("127.1.3.1", "127.1.3.2", "127.1.3.3"),
        answer=TOO_MANY,
        reason="prefix-limit",
        limit="connections_per_prefix",
        limits={"connections_per_prefix": LIMIT},
    ),
    Row(
        sent="`connections_per_prefix = 5`, the sixth of an IPv6 /64, behind a proxy",
        play=one_more_behind_proxy,
        answer=TOO_MANY,
        reason="prefix-limit",
        limit="connections_per_prefix",
        limits={"connections_per_prefix": LIMIT},
    ),
    Row(
        sent="`accepts_per_second_per_address = 20`, more than these",
        play=until_refused("starttls", sources=1, at_most=10 * RATE),
        answer=TOO_MANY,
        reason="address-rate",
        limit="accepts_per_second_per_address",
        limits={"accepts_per_second_per_address": RATE},
    ),
    Row(
        sent="`accepts_per_second = 20`, more than these from many addresses",
        play=until_refused("starttls", sources=200, at_most=10 * RATE),
        answer=TOO_MANY,
        reason="total-rate",
        limit="accepts_per_second",
        limits={"accepts_per_second": RATE},
    ),
    Row(
        sent="`node.max_connections`, one more",
        play=until_worker_full,
        reason="resource-constraint",
        limit="max_connections",
    ),
)


# --- stanzas and bytes ---


def hurry(stanzas: int, bytes_each: int, at_least_seconds: float) -> Play:
    """Send all of it at once, and one stanza more: that one is read only when the rate allows it again."""

    def play(scene: Scene) -> Answer:
        numbered = [b"<message id='%d'><body>%b</body></message>" % (at, b"x" * bytes_each) for at in range(stanzas)]
        with scene.session() as visitor:
            began = time.monotonic()
            visitor.send(b"".join(numbered))
            assert visitor.read_until(numbered[-1]) == b"".join(numbered)
            visitor.echo()
            assert time.monotonic() - began >= at_least_seconds
            return visitor.leave()

    return play


def too_fast(stanzas: int, bytes_each: int) -> Play:
    """Send all of it at once, and hear the end."""
    return long(b"<message><body>%b</body></message>" % (b"x" * bytes_each) * stanzas)


ALL_IN_TIME = Piece("all of it in the end, END", END.data)
STANZA_RATE = {"stanzas_per_second": RATE, "stanzas_burst": BURST}
BYTE_RATE = {"bytes_per_second": 20_000, "bytes_burst": 20_000}
CLOSE = {"over_rate": "close"}

RATES = (
    Row(
        sent="40 stanzas at once and one more, `stanzas_per_second = 20`, `stanzas_burst = 20`",
        play=hurry(40, 1, 0.5),
        answer=(ALL_IN_TIME,),
        end=CLOSE_NOTIFY,
        reason="client-closed",
        limit="stanzas_per_second",
        counted=("megaphone_throttled_total",),
        limits=STANZA_RATE,
    ),
    Row(
        sent="40,000 bytes at once and a stanza more, `bytes_per_second = 20000`, `bytes_burst = 20000`",
        play=hurry(10, 4_000, 0.5),
        answer=(ALL_IN_TIME,),
        end=CLOSE_NOTIFY,
        reason="client-closed",
        limit="bytes_per_second",
        counted=("megaphone_throttled_total",),
        limits=BYTE_RATE,
    ),
    Row(
        sent='40 stanzas at once, as above, with `over_rate = "close"`',
        play=too_fast(40, 1),
        answer=(error("policy-violation"), END),
        end=CLOSE_NOTIFY,
        reason="policy-violation",
        limit="stanzas_per_second",
        limits={**STANZA_RATE, **CLOSE},
    ),
    Row(
        sent='40,000 bytes at once, as above, with `over_rate = "close"`',
        play=too_fast(10, 4_000),
        answer=(error("policy-violation"), END),
        end=CLOSE_NOTIFY,
        reason="policy-violation",
        limit="bytes_per_second",
        limits={**BYTE_RATE, **CLOSE},
    ),
)

SECTIONS = (
    Section(
        "Too many connections",
        "To a STARTTLS listener; those below the limit go on. Before TLS there is somebody to tell why.",
        CONNECTIONS,
    ),
    Section("Too fast", "In a session.", RATES),
)
