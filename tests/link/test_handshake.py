"""Conformance: CHALLENGE, HELLO, WELCOME, right and wrong in each way."""

import asyncio
import contextlib
from dataclasses import replace

import pytest

from tests.link.conformance import edge_of, expect_refusal, expect_shutdown, greet
from tests.link.edge import Edge
from tests.link.frames import (
    FEATURE_BINDINGS,
    FEATURE_GOES_ON,
    Challenge,
    Frame,
    Open,
    Reason,
    Shutdown,
    Type,
    Welcome,
    beat,
    number,
    raw,
)
from tests.link.server import run
from tests.link.sides import GRACE_SECONDS, STREAMS, ServerSide
from tests.link.wire import WireClosedError


def test_handshake(side: ServerSide) -> None:
    async def main() -> None:
        async with edge_of(side) as edge:  # which checks every field of CHALLENGE and WELCOME
            assert edge.welcome.streams == STREAMS
            assert edge.welcome.grace_seconds == GRACE_SECONDS
            assert edge.welcome.features == FEATURE_GOES_ON | FEATURE_BINDINGS
            await edge.ping_and_wait()

    run(main())


@pytest.mark.parametrize("window", [4_096, 1_048_576])
@pytest.mark.parametrize("name", ["", "n" * 255, "Knoten ä/7"])
def test_smallest_and_largest_hello(side: ServerSide, window: int, name: str) -> None:
    async def main() -> None:
        async with edge_of(side, window=window, name=name) as edge:
            await edge.ping_and_wait()

    run(main())


@pytest.mark.parametrize(("offered", "agreed"), [(0, 0), (1, 1), (2, 2), (0xFFFF_FFFF, 3), (0x8000_0004, 0)])
def test_features_are_those_that_both_know(side: ServerSide, offered: int, agreed: int) -> None:
    async def main() -> None:
        async with edge_of(side, features=offered) as edge:
            assert edge.welcome.features == agreed
            await edge.ping_and_wait()

    run(main())


def test_nonces_differ_and_the_instance_does_not(side: ServerSide) -> None:
    async def main() -> None:
        seen = [Challenge.decode((await greet(edge_of(side)))[1]) for _ in range(3)]
        assert len({each.nonce for each in seen}) == 3
        assert len({each.instance for each in seen}) == 1

    run(main())


def test_hello_byte_by_byte(side: ServerSide) -> None:
    async def main() -> None:
        edge = edge_of(side)
        wire, challenge = await greet(edge)
        for byte in Frame(Type.HELLO, 0, edge.signed(edge.hello(), challenge).encode()).encode():
            wire.write(bytes([byte]))
            await asyncio.sleep(0.001)
        answer = await wire.next_frame()
        assert answer.type is Type.WELCOME
        Welcome.decode(answer.payload)
        wire.cut()

    run(main())


def test_wrong_magic(side: ServerSide) -> None:
    async def main() -> None:
        edge = edge_of(side)
        end = await expect_refusal(edge, replace(edge.hello(), magic=b"HTTP"), Reason.PROTOCOL_ERROR)
        assert "HELLO" in end.text

    run(main())


@pytest.mark.parametrize("version", [0, 2, 255])
def test_unsupported_version(side: ServerSide, version: int) -> None:
    async def main() -> None:
        edge = edge_of(side)
        end = await expect_refusal(edge, replace(edge.hello(), version=version), Reason.UNSUPPORTED_VERSION)
        assert "1" in end.text

    run(main())


def test_wrong_secret(side: ServerSide) -> None:
    async def main() -> None:
        edge = Edge(side.address, side.secret[:-1] + bytes([side.secret[-1] ^ 1]))
        end = await expect_refusal(edge, edge.hello(), Reason.NOT_AUTHORIZED)
        assert side.secret.hex() not in end.text

    run(main())


@pytest.mark.parametrize("bit", [0, 100, 255])
def test_one_bit_of_the_proof_is_wrong(side: ServerSide, bit: int) -> None:
    async def main() -> None:
        edge = edge_of(side)
        wire, challenge = await greet(edge)
        right = edge.signed(edge.hello(), challenge)
        proof = bytearray(right.proof)
        proof[bit // 8] ^= 1 << bit % 8
        wire.write(Frame(Type.HELLO, 0, replace(right, proof=bytes(proof)).encode()).encode())
        await expect_shutdown(wire, Reason.NOT_AUTHORIZED)

    run(main())


def test_hello_of_another_socket_is_worth_nothing(side: ServerSide) -> None:
    async def main() -> None:
        edge = edge_of(side)
        first, challenge = await greet(edge)
        await expect_refusal(edge, edge.signed(edge.hello(), challenge), Reason.NOT_AUTHORIZED)
        first.cut()

    run(main())


@pytest.mark.parametrize("window", [0, 4_095, 1_048_577, 0xFFFF_FFFF])
def test_window_out_of_range(side: ServerSide, window: int) -> None:
    async def main() -> None:
        edge = edge_of(side)
        end = await expect_refusal(edge, replace(edge.hello(), window=window), Reason.PROTOCOL_ERROR)
        assert "HELLO" in end.text

    run(main())


@pytest.mark.parametrize("difference", [-1, 1, 200])
def test_name_longer_or_shorter_than_hello(side: ServerSide, difference: int) -> None:
    async def main() -> None:
        edge = edge_of(side, name="n" * 10)
        wire, challenge = await greet(edge)
        payload = bytearray(edge.signed(edge.hello(), challenge).encode())
        payload[57] += difference
        wire.write(raw(Type.HELLO, 0, bytes(payload)))
        await expect_shutdown(wire, Reason.PROTOCOL_ERROR)

    run(main())


BEFORE_HELLO = {
    "PING": raw(Type.PING, 0, beat(b"12345678", 0)),
    "ACK": raw(Type.ACK, 0, number(0)),
    "DRAIN": raw(Type.DRAIN, 0),
    "OPEN": raw(Type.OPEN, 1, Open().encode()),
    "PUT_DATA": raw(Type.PUT_DATA, 1, b"<stream:stream"),
    "GET_DATA": raw(Type.GET_DATA, 1, number(65_536)),
    "HELLO of 89 bytes": raw(Type.HELLO, 0, bytes(89)),
    "HELLO of 346 bytes": raw(Type.HELLO, 0, bytes(346)),
    "HELLO with an id": raw(Type.HELLO, 1, bytes(90)),
    "HTTP": b"GET / HTTP/1.1\r\nHost: example.test\r\n\r\n",
    "XMPP": b"<?xml version='1.0'?><stream:stream to='example.test'>",
}


@pytest.mark.parametrize("name", BEFORE_HELLO)
def test_anything_else_instead_of_hello(side: ServerSide, name: str) -> None:
    async def main() -> None:
        wire, _ = await greet(edge_of(side))
        wire.write(BEFORE_HELLO[name])
        end = await expect_shutdown(wire, Reason.PROTOCOL_ERROR)
        if name.split()[0].isupper() and name not in ("HTTP", "XMPP"):
            assert name.split()[0] in end.text

    run(main())


def test_silent_sockets_are_closed(side: ServerSide) -> None:
    """After 10 s, with or without a part of HELLO, which does not prolong it."""

    async def main() -> None:
        edge = edge_of(side)
        wires = [(await greet(edge))[0] for _ in range(4)]
        started = asyncio.get_running_loop().time()
        _, challenge = await greet(edge)
        hello = Frame(Type.HELLO, 0, edge.signed(edge.hello(), challenge).encode()).encode()
        position = 0
        while not all(wire.lost for wire in wires):
            assert asyncio.get_running_loop().time() - started < 20
            wires[0].write(hello[position // 4 : position // 4 + 1])
            position += 1
            await asyncio.sleep(0.1)
        for wire in wires:
            with contextlib.suppress(WireClosedError):
                frame = await wire.next_frame()
                assert frame.type is Type.SHUTDOWN
                assert Shutdown.decode(frame.payload).reason >= Reason.PROTOCOL_ERROR

    run(main())


def test_refused_socket_leaves_others_alone(side: ServerSide) -> None:
    async def main() -> None:
        async with edge_of(side) as good:
            for _ in range(20):
                bad = Edge(side.address, bytes(32))
                await expect_refusal(bad, bad.hello(), Reason.NOT_AUTHORIZED)
            await good.ping_and_wait()

    run(main())


def test_hello_of_a_session_nobody_knows(side: ServerSide) -> None:
    """It begins anew, whatever its epoch and counts."""

    async def main() -> None:
        edge = edge_of(side)
        wire = await edge.dial()
        welcome = await edge.handshake(wire, replace(edge.hello(), epoch=7, received=1_234))
        assert welcome.flags == 0
        edge.attach(wire, None)
        await edge.ping_and_wait()
        await edge.leave()

    run(main())
