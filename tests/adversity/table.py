"""What a row of the table of bad input is: what is sent, what comes back to the last byte, and what counts it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from tests.adversity import fake_server
from tests.adversity.scene import Scene
from tests.adversity.visitor import Answer


class Piece(NamedTuple):
    """A part of an answer: how the table writes it, and the bytes it stands for."""

    short: str
    data: bytes


HEADER = Piece(
    "HEADER",
    b"<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'"
    b" id='ID' from='example.test' version='1.0' xml:lang='en'>",
)
END = Piece("END", b"</stream:stream>")
TLS_FAILURE = Piece(
    "`<failure xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>`", b"<failure xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"
)
HALF = Piece("the half stanza", fake_server.HALF_STANZA)
OTHER_HALF = Piece("the other half", fake_server.OTHER_HALF)


def error(condition: str, text: str = "") -> Piece:
    """A stream error (RFC 6120 section 4.9)."""
    namespace = "urn:ietf:params:xml:ns:xmpp-streams"
    for_people = f"<text xmlns='{namespace}' xml:lang='en'>{text}</text>" if text else ""
    short = f"ERROR `{condition}`" + (f" “{text.replace('&apos;', chr(39))}”" if text else "")
    return Piece(short, f"<stream:error><{condition} xmlns='{namespace}'/>{for_people}</stream:error>".encode())


Play = Callable[[Scene], Answer]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One bad input of a client. `play` acts it out and returns everything that the client got."""

    sent: str  # for people
    play: Play
    answer: tuple[Piece, ...] = ()
    end: str = "FIN"
    reason: str  # in megaphone_connections_closed_total
    limit: str = ""  # in megaphone_limit_refusals_total
    counted: tuple[str, ...] = ()  # other counters that must grow
    limits: Mapping[str, Any] = field(default_factory=dict)  # [limits], where the row needs others than all
    upstreams: tuple[str, ...] = ("fake",)

    @property
    def expected(self) -> Answer:
        """The exact answer."""
        return Answer(b"".join(piece.data for piece in self.answer), self.end)


@dataclass(frozen=True, slots=True)
class Section:
    """Rows under one heading; `also` are rows that are tested and not shown, because they only say the same again."""

    title: str
    about: str
    rows: tuple[Row, ...]
    also: tuple[Row, ...] = ()
