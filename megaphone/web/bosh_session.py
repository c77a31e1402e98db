"""One BOSH session at work: its requests on one side, on the other a socket whose far end is a client of the edge.

    Exchange ─► take ─► stream.bosh.Session ─► socket pair ─► ClientConnection: any mode, limits, counters
             ◄─ answers ◄─                 ◄─

So the edge has one more client, whose stream comes from here. What the session does not take for now is not read: the
edge's mailbox fills as with any client that does not read. What the edge does not take for now (it is over its rate) is
kept here, and the client's next request waits for its answer until then.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from megaphone.dispatch.counters import Reason
    from megaphone.edge.connection import ClientConnection
    from megaphone.stream.bosh import Session
    from megaphone.stream.bosh_body import Body

READ_BYTES: Final = 65_536
LAST_WORDS_SECONDS: Final = 5.0  # for the edge to take what is still to be said
_CLOCK_SECONDS = 0.001  # how early a timer may fire


class LiveSession:
    """`outer` is our end of the stream's socket pair, `connection` what the edge has made of the other.

    `ended` is called once, when the session ends, and `forget`, when nobody needs to know it any more.
    """

    session: Session

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        outer: socket.socket,
        connection: ClientConnection,
        ended: Callable[[], None],
        forget: Callable[[LiveSession], None],
    ) -> None:
        self._loop = loop
        self._socket: socket.socket | None = outer
        self._connection: ClientConnection | None = connection
        self._ended = ended
        self._forget = forget
        self._waiting: dict[int, Callable[[bytes], None]] = {}
        self._last_number = 0
        self._unsent = bytearray()
        self._reads = self._ends = self._forgotten = False
        self._timer: asyncio.TimerHandle | None = None
        self.address = b""  # that it was last used from, as guesses are counted

    # --- requests ------------------------------------------------------------

    def begin(self, make: Callable[[int, float], Session], answer: Callable[[bytes], None]) -> int:
        """Begin with the first request, for whose number `make` returns the session; returns that number."""
        number = self._note(answer)
        self.session = make(number, self._loop.time())
        self._go_on()
        return number

    def take(self, body: Body, answer: Callable[[bytes], None]) -> int:
        """Take a request, which is answered once, now or later; returns its number."""
        number = self._note(answer)
        self.session.take_request(body, number, self._loop.time())
        self._go_on()
        return number

    def gone(self, number: int) -> None:
        """Nobody waits for the answer to this request any more."""
        if self._waiting.pop(number, None) is not None:
            self.session.take_gone(number, self._loop.time())
            self._go_on()

    def _note(self, answer: Callable[[bytes], None]) -> int:
        self._last_number += 1
        self._waiting[self._last_number] = answer
        return self._last_number

    def finish(self, condition: str, reason: Reason) -> None:
        """Let the edge end the stream with this stream error, which ends the session."""
        if self._connection is not None and not self._connection.closing:
            self._connection.finish(condition, reason)

    # --- what follows ------------------------------------------------------------

    def _go_on(self) -> None:
        """Do what the session wants done."""
        session = self.session
        self._write(session.take_stream())
        if session.stalled != bool(self._unsent):
            session.stalled = bool(self._unsent)
            session.settle(self._loop.time())
        for number, body in session.take_answers():
            answer = self._waiting.pop(number, None)
            if answer is not None:
                answer(body)
        self._read_on(session.ended or session.has_room)
        if session.ended:
            self._end()
        self._set_timer()

    def _end(self) -> None:
        """The session is over; the stream's last words may still be on their way."""
        if not self._ends:
            self._ends = True
            self._ended()
            self._finish_writing()
            self._loop.call_later(LAST_WORDS_SECONDS, self._close)

    def _set_timer(self) -> None:
        deadline = self.session.deadline
        if self._timer is not None and self._timer.when() <= deadline:
            return  # it looks again then
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(deadline, self._take_time)

    def _take_time(self) -> None:
        self._timer = None
        now = self._loop.time() + _CLOCK_SECONDS
        self.session.take_time(now)
        if self.session.forgotten(now):
            self._let_go()
        else:
            self._go_on()

    def _let_go(self) -> None:
        """The last of all."""
        for number, body in self.session.take_answers():
            answer = self._waiting.pop(number, None)
            if answer is not None:
                answer(body)
        if not self._forgotten:
            self._forgotten = True
            self._forget(self)
        self._end()

    # --- the stream ------------------------------------------------------------

    def _write(self, data: bytes) -> None:
        if self._socket is None or not data:
            return
        if not self._unsent:
            data = data[self._send(data) :]
            if data and self._socket is not None:
                self._loop.add_writer(self._socket, self._write_on)
        self._unsent += data

    def _send(self, data: bytes | bytearray) -> int:
        """Return how much of it could be sent; a stream that takes nothing any more takes all."""
        if self._socket is None:
            return len(data)
        try:
            return self._socket.send(data)
        except BlockingIOError:
            return 0
        except OSError:
            return len(data)  # the end is read

    def _write_on(self) -> None:
        del self._unsent[: self._send(self._unsent)]
        if not self._unsent:
            if self._socket is not None:
                self._loop.remove_writer(self._socket)
            if self._ends:
                self._finish_writing()
            else:
                self._go_on()

    def _finish_writing(self) -> None:
        """Say that no more comes, when what is unsent has been sent."""
        if self._socket is not None and not self._unsent:
            try:
                self._socket.shutdown(socket.SHUT_WR)
            except OSError:
                self._close()

    def _read_on(self, reads: bool) -> None:
        if self._socket is None or reads == self._reads:
            return
        self._reads = reads
        if reads:
            self._loop.add_reader(self._socket, self._read)
        else:
            self._loop.remove_reader(self._socket)

    def _read(self) -> None:
        if self._socket is None:
            return
        try:
            data = self._socket.recv(READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._close()
            self.session.take_end(self._loop.time())
        else:
            self.session.take_data(data, self._loop.time())
        if not self._forgotten:
            self._go_on()

    def _close(self) -> None:
        if self._socket is not None:
            self._loop.remove_reader(self._socket)
            self._loop.remove_writer(self._socket)
            self._socket.close()
            self._socket = None
            self._connection = None
            self._unsent.clear()
