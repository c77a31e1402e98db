"""Conformance: each malformed or misplaced frame ends the link with a SHUTDOWN that names it, and nothing else."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.link.conformance import edge_of
from tests.link.edge import Edge, facts
from tests.link.frames import Field, Frame, Open, Reason, Shutdown, Type, beat, number, raw
from tests.link.server import run
from tests.link.sides import LINKS, ServerSide

STREAM = 7  # an id that each of these links has open


def opening(**changes: object) -> bytes:
    return raw(Type.OPEN, 9, replace(facts(), **changes).encode())  # type: ignore[arg-type]


def facts_with(*fields: tuple[int, bytes]) -> Open:
    return replace(facts(), fields=fields)


def patched(position: int, value: int) -> bytes:
    payload = bytearray(Open().encode())
    payload[position] = value
    return raw(Type.OPEN, 9, bytes(payload))


ERRORS: dict[str, bytes] = {
    **{f"0x{kind:02x} unknown": raw(kind, 0, b"12345678") for kind in (0x00, 0x08, 0x0F, 0x15, 0x7F, 0xFF)},
    "CHALLENGE from the edge": raw(Type.CHALLENGE, 0, bytes(38)),
    "WELCOME from the edge": raw(Type.WELCOME, 0, bytes(60)),
    "SEND_DATA from the edge": raw(Type.SEND_DATA, STREAM, b"x"),
    "HELLO again": raw(Type.HELLO, 0, bytes(90)),
    "PING with an id": raw(Type.PING, 1, beat(b"12345678", 0)),
    "PING of 15 bytes": raw(Type.PING, 0, bytes(15)),
    "PING of 17 bytes": raw(Type.PING, 0, bytes(17)),
    "PONG of 0 bytes": raw(Type.PONG, 0),
    "ACK of 7 bytes": raw(Type.ACK, 0, bytes(7)),
    "ACK with an id": raw(Type.ACK, STREAM, number(0)),
    "ACK of more than was sent": raw(Type.ACK, 0, number(1 << 40)),
    "DRAIN with a payload": raw(Type.DRAIN, 0, b"x"),
    "DRAIN with an id": raw(Type.DRAIN, STREAM),
    "OPEN of id 0": raw(Type.OPEN, 0, Open().encode()),
    "OPEN of 39 bytes": raw(Type.OPEN, 9, Open().encode()[:39]),
    "OPEN of 4,097 bytes": raw(Type.OPEN, 9, bytes(4_097)),
    "OPEN in use": raw(Type.OPEN, STREAM, Open().encode()),
    "OPEN with family 5": patched(1, 5),
    "OPEN with transport 0": patched(0, 0),
    "OPEN with transport 6": patched(0, 6),
    "OPEN with a field twice": opening(fields=((1, b"a.test"), (1, b"b.test"))),
    "OPEN with a field too long": raw(Type.OPEN, 9, Open().encode() + b"\x01\x00\x09short"),
    "OPEN with half a field": raw(Type.OPEN, 9, Open().encode() + b"\x01\x00"),
    "OPEN with a short tls-exporter": opening(fields=((Field.TLS_EXPORTER, bytes(31)),)),
    "OPEN with a short tls-unique": opening(fields=((Field.TLS_UNIQUE, bytes(11)),)),
    "OPEN with a long tls-unique": opening(fields=((Field.TLS_UNIQUE, bytes(65)),)),
    "OPEN with a long fingerprint": opening(fields=((Field.CLIENT_CERTIFICATE, bytes(33)),)),
    "OPEN with a name that is not UTF-8": opening(fields=((Field.SERVER_NAME, b"\xc0\x80"),)),
    "PUT_DATA of id 0": raw(Type.PUT_DATA, 0, b"x"),
    "PUT_DATA of 0 bytes": raw(Type.PUT_DATA, STREAM),
    "PUT_DATA of 16,385 bytes": raw(Type.PUT_DATA, STREAM, b" " * 16_385),
    "PUT_DATA of 16 MiB, only announced": raw(Type.PUT_DATA, STREAM, length=0xFFFFFF),
    "PUT_DATA without OPEN": raw(Type.PUT_DATA, 8, b"x"),
    "GET_DATA of id 0": raw(Type.GET_DATA, 0, number(70_000)),
    "GET_DATA of 7 bytes": raw(Type.GET_DATA, STREAM, bytes(7)),
    "GET_DATA of 9 bytes": raw(Type.GET_DATA, STREAM, bytes(9)),
    "GET_DATA without OPEN": raw(Type.GET_DATA, 8, number(70_000)),
    "GET_DATA that moves back": raw(Type.GET_DATA, STREAM, number(65_535)),
    "GET_DATA beyond the window": raw(Type.GET_DATA, STREAM, number(10_000_000)),
    "SHUTDOWN of 8 bytes": raw(Type.SHUTDOWN, STREAM, bytes(8)),
    "SHUTDOWN of 265 bytes": raw(Type.SHUTDOWN, STREAM, bytes(9) + b"t" * 256),
    "SHUTDOWN without OPEN": raw(Type.SHUTDOWN, 8, Shutdown().encode()),
    "SHUTDOWN of a stream for a link's reason": raw(Type.SHUTDOWN, STREAM, Shutdown(0, 16).encode()),
    "SHUTDOWN with bytes that never came": raw(Type.SHUTDOWN, STREAM, Shutdown(1, 0).encode()),
    "SHUTDOWN with a text that is not UTF-8": raw(Type.SHUTDOWN, STREAM, bytes(9) + b"\xff"),
    "SHUTDOWN twice": raw(Type.SHUTDOWN, STREAM, Shutdown().encode()) * 2,
    "PUT_DATA after SHUTDOWN": raw(Type.SHUTDOWN, STREAM, Shutdown().encode()) + raw(Type.PUT_DATA, STREAM, b"x"),
}


@pytest.mark.parametrize("name", ERRORS)
def test_protocol_error(side: ServerSide, name: str) -> None:
    async def main() -> None:
        async with edge_of(side) as edge:
            edge.answers_withheld = True
            edge.open(identifier=STREAM)
            await edge.ping_and_wait()
            await _provoke(edge, ERRORS[name], name.split()[0])

    run(main())


async def _provoke(edge: Edge, data: bytes, named: str, reason: Reason = Reason.PROTOCOL_ERROR) -> None:
    edge.send_raw(data)
    end = await edge.wait_link_end()
    assert end.reason == reason, end
    text = end.text.lower()
    assert named.lower() in text or (named.startswith("0x") and str(int(named, 16)) in text), end.text


def test_session_is_gone_after_a_protocol_error(side: ServerSide) -> None:
    """Its place among the links as well: more links fail one after the other than may be open at once."""

    async def main() -> None:
        for _ in range(2 * LINKS):
            edge = edge_of(side)
            await edge.connect()
            await _provoke(edge, ERRORS["PUT_DATA without OPEN"], "PUT_DATA")
            await edge.stop_pinging()
            wire = await edge.dial()
            welcome = await edge.handshake(wire)
            assert welcome.flags == 0
            wire.write(Frame(Type.SHUTDOWN, 0, Shutdown(0, Reason.SYSTEM_SHUTDOWN).encode()).encode())
            await wire.wait_lost()

    run(main())


LEGAL: dict[str, Callable[[Edge], object]] = {
    "OPEN with unknown fields": lambda edge: edge.open(facts_with((99, b"x"), (200, b""))),
    "the longest OPEN": lambda edge: edge.open(facts_with((99, bytes(4_053)))),
    "an IPv6 client": lambda edge: edge.open(facts(("2001:db8::1", 1))),
    "an unknown address": lambda edge: edge.open(facts(("0.0.0.0", 0))),
    "the largest id": lambda edge: edge.open(identifier=0xFFFF_FFFF),
    "OPEN without TLS": lambda edge: edge.open(facts(tls_version=0, transport=1)),
    "the same limit again": lambda edge: edge.streams[STREAM].give_credit(edge.window),
    "the longest SHUTDOWN": lambda edge: edge.streams[STREAM].put_shutdown(text="t" * 255),
    "ACK of nothing": lambda edge: edge.acknowledge(),
    "DRAIN": lambda edge: edge.drain(),
}


@pytest.mark.parametrize("name", LEGAL)
def test_what_is_allowed(side: ServerSide, name: str) -> None:
    async def main() -> None:
        async with edge_of(side) as edge:
            edge.open(identifier=STREAM)
            LEGAL[name](edge)
            await edge.ping_and_wait()

    run(main())
