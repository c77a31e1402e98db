"""The HTTP server over in-memory streams: requests in any pieces, slow, oversized and nonsensical ones."""

import json

import pytest
import trio
from trio.testing import MockClock, memory_stream_pair

from megaphone.supervisor.http import BODY_LIMIT_BYTES, HEAD_LIMIT_BYTES, Request, Response, Server, json_response

pytestmark = pytest.mark.trio


async def echo(request: Request) -> Response:
    body = request.body.decode()
    return json_response(200, {"method": request.method, "path": request.path, "query": request.query, "body": body})


async def talk(*pieces: bytes, server: Server | None = None, close: bool = True) -> tuple[list[int], bytes]:
    """Sends the pieces and returns the status codes of all answers, and everything received."""
    ours, theirs = memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon((server or Server()).serve, theirs, echo)
        for piece in pieces:
            await ours.send_all(piece)
            await trio.testing.wait_all_tasks_blocked()
        if close:
            await ours.send_eof()
        received = b""
        with trio.fail_after(1000):
            while data := await ours.receive_some(65_536):
                received += data
    lines = [line for line in received.split(b"\r\n") if b"HTTP/1.1 " in line]
    return [int(line.split(b"HTTP/1.1 ")[1].split()[0]) for line in lines], received


def body_of(received: bytes) -> dict:
    return json.loads(received.rpartition(b"\r\n\r\n")[2])


async def test_a_request_and_its_answer() -> None:
    statuses, received = await talk(b"GET /a%20b?x=1&y=%C3%A9 HTTP/1.1\r\nHost: h\r\n\r\n")
    assert statuses == [200]
    assert body_of(received) == {"method": "GET", "path": "/a b", "query": {"x": "1", "y": "\u00e9"}, "body": ""}


async def test_one_byte_at_a_time() -> None:
    request = b"POST /p HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc"
    statuses, received = await talk(*(bytes([byte]) for byte in request))
    assert statuses == [200]
    assert body_of(received)["body"] == "abc"


async def test_several_requests_on_one_connection_also_at_once() -> None:
    request = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"
    assert (await talk(request, request * 2))[0] == [200, 200, 200]


async def test_http_1_0_closes() -> None:
    assert (await talk(b"GET / HTTP/1.0\r\n\r\n", close=False))[0] == [200]


async def test_head_has_no_body() -> None:
    statuses, received = await talk(b"HEAD / HTTP/1.1\r\nHost: h\r\n\r\n")
    assert statuses == [200]
    assert received.endswith(b"\r\n\r\n")


async def test_a_client_that_waits_for_100_continue_is_invited() -> None:
    head = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n"
    assert (await talk(head, b"ok"))[0] == [100, 200]


async def test_chunked_body() -> None:
    head = b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert body_of((await talk(head, b"2\r\nok\r\n0\r\n\r\n"))[1])["body"] == "ok"


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n" % (BODY_LIMIT_BYTES + 1), 413),
        (b"GET / HTTP/1.1\r\nHost: h\r\nX: " + b"x" * HEAD_LIMIT_BYTES + b"\r\n", 431),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),  # no Host
        (b"GET / HTTP/9\r\nHost: h\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: -1\r\n\r\n", 400),
        (b"GET /%ff HTTP/1.1\r\nHost: h\r\n\r\n", 400),
        (b"GET /?" + b"&".join(b"a%d=1" % number for number in range(20)) + b" HTTP/1.1\r\nHost: h\r\n\r\n", 400),
        (b"GET http://[/ HTTP/1.1\r\nHost: h\r\n\r\n", 400),
        (b"GE", 400),  # and then nothing more
    ],
)
async def test_what_cannot_be_read_is_refused(request_bytes: bytes, status: int) -> None:
    statuses, _ = await talk(request_bytes)
    assert statuses == [status]


async def test_a_chunked_body_that_never_ends_is_refused() -> None:
    head = b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunk = b"4000\r\n" + b"x" * 0x4000 + b"\r\n"
    assert (await talk(head, *[chunk] * 5))[0] == [413]


async def test_a_slow_request_is_timed_out(autojump_clock: MockClock) -> None:
    started = trio.current_time()
    statuses, _ = await talk(b"GET / HT", server=Server(request_seconds=10), close=False)
    assert statuses == [408]
    assert trio.current_time() - started == pytest.approx(10, abs=1.5)


async def test_an_idle_connection_is_closed_without_a_word(autojump_clock: MockClock) -> None:
    started = trio.current_time()
    statuses, received = await talk(server=Server(idle_seconds=75), close=False)
    assert (statuses, received) == ([], b"")
    assert trio.current_time() - started == pytest.approx(75, abs=1)


async def test_a_peer_that_does_not_read_is_given_up(autojump_clock: MockClock) -> None:
    ours, theirs = trio.testing.lockstep_stream_pair()
    with trio.fail_after(100):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(Server().serve, theirs, echo)
            await ours.send_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")


async def test_one_connection_too_many_is_told_so_and_place_is_made_again() -> None:
    refused: list[int] = []
    server = Server(connection_limit=1, on_refused=refused.append)
    ours, theirs = memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.serve, theirs, echo)
        await trio.testing.wait_all_tasks_blocked()
        assert (await talk(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n", server=server))[0] == [503]
        await ours.aclose()
    assert (await talk(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n", server=server))[0] == [200]
    assert refused == [503]


@pytest.mark.parametrize("sent", [b"", b"GET", b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"])
async def test_a_peer_that_vanishes_raises_nothing(sent: bytes) -> None:
    ours, theirs = memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(Server().serve, theirs, echo)
        await ours.send_all(sent)
        await ours.aclose()
