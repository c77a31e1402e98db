"""The link codec beside the reference codec of tests/link, which was written from the document alone."""

import struct
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from megaphone.errors import LinkError
from megaphone.wire.link import FrameType, LinkFrameReader, LinkReason, Side, encode_frame
from megaphone.wire.link_messages import Challenge, Hello, Shutdown, Welcome, edge_is_proven, server_is_proven
from megaphone.wire.link_open import Open
from tests.link import frames as reference

SIDES = {"edge": Side.EDGE, "server": Side.SERVER}
Outcome = tuple[list[tuple[int, int, bytes]], bool]

types = st.sampled_from([*reference.Type, 0x00, 0x08, 0x15, 0xFF])
ids = st.one_of(st.just(0), st.integers(1, 0xFFFF_FFFF))
lengths = st.sampled_from([0, 1, 7, 8, 9, 16, 37, 38, 39, 60, 89, 90, 264, 265, 345, 346, 4_096, 4_097, 16_384, 16_385])


def lawful(kind: reference.Type) -> st.SearchStrategy[bytes]:
    """Frames of this type that are allowed by their header."""
    rule = reference.RULES[kind]
    numbers = {"link": st.just(0), "stream": st.integers(1, 0xFFFF_FFFF), "any": ids}[rule.ids]
    return st.builds(
        lambda number, payload: reference.raw(kind, number, payload),
        numbers,
        st.binary(min_size=rule.low, max_size=min(rule.high, rule.low + 300)),
    )


anything = st.builds(lambda kind, number, length: reference.raw(kind, number, bytes(length)), types, ids, lengths)
speech = st.lists(st.one_of(*[lawful(kind) for kind in reference.Type], anything, st.binary(max_size=40)), max_size=8)


def by_reference(sender: reference.Side, data: bytes) -> Outcome:
    decoder = reference.Decoder(sender)
    seen: list[tuple[int, int, bytes]] = []
    try:
        for frame in decoder.feed(data):
            seen.append((int(frame.type), frame.id, frame.payload))
    except reference.FrameError:
        return seen, False
    return seen, True


def by_megaphone(sender: reference.Side, data: bytes, cuts: list[int]) -> Outcome:
    reader = LinkFrameReader(SIDES[sender])
    seen: list[tuple[int, int, bytes]] = []
    ends = [*sorted({cut % (len(data) + 1) for cut in cuts}), len(data)]
    for start, end in zip([0, *ends], ends, strict=False):
        try:
            seen += [(int(kind), number, payload) for kind, number, payload in reader.feed(data[start:end])]
        except LinkError as error:
            return seen + [(int(kind), number, payload) for kind, number, payload in error.frames], False
    return seen, True


@settings(max_examples=600, deadline=None)
@given(st.sampled_from(["edge", "server"]), speech, st.lists(st.integers(0, 1 << 20), max_size=6))
def test_frames(sender: reference.Side, said: list[bytes], cuts: list[int]) -> None:
    data = b"".join(said)
    assert by_megaphone(sender, data, cuts) == by_reference(sender, data)


@given(st.sampled_from(list(reference.Type)), st.data())
def test_encoding(kind: reference.Type, data: st.DataObject) -> None:
    encoded = data.draw(lawful(kind))
    number = struct.unpack_from("!I", encoded, 4)[0]
    assert encode_frame(FrameType(kind), number, encoded[8:]) == encoded


def test_numbers() -> None:
    assert {each.name: int(each) for each in reference.Type} == {each.name: int(each) for each in FrameType}
    assert {each.name: int(each) for each in reference.Reason} == {each.name: int(each) for each in LinkReason}


bytes16 = st.binary(min_size=16, max_size=16)
u32 = st.integers(0, 0xFFFF_FFFF)
u64 = st.integers(0, (1 << 64) - 1)
secrets = st.binary(min_size=16, max_size=64)
windows = st.integers(*reference.WINDOW_LIMITS_BYTES)
name = st.text(max_size=60).filter(lambda text: len(text.encode(errors="replace")) == len(text.encode(errors="ignore")))
hellos = st.builds(
    reference.Hello,
    nonce=bytes16,
    session=bytes16,
    epoch=st.integers(1, 0xFFFF_FFFF),
    received=u64,
    window=windows,
    name=name,
    features=u32,
)
welcomes = st.builds(
    reference.Welcome,
    epoch=u32,
    received=u64,
    window=windows,
    streams=u32,
    grace_seconds=st.integers(0, 0xFFFF),
    flags=st.integers(0, 1),
    features=u32,
)
challenges = st.builds(reference.Challenge, nonce=bytes16, instance=bytes16)


@given(secrets, challenges, hellos, welcomes)
def test_greeting_and_proofs(
    secret: bytes, challenge: reference.Challenge, hello: reference.Hello, welcome: reference.Welcome
) -> None:
    first = challenge.encode()
    assert Challenge(challenge.nonce, challenge.instance).encode() == first
    said = Hello(
        hello.nonce, hello.session, hello.epoch, hello.received, hello.window, hello.name, hello.features
    ).encode(secret, first)
    assert said == hello.without_proof() + reference.edge_proof(secret, first, hello.without_proof())
    assert edge_is_proven(secret, first, said)
    answer = Welcome(
        welcome.epoch,
        welcome.received,
        welcome.window,
        welcome.streams,
        welcome.grace_seconds,
        bool(welcome.flags),
        welcome.features,
    ).encode(secret, first, said)
    assert answer == welcome.without_proof() + reference.server_proof(secret, first, said, welcome.without_proof())
    assert server_is_proven(secret, first, said, answer)
    assert reference.Hello.decode(said).name == Hello.decode(said).name == hello.name
    assert reference.Welcome.decode(answer).grace_seconds == Welcome.decode(answer).grace_seconds


field = st.tuples(
    st.one_of(st.sampled_from(list(reference.Field)), st.integers(0, 255)),
    st.one_of(st.binary(max_size=70), st.sampled_from([bytes(11), bytes(12), bytes(32), bytes(64), b"a.test"])),
)
opens = st.builds(
    lambda transport, family, rest, fields: (
        bytes([transport, family])
        + rest
        + b"".join(struct.pack("!BH", kind, len(value)) + value for kind, value in fields)
    ),
    st.integers(0, 6),
    st.sampled_from([4, 4, 4, 6, 6, 5]),
    st.one_of(st.just(bytes([192, 0, 2, 1]) + bytes(34)), st.binary(min_size=38, max_size=38)),
    st.lists(field, max_size=4),
)
damage = st.lists(st.tuples(st.integers(0, 1 << 20), st.integers(0, 255)), max_size=2)


def damaged(payload: bytes, changes: list[tuple[int, int]]) -> bytes:
    result = bytearray(payload)
    for position, value in changes:
        result[position % len(result)] = value
    return bytes(result)


def verdict(decode: Callable[[bytes], Any], payload: bytes) -> str:
    """ "right", or the reason of the refusal."""
    try:
        decode(payload)
    except (LinkError, reference.FrameError) as error:
        return reference.Reason(error.reason).name
    return "right"


MESSAGES: dict[str, tuple[Callable[[bytes], Any], Callable[[bytes], Any], st.SearchStrategy[bytes]]] = {
    "CHALLENGE": (Challenge.decode, reference.Challenge.decode, st.builds(reference.Challenge.encode, challenges)),
    "HELLO": (Hello.decode, reference.Hello.decode, hellos.map(lambda hello: hello.without_proof() + bytes(32))),
    "WELCOME": (Welcome.decode, reference.Welcome.decode, welcomes.map(lambda each: each.without_proof() + bytes(32))),
    "SHUTDOWN": (
        Shutdown.decode,
        reference.Shutdown.decode,
        st.builds(lambda sent, text: reference.Shutdown(sent, 0, text).encode(), u64, name),
    ),
    "OPEN": (Open.decode, reference.Open.decode, opens),
}


@pytest.mark.parametrize("kind", MESSAGES)
@settings(max_examples=400, deadline=None)
@given(data=st.data(), changes=damage)
def test_what_one_refuses_the_other_refuses(kind: str, data: st.DataObject, changes: list[tuple[int, int]]) -> None:
    ours, theirs, payloads = MESSAGES[kind]
    payload = damaged(data.draw(payloads), changes)
    first, second = verdict(ours, payload), verdict(theirs, payload)
    if kind == "WELCOME" and "right" not in (first, second):
        return  # the document names no reason for a WELCOME that is wrong
    assert first == second, payload.hex()
