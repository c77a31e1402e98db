"""Clients that are slow, silent or half gone."""

from itertools import takewhile

from tests.adversity.fake_server import FLOOD_STANZA
from tests.adversity.plays import CLOSE_NOTIFY, GOOD, after_proceed
from tests.adversity.scene import Scene
from tests.adversity.table import END, HEADER, Piece, Row, Section, error
from tests.adversity.visitor import Answer, Visitor
from tests.servers.process import wait_until

SECOND = 1.0
THREE_SECONDS = 3.0  # for a client that has to get somewhere before, on a busy machine
SMALL_BUFFER_BYTES = 16_384
MAILBOX_BYTES = 65_536
# One read of the server into a mailbox that is about full, and what is encrypted already: 64 KiB and one more record.
WAITING_AT_MOST_BYTES = MAILBOX_BYTES + 65_536 + 65_536 + 17_000


def byte_by_byte(scene: Scene) -> Answer:
    """Everything from the first header to the end of the stream, one byte for each segment."""
    with scene.visit(scene.starttls) as visitor:
        visitor.byte_by_byte = True
        visitor.secure(scene.context)
        visitor.log_in()
        visitor.echo(b"<message><body>slow but sure</body></message>")
        return visitor.leave()


def silent_from_the_start(scene: Scene) -> Answer:
    """Connect, and nothing more."""
    with scene.visit(scene.starttls) as visitor:
        return visitor.answer()


def silent_after_tls(scene: Scene) -> Answer:
    """STARTTLS, and nothing more."""
    with scene.visit(scene.starttls) as visitor:
        visitor.secure(scene.context)
        return visitor.answer()


def trickle(scene: Scene) -> Answer:
    """A header that takes for ever: each byte is a sign of life, and does not help."""
    with scene.visit(scene.starttls) as visitor:
        for byte in takewhile(lambda _: not visitor.ended_within(0.1), GOOD):
            visitor.send(bytes([byte]))
        return visitor.answer()


def silent_before_auth(scene: Scene) -> Answer:
    """A stream with the server, and no login."""
    with scene.inside() as visitor:
        visitor.open()
        return visitor.answer()


def idle(scene: Scene) -> Answer:
    """A session that says nothing."""
    with scene.session() as visitor:
        return visitor.answer()


def half_open(scene: Scene) -> Answer:
    """FIN without a goodbye; the server does not answer it."""
    with scene.session() as visitor:
        visitor.finish()
        return visitor.answer()


def never_reads(scene: Scene) -> Answer:
    """The server floods; the client reads nothing until it is closed. Another client goes on as if nothing was."""
    edge, slow = scene.edge, ("megaphone_connections_closed_total", "slow-consumer")
    before = scene.counts(slow[0])[slow]
    with scene.session() as other, Visitor(scene.direct, receive_buffer_bytes=SMALL_BUFFER_BYTES) as visitor:
        assert visitor.start_tls(scene.context) is None
        visitor.log_in()
        visitor.send(b"<message to='flood'/>")

        def closed() -> bool:
            other.echo()
            assert edge.metric("megaphone_mailbox_bytes") <= WAITING_AT_MOST_BYTES
            return scene.counts(slow[0])[slow] > before

        wait_until(closed, "the slow reader closed")
        answer = visitor.answer()
        other.leave()
        # What the kernel and TLS had under way still arrives, as it was.
        whole = len(answer.data) // len(FLOOD_STANZA) + 1
        assert answer.data == (FLOOD_STANZA * whole)[: len(answer.data)]
        return Answer(b"", answer.end)


TIMED_OUT = error("connection-timeout")
LATE = {"preauth_seconds": SECOND}
LATER = {"preauth_seconds": THREE_SECONDS}

SLOW = (
    Row(
        sent="Everything byte by byte, TLS included",
        play=byte_by_byte,
        answer=(Piece("a session like any other, END", END.data),),
        end=CLOSE_NOTIFY,
        reason="client-closed",
    ),
    Row(
        sent="Nothing at all, with `preauth_seconds = 1`",
        play=silent_from_the_start,
        answer=(HEADER, TIMED_OUT, END),
        reason="preauth-timeout",
        limits=LATE,
    ),
    Row(
        sent="A header of which a byte comes every 0.1 s, with `preauth_seconds = 1`",
        play=trickle,
        answer=(HEADER, TIMED_OUT, END),
        reason="preauth-timeout",
        limits=LATE,
    ),
    Row(
        sent="`<starttls/>`, and then no handshake, with `preauth_seconds = 3`",
        play=after_proceed(b""),
        reason="preauth-timeout",
        limits=LATER,
    ),
    Row(
        sent="Nothing after TLS, with `preauth_seconds = 3`",
        play=silent_after_tls,
        answer=(HEADER, TIMED_OUT, END),
        end=CLOSE_NOTIFY,
        reason="preauth-timeout",
        limits=LATER,
    ),
    Row(
        sent="No login, with `preauth_seconds = 3`",
        play=silent_before_auth,
        answer=(TIMED_OUT, END),
        end=CLOSE_NOTIFY,
        reason="preauth-timeout",
        limits=LATER,
    ),
    Row(
        sent="Nothing in a session, with `idle_seconds = 3`",
        play=idle,
        answer=(TIMED_OUT, END),
        end=CLOSE_NOTIFY,
        reason="idle-timeout",
        limits={"idle_seconds": THREE_SECONDS},
    ),
    Row(
        sent="FIN, then silence; the server is silent, too, with `close_seconds = 1`",
        play=half_open,
        end=CLOSE_NOTIFY,
        reason="client-closed",
    ),
    Row(
        sent="A client that reads nothing while the server floods it, with `slow_consumer_seconds = 1`, "
        "`mailbox_bytes = 65536`",
        play=never_reads,
        answer=(Piece("what was under way", b""),),
        reason="slow-consumer",
        counted=("megaphone_mailbox_full_total",),
        limits={"slow_consumer_seconds": SECOND, "mailbox_bytes": MAILBOX_BYTES},
    ),
)

SECTIONS = (
    Section(
        "Slow, silent, half gone",
        "While the last one is closed, another client of the same server goes on as if nothing was.",
        SLOW,
    ),
)
