"""Frames: a length, and so many bytes."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from megaphone.errors import PeerError
from megaphone.peers import frames


async def read_all(data: bytes, pieces: list[int]) -> list[bytes]:
    """The messages in a stream that comes in pieces of these lengths."""
    reader = asyncio.StreamReader()

    async def feed() -> None:
        rest = data
        for length in pieces:
            reader.feed_data(rest[:length])
            rest = rest[length:]
            await asyncio.sleep(0)
        reader.feed_data(rest)
        reader.feed_eof()

    feeding = asyncio.create_task(feed())
    found = []
    try:
        while True:
            found.append(await frames.read(reader))
    except EOFError:
        await feeding
        return found


@given(st.lists(st.binary(max_size=50), max_size=10), st.lists(st.integers(1, 20), max_size=20))
def test_messages_come_out_as_they_went_in_however_they_are_cut(messages: list[bytes], pieces: list[int]) -> None:
    stream = b"".join(map(frames.frame, messages))
    assert asyncio.run(read_all(stream, pieces)) == messages


def test_a_frame_that_is_too_long_is_refused_before_it_is_read() -> None:
    async def main() -> None:
        reader = asyncio.StreamReader()
        reader.feed_data((frames.LIMIT_BYTES + 1).to_bytes(4, "big"))
        with pytest.raises(PeerError, match="at most"):
            await frames.read(reader)

    asyncio.run(main())


def test_half_a_frame_is_the_end() -> None:
    assert asyncio.run(read_all(frames.frame(b"whole") + b"\0\0\0\5half", [])) == [b"whole"]
