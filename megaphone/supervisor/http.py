"""A small HTTP/1.1 server on h11 and trio: bounded in time, bytes and connections; knows nothing of what it serves.

    connection -> head (time, bytes) -> body (time, bytes) -> answer(Request) -> Response -> next request or close

Whoever talks too slowly gets 408, too much 413 or 431, nonsense 400; one connection too many gets 503.
"""

import email.utils
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import parse_qsl, unquote, urlsplit

import h11
import msgspec
import trio

from megaphone.log import get_logger

HEAD_LIMIT_BYTES: Final = 16_384
BODY_LIMIT_BYTES: Final = 65_536
FIELD_LIMIT: Final = 16  # parameters in a query
REQUEST_SECONDS: Final = 10.0  # from a request's first byte to its last
IDLE_SECONDS: Final = 75.0  # between requests; Prometheus scrapes every 15 to 60 s over one connection
SEND_SECONDS: Final = 30.0
CONNECTION_LIMIT: Final = 64
_READ_BYTES: Final = 16_384

_log = get_logger("admin")


@dataclass(frozen=True, slots=True)
class Request:
    """One complete request."""

    method: str
    path: str
    query: Mapping[str, str]
    body: bytes
    bearer: bytes | None = None  # the token of `Authorization: Bearer` (RFC 6750 section 2.1)


@dataclass(frozen=True, slots=True)
class Response:
    """What to answer."""

    status: int
    body: bytes
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)


Answer = Callable[[Request], Awaitable[Response]]


def json_response(status: int, value: Any, headers: Mapping[str, str] | None = None) -> Response:
    """The value as JSON with a newline at the end, kind to terminals."""
    return Response(status, msgspec.json.encode(value) + b"\n", headers=headers or {})


def error_response(status: int, reason: str, headers: Mapping[str, str] | None = None) -> Response:
    """`{"error": reason}`."""
    return json_response(status, {"error": reason}, headers)


class RequestError(Exception):
    """A request that cannot be read; carries its answer. The connection is closed after it."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.response = error_response(status, reason)


class Server:
    """Serves streams; shared by several listeners, so that the limit of connections holds for all of them together."""

    def __init__(
        self,
        *,
        request_seconds: float = REQUEST_SECONDS,
        idle_seconds: float = IDLE_SECONDS,
        connection_limit: int = CONNECTION_LIMIT,
        on_refused: Callable[[int], None] = lambda status: None,
    ) -> None:
        self._request_seconds = request_seconds
        self._idle_seconds = idle_seconds
        self._connection_limit = connection_limit
        self._open: set[_Connection] = set()
        self._finishing = False
        self._ended = trio.Event()
        self._on_refused = on_refused  # called with the status of an answer that no `answer` function gave

    async def serve(self, stream: trio.abc.Stream, answer: Answer) -> None:
        """Serves one connection until either side has had enough; never raises for what the peer does."""
        connection = _Connection(stream, self._request_seconds, self._idle_seconds)
        self._open.add(connection)
        try:
            if len(self._open) > self._connection_limit:
                raise RequestError(503, f"more than {self._connection_limit} connections")
            while (request := await connection.receive()) is not None:
                await connection.send(await self._answered(answer, request), head=request.method == "HEAD")
                if self._finishing or not connection.next_request():
                    return
        except RequestError as error:
            self._on_refused(error.response.status)
            await connection.refuse(error.response)
        except (trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError, h11.LocalProtocolError):
            return  # the peer has gone, or does not read
        finally:
            await trio.aclose_forcefully(stream)
            self._open.discard(connection)
            if not self._open:
                self._ended.set()

    async def finish(self, within_seconds: float) -> None:
        """Ends connections that are between two requests, and the others after their answer if it comes in time."""
        self._finishing = True
        with trio.move_on_after(within_seconds):
            while self._open:
                for connection in self._open:
                    connection.stop_waiting()
                self._ended = trio.Event()
                await self._ended.wait()

    async def _answered(self, answer: Answer, request: Request) -> Response:
        try:
            return await answer(request)
        except Exception:  # noqa: BLE001 - a mistake in an admin page must not end the node that is being looked at
            _log.exception("admin request failed", method=request.method, path=request.path)
            return error_response(500, "internal error, see the log")


class _Connection:
    """One connection's protocol state and the reading and writing around it."""

    def __init__(self, stream: trio.abc.Stream, request_seconds: float, idle_seconds: float) -> None:
        self._stream = stream
        self._request_seconds = request_seconds
        self._idle_seconds = idle_seconds
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=HEAD_LIMIT_BYTES)
        self._waiting: trio.CancelScope | None = None  # for the first bytes of a request

    def stop_waiting(self) -> None:
        """Ends the connection, unless a request has begun."""
        if self._waiting is not None:
            self._waiting.cancel()

    async def receive(self) -> Request | None:
        """The next complete request; None when the peer closed, or sent nothing for too long."""
        if not self._http.trailing_data[0]:
            with trio.move_on_after(self._idle_seconds) as idle:
                self._waiting = idle
                data = await self._stream.receive_some(_READ_BYTES)
            self._waiting = None
            if idle.cancelled_caught or not data:
                return None
            self._http.receive_data(bytes(data))
        with trio.move_on_after(self._request_seconds):
            return await self._receive_started()
        raise RequestError(408, f"no complete request within {self._request_seconds:g} s")

    async def _receive_started(self) -> Request | None:
        head = await self._next_event()
        if not isinstance(head, h11.Request):
            return None
        declared = dict(head.headers).get(b"content-length", b"0")
        body = bytearray()
        while True:
            # h11 has checked that it is a number; one too big is refused before `100 Continue` invites it.
            if max(int(declared), len(body)) > BODY_LIMIT_BYTES:
                raise RequestError(413, f"a body has at most {BODY_LIMIT_BYTES} bytes")
            if self._http.they_are_waiting_for_100_continue:
                await self._send_event(h11.InformationalResponse(status_code=100, headers=[]))
            event = await self._next_event()
            if isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.EndOfMessage):
                return _request(head, bytes(body))
            else:
                return None

    async def _next_event(self) -> h11.Event | type[h11.PAUSED] | None:
        while True:
            try:
                event = self._http.next_event()
            except h11.RemoteProtocolError as error:
                raise RequestError(error.error_status_hint, str(error)) from None
            if event is not h11.NEED_DATA:
                return event  # type: ignore[return-value]
            self._http.receive_data(bytes(await self._stream.receive_some(_READ_BYTES)))

    async def send(self, response: Response, *, head: bool = False) -> None:
        """Sends one response; TooSlowError when the peer does not read it."""
        headers = {
            "Date": email.utils.formatdate(usegmt=True),
            "Content-Type": response.content_type,
            "Content-Length": str(len(response.body)),
            "Cache-Control": "no-store",
            **response.headers,
        }
        await self._send_event(h11.Response(status_code=response.status, headers=list(headers.items())))
        if not head:
            await self._send_event(h11.Data(data=response.body))
        await self._send_event(h11.EndOfMessage())

    async def refuse(self, response: Response) -> None:
        """Sends the answer to something that was no request, if there is still somebody to answer."""
        if self._http.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            return
        closing = {"Connection": "close"}
        try:
            await self.send(Response(response.status, response.body, response.content_type, closing))
            # Closing with unread input would reset the connection, and the peer might never see the answer.
            with trio.move_on_after(1):
                if isinstance(self._stream, trio.SocketStream):
                    await self._stream.send_eof()
                while await self._stream.receive_some(_READ_BYTES):
                    pass
        except (trio.BrokenResourceError, trio.TooSlowError, h11.LocalProtocolError):
            return

    def next_request(self) -> bool:
        """Prepares for another request on this connection, if both sides want that."""
        if self._http.our_state is h11.DONE and self._http.their_state is h11.DONE:
            self._http.start_next_cycle()
            return True
        return False

    async def _send_event(self, event: h11.Event) -> None:
        data = self._http.send(event)
        if data:
            with trio.fail_after(SEND_SECONDS):
                await self._stream.send_all(data)


def _request(head: h11.Request, body: bytes) -> Request:
    try:
        target = urlsplit(head.target.decode("ascii"))
        fields = parse_qsl(
            target.query,
            keep_blank_values=True,
            strict_parsing=bool(target.query),
            max_num_fields=FIELD_LIMIT,
            errors="strict",
        )
        path = unquote(target.path, errors="strict")
    except ValueError as error:
        raise RequestError(400, f"the request target cannot be understood: {error}") from None
    query = dict(fields)
    if len(query) != len(fields):
        raise RequestError(400, "a parameter is given twice")
    return Request(head.method.decode("ascii"), path, query, body, _bearer(head))


def _bearer(head: h11.Request) -> bytes | None:
    given = [value for name, value in head.headers if name == b"authorization"]
    scheme, _, token = given[0].partition(b" ") if len(given) == 1 else (b"", b"", b"")
    return token.strip() if scheme.lower() == b"bearer" else None
