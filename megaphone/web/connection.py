"""One HTTP/1.1 connection: request after request, each answered before the next one is read.

    HEAD ── whole ──► BODY ── whole ──► HELD ── answer ──► SENDING ── written ──► HEAD, or ENDED with Connection: close
     │ idle_seconds    │ request_seconds │ for as long as its route wants       (any ──► ENDED)
     │ request_seconds                   │ what comes meanwhile waits, bounded

h11 reads HTTP, behind wire/http_head.py: what it could be brought to read otherwise than a proxy before us is refused
there. A body is written as the mailbox drains.
"""

from __future__ import annotations

from collections.abc import Collection
from enum import IntEnum
from typing import TYPE_CHECKING, Any

from megaphone.dispatch.counters import Reason
from megaphone.dispatch.websocket_slots import WebSocketSlot
from megaphone.edge.forwarded import client_of
from megaphone.web.answers import REASONS, WITHOUT_BODY, fields_of, text
from megaphone.web.exchange import Request
from megaphone.web.held import HeldExchange
from megaphone.web.messages import MessageSocket
from megaphone.web.owner import WebOwner
from megaphone.web.routes import Standard, standard_answer
from megaphone.web.target import read_target
from megaphone.wire.http_head import HeadRefusedError, head_end, http, read_head, refused_by_h11
from megaphone.wire.websocket_handshake import Refused, answer

if TYPE_CHECKING:
    from megaphone.edge.connection import ClientConnection
    from megaphone.web.exchange import Headers, Messages
    from megaphone.web.routes import Route
    from megaphone.web.server import WebServer
    from megaphone.wire.http_head import Head

_PIECE_BYTES = 65_536
_WAITING_BYTES = 16_384  # that a client may send before its last request is answered; then it is not read for a while
_BODY_BYTES_PER_TICK = 256  # 4,096 bytes of a body may take a second more
# What a request that is not answered yet is told when the edge ends its connection.
_STATUS_OF = {
    Reason.SYSTEM_SHUTDOWN: (503, "this server is going down"),
    Reason.KICKED: (503, "this server cannot serve you now"),
    Reason.POLICY_VIOLATION: (429, "that is too fast"),
    Reason.INTERNAL: (500, "a mistake of this server"),
}


class State(IntEnum):
    """See above."""

    HEAD = 0
    BODY = 1
    HELD = 2
    SENDING = 3
    ENDED = 4


class HTTPConnection(WebOwner):
    """The session owner of a connection that asks for anything but XMPP over WebSocket."""

    def __init__(self, connection: ClientConnection, server: WebServer, head: Head) -> None:
        super().__init__(connection)
        self._server = server
        self._state = State.HEAD
        self._since_ticks = self.now_ticks  # it is idle, or the head or body is under way
        self._waiting = b""  # what has come and was not read yet
        self._turning = False  # in _go_on, further up
        self._closes: Reason | None = None  # after this answer, for this reason
        self._ending = False  # the edge ends it: these are the last words
        self._head: Any  # h11's Request; the first one was read by the edge
        self._reader: Any  # h11's Connection, of one request
        self._head, self._reader = head
        self._route: Route | None = None
        self._asked = ("", "", "")  # path, query, host
        self._body: list[bytes] = []
        self._body_bytes = 0
        self._exchange: HeldExchange | None = None
        self._rest: memoryview | None = None  # of the answer's body

    # --- what comes ------------------------------------------------------------

    def received(self, data: bytes) -> None:
        """Read a request, or let it wait for the answer to the last one."""
        if self._state is State.HEAD and not self._waiting:
            self._since_ticks = self.now_ticks
        self._waiting += data
        self._go_on()

    def _go_on(self) -> None:
        """Read and answer what waits, as far as that can be done now."""
        if not self._turning:
            self._turning = True
            try:
                while self._step():
                    pass
            except HeadRefusedError as refused:
                self._refuse(refused.status, refused.reason, refused.headers)
            finally:
                self._turning = False
        if len(self._waiting) < _WAITING_BYTES:
            self.read_on()

    def _step(self) -> bool:
        """Whether there was something to do, and may be more."""
        if self._state is State.HEAD:
            return self._read_head()
        if self._state is State.BODY:
            return self._read_body()
        return False

    def _read_head(self) -> bool:
        connection = self.connection
        if connection is None or (self._head is None and not self._find_head(connection)):
            return False
        self._state = State.BODY
        self._since_ticks = self.now_ticks
        self._expect_body(dict(self._head.headers))
        return True

    def _find_head(self, connection: ClientConnection) -> bool:
        """Whether the head of another request has come, and it is for us."""
        if not self._waiting:
            return False
        limit = connection.clients.websocket.request_bytes
        end = head_end(self._waiting)
        if not end or end > limit:
            if len(self._waiting) > limit:
                raise HeadRefusedError(431, "the request is too large")
            return False
        head, self._waiting = self._waiting[:end], self._waiting[end:]
        self._head, self._reader = read_head(head, limit)
        path = self._head.target.partition(b"?")[0]
        if connection.listener.websocket and path == connection.clients.websocket.path:
            self._give_back(connection, head)
            return False
        return True

    def _give_back(self, connection: ClientConnection, head: bytes) -> None:
        """A proxy asks for a WebSocket of XMPP on a connection that it had used for something else."""
        waiting, self._waiting = self._waiting, b""
        self._state = State.ENDED
        self.let_go()
        connection.leave_web(head + waiting)

    def _expect_body(self, fields: dict[bytes, bytes]) -> None:
        """Refuse a body that nobody would read; ask for the one that a client holds back until then."""
        self._asked = read_target(self._head.target, fields.get(b"host", b""))
        self._route = self._server.routes.find(self._asked[0])
        length = int(fields.get(b"content-length", b"0"))
        if not length and b"transfer-encoding" not in fields:
            return
        refused = standard_answer(self._route, self._head.method.decode())
        if refused is not None and refused.status >= 400:
            raise HeadRefusedError(refused.status, refused.reason, refused.headers)
        if not self._body_limit or length > self._body_limit:
            raise HeadRefusedError(413, f"a body may have {self._body_limit} bytes here")
        if self._reader.they_are_waiting_for_100_continue:
            self.write(self._reader.send(http().InformationalResponse(status_code=100, headers=[])))

    @property
    def _body_limit(self) -> int:
        return 0 if self._route is None else self._route.body_limit_bytes

    def _read_body(self) -> bool:
        h11 = http()
        event = self._next_event()
        if event is h11.NEED_DATA:
            if not self._waiting:
                return False
            data, self._waiting = self._waiting, b""
            self._reader.receive_data(data)
        elif isinstance(event, h11.Data):
            self._body.append(bytes(event.data))
            self._body_bytes += len(event.data)
            if self._body_bytes > self._body_limit:
                raise HeadRefusedError(413, f"a body may have {self._body_limit} bytes here")
        elif isinstance(event, h11.EndOfMessage):
            self._waiting = bytes(self._reader.trailing_data[0]) + self._waiting
            self._ask()
        else:
            raise HeadRefusedError(400, "the request ends too early")
        return True

    def _next_event(self) -> Any:
        try:
            return self._reader.next_event()
        except http().RemoteProtocolError as error:
            raise refused_by_h11(error) from None

    # --- the exchange ------------------------------------------------------------

    def _ask(self) -> None:
        """The request is whole: whoever serves its route gets it."""
        connection = self.connection
        if connection is None:
            return
        self._state = State.HELD
        self.count_request()
        method = self._head.method.decode()
        headers = tuple((bytes(name), bytes(value)) for name, value in self._head.headers)
        address, secured = client_of(connection.client_address, headers, connection.clients.websocket)
        body, self._body, self._body_bytes = b"".join(self._body), [], 0
        route = self._route
        standard = standard_answer(route, method)
        if standard is not None:
            self._answer_standard(standard)
            return
        assert route is not None  # noqa: S101 - else it was 404
        path, query, host = self._asked
        secure = connection.tls is not None or secured
        exchange = HeldExchange(Request(method, path, query, headers, body, address, secure, host), self)
        self._exchange = exchange
        try:
            route.take(exchange)
        except Exception as error:  # noqa: BLE001 - a mistake of ours must not leave a client without an answer
            connection.clients.on_fault(error)
            self._closes = Reason.INTERNAL
            exchange.answer(500, *text("a mistake of this server"))

    def answer(self, status: int, headers: Headers, body: bytes | memoryview) -> None:
        """Answer the request that is held; ValueError, and nothing has happened, for fields that are ours to say."""
        connection = self.connection
        if connection is None or self._state is not State.HELD:
            return
        h11 = http()
        cors = self._route is not None and self._route.cors
        length = None if status in WITHOUT_BODY else len(body)
        fields = fields_of(headers, length, cors=cors, close=self._closes is not None)
        head = self._reader.send(h11.Response(status_code=status, headers=fields, reason=REASONS.get(status, b"")))
        self._let_go()
        self._state = State.SENDING
        connection.clients.board.add(WebSocketSlot.HTTP_REFUSED if status >= 400 else WebSocketSlot.HTTP_ANSWERED, 1)
        if length and self._head.method != b"HEAD":
            self._rest = memoryview(body).cast("B")
            self._reader.send_with_data_passthrough(h11.Data(data=self._rest))
        self._reader.send(h11.EndOfMessage())
        self.write(head)
        self.room()

    def room(self) -> None:
        """Write as much of the answer as the mailbox takes; after the last piece go on with what waits."""
        if self._state is not State.SENDING:
            return
        while self._rest is not None:
            if self.full:
                return
            self.write(self._rest[:_PIECE_BYTES])
            self._rest = self._rest[_PIECE_BYTES:] if len(self._rest) > _PIECE_BYTES else None
        keeps = self._reader.our_state is http().DONE
        self._reader = self._head = self._route = None
        self._since_ticks = self.now_ticks
        if self._closes is not None or not keeps:
            self._end(self._closes or Reason.SERVER_CLOSED)
        else:
            self._state = State.HEAD
            self._go_on()

    def open_messages(
        self, subscriber: Messages, message_bytes: int, protocol: bytes | None, origins: Collection[bytes] | None
    ) -> MessageSocket | None:
        """Answer 101, and let the connection be a WebSocket's; None: refused, and answered."""
        connection = self.connection
        if connection is None or self._state is not State.HELD or self._exchange is None:
            return None
        request = self._exchange.request
        result = answer(
            request.method.encode(),
            self._head.http_version,
            request.headers,
            origins=origins,
            subprotocol=protocol,
            required=False,
        )
        if isinstance(result, Refused):
            self._say_last(result.response)
        elif self._waiting:
            self._refuse(400, "nothing may follow the request before it is answered")
        elif (refusal := self._admit(connection, request)) is not None:
            self._refuse(429, "too many connections", why=refusal)
        else:
            self.write(result.response)
            self._let_go()
            self._state = State.ENDED
            self.let_go()
            connection.clients.board.add(WebSocketSlot.HTTP_ANSWERED, 1)
            connection.clients.board.add(WebSocketSlot.MESSAGES_OPENED, 1)
            return MessageSocket(connection, subscriber, message_bytes)
        return None

    def _admit(self, connection: ClientConnection, request: Request) -> Reason | None:
        """Count a proxy's client, who was only asking so far; return why it is over a limit."""
        if not connection.awaits_address:
            return None
        connection.forwarded(request.client_address, request.secure)
        return connection.clients.admission.admit(connection, connection.client_address)

    def _let_go(self) -> None:
        if self._exchange is not None:
            self._exchange.let_go()
            self._exchange = None

    # --- refusals and the end ------------------------------------------------------------

    def _answer_standard(self, standard: Standard) -> None:
        fields, body = text(standard.reason) if standard.reason else ([], b"")
        self.answer(standard.status, [*fields, *standard.headers], body)

    def _refuse(self, status: int, reason: str, headers: Headers = (), *, why: Reason = Reason.HTTP_REFUSED) -> None:
        """Answer what cannot be read on, or in peace, and end the connection."""
        fields, body = text(reason)
        cors = self._route is not None and self._route.cors
        lines = [b"HTTP/1.1 %d %b" % (status, REASONS[status])]
        lines += [b"%b: %b" % field for field in fields_of([*fields, *headers], len(body), cors=cors, close=True)]
        self._say_last(b"\r\n".join([*lines, b"", body]), why)

    def _say_last(self, response: bytes, why: Reason = Reason.HTTP_REFUSED) -> None:
        connection = self.connection
        self._let_go()
        self._waiting = b""
        if connection is not None:
            connection.clients.board.add(WebSocketSlot.HTTP_REFUSED, 1)
            self.write(response)
        self._end(why)

    def _end(self, why: Reason) -> None:
        self._state = State.ENDED
        if not self._ending:
            self.finish(why)

    def tick(self) -> None:
        """Refuse a request that takes too long to come, and end a connection that asks for nothing."""
        passed = self.now_ticks - self._since_ticks
        late = passed - self._body_bytes // _BODY_BYTES_PER_TICK > self._server.request_ticks
        if self._state is State.BODY or (self._state is State.HEAD and self._waiting):
            if late:
                self._refuse(408, "the request took too long", why=Reason.PREAUTH_TIMEOUT)
        elif self._state is State.HEAD and passed > self._server.idle_ticks:
            self._end(Reason.IDLE_TIMEOUT)

    def client_ended(self) -> None:
        """The client says nothing more: an answer on its way is still written, another one is not waited for."""
        if self._state is State.SENDING:
            self._closes = Reason.CLIENT_CLOSED
        else:
            self.finish(Reason.CLIENT_CLOSED)

    def ended(self, reason: Reason) -> None:
        """Say what is still to be said, and tell who holds a request that nobody waits for it."""
        self._ending = True
        status = _STATUS_OF.get(reason)
        exchange = self._exchange
        if status is not None and exchange is not None and exchange.on_ending is not None:
            self._closes = reason
            exchange.on_ending()
        if status is not None and self._rest is not None:
            self.write(self._rest)  # all at once: it is one of our files, and no more pieces are taken
        if status is not None and (self._state is State.BODY or self._exchange is not None):
            self._exchange = None
            self._refuse(*status)
        self._exchange = None
        self._state = State.ENDED
        self._rest = self._reader = self._head = self._route = None
        if exchange is not None and not exchange.answered:
            exchange.lose()
