"""Two peers over real sockets and real TLS: greeting, refusals, men in the middle, floods and silence."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import msgspec
import pytest

from megaphone.errors import PeerError
from megaphone.peers import connection as module
from megaphone.peers import frames
from megaphone.peers.connection import Connection, Ourselves, Remote, Stream, accept, dial, greet, plain_host
from megaphone.peers.hello import Hello, Proof, Reason, Welcome, encode, expect
from megaphone.peers.identity import ALPN
from megaphone.storage.node_key import verify
from tests.link.server import run as watched
from tests.unit.peers.people import ourselves

DEADLINE_SECONDS = 20.0
LOOPBACK = "127.0.0.1"


def welcome(_: Remote) -> None:
    """Refuse nobody."""


def run(main: Coroutine[Any, Any, None]) -> None:
    async def in_time() -> None:
        async with asyncio.timeout(DEADLINE_SECONDS):
            await main

    watched(in_time())


@contextlib.asynccontextmanager
async def listening(serve: Callable[[socket.socket], Coroutine[Any, Any, None]]) -> AsyncIterator[tuple[str, int]]:
    """A listener that takes one connection."""
    with socket.create_server((LOOPBACK, 0)) as listener:
        listener.setblocking(False)

        async def one() -> None:
            connected, _ = await asyncio.get_running_loop().sock_accept(listener)
            await serve(connected)

        task = asyncio.create_task(one())
        try:
            yield listener.getsockname()
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError, OSError, EOFError, PeerError):
                await task


async def streams(julia: Ourselves, romeo: Ourselves) -> tuple[Stream, Stream]:
    """A TLS connection that Romeo has dialled: Julia's end and his."""
    accepted: asyncio.Future[Stream] = asyncio.get_running_loop().create_future()

    async def serve(connected: socket.socket) -> None:
        accepted.set_result(await accept(julia.identity, connected))

    async with listening(serve) as address:
        dialled = await dial(romeo.identity, address)
        return await accepted, dialled


async def both(
    julia: Ourselves,
    romeo: Ourselves,
    judged_by_julia: Callable[[Remote], Reason | None] = welcome,
    judged_by_romeo: Callable[[Remote], Reason | None] = welcome,
) -> list[Remote | BaseException]:
    """Greet each other: what Julia learns of Romeo, and he of her."""
    hers, his = await streams(julia, romeo)
    try:
        return await asyncio.gather(
            greet(hers, julia, verify, judged_by_julia),
            greet(his, romeo, verify, judged_by_romeo),
            return_exceptions=True,
        )
    finally:
        hers.writer.close()
        his.writer.close()


def test_both_learn_who_the_other_is() -> None:
    async def main() -> None:
        julia, romeo = ourselves("julia", port=4000), ourselves("romeo", port=4001)
        at_julia, at_romeo = await both(julia, romeo)
        assert at_julia == Remote(romeo.identity.origin, "romeo", 4001, b"instance", LOOPBACK)
        assert at_romeo == Remote(julia.identity.origin, "julia", 4000, b"instance", LOOPBACK)

    run(main())


@pytest.mark.parametrize("by_julia", [True, False])
def test_a_refusal_is_told_with_its_reason(by_julia: bool) -> None:
    async def main() -> None:
        refusal = [lambda _: Reason.KEY_CHANGED, welcome]
        found = await both(ourselves("julia"), ourselves("romeo"), *(refusal if by_julia else reversed(refusal)))
        refuser, refused = found if by_julia else reversed(found)
        assert isinstance(refuser, PeerError)
        assert (refuser.reason, refuser.told) == (Reason.KEY_CHANGED, False)
        assert isinstance(refused, PeerError)
        assert (refused.reason, refused.told) == ("key-changed", True)

    run(main())


async def _left_alone(greeting: Coroutine[Any, Any, Remote], stream: Stream) -> BaseException:
    """The error that a greeting ends with; its connection is closed then."""
    try:
        remote = await greeting
    except (PeerError, EOFError, OSError) as error:
        return error
    finally:
        stream.writer.close()
    raise AssertionError(f"took {remote.name} for a peer")


def test_a_man_in_the_middle_who_passes_everything_on_is_noticed() -> None:
    """He ends TLS with a key of his own on both sides and repeats each byte inside it."""

    async def main() -> None:
        julia, romeo, mallory = ourselves("julia"), ourselves("romeo"), ourselves("mallory")
        hers, his_to_julia = await streams(julia, mallory)
        his_to_romeo, romeos = await streams(mallory, romeo)

        async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while data := await reader.read(4096):
                writer.write(data)
            writer.close()

        carrying = [
            asyncio.create_task(carry(his_to_julia.reader, his_to_romeo.writer)),
            asyncio.create_task(carry(his_to_romeo.reader, his_to_julia.writer)),
        ]
        try:
            at_julia, at_romeo = await asyncio.gather(
                _left_alone(greet(hers, julia, verify, welcome), hers),
                _left_alone(greet(romeos, romeo, verify, welcome), romeos),
            )
            assert str(at_romeo) == "greets with another key than the one that its certificate proves"
            assert isinstance(at_julia, EOFError | OSError)  # Romeo has proved nothing to anybody
        finally:
            for task in carrying:
                task.cancel()
            await asyncio.wait(carrying)
            for each in (hers, his_to_julia, his_to_romeo, romeos):
                each.writer.close()

    run(main())


def test_a_proof_cannot_be_used_at_somebody_else() -> None:
    """Romeo talks to Mallory, who is who he says he is, and would like to be Romeo at Julia's."""

    async def main() -> None:
        julia, romeo, mallory = ourselves("julia"), ourselves("romeo"), ourselves("mallory")
        hers, his_to_julia = await streams(julia, mallory)
        his_to_romeo, romeos = await streams(mallory, romeo)

        async def pretend() -> None:
            from_julia = await frames.read(his_to_julia.reader)
            from_romeo = await frames.read(his_to_romeo.reader)
            # Julia's own greeting with nothing changed but the key, so that Romeo's proof is as near as it can be.
            hello = msgspec.structs.replace(expect(Hello, from_julia), key=mallory.identity.origin)
            his_to_romeo.writer.write(frames.frame(encode(hello)))
            his_to_julia.writer.write(frames.frame(from_romeo))
            proof = await frames.read(his_to_romeo.reader)
            expect(Proof, proof)
            his_to_julia.writer.write(frames.frame(proof))
            his_to_romeo.writer.write(frames.frame(encode(Welcome())))

        _, at_romeo, at_julia = await asyncio.gather(
            pretend(),
            greet(romeos, romeo, verify, welcome),
            greet(hers, julia, verify, welcome),
            return_exceptions=True,
        )
        assert isinstance(at_romeo, Remote)
        assert at_romeo.key == mallory.identity.origin  # he knows whom he talks to
        assert isinstance(at_julia, PeerError)
        assert str(at_julia) == "does not have the key that it shows"
        for each in (hers, his_to_julia, his_to_romeo, romeos):
            each.writer.close()

    run(main())


def test_a_server_that_is_no_peer_is_told_apart() -> None:
    async def main() -> None:
        julia, romeo = ourselves("julia"), ourselves("romeo")
        julia.identity.listening.set_alpn_protocols(["http/1.1"])
        hers, his = await streams(julia, romeo)
        hers.writer.write(frames.frame(encode(julia.hello())))
        with pytest.raises(PeerError, match="is no peer of Megaphone"):
            await greet(his, romeo, verify, welcome)
        hers.writer.close()
        his.writer.close()

    run(main())


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_older_tls_is_not_spoken(version: ssl.TLSVersion) -> None:
    async def main() -> None:
        julia = ourselves("julia")
        client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
        client.maximum_version = version
        client.set_alpn_protocols([ALPN])
        accepted: asyncio.Future[Stream | OSError] = asyncio.get_running_loop().create_future()

        async def serve(connected: socket.socket) -> None:
            try:
                accepted.set_result(await accept(julia.identity, connected))
            except OSError as error:
                accepted.set_result(error)

        async with listening(serve) as address:
            with contextlib.suppress(OSError):
                _, writer = await asyncio.open_connection(*address, ssl=client, server_hostname="")
                writer.close()
            found = await accepted
        if version is ssl.TLSVersion.TLSv1_3:
            assert isinstance(found, Stream)
            found.writer.close()
        else:
            assert isinstance(found, ssl.SSLError)
            assert found.reason == "UNSUPPORTED_PROTOCOL"

    run(main())


def test_who_does_not_greet_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "GREETING_SECONDS", 0.2)

    async def main() -> None:
        hers, his = await streams(ourselves("julia"), ourselves("romeo"))
        with pytest.raises(PeerError, match="does not greet in time"):
            await greet(hers, ourselves("julia"), verify, welcome)
        hers.writer.close()
        his.writer.close()

    run(main())


def test_a_greeting_without_end_is_cut() -> None:
    async def main() -> None:
        hers, his = await streams(ourselves("julia"), ourselves("romeo"))
        his.writer.write((1_000_000).to_bytes(4, "big") + bytes(100))
        with pytest.raises(PeerError, match="at most 1024"):
            await greet(hers, ourselves("julia"), verify, welcome)
        hers.writer.close()
        his.writer.close()

    run(main())


# After the greeting ---------------------------------------------------------------------------------------------------


async def connections() -> tuple[Connection, Connection]:
    """Julia's and Romeo's ends after the greeting."""
    julia, romeo = ourselves("julia"), ourselves("romeo")
    hers, his = await streams(julia, romeo)
    of_romeo, of_julia = await asyncio.gather(greet(hers, julia, verify, welcome), greet(his, romeo, verify, welcome))
    return Connection(hers, of_romeo), Connection(his, of_julia)


def nothing(_: bytes) -> list[bytes]:
    return []


def test_messages_are_answered_in_order() -> None:
    async def main() -> None:
        julia, romeo = await connections()
        heard: list[bytes] = []
        all_heard = asyncio.Event()

        def listen(message: bytes) -> list[bytes]:
            heard.append(message)
            if len(heard) == 100:
                all_heard.set()
            return []

        romeo.send([str(number).encode() for number in range(100)])
        running = [
            asyncio.create_task(julia.run(lambda message: [message + b"!"])),
            asyncio.create_task(romeo.run(listen)),
        ]
        await all_heard.wait()
        assert heard == [f"{number}!".encode() for number in range(100)]
        await romeo.leave(5.0)
        assert await running[1] == "was left"
        assert await running[0] == "has gone"

    run(main())


def test_what_was_queued_before_leaving_arrives() -> None:
    async def main() -> None:
        julia, romeo = await connections()
        heard: list[bytes] = []
        hearing = asyncio.create_task(julia.run(lambda message: heard.append(message) or []))
        leaving = asyncio.create_task(romeo.run(nothing))
        romeo.send([bytes(200_000)] * 20)
        await romeo.leave(10.0)
        await hearing
        await leaving
        assert len(heard) == 20

    run(main())


def test_a_frame_that_is_too_long_ends_the_connection() -> None:
    async def main() -> None:
        julia, romeo = await connections()
        romeo.send([bytes(frames.LIMIT_BYTES + 1)])
        leaving = asyncio.create_task(romeo.run(nothing))
        assert "at most" in await julia.run(nothing)
        await leaving

    run(main())


def test_a_peer_that_reads_nothing_is_dropped_and_costs_a_bounded_outbox(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "STALL_SECONDS", 0.3)

    async def main() -> None:
        julia, romeo = await connections()
        # More than the kernel's buffers take, and nobody runs Romeo's end.
        julia.send([bytes(500_000)] * 20)
        assert julia.is_full
        assert "took nothing" in await julia.run(nothing)
        romeo.close("over")
        await romeo.run(nothing)

    run(main())


def test_answers_without_end_are_not_queued_without_end() -> None:
    async def main() -> None:
        julia, romeo = await connections()
        julia.send([bytes(400_000)] * 50)
        assert await julia.run(nothing) == "reads too slowly"
        romeo.close("over")
        await romeo.run(nothing)

    run(main())


def test_nothing_is_read_from_a_peer_whose_outbox_is_full() -> None:
    """Romeo asks for much and reads nothing of it: his further questions are not even looked at."""

    async def main() -> None:
        julia, romeo = await connections()
        asked: list[bytes] = []

        def answer(message: bytes) -> list[bytes]:
            asked.append(message)
            return [bytes(500_000)] * 32  # more than the kernel takes

        running = asyncio.create_task(julia.run(answer))
        for _ in range(10):
            romeo._writer.write(frames.frame(b"more"))
        while not julia.is_full:
            await asyncio.sleep(0.01)
        done, _ = await asyncio.wait({running}, timeout=0.5)
        assert not done
        assert len(asked) == 1
        julia.close("over")
        romeo.close("over")
        await asyncio.gather(running, romeo.run(nothing))

    run(main())


def test_silence_is_the_end_and_empty_frames_are_no_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SILENCE_SECONDS", 0.6)
    monkeypatch.setattr(module, "ALIVE_SECONDS", 0.1)

    async def main() -> None:
        julia, romeo = await connections()
        running = [asyncio.create_task(each.run(nothing)) for each in (julia, romeo)]
        # Three times as long as a silence may be: the empty frames have kept it up.
        assert not (await asyncio.wait(running, timeout=1.8))[0]
        monkeypatch.setattr(module, "ALIVE_SECONDS", 60.0)
        assert any("was silent" in reason for reason in await asyncio.gather(*running))

    run(main())


@pytest.mark.parametrize(
    ("peername", "host"),
    [
        (("10.0.0.1", 5), "10.0.0.1"),
        (("::ffff:10.0.0.1", 5, 0, 0), "10.0.0.1"),
        (("2001:db8::1", 5, 0, 0), "2001:db8::1"),
        (("fe80::1", 5, 0, 3), "fe80::1%3"),
        (("fe80::1%eth0", 5, 0, 3), "fe80::1%eth0"),
    ],
)
def test_the_host_of_a_socket_as_one_would_dial_it(peername: tuple[Any, ...], host: str) -> None:
    assert plain_host(*peername) == host
