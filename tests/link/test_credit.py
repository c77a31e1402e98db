"""Conformance: credit both ways, the bound on what is not acknowledged, and fairness between streams."""

import contextlib

from tests.link.conformance import Talkers, edge_of
from tests.link.edge import Edge
from tests.link.frames import DATA_LIMIT_BYTES, HEADER_BYTES, KEPT_LIMIT_BYTES, Frame, Reason, Shutdown, Type
from tests.link.server import run
from tests.link.session import SessionEndError
from tests.link.sides import ServerSide
from tests.link.stream import Stream
from tests.link.wire import DEADLINE_SECONDS
from tests.link.xmpp import XmppClient
from tests.servers.model import ALICE, BOB, CAROL

SMALL_WINDOW = 4_096


def test_credit_overstepped_by_one_byte(side: ServerSide) -> None:
    async def main() -> None:
        async with edge_of(side) as edge:
            client = await XmppClient.login(edge, ALICE)
            stream = client.stream
            # One frame, so that nothing of it can be taken before all of it is counted; the server may still have given
            # more credit than we know of. Then the next one is sure to be too much.
            limit = 0
            with contextlib.suppress(SessionEndError):
                while limit != stream.sending_limit:
                    await client.ping()
                    await edge.ping_and_wait()
                    limit = stream.sending_limit
                    stream.put_data(b" " * (limit - stream.sent + 1))
                    await edge.until(lambda: stream.sending_limit > limit)  # noqa: B023
            end = await edge.wait_link_end()
            assert end.reason == Reason.CREDIT_OVERSTEPPED, end
            assert str(stream.id) in end.text
            assert str(stream.sent) in end.text
            assert str(limit) in end.text

    run(main())


def test_credit_overstepped_at_once(side: ServerSide) -> None:
    """Far more than a window in one write; other links do not notice."""

    async def main() -> None:
        async with edge_of(side) as other, edge_of(side) as edge:
            stream = edge.open()
            for _ in range(16):
                stream.put_data(b" " * DATA_LIMIT_BYTES)
            end = await edge.wait_link_end()
            assert end.reason == Reason.CREDIT_OVERSTEPPED, end
            await other.ping_and_wait()

    run(main())


def test_server_gives_credit_for_what_it_takes(side: ServerSide) -> None:
    """Far more than a window passes, each way, with the edge's strictness watching every limit."""

    async def main() -> None:
        async with edge_of(side) as edge:
            talkers = await Talkers.login(edge, 2)
            await talkers.talk(messages=40, filling=30_000)
            assert talkers.clients[0].stream.sent > 4 * edge.peer_window

    run(main())


def test_smallest_window(side: ServerSide) -> None:
    async def main() -> None:
        async with edge_of(side, window=SMALL_WINDOW) as edge:
            talkers = await Talkers.login(edge, 4)
            await talkers.talk(messages=10, filling=20_000)

    run(main())


def test_credit_in_single_bytes(side: ServerSide) -> None:
    """A peer that moves its limit on by one byte at a time gets its bytes one by one."""

    async def main() -> None:
        async with edge_of(side, window=SMALL_WINDOW) as edge:
            client, friend = await XmppClient.login(edge, ALICE), await XmppClient.login(edge, BOB)
            stream = client.stream
            stream.credit_withheld = True
            friend.message(client.jid, "x" * (SMALL_WINDOW + 1_000))
            await edge.until(lambda: stream.received == stream.limit)
            taken = await stream.read()
            for number in range(1, 201):
                stream.give_credit(stream.limit + 1)
                await edge.until(lambda number=number: stream.received == stream.limit)  # type: ignore[misc]
                taken += await stream.read(1)
            stream.credit_withheld = False
            stream.give_credit()
            while b"</message>" not in taken:
                taken += await stream.read()
            assert taken.count(b"<body>") == 1

    run(main())


def test_stream_that_takes_nothing_while_fifty_talk(side: ServerSide) -> None:
    """Its data stops at the limit (the edge is strict about that); the others notice nothing."""

    async def main() -> None:
        async with edge_of(side, window=SMALL_WINDOW) as edge:
            silent = await XmppClient.login(edge, CAROL, resource="silent")  # whom what it never takes may wait for
            talkers = await Talkers.login(edge, 50)
            for number in range(100):
                talkers.clients[number % 50].message(silent.jid, f"{number} {'x' * 1_000}")
            await talkers.talk(messages=20)
            await edge.until(lambda: silent.stream.received == silent.stream.limit or silent.stream.end is not None)
            if silent.stream.end is not None:  # a server may give up a client that takes nothing
                assert silent.stream.end.reason in (Reason.SLOW_CONSUMER, Reason.RESOURCE_CONSTRAINT)
                return
            numbers = sorted([int((await silent.next_body()).split()[0]) for _ in range(100)])
            assert numbers == list(range(100))

    run(main())


def test_messages_of_one_client_to_a_slow_one_stay_in_order(side: ServerSide) -> None:
    async def main() -> None:
        async with edge_of(side, window=SMALL_WINDOW) as edge:
            slow, fast = await XmppClient.login(edge, ALICE), await XmppClient.login(edge, BOB)
            for number in range(60):
                fast.message(slow.jid, f"{number} {'x' * 1_000}")
            await fast.ping()
            await edge.until(lambda: slow.stream.received == slow.stream.limit)
            for number in range(60):
                assert (await slow.next_body()).split()[0] == str(number)

    run(main())


BUSY = 8
BULK_BYTES = 16_000
BACKLOG_BYTES = 48_000  # of each busy stream beyond what may be kept unacknowledged


def test_unacknowledged_bytes_are_bounded_and_the_rest_comes_fairly(side: ServerSide) -> None:
    """Without ACKs the server stops at 4 MiB. After one a quiet stream waits for one frame of each busy stream."""

    async def main() -> None:
        async with edge_of(side) as outside, edge_of(side, window=1_048_576, ping_seconds=None) as edge:
            busy = [await XmppClient.login(edge, ALICE, resource=f"busy{number}") for number in range(BUSY)]
            quiet = await XmppClient.login(edge, ALICE, resource="quiet")
            sender = await XmppClient.login(outside, BOB)
            await edge.ping_and_wait()
            edge.acknowledging = False
            base = edge.reported
            for _ in range((KEPT_LIMIT_BYTES // BUSY + BACKLOG_BYTES) // BULK_BYTES):
                for client in busy:
                    sender.message(client.jid, "x" * BULK_BYTES)
                await sender.ping()
            sender.message(quiet.jid, "at last")
            await sender.ping()
            await _until_nothing_comes(edge)
            unacknowledged = edge.received - base
            assert unacknowledged <= KEPT_LIMIT_BYTES + DATA_LIMIT_BYTES + HEADER_BYTES
            assert unacknowledged > KEPT_LIMIT_BYTES // 2, "the test did not reach the bound"
            ends = [client.stream.end for client in busy if client.stream.end is not None]
            assert ends == [], "a server may not give up clients that have credit left"
            between = await _bytes_before(edge, quiet.stream)
            assert between <= BUSY * (DATA_LIMIT_BYTES + HEADER_BYTES), between
            assert await quiet.next_body() == "at last"

    run(main())


async def _until_nothing_comes(edge: Edge) -> None:
    """Until the server has sent nothing for a while; only what it must not send could still come."""
    received = -1
    while received != edge.received:
        received = edge.received
        with contextlib.suppress(TimeoutError):
            await edge.until(lambda: edge.received > received, timeout_seconds=1.0)  # noqa: B023


async def _bytes_before(edge: Edge, quiet: Stream) -> int:
    """Acknowledge everything; how many bytes of data for others come before the first for `quiet`."""
    others = 0
    came = False

    def trace(frame: Frame) -> None:
        nonlocal others, came
        if frame.type is Type.SEND_DATA and frame.id == quiet.id:
            came = True
        elif frame.type is Type.SEND_DATA and not came:
            others += frame.size

    edge.trace = trace
    edge.acknowledging = True
    edge.acknowledge()
    await edge.until(lambda: came, DEADLINE_SECONDS)
    edge.trace = None
    return others


def test_data_after_our_shutdown_is_dropped_without_complaint(side: ServerSide) -> None:
    """Streams that end while data for them is on its way, again and again; `sent` has to be right each time.

    What comes too late the server keeps for the account, whose next available sessions get it (RFC 6121 section 8.5.2):
    all of them that are available by then. So these are CAROL's, who is never available in these tests.
    """

    async def main() -> None:
        async with edge_of(side) as edge:
            sender = await XmppClient.login(edge, BOB)
            for _ in range(20):
                client = await XmppClient.login(edge, CAROL)
                for number in range(10):
                    sender.message(client.jid, f"{number} {'x' * 3_000}")
                client.stream.put_shutdown(Reason.CONNECTION_LOST)
                end = await client.stream.wait_end()
                assert isinstance(end, Shutdown)
                await sender.ping()

    run(main())
