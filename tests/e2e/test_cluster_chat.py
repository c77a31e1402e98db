"""Chatty's second half with `megaphone chat`: servers join and leave a running set, and one is killed."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.link.server import run
from tests.scenarios.chatter import Chatter, chatting, start
from tests.servers.certificates import CertificateAuthority
from tests.servers.cluster import Cluster
from tests.servers.model import ALICE, BOB, CAROL, DOMAIN, ROOMS, Account
from tests.servers.process import LOOPBACK

LINES = 20
LOOK_SECONDS = 1.0
QUIET_SECONDS = 60.0
NICKS = {"a": "John", "b": "Mary", "c": "Rick"}
ACCOUNTS = {"a": ALICE, "b": BOB, "c": CAROL}

Options = tuple[str | Path | int, ...]


@pytest.fixture
def cluster(tmp_path: Path, authority: CertificateAuthority) -> Iterator[Cluster]:
    """Three servers, where everybody may make rooms."""
    with Cluster(tmp_path, authority, rooms={"create": "anyone"}) as cluster:
        yield cluster


def at(cluster: Cluster, *names: str) -> tuple[str, str]:
    """The option for these servers."""
    return ("--server", ",".join(f"{LOOPBACK}:{cluster.node(name).starttls.port}" for name in names))


def guest(cluster: Cluster, *names: str) -> Options:
    """Without an account."""
    return (*at(cluster, *names), "--domain", DOMAIN, "--insecure")


def login(cluster: Cluster, authority: CertificateAuthority, account: Account, *names: str) -> Options:
    """With one."""
    password = cluster.directory / f"{account.user}.password"
    password.write_text(account.password)
    whose = ("--account", account.jid, "--password-file", password, "--ca", authority.certificate)
    return (*at(cluster, *names), *whose)


async def shows_update(chatter: Chatter, names: str, times: int = 1) -> None:
    """Wait for the line that says which servers there are."""
    line = f"[SERVER UPDATE] {names}"
    await chatter.until(lambda lines: lines.count(line) >= times, line)


def heard(chatter: Chatter, nick: str) -> list[str]:
    return [line for line in chatter.lines if line.startswith(f"[{nick}] ")]


def test_clients_of_different_servers_talk(cluster: Cluster) -> None:
    """Each on a server of its own: all see all who come, all that is said, their own lines too, and who leaves."""

    async def main() -> None:
        chatters: list[Chatter] = []
        try:
            for name, nick in NICKS.items():
                chatters.append(await start(f"tea@{ROOMS}", nick, options=guest(cluster, name)))
                for chatter in chatters:
                    await chatter.until(lambda lines, nick=nick: any(nick in line for line in lines), f"{nick} is here")
            for number in range(LINES):
                for chatter in chatters:
                    chatter.type(f"{chatter.nick} {number}")
            for chatter in chatters:
                for nick in NICKS.values():
                    await chatter.until(
                        lambda lines, nick=nick: sum(line.startswith(f"[{nick}] ") for line in lines) == LINES, nick
                    )
                    assert heard(chatter, nick) == [f"[{nick}] {nick} {number}" for number in range(LINES)]
            john, mary, rick = chatters
            await rick.leave()
            assert rick.lines[-1] == "[LEAVE] Rick left the chat"
            for chatter in (john, mary):
                await chatter.shows("[LEAVE] Rick left the chat")
            for chatter in (john, mary):
                await chatter.leave()
        finally:
            await asyncio.gather(*(chatter.kill() for chatter in chatters))

    run(main())


def test_servers_join_and_leave_a_running_set(cluster: Cluster) -> None:
    """A set of two; a third joins, and leaves in order; clients and logs of the others are told."""

    async def main() -> None:
        await asyncio.to_thread(cluster.node("c").stop)
        await asyncio.to_thread(cluster.until_members, "a", "b")
        async with (
            chatting(f"set@{ROOMS}", "John", options=guest(cluster, "a")) as (john,),
            chatting(f"set@{ROOMS}", "Mary", options=guest(cluster, "b")) as (mary,),
        ):
            await asyncio.to_thread(cluster.node("c").start_again)
            for chatter in (john, mary):
                await shows_update(chatter, "a, b, c")
            rick = await start(f"set@{ROOMS}", "Rick", options=guest(cluster, "c"))
            try:
                await rick.shows("[JOIN] Rick joined the chat")
                for chatter in (john, mary):
                    await chatter.shows("[JOIN] Rick joined the chat")
                rick.type("hello from the new one")
                for chatter in (john, mary, rick):
                    await chatter.shows("[Rick] hello from the new one")
                # Chatty's `disconnect`: the server tells the others, and its clients go
                await asyncio.to_thread(cluster.node("c").stop)
                for chatter in (john, mary):
                    await shows_update(chatter, "a, b")
                    await chatter.until(
                        lambda lines: any(line.startswith("[LEAVE] Rick left the chat") for line in lines), "Rick goes"
                    )
            finally:
                await rick.kill()
            john.type("we are two again")
            await mary.shows("[John] we are two again")
            for chatter in (john, mary):
                await chatter.leave()
        for name in ("a", "b"):
            log = cluster.node(name).log.read_text()
            assert "a, b, c" in log

    run(main())


def test_servers_that_join_at_the_same_time_are_all_there(cluster: Cluster) -> None:
    """Whole lists that overwrite each other lost one of them in Chatty."""

    async def main() -> None:
        for _ in range(2):
            for name in ("b", "c"):
                await asyncio.to_thread(cluster.node(name).stop)
            await asyncio.to_thread(cluster.until_members, "a")
            await asyncio.gather(*(asyncio.to_thread(cluster.node(name).start_again) for name in ("b", "c")))
            await asyncio.to_thread(cluster.until_members, "a", "b", "c")

    run(main())


def test_a_killed_server_costs_only_its_clients_a_reconnect(cluster: Cluster, authority: CertificateAuthority) -> None:
    """John goes on at another server by himself: nothing is lost or shown twice, and nobody else notices anything."""

    async def main() -> None:
        at_a, at_b = (f"{LOOPBACK}:{cluster.node(name).starttls.port}" for name in ("a", "b"))
        async with (
            chatting(f"killed@{ROOMS}", "John", options=login(cluster, authority, ALICE, "a", "b")) as (john,),
            chatting(f"killed@{ROOMS}", "Mary", options=login(cluster, authority, BOB, "b")) as (mary,),
            chatting(f"killed@{ROOMS}", "Rick", options=login(cluster, authority, CAROL, "c")) as (rick,),
        ):
            mary.type("before")
            for chatter in (john, mary, rick):
                await chatter.shows("[Mary] before")
            await asyncio.to_thread(cluster.node("a").kill)
            await john.shows(f"[SERVER] lost {at_a}, trying {at_b}")
            john.type("still here")
            rick.type("so am I")
            await john.shows(f"[SERVER] joined again through {at_b}")
            for chatter in (john, mary, rick):
                await chatter.shows("[John] still here")
                await chatter.shows("[Rick] so am I")
            for chatter in (mary, rick):
                await shows_update(chatter, "b, c")
                assert not any(line.startswith("[SERVER] ") for line in chatter.lines)
                assert chatter.lines.count("[JOIN] John joined the chat") <= 1
                assert not any("John left" in line for line in chatter.lines)
            for chatter in (john, mary, rick):
                await chatter.leave()
                assert sorted(chatter.said()) == ["[John] still here", "[Mary] before", "[Rick] so am I"]

    run(main())


def test_one_message_goes_to_each_node_once(cluster: Cluster) -> None:
    """However many occupants a node has: what a server says to the engine does not grow with the room."""

    async def main() -> None:
        async with (
            chatting(f"crowd@{ROOMS}", "John", options=guest(cluster, "a")) as (john,),
            chatting(f"crowd@{ROOMS}", *(f"B{number}" for number in range(6)), options=guest(cluster, "b")) as crowd,
        ):
            node = cluster.node("a")

            async def said() -> float:
                """What it has said when it says nothing more: workers show it now and then."""
                before, now = -1.0, 0.0
                async with asyncio.timeout(QUIET_SECONDS):
                    while now != before:
                        before = now
                        await asyncio.sleep(LOOK_SECONDS)
                        now = node.metric("megaphone_nats_messages_total", direction="out")
                return now

            before = await said()
            john.type(*(f"line {number}" for number in range(LINES)))
            for chatter in (john, *crowd):
                await chatter.shows(f"[John] line {LINES - 1}")
            # one for who is there, one for the history, a lease now and then; one for each occupant were six times that
            assert 0 < await said() - before < 3 * LINES
            for chatter in (john, *crowd):
                await chatter.leave()

    run(main())
