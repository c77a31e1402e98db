"""The usual ways to send bad input: as first bytes, before TLS, inside TLS, in a session."""

from tests.adversity.scene import Scene
from tests.adversity.table import Play
from tests.adversity.visitor import HEADER, STARTTLS, Answer
from tests.servers.model import DOMAIN

GOOD = HEADER % DOMAIN.encode()
CLOSE_NOTIFY = "close_notify, FIN"


def first(data: bytes) -> Play:
    """Send this as the first bytes to the STARTTLS port."""

    def play(scene: Scene) -> Answer:
        with scene.visit(scene.starttls) as visitor:
            visitor.send(data)
            return visitor.answer()

    return play


def first_inside(data: bytes) -> Play:
    """Send this as the first bytes inside direct TLS."""

    def play(scene: Scene) -> Answer:
        with scene.inside() as visitor:
            visitor.send(data)
            return visitor.answer()

    return play


def early(data: bytes) -> Play:
    """Send this after the features of the edge's own stream, before TLS; the answer is what comes then."""

    def play(scene: Scene) -> Answer:
        with scene.visit(scene.starttls) as visitor:
            visitor.open()
            visitor.send(data)
            return visitor.answer()

    return play


def late(data: bytes) -> Play:
    """Send this in a session."""

    def play(scene: Scene) -> Answer:
        with scene.session() as visitor:
            visitor.send(data)
            return visitor.answer()

    return play


def long(data: bytes) -> Play:
    """Send this, which is more than one read, in a session whose server has been told to be silent.

    What the edge has passed on before it refuses the rest may end within a stanza. No real server answers that; the
    fake one would echo it, and the edge's error would have to wait for the end of that stanza.
    """

    def play(scene: Scene) -> Answer:
        with scene.session() as visitor:
            visitor.send(b"<message to='hush'/>")
            visitor.send(data)
            return visitor.answer()

    return play


def opened_inside(data: bytes) -> Play:
    """Send this header inside TLS, take what the server makes of it, and leave."""

    def play(scene: Scene) -> Answer:
        with scene.inside() as visitor:
            visitor.send(data)
            opened = visitor.read_until(b"</stream:features>")
            left = visitor.leave()
            return Answer(opened + left.data, left.end)

    return play


def after_proceed(data: bytes) -> Play:
    """Send this instead of a handshake after `<proceed/>`."""

    def play(scene: Scene) -> Answer:
        with scene.visit(scene.starttls) as visitor:
            visitor.open()
            visitor.send(STARTTLS)
            visitor.read_until(b"/>")
            visitor.send(data)
            return visitor.answer()

    return play
