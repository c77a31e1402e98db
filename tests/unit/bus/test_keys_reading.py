"""Reading a bucket at one's own pace: everything that is there, then every change, and never less without a word."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from megaphone.bus.keys_reading import Reading
from megaphone.errors import BucketMissingError, BusError
from tests.unit.bus.test_keys import bucket, keys_of
from tests.unit.bus.test_nats import opened, run, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from megaphone.bus.keys import Change, Keys
    from tests.servers.nats import NATS


@asynccontextmanager
async def reading(keys: Keys, batch: int = 3, heartbeat_seconds: float = 2.0) -> AsyncIterator[Reading]:
    """One that holds a store for gone when it is silent for three heartbeats, or a busy machine is."""
    begun = Reading(keys, batch=batch, heartbeat_seconds=heartbeat_seconds)
    try:
        await begun.open()
        yield begun
    finally:
        await begun.close()


async def all_of(begun: Reading) -> list[Change]:
    """What was there when the reading began."""
    found: list[Change] = []
    while begun.pending != 0:
        some = await begun.next()
        assert 0 < len(some) <= 3
        found += some
    return found


def test_all_keys_come_in_batches_then_every_change(nats: NATS) -> None:
    async def scenario() -> None:
        async with bucket(nats) as keys:
            for number in range(20):
                await keys.put(f"a{number % 10}", b"%d" % number)
            await keys.delete("a9", note=b"gone")
            async with reading(keys) as begun:
                found = await all_of(begun)
                assert [(each.key, each.value) for each in found] == [
                    *((f"a{number}", b"1%d" % number) for number in range(9)),
                    ("a9", None),
                ]
                assert found[-1].note == b"gone"
                for number in range(7):
                    await keys.put("live", b"%d" % number)
                    (change,) = await begun.next()
                    assert (change.key, change.value) == ("live", b"%d" % number)

    run(scenario())


def test_an_empty_bucket_has_nothing_to_say_and_then_something(nats: NATS) -> None:
    async def scenario() -> None:
        async with bucket(nats) as keys, reading(keys, heartbeat_seconds=0.6) as begun:
            assert begun.pending == 0
            waiting = asyncio.create_task(begun.next())
            await asyncio.sleep(2.5)  # longer than the store may be silent: it says that it is there
            assert not waiting.done()
            await keys.put("a", b"1")
            (change,) = await waiting
            assert change.value == b"1"

    run(scenario())


def test_who_does_not_ask_gets_no_more_than_one_batch(nats: NATS) -> None:
    async def scenario() -> None:
        async with bucket(nats) as keys, reading(keys) as begun:
            for number in range(50):
                await keys.put(f"a{number}", bytes(1000))
            before = keys.connection.traffic.messages_in
            await begun.next()
            await asyncio.sleep(0.3)
            assert keys.connection.traffic.messages_in - before <= 6

    run(scenario())


def test_large_values_come_in_as_many_batches_as_they_need(nats: NATS) -> None:
    async def scenario() -> None:
        async with bucket(nats) as keys, reading(keys, batch=256) as begun:
            for number in range(100):
                await keys.put(f"a{number}", bytes(65_000))
            found: list[Change] = []
            while len(found) < 100:
                some = await begun.next()
                assert sum(len(each.value or b"") for each in some) <= 4_194_304
                found += some
            assert len({each.key for each in found}) == 100

    run(scenario())


def test_a_bucket_that_is_not_there(nats: NATS) -> None:
    async def scenario() -> None:
        async with opened(nats.access) as bus:
            keys = keys_of(bus)
            with pytest.raises(BucketMissingError):
                async with reading(keys):
                    pass
            keys.close()

    run(scenario())


@pytest.mark.parametrize("trouble", ["bucket", "server"])
def test_whatever_may_have_been_missed_is_said(nats: NATS, trouble: str) -> None:
    async def scenario() -> None:
        async with bucket(nats) as keys, reading(keys, heartbeat_seconds=1.0) as begun:
            await keys.put("a", b"1")
            assert len(await begun.next()) == 1
            waiting = asyncio.create_task(begun.next())
            await asyncio.sleep(0.1)
            if trouble == "bucket":
                await keys.delete_bucket()
            else:
                nats.kill()
            with pytest.raises(BusError):
                await waiting
            with pytest.raises(BusError):
                await begun.next()
            if trouble == "server":
                nats.start()
                await until(lambda: keys.connection.up)

    run(scenario())
