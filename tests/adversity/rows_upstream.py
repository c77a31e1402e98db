"""Trouble behind the edge: servers that are down, full, silent, deaf, or gone in the middle of a sentence."""

import contextlib
import threading

from tests.adversity.plays import CLOSE_NOTIFY, GOOD, first_inside, late
from tests.adversity.scene import UPSTREAM_FULL_AT, Scene
from tests.adversity.table import END, HALF, HEADER, OTHER_HALF, Piece, Play, Row, Section, error
from tests.adversity.visitor import Answer, Silence

SECOND = 1.0
THREE_SECONDS = 3.0  # for a client that has to get somewhere before, on a busy machine
MUTE = GOOD.replace(b" to=", b" from='mute@example.test' to=")
MUCH_BYTES = 64_000_000  # far more than the kernel's and the edge's buffers
BYTES = "megaphone_stream_bytes_total"
PIECE = b"<message><body>%b</body></message>" % (b"x" * 10_000)
GENEROUS = {"bytes_burst": 1_000_000_000, "stanzas_burst": 1_000_000_000}


def until_full(scene: Scene) -> Answer:
    """Streams until a worker has its share of the upstream's connections."""
    with contextlib.ExitStack() as stack:
        for _ in range(UPSTREAM_FULL_AT + 1):
            visitor = stack.enter_context(scene.inside())
            visitor.send(GOOD)
            try:
                visitor.read_until(b"</stream:features>")
            except Silence:
                return visitor.answer()
            stack.callback(visitor.leave)
    raise AssertionError("the upstream was never full")


def failed_over(scene: Scene) -> Answer:
    """A session although the first upstream is down."""
    with scene.session() as visitor:
        visitor.echo()
        return visitor.leave()


def deaf(scene: Scene) -> Answer:
    """The server reads nothing more, the client sends and sends: it is stopped, and told in the end."""
    before = scene.edge.metric(BYTES, direction="in")
    with scene.visit(scene.plain) as visitor:
        visitor.log_in()
        visitor.send(b"<message to='deaf'/>")
        told = threading.Event()

        def send_on() -> None:
            for _ in range(MUCH_BYTES // len(PIECE)):
                if told.is_set():
                    break
                visitor.send(PIECE)

        sender = threading.Thread(target=send_on, daemon=True)
        sender.start()
        answer = visitor.answer()
        told.set()
        sender.join(10.0)
        assert scene.edge.metric(BYTES, direction="in") - before < MUCH_BYTES / 2, "nothing stopped the client"
        return answer


def interrupted(command: bytes) -> Play:
    """The client sends a comment while the server is in the middle of a stanza."""

    def play(scene: Scene) -> Answer:
        with scene.session() as visitor:
            visitor.send(b"<message to='%b'/>" % command)
            half = visitor.read_until(HALF.data)
            visitor.send(b"<!-- so long -->")
            answer = visitor.answer()
            return Answer(half + answer.data, answer.end)

    return play


FAILED = error("remote-connection-failed")

UPSTREAM = (
    Row(
        sent="Nobody listens at the upstream's address",
        play=first_inside(GOOD),
        answer=(HEADER, FAILED, END),
        end=CLOSE_NOTIFY,
        reason="remote-connection-failed",
        upstreams=("down",),
    ),
    Row(
        sent="The same, with a second upstream that works",
        play=failed_over,
        answer=(Piece("a session like any other, END", END.data),),
        end=CLOSE_NOTIFY,
        reason="client-closed",
        upstreams=("down", "fake"),
    ),
    Row(
        sent="The upstream has `max_connections` already",
        play=until_full,
        answer=(HEADER, error("resource-constraint"), END),
        end=CLOSE_NOTIFY,
        reason="resource-constraint",
        counted=("megaphone_upstream_full_total",),
        upstreams=("full",),
    ),
    Row(
        sent="It accepts and never answers, with `preauth_seconds = 3`",
        play=first_inside(MUTE),
        answer=(HEADER, error("connection-timeout"), END),
        end=CLOSE_NOTIFY,
        reason="preauth-timeout",
        limits={"preauth_seconds": THREE_SECONDS},
    ),
    Row(
        sent="It hangs up in the middle of a stanza",
        play=late(b"<message to='die'/>"),
        answer=(HALF,),
        end=CLOSE_NOTIFY,
        reason="remote-connection-failed",
    ),
    Row(
        sent="It resets the connection between two stanzas",
        play=late(b"<message to='vanish'/>"),
        answer=(FAILED, END),
        end=CLOSE_NOTIFY,
        reason="remote-connection-failed",
    ),
    Row(
        sent="It is in the middle of a stanza while the client sends a comment",
        play=interrupted(b"dawdle"),
        answer=(HALF, OTHER_HALF, error("restricted-xml"), END),
        end=CLOSE_NOTIFY,
        reason="restricted-xml",
        limits={"close_seconds": 30.0},
    ),
    Row(
        sent="The same, and it never finishes, with `close_seconds = 1`",
        play=interrupted(b"stall"),
        answer=(HALF,),
        end=CLOSE_NOTIFY,
        reason="restricted-xml",
    ),
    Row(
        sent="It ends the stream",
        play=late(b"<message to='end'/>"),
        answer=(END,),
        end=CLOSE_NOTIFY,
        reason="server-closed",
    ),
    Row(
        sent="It reads nothing more while the client (without TLS) sends on, with `slow_consumer_seconds = 1`",
        play=deaf,
        answer=(FAILED, END),
        reason="remote-connection-failed",
        limits={"slow_consumer_seconds": SECOND, **GENEROUS},
    ),
)

SECTIONS = (Section("Trouble with the server behind", "In direct TLS, as the client sees it.", UPSTREAM),)
