"""Keys in the engine's store: compare-and-set, leases, and a watch that misses nothing whatever happens to it."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from megaphone.bus.keys import VALUE_LIMIT_BYTES, Keys
from megaphone.bus.keys_watch import Watch
from megaphone.errors import BucketMissingError, BusUnreachableError, KeysError, WrongRevisionError
from tests.servers.nats import NATS
from tests.unit.bus.test_nats import opened, run, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from megaphone.bus.keys import Change
    from megaphone.bus.nats import NATSBus


@asynccontextmanager
async def bucket(nats: NATS) -> AsyncIterator[Keys]:
    async with opened(nats.access) as bus:
        keys = keys_of(bus)
        await keys.create_bucket()
        yield keys
        keys.close()


def keys_of(bus: NATSBus) -> Keys:
    return Keys(bus.connection, bus.prefix, "things", timeout_seconds=20.0)


class Sight:
    """What a watch has told: the keys as it makes them out, and the events in order."""

    def __init__(self) -> None:
        self.values: dict[str, bytes] = {}
        self.changes: list[Change] = []
        self.events: list[str] = []

    def began(self) -> None:
        self.events.append("began")
        self.values.clear()

    def changed(self, change: Change) -> None:
        self.changes.append(change)
        if change.value is None:
            self.values.pop(change.key, None)
        else:
            self.values[change.key] = change.value

    def current(self) -> None:
        self.events.append("current")

    def interrupted(self, reason: str) -> None:
        self.events.append("interrupted")


@asynccontextmanager
async def watching(keys: Keys, heartbeat_seconds: float = 2.0) -> AsyncIterator[Sight]:
    """A watch that holds a store for gone when it is silent for three heartbeats, or a busy machine is."""
    sight = Sight()
    watch = Watch(keys, sight, heartbeat_seconds=heartbeat_seconds)
    watch.start()
    await until(lambda: "current" in sight.events)
    try:
        yield sight
    finally:
        await watch.close()


# --- keys ------------------------------------------------------------


def test_what_is_written_can_be_read(nats: NATS) -> None:
    async def scenario() -> None:
        async with bucket(nats) as keys:
            assert await keys.get("a") is None
            for value in (b"1", b"", b"\0\xff", b"KV-Operation: PURGE", bytes(VALUE_LIMIT_BYTES)):
                revision = await keys.put("a", value)
                assert await keys.get("a") == ("a", value, revision, b"")
            await keys.create_bucket()  # it is there: nothing happens
            found = await keys.get("a")
            assert found is not None
            assert found.value == bytes(VALUE_LIMIT_BYTES)

    run(scenario())


def test_of_many_who_compare_and_set_one_wins(nats: NATS) -> None:
    async def scenario() -> None:
        async with bucket(nats) as keys:
            first = await keys.put("a", b"0", revision=0)
            results = await asyncio.gather(
                *(keys.put("a", b"%d" % number, revision=first) for number in range(20)), return_exceptions=True
            )
            won = [number for number, result in enumerate(results) if isinstance(result, int)]
            assert len(won) == 1
            assert sum(isinstance(result, WrongRevisionError) for result in results) == 19
            found = await keys.get("a")
            assert found is not None
            assert found.value == b"%d" % won[0]
            with pytest.raises(WrongRevisionError):
                await keys.put("a", b"x", revision=0)
            with pytest.raises(WrongRevisionError):
                await keys.delete("a", revision=first)

    run(scenario())


def test_counting_together_loses_nothing(nats: NATS) -> None:
    async def scenario() -> None:
        async with bucket(nats) as keys, opened(nats.access) as other:
            others = keys_of(other)

            async def count(who: Keys) -> None:
                for _ in range(25):
                    while True:
                        found = await who.get("count")
                        value = b"%d" % (int((found.value or b"0") if found else b"0") + 1)
                        try:
                            await who.put("count", value, revision=found.revision if found else 0)
                        except WrongRevisionError:
                            continue
                        break

            await asyncio.gather(count(keys), count(others), count(keys))
            found = await keys.get("count")
            assert found is not None
            assert found.value == b"75"
            others.close()

    run(scenario())


def test_creating_and_deleting(nats: NATS) -> None:
    async def scenario() -> None:
        async with bucket(nats) as keys:
            revision = await keys.create("a", b"1")
            with pytest.raises(WrongRevisionError):
                await keys.create("a", b"2")
            await keys.delete("a", revision=revision)
            gone = await keys.get("a")
            assert gone is not None
            assert gone.value is None
            again = await keys.create("a", b"3")
            assert again > revision
            found = await keys.get("a")
            assert found is not None
            assert found.value == b"3"

    run(scenario())


def test_a_lease_runs_out_unless_it_is_renewed(nats: NATS) -> None:
    async def scenario() -> None:
        async with bucket(nats) as keys, watching(keys) as sight:
            await keys.put("short", b"1", lease_seconds=1)
            await keys.put("kept", b"1", lease_seconds=2)
            await keys.put("forever", b"1")
            renewed = 0
            while renewed < 5 or sight.values != {"kept": b"2", "forever": b"1"}:
                await asyncio.sleep(0.6)  # it is time itself that this is about
                await keys.put("kept", b"2", lease_seconds=2)
                renewed += 1
            gone = await keys.get("short")
            assert gone is None or gone.value is None
            await keys.create("short", b"again", lease_seconds=10)

    run(scenario())


@pytest.mark.parametrize("key", ["", "a b", "a.", ".a", "a..b", "*", ">", "ä", "a\r\n", "a" * 201])
def test_what_no_key_is(nats: NATS, key: str) -> None:
    async def scenario() -> None:
        async with bucket(nats) as keys:
            with pytest.raises(KeysError):
                await keys.put(key, b"")
            with pytest.raises(KeysError):
                await keys.get(key)

    run(scenario())


def test_too_much(nats: NATS) -> None:
    async def scenario() -> None:
        async with bucket(nats) as keys:
            with pytest.raises(KeysError, match="65537"):
                await keys.put("a", bytes(VALUE_LIMIT_BYTES + 1))
            results = await asyncio.gather(*(keys.get("a") for _ in range(1100)), return_exceptions=True)
            refused = [result for result in results if isinstance(result, KeysError)]
            assert 0 < len(refused) <= 76
            assert results.count(None) + len(refused) == 1100

    run(scenario())


def test_a_bucket_that_is_not_there(nats: NATS) -> None:
    async def scenario() -> None:
        async with opened(nats.access) as bus:
            keys = keys_of(bus)
            for attempt in (keys.put("a", b""), keys.get("a"), keys.delete("a")):
                with pytest.raises(BucketMissingError):
                    await attempt
            keys.close()

    run(scenario())


def test_the_store_goes_while_we_ask(nats: NATS) -> None:
    async def scenario() -> None:
        async with bucket(nats) as keys:
            import signal

            nats.process.signal(signal.SIGSTOP)
            asked = [asyncio.create_task(keys.put("a", b"%d" % number)) for number in range(3)]
            await asyncio.sleep(0)
            nats.kill()
            for each in asked:
                with pytest.raises(BusUnreachableError):
                    await each
            with pytest.raises(BusUnreachableError):
                await keys.get("a")

    run(scenario())


# --- a watch ------------------------------------------------------------


def test_a_watch_says_all_keys_and_their_changes_in_order(nats: NATS) -> None:
    async def scenario() -> None:
        async with bucket(nats) as keys:
            await keys.put("a.b", b"1")
            await keys.put("c", b"1")
            await keys.delete("c", note=b"because")
            async with watching(keys) as sight:
                assert sight.values == {"a.b": b"1"}
                assert ("c", None, b"because") in [(each.key, each.value, each.note) for each in sight.changes]
                for number in range(50):
                    await keys.put("a.b", b"%d" % number)
                await keys.delete("a.b", note=b"bye")
                await until(lambda: not sight.values)
                # The store keeps one value of a key: what is written over before the watch is told is not told.
                told = [each for each in sight.changes if each.key == "a.b"]
                numbers = [int(each.value) for each in told[1:] if each.value is not None]
                assert numbers == sorted(numbers)
                assert len(numbers) > 1
                assert (told[-1].value, told[-1].note) == (None, b"bye")
                if sight.events == ["began", "current"]:  # else it was silent for so long that the watch began anew
                    revisions = [each.revision for each in sight.changes]
                    assert revisions == sorted(set(revisions))

    run(scenario())


def test_a_watch_of_nothing_is_current_at_once_and_makes_its_bucket(nats: NATS) -> None:
    async def scenario() -> None:
        async with opened(nats.access) as bus:
            keys = keys_of(bus)
            async with watching(keys) as sight:
                await keys.put("a", b"1")
                await until(lambda: sight.values == {"a": b"1"})
            keys.close()

    run(scenario())


@pytest.mark.parametrize("what", ["bucket deleted", "killed", "killed, store deleted"])
def test_a_watch_begins_anew_when_the_store_was_away(nats: NATS, what: str) -> None:
    async def scenario() -> None:
        async with bucket(nats) as keys, watching(keys, 0.2) as sight:
            await keys.put("a", b"1")
            await until(lambda: sight.values == {"a": b"1"})
            before = len(sight.events)
            if what == "bucket deleted":
                await keys.delete_bucket()
            else:
                nats.kill()
                await until(lambda: "interrupted" in sight.events[before:])
                if "deleted" in what:
                    nats.delete_store()
                nats.start()
            kept = {} if "deleted" in what else {"a": b"1"}
            await until(lambda: sight.events[before:][-1:] == ["current"] and sight.values == kept)
            # a watch may begin, and be interrupted again, while the store is not there yet
            assert next(each for each in sight.events[before:] if each != "began") == "interrupted"
            assert sight.events[before:][-2:] == ["began", "current"]
            await keys.put("b", b"2")
            await until(lambda: sight.values == {**kept, "b": b"2"})

    run(scenario())


def test_a_consumer_that_goes_is_noticed(nats: NATS) -> None:
    async def scenario() -> None:
        async with bucket(nats) as keys, watching(keys, 1.0) as sight:
            names = (await keys.api(f"CONSUMER.NAMES.{keys.stream}", {}))["consumers"]
            assert len(names) == 1
            await keys.api(f"CONSUMER.DELETE.{keys.stream}.{names[0]}", None)
            await keys.put("missed", b"1")
            await until(lambda: sight.values == {"missed": b"1"})
            assert sight.events.count("began") == 2

    run(scenario())
