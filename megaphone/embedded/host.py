"""What the compiled streams call for everything but their hot path, and the outlets that the core speaks through."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from megaphone.dispatch.counters import Reason, Slot
from megaphone.dispatch.moving import Moved
from megaphone.embedded.stream_record import export_stream
from megaphone.stream.stanza import Stanza
from megaphone.wire.stanza_header import read_stanza_header
from megaphone.wire.stanza_writer import bounce

if TYPE_CHECKING:
    from collections.abc import Callable

    from megaphone.dispatch.counters import Board
    from megaphone.dispatch.dispatcher import Connection
    from megaphone.embedded.logins import Logins
    from megaphone.embedded.promises import Promises
    from megaphone.embedded.router import Router
    from megaphone.embedded.sessions import Sessions
    from megaphone.embedded.stream import EmbeddedStream
    from megaphone.service.session import Session

_RESOURCE_BYTES = 8
_NAMES = ("message", "presence", "iq")
_PING = b"<iq type='get' id='%b' from='%b'><ping xmlns='urn:xmpp:ping'/></iq>"


class SessionOutlet:
    """`service.ports.Outlet`: where the service's words go."""

    def __init__(self, sessions: Sessions, router: Router) -> None:
        self._sessions = sessions
        self.deliver = sessions.deliver
        self.deliver_stored = sessions.deliver_stored
        self.route = router.route

    def close(self, session: Session, condition: str, text: str = "") -> None:
        """End the stream of a session with a stream error."""
        self._sessions.end_session(session, condition, text)

    def token(self) -> str:
        """Return a resource that nobody can guess."""
        return secrets.token_hex(_RESOURCE_BYTES)


class Host:
    """The callbacks of the streams of one worker. `seal` writes what was said in a turn to logs."""

    def __init__(
        self,
        *,
        board: Board,
        router: Router,
        promises: Promises,
        sessions: Sessions,
        logins: Logins,
        seal: Callable[[], None],
    ) -> None:
        self._board = board
        self._router = router
        self._promises = promises
        self._sessions = sessions
        self._logins = logins
        self._seal = seal
        self._gone: list[tuple[EmbeddedStream, int]] = []
        self.queue = sessions.queue
        self.take_header = logins.take_header

    # --- from clients ------------------------------------------------------------

    def take_stanza(self, stream: EmbeddedStream, element: int, data: bytes) -> None:
        """Take a stanza of a session's client, its `from` already what we know of it."""
        router, management, session = self._router, stream.resumption, stream.session
        if management is not None:
            management.received()
            router.keeping = element == 0
        try:
            stanza = Stanza.read(data)
        except ValueError as error:
            if str(error) == "jid-malformed":
                self._refuse_address(session, element, data)
            else:  # a message only by name: its namespace is another
                self._sessions.close(stream, "unsupported-stanza-type", "")
        else:
            try:
                router.service.receive(session, stanza, router.now())
            except Exception as error:  # noqa: BLE001 - whatever it is, the client gets an answer
                router.failed(stanza, error)
        finally:
            router.keeping = False
            router.drain()

    def _refuse_address(self, session: Session, element: int, data: bytes) -> None:
        """It is for a JID that is none (RFC 6120 section 8.1.1.1): the client is told, if it may be."""
        header = read_stanza_header(data)
        if header.type not in ("error", "result"):
            answer = bounce(_NAMES[element], "jid-malformed", to=str(session.jid), from_=None, id_=header.id)
            self._sessions.deliver(session, answer)

    def take_element(self, stream: EmbeddedStream, data: bytes) -> None:
        """Take a first-level element that is no stanza of a session."""
        if stream.session is None:
            self._logins.take_element(stream, data)
        else:
            self._sessions.take_element(stream, data)
        self._router.drain()

    def take_stream_end(self, stream: EmbeddedStream) -> None:
        """Take `</stream:stream>`."""
        if stream.session is None:
            self._logins.take_stream_end(stream)
        else:
            self._sessions.take_stream_end(stream)

    def take_client_end(self, stream: EmbeddedStream, said_goodbye: bool) -> None:
        """The client will say nothing more."""
        stream.end("", Reason.CLIENT_CLOSED)

    @property
    def idle(self) -> bool:
        """Whether no stream has ended that was not looked after."""
        return not self._gone

    def ping(self, stream: EmbeddedStream) -> None:
        """Nothing was heard of the client for a while: ask whether it is there (XEP-0199 section 4.2, XEP-0198)."""
        if stream.session is not None:
            stream.ask_sign_of_life(
                _PING % (secrets.token_hex(4).encode(), self._router.domain.encode())
                if stream.resumption is None
                else b"<r xmlns='urn:xmpp:sm:3'/>"
            )

    # --- another process goes on ------------------------------------------------------------

    def export(self, stream: EmbeddedStream) -> Moved | None:
        """Return what moves along with a stream's connection; None if it stays."""
        record = export_stream(stream)
        return None if record is None else Moved("stream", record)

    def activate(self, stream: EmbeddedStream, connection: Connection) -> None:
        """A stream of the process before this one begins here."""
        if stream.session is None:
            self._logins.restored(stream, connection)

    # --- what happens to streams ------------------------------------------------------------

    def take_gone(self, stream: EmbeddedStream, reason: int) -> None:
        """The connection is gone; what follows from that waits until nobody is at work."""
        self._gone.append((stream, reason))
        stream.at_turn_end()

    def take_overflow(self, stream: EmbeddedStream) -> None:
        """The client has taken nothing for so long that too much waits for it."""
        self._board.add(Slot.OVERFLOWS, 1)
        self._router.later(lambda: stream.end("policy-violation", Reason.SLOW_CONSUMER))

    def end_turn(self, streams: list[EmbeddedStream]) -> None:
        """The turn is over: what has waited for that."""
        while self._gone:
            gone, self._gone = self._gone, []
            for stream, reason in gone:
                self._logins.gone(stream.former_id)
                self._sessions.gone(stream, reason)
            self._router.drain()
        self._seal()
        for stream in streams:
            self._sessions.ask(stream)
        self._promises.look()
