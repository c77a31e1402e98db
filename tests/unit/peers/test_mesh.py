"""Nodes that find, keep, lose and refuse each other, and what they replicate meanwhile."""

import asyncio
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest

from megaphone.errors import PeerError
from megaphone.peers import mesh as module
from megaphone.peers.connection import dial, greet
from megaphone.peers.events import NewPeer, PeerRefused, RefusedByPeer, Trouble
from megaphone.peers.hello import Reason
from megaphone.peers.names import fingerprint_digits
from megaphone.storage.node_key import verify
from tests.link.server import run as watched
from tests.unit.peers.nodes import Node, nodes
from tests.unit.peers.people import Key, ourselves


def run(main: Coroutine[Any, Any, None]) -> None:
    async def in_time() -> None:
        async with asyncio.timeout(60):
            await main

    watched(in_time())


def test_what_was_said_alone_arrives_when_somebody_comes(tmp_path: Path) -> None:
    async def main() -> None:
        async with nodes(tmp_path, "julia", "romeo") as (julia, romeo):
            await julia.start()
            julia.say("hello")
            await romeo.start(julia)
            await romeo.hears("hello")
            romeo.say("hello, julia")
            await julia.hears("hello, julia")
            assert julia.lines() == romeo.lines() == ["hello", "hello, julia"]
            assert julia.happened(NewPeer) == [NewPeer("romeo", romeo.key.origin)]
            assert romeo.happened(NewPeer) == [NewPeer("julia", julia.key.origin)]

    run(main())


def test_a_chain_converges(tmp_path: Path) -> None:
    async def main() -> None:
        async with nodes(tmp_path, "a", "b", "c", "d") as (a, b, c, d):
            await b.start()
            await c.start(b)
            await a.start(b)
            await d.start(c)
            for node in (a, b, c, d):
                node.say(*(f"{node.name} {number}" for number in range(20)))
            everything = [f"{name} {number}" for name in "abcd" for number in range(20)]
            for node in (a, b, c, d):
                await node.hears(*everything)
                assert node.lines() == a.lines()
                assert sorted(node.heard) == sorted(set(node.heard))  # each once
            assert not a.is_connected(c)
            assert not a.is_connected(d)

    run(main())


@pytest.mark.parametrize("smaller_dials_first", [True, False])
def test_two_who_dial_each_other_keep_one_connection(tmp_path: Path, smaller_dials_first: bool) -> None:
    async def main() -> None:
        async with nodes(tmp_path, "julia", "romeo") as both:
            first, second = sorted(both, key=lambda node: fingerprint_digits(node.key.origin))
            if not smaller_dials_first:
                first, second = second, first
            await second.start()
            await first.start(second)
            for _ in range(5):
                second.mesh.dial(first.address)
            await first.connects(second)
            await second.connects(first)
            for number in range(10):
                first.say(f"1 {number}")
                second.say(f"2 {number}")
            for node in (first, second):
                await node.hears("1 9", "2 9")
                assert len(node.mesh.peers) == 1
                # Replaced at most once, and nobody was told of a loss.
                assert node.connections() == [f"+{second.name if node is first else first.name}"]

    run(main())


def test_a_peer_that_was_killed_comes_back_by_itself(tmp_path: Path) -> None:
    async def main() -> None:
        async with nodes(tmp_path, "julia", "romeo") as (julia, romeo):
            await julia.start()
            await romeo.start(julia)
            await romeo.connects(julia)
            await julia.kill()
            await romeo.loses(julia)
            romeo.say("are you there?")
            await julia.start()  # on the same port; it dials nobody
            await julia.hears("are you there?")
            assert romeo.connections() == ["+julia", "-julia", "+julia"]

    run(main())


def test_the_one_that_was_dialled_remembers_too(tmp_path: Path) -> None:
    async def main() -> None:
        async with nodes(tmp_path, "julia", "romeo") as (julia, romeo):
            await julia.start()
            await romeo.start(julia)
            await julia.connects(romeo)
            await romeo.connects(julia)
            await julia.kill()
            await romeo.kill()
            await romeo.start()
            await julia.start(known=True)
            await julia.connects(romeo)
            assert julia.happened(NewPeer) == [NewPeer("romeo", romeo.key.origin)]  # only the first time

    run(main())


def test_a_name_with_another_key_is_refused_loudly_until_the_user_trusts_it(tmp_path: Path) -> None:
    async def main() -> None:
        async with nodes(tmp_path, "julia", "romeo") as (julia, romeo):
            await julia.start()
            await romeo.start(julia)
            await romeo.connects(julia)
            await julia.kill()
            await romeo.loses(julia)
            impostor = Node("Julia", tmp_path)  # another spelling
            try:
                await impostor.start(romeo)
                await romeo.until(lambda: bool(romeo.happened(PeerRefused)), "refused")
                (refusal,) = romeo.happened(PeerRefused)
                assert isinstance(refusal, PeerRefused)
                assert (refusal.key, refusal.known) == (impostor.key.origin, julia.key.origin)
                assert refusal.reason is Reason.KEY_CHANGED
                await impostor.until(lambda: bool(impostor.happened(RefusedByPeer)), "told")
                assert impostor.happened(RefusedByPeer) == [RefusedByPeer("127.0.0.1", "key-changed")]
                assert romeo.pins.key_of("julia") == julia.key.origin
                await romeo.kill()
                await romeo.start(impostor, trusted=["julia"])
                await romeo.connects(impostor)
                assert romeo.pins.key_of("julia") == impostor.key.origin
            finally:
                await impostor.kill()
                impostor.known.close()

    run(main())


def test_a_dialler_refuses_a_changed_key_before_it_proves_its_own(tmp_path: Path) -> None:
    async def main() -> None:
        async with nodes(tmp_path, "julia", "romeo") as (julia, romeo):
            await julia.start()
            await romeo.start()
            romeo.pins.pin("julia", Key().origin)
            romeo.mesh.dial(julia.address)
            await romeo.until(lambda: bool(romeo.happened(PeerRefused)), "refused")
            await julia.until(lambda: bool(julia.happened(RefusedByPeer)), "told")
            assert not julia.happened(NewPeer)
            assert not julia.mesh.peers

    run(main())


def test_nobody_dials_himself_for_long_and_a_copied_key_is_noticed(tmp_path: Path) -> None:
    async def main() -> None:
        async with nodes(tmp_path, "julia") as (julia,):
            await julia.start()
            julia.mesh.dial(julia.address)
            task = julia.mesh._targets[julia.address].task
            assert task is not None
            await task  # given up
            assert not julia.events
            copy = Node("julia", tmp_path, julia.key)
            try:
                await copy.start(julia)
                await copy.until(lambda: bool(copy.happened(Trouble)), "noticed")
                assert "was the database copied?" in str(copy.happened(Trouble)[0])
            finally:
                await copy.kill()
                copy.known.close()

    run(main())


def test_a_house_that_is_full_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PEERS_LIMIT", 1)

    async def main() -> None:
        async with nodes(tmp_path, "julia", "romeo", "paris") as (julia, romeo, paris):
            await julia.start()
            await romeo.start(julia)
            await julia.connects(romeo)
            await paris.start(julia)
            await paris.until(lambda: bool(paris.happened(RefusedByPeer)), "told")
            assert paris.happened(RefusedByPeer) == [RefusedByPeer("127.0.0.1", "full")]
            assert julia.is_connected(romeo)

    run(main())


def test_who_says_nonsense_is_dropped_and_the_others_go_on(tmp_path: Path) -> None:
    async def main() -> None:
        async with nodes(tmp_path, "julia", "romeo") as (julia, romeo):
            await julia.start()
            await romeo.start(julia)
            await romeo.connects(julia)
            vandal = ourselves("vandal")
            stream = await dial(vandal.identity, julia.address)
            await greet(stream, vandal, verify, lambda _: None)
            stream.writer.write(b"\0\0\0\x09\xc1nonsense")
            await stream.reader.read()  # until she closes it
            stream.writer.close()
            await julia.until(lambda: "-vandal" in julia.connections(), "dropped")
            julia.say("still here")
            await romeo.hears("still here")

    run(main())


def test_the_other_end_of_a_replaced_connection_is_closed(tmp_path: Path) -> None:
    """A node that comes again (another instance) takes the place of what was left of it."""

    async def main() -> None:
        async with nodes(tmp_path, "julia") as (julia,):
            await julia.start()
            key = Key()
            first, second = (ourselves("romeo", key, instance=instance) for instance in (b"instance", b"2nd time"))
            old = await dial(first.identity, julia.address)
            await greet(old, first, verify, lambda _: None)
            await julia.until(lambda: bool(julia.mesh.peers), "connected")
            new = await dial(second.identity, julia.address)
            await greet(new, second, verify, lambda _: None)
            while await old.reader.read(4096):
                pass
            (peer,) = julia.mesh.peers.values()
            assert peer.connection.remote.instance == b"2nd time"
            assert julia.connections() == ["+romeo"]
            for stream in (old, new):
                stream.writer.close()

    run(main())


def test_a_flood_of_connections_is_cut_at_the_door(tmp_path: Path) -> None:
    async def main() -> None:
        async with nodes(tmp_path, "julia") as (julia,):
            await julia.start()
            opened = [await asyncio.open_connection(*julia.address) for _ in range(60)]
            ended = await asyncio.wait_for(
                asyncio.gather(*(_ended_at_once(reader) for reader, _ in opened)), timeout=20
            )
            assert sum(ended) >= 60 - 32  # at most as many as may come at once got as far as TLS
            for _, writer in opened:
                writer.close()

    run(main())


async def _ended_at_once(reader: asyncio.StreamReader) -> bool:
    try:
        async with asyncio.timeout(2.0):
            return await reader.read(1) == b""
    except TimeoutError:
        return False
    except OSError:
        return True


def test_a_greeting_that_comes_to_nothing_is_told_once(tmp_path: Path) -> None:
    async def main() -> None:
        async with nodes(tmp_path, "julia") as (julia,):
            await julia.start()
            liar = ourselves("liar")
            for _ in range(3):
                stream = await dial(liar.identity, julia.address)
                forged = ourselves("liar")
                forged.identity.sign = lambda data: bytes(64)
                with pytest.raises((PeerError, EOFError, OSError)):
                    await greet(stream, forged, verify, lambda _: None)
                stream.writer.close()
            await julia.until(lambda: bool(julia.events), "told")
            assert julia.events == [Trouble("somebody at 127.0.0.1 does not have the key that it shows")]

    run(main())
