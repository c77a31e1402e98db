"""The greeting, message by message."""

import contextlib

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from megaphone.errors import PeerError
from megaphone.peers.hello import Hello, Message, Proof, Reason, Refused, Welcome, check, encode, expect, signed

HELLO = Hello(1, "julia", b"k" * 32, b"n" * 32, 4000, b"instance")


@pytest.mark.parametrize("message", [HELLO, Proof(b"s" * 64), Welcome()])
def test_messages_come_out_as_they_went_in(message: Message) -> None:
    assert expect(type(message), encode(message)) == message


def test_a_later_version_may_append_fields() -> None:
    later = msgspec.msgpack.encode([*msgspec.msgpack.decode(encode(HELLO)), "more", 7])
    assert expect(Hello, later) == HELLO


def test_a_refusal_says_why_whatever_was_expected() -> None:
    with pytest.raises(PeerError, match="refuses us: full") as raised:
        expect(Hello, encode(Refused(Reason.FULL)))
    assert (raised.value.reason, raised.value.told) == ("full", True)


@pytest.mark.parametrize("data", [b"", b"\xc1", b"GET / HTTP/1.1", encode(Welcome()), encode(Proof(b""))])
def test_what_is_no_greeting(data: bytes) -> None:
    with pytest.raises(PeerError) as raised:
        expect(Hello, data)
    assert not raised.value.reason


@given(st.binary(max_size=2000))
def test_any_bytes_are_a_message_or_an_error(data: bytes) -> None:
    with contextlib.suppress(PeerError):
        assert isinstance(expect(Proof, data), Proof)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"version": 0}, "speaks version 0"),
        ({"key": b"k" * 31}, "wrong length"),
        ({"nonce": b""}, "wrong length"),
        ({"instance": b"x" * 9}, "wrong length"),
        ({"port": 65536}, "port"),
        ({"port": -1}, "port"),
        ({"name": ""}, "name"),
        ({"name": "a\x1b[2J"}, "name"),
        ({"name": " julia"}, "normal form"),
    ],
)
def test_fields_that_are_wrong(changed: dict[str, object], said: str) -> None:
    check(HELLO)
    with pytest.raises(PeerError, match=said):
        check(msgspec.structs.replace(HELLO, **changed))


def test_a_proof_is_for_one_listener_and_one_greeting() -> None:
    ours, theirs = encode(HELLO), encode(msgspec.structs.replace(HELLO, key=b"m" * 32))
    assert len({signed(ours, theirs), signed(theirs, ours), signed(ours, ours), signed(theirs, theirs)}) == 4
