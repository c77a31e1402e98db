"""What client and service agree on when a BOSH session begins (XEP-0124 section 7, XEP-0206 section 3)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from megaphone.wire.framing_element import STREAM_BEGIN
from megaphone.wire.writer import escape

if TYPE_CHECKING:
    from megaphone.stream.bosh_body import Body
    from megaphone.stream.bosh_server import ServerStream

VERSION: Final = (1, 11)  # of XEP-0124


@dataclass(frozen=True, slots=True)
class BoshLimits:
    """What every session of a worker is allowed: seconds, `requests` at once, at least 2, and `outbox_bytes`."""

    wait: int = 60
    requests: int = 2
    inactivity: int = 60
    polling: int = 2
    pause: int = 120
    outbox_bytes: int = 262_144
    see_other_uri: str = ""  # where clients are sent when the worker drains


class Terms:
    """The terms of one session: what its first request asks for, as far as the limits allow it."""

    def __init__(self, creation: Body, limits: BoshLimits) -> None:
        self._creation = creation
        self._limits = limits
        self.wait = limits.wait if creation.wait is None else min(creation.wait, limits.wait)
        hold = min(1 if creation.hold is None else creation.hold, limits.requests - 1)
        self.hold = hold if self.wait else 0
        self.requests = max(2, self.hold + 1)  # section 7.2: one more than what is held, or 2

    def attributes(self, sid: str, rid: int, server: ServerStream) -> list[tuple[str, str]]:
        """Return the attributes of the first answer, with what is known of the server."""
        said: list[tuple[str, str | int | None]] = [
            ("sid", sid),
            ("wait", self.wait),
            ("requests", self.requests),
            ("inactivity", self._limits.inactivity),
            ("polling", self._limits.polling),
            ("hold", self.hold),
            ("maxpause", self._limits.pause),
            ("ver", ".".join(map(str, min(VERSION, self._creation.version or VERSION)))),
            ("from", server.from_ or self._creation.to),
            ("authid", server.id),
            ("xml:lang", server.lang),
            ("ack", rid if self._creation.ack is not None else None),
            ("xmlns:xmpp", "urn:xmpp:xbosh"),
            ("xmpp:version", "1.0"),
            ("xmpp:restartlogic", "true"),
        ]
        return [(name, str(value)) for name, value in said if value is not None]


def stream_header(creation: Body) -> bytes:
    """Return the header of the session's stream, also of one that begins anew: what a client says of it stands in its
    first body (XEP-0206 section 4).
    """
    said = {"to": creation.to, "from": creation.from_, "xml:lang": creation.lang}
    attributes = [b" %b='%b'" % (name.encode(), escape(value)) for name, value in said.items() if value is not None]
    return STREAM_BEGIN + b"".join(attributes) + b" version='1.0'>"
