"""`megaphone chat --lan` on hosts of a network of their own: no server, no configuration, found by mDNS."""

import sqlite3
import subprocess
from pathlib import Path

from megaphone.peers.names import hash_to_port
from tests.link.server import run
from tests.scenarios.lan import Lan, LanChatter, all_killed, lan, needs_networks, two_hosts

__all__ = ["lan"]

pytestmark = needs_networks


def test_hello_said_alone_arrives_when_somebody_appears(lan: Lan, tmp_path: Path) -> None:
    async def main() -> None:
        async with two_hosts(lan) as (a, b, chatters):
            chatters.append(alice := await a.chat(tmp_path))
            alice.type("hello")
            await alice.hears("a: hello")
            chatters.append(bob := await b.chat(tmp_path))
            await bob.hears("a: hello")
            assert "info> direct connection to a, key " in await bob.tells("info> direct connection to ")
            fingerprint = (await alice.tells("info> you are a, key ")).split("key ")[1].split(", port")[0]
            assert await bob.tells("info> new peer ") == f"info> new peer a, key {fingerprint}"
            bob.type("hello, alice")
            for chatter in chatters:
                await chatter.hears("b: hello, alice")
            assert alice.lines_said() == bob.lines_said() == ["a: hello", "b: hello, alice"]
            await bob.leave()
            await alice.tells("info> b has gone")
            assert await alice.end_of_input() == (0, "")  # Ctrl-D

    run(main())


def test_a_chain_without_a_link_between_its_ends_converges(lan: Lan, tmp_path: Path) -> None:
    async def main() -> None:
        for number in (1, 2):
            lan.add_bridge(number)
        a, b, c = lan.add_host("a", 1), lan.add_host("b", 1, 2), lan.add_host("c", 2)
        chatters: list[LanChatter] = []
        async with all_killed(chatters):
            for host in (a, b, c):
                chatters.append(await host.chat(tmp_path))
            alice, bob, _ = chatters
            await bob.tells("info> direct connection to ", 2)
            for chatter in chatters:
                chatter.type(*(f"{chatter.nick}{number}" for number in range(10)))
            everything = {f"{name}{number}" for name in "abc" for number in range(10)}
            for chatter in chatters:
                await chatter.until(
                    lambda _, chatter=chatter: {each.split(": ")[1] for each in chatter.lines_said()} == everything,
                    "everything",
                )
            # Alice has never met Carol, so that she cannot know whether it is her.
            assert any(each.startswith("c (unverified ") for each in alice.lines_said())
            assert not any("connection to c" in line for line in alice.lines)
            assert {each for each in bob.lines_said() if "unverified" in each} == set()
            for chatter in chatters:
                await chatter.leave()
            orders = []
            for host in (a, b, c):
                again = await host.chat(tmp_path, "--no-mdns", "--listen", "127.0.0.1:0", "--history", "100")
                chatters.append(again)
                await again.tells("info> you are ")
                await again.until(lambda _, again=again: len(again.lines_said()) == 30, "all of the log")
                orders.append([each.split(": ")[1] for each in again.lines_said()])
                await again.leave()
            assert orders[0] == orders[1] == orders[2]

    run(main())


def test_known_peers_are_remembered_without_mdns(lan: Lan, tmp_path: Path) -> None:
    async def main() -> None:
        async with two_hosts(lan) as (a, b, chatters):
            chatters += [alice := await a.chat(tmp_path), bob := await b.chat(tmp_path)]
            for chatter in (alice, bob):
                await chatter.tells("info> direct connection to ")
            for chatter in (alice, bob):
                await chatter.leave()
            for name, other in (("a", b), ("b", a)):
                with sqlite3.connect(tmp_path / name / "megaphone" / "lan" / f"{name}.peers") as database:
                    hosts = {host for (host,) in database.execute("SELECT host FROM peers")}
                assert other.address(1) in hosts
            chatters += [alice := await a.chat(tmp_path, "--no-mdns"), bob := await b.chat(tmp_path, "--no-mdns")]
            alice.type("do you remember me?")
            await bob.hears("a: do you remember me?")
            assert not any("new peer" in line for line in bob.lines)

    run(main())


def test_a_killed_peer_comes_back_and_nothing_is_lost(lan: Lan, tmp_path: Path) -> None:
    async def main() -> None:
        async with two_hosts(lan) as (a, b, chatters):
            chatters += [alice := await a.chat(tmp_path), bob := await b.chat(tmp_path)]
            await bob.tells("info> direct connection to ")
            bob.type("one", "two")
            await alice.hears("b: two")
            await bob.kill()
            await alice.tells("info> b has gone")
            alice.type("where are you?")
            chatters.append(bob := await b.chat(tmp_path))
            await bob.hears("b: one", "b: two", "a: where are you?")
            bob.type("here")
            await alice.hears("b: here")
            assert alice.lines_said() == ["b: one", "b: two", "a: where are you?", "b: here"]

    run(main())


def test_a_network_cut_in_two_converges_when_it_heals(lan: Lan, tmp_path: Path) -> None:
    async def main() -> None:
        async with two_hosts(lan) as (a, b, chatters):
            chatters += [alice := await a.chat(tmp_path), bob := await b.chat(tmp_path)]
            await bob.tells("info> direct connection to ")
            await alice.tells("info> direct connection to ")
            lan.pull(b, 1)
            alice.type("on one side")
            bob.type("on the other")
            # Nobody hears anybody until the silence is noticed, or the cable is back and TCP sends again.
            await alice.hears("a: on one side")
            await bob.hears("b: on the other")
            lan.plug(b, 1)
            await alice.hears("b: on the other")
            await bob.hears("a: on one side")

    run(main())


def test_a_changed_key_is_refused_until_it_is_trusted(lan: Lan, tmp_path: Path) -> None:
    async def main() -> None:
        async with two_hosts(lan) as (a, b, chatters):
            chatters += [alice := await a.chat(tmp_path), bob := await b.chat(tmp_path)]
            old = (await bob.tells("info> you are b, key ")).split("key ")[1].split(", port")[0]
            await alice.tells("info> direct connection to b")
            await bob.leave()
            await alice.tells("info> b has gone")
            for file in (tmp_path / "b" / "megaphone" / "lan").iterdir():
                file.unlink()
            chatters.append(bob := await b.chat(tmp_path))
            new = (await bob.tells("info> you are b, key ")).split("key ")[1].split(", port")[0]
            assert new != old
            bob.type("it is me")
            await alice.tells("warning> THE KEY OF b HAS CHANGED; b at ")
            assert await alice.tells("warning>   known key: ") == f"warning>   known key: {old}"
            assert await alice.tells("warning>   shown key: ") == f"warning>   shown key: {new}"
            await bob.tells("warning> the peer at ")
            assert not alice.lines_said()
            await alice.leave()
            chatters.append(alice := await a.chat(tmp_path, "--trust", "b"))
            await alice.hears("b: it is me")

    run(main())


def test_several_peers_on_one_host_and_names_on_the_command_line(lan: Lan, tmp_path: Path) -> None:
    """Two users of one machine, and a third one who is told an address and hears no mDNS."""

    async def main() -> None:
        async with two_hosts(lan) as (a, b, chatters):
            chatters += [alice := await a.chat(tmp_path), anna := await a.chat(tmp_path, name="anna")]
            await alice.tells("info> direct connection to anna")
            port = (await anna.tells("info> you are anna, key ")).rpartition("port ")[2]
            chatters.append(bob := await b.chat(tmp_path, "--no-mdns", "--peer", f"{a.address(1)}:{port}"))
            await bob.tells("info> direct connection to anna")
            alice.type("hello from alice")
            await bob.until(lambda _: any(each.endswith(": hello from alice") for each in bob.lines_said()), "alice")
            bob.type("hello from bob")
            await alice.until(lambda _: any(each.endswith(": hello from bob") for each in alice.lines_said()), "bob")

    run(main())


def test_a_host_is_found_by_its_name_and_the_port_of_the_name(lan: Lan, tmp_path: Path) -> None:
    """As in the workshop: `nas.local`, and the port that its name hashes to; the peer there announces nothing."""

    async def main() -> None:
        async with two_hosts(lan) as (a, b, chatters):
            with b.answering("nas", 1):
                chatters.append(bob := await b.chat(tmp_path, "--no-mdns", "--listen", str(hash_to_port("nas"))))
                bob.type("hello from the attic")
                chatters.append(alice := await a.chat(tmp_path, "--peer", "nas.local"))
                await alice.hears("b: hello from the attic")

    run(main())


def test_control_characters_reach_no_terminal(lan: Lan, tmp_path: Path) -> None:
    async def main() -> None:
        async with two_hosts(lan) as (a, b, chatters):
            chatters += [alice := await a.chat(tmp_path), bob := await b.chat(tmp_path)]
            alice.type("\x1b[2J\x07 \u202e end")
            await bob.until(lambda _: any("end" in each for each in bob.lines_said()), "the line")
            assert bob.lines_said() == ["a: \\u001b[2J\\u0007 \\u202e end"]

    run(main())


def test_one_database_is_used_once(lan: Lan, tmp_path: Path) -> None:
    async def main() -> None:
        lan.add_bridge(1)
        a = lan.add_host("a", 1)
        chatters: list[LanChatter] = []
        async with all_killed(chatters):
            chatters.append(first := await a.chat(tmp_path))
            await first.tells("info> you are ")
            chatters.append(second := await a.chat(tmp_path))
            code, err = await second.end()
            assert code == 1
            assert "is in use by another chat" in err

    run(main())


def test_a_lone_peer_leaves_on_a_signal(lan: Lan, tmp_path: Path) -> None:
    async def main() -> None:
        lan.add_bridge(1)
        chatters: list[LanChatter] = []
        async with all_killed(chatters):
            chatters.append(alice := await lan.add_host("a", 1).chat(tmp_path))
            await alice.tells("info> you are ")
            alice._process.terminate()
            assert await alice.end() == (0, "")

    run(main())


def test_a_network_that_comes_later_is_used(lan: Lan, tmp_path: Path) -> None:
    """A laptop that joins the Wi-Fi when the chat runs already."""

    async def main() -> None:
        lan.add_bridge(1)
        a, b = lan.add_host("a"), lan.add_host("b", 1)
        chatters: list[LanChatter] = []
        async with all_killed(chatters):
            chatters += [alice := await a.chat(tmp_path), bob := await b.chat(tmp_path)]
            alice.type("hello")
            await alice.hears("a: hello")
            await bob.tells("info> you are ")
            lan.connect(a, 1)
            await bob.hears("a: hello")

    run(main())


def test_it_ends_when_nobody_reads_its_lines(lan: Lan, tmp_path: Path) -> None:
    a = lan.add_host("a")
    command = a.command("tea", "a", "--no-mdns")
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, env=a.environment(tmp_path), text=True, **pipes) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline().startswith("info> you are a")
        process.stdout.close()
        process.stdin.write("hello\n")
        process.stdin.flush()
        assert process.wait(timeout=30) == 1
        assert process.stderr.read() == ""


def test_it_works_on_a_terminal(lan: Lan, tmp_path: Path) -> None:
    async def main() -> None:
        async with two_hosts(lan) as (a, b, chatters):
            chatters.append(bob := await b.chat(tmp_path))
            await bob.tells("info> you are ")
            with a.terminal(tmp_path) as terminal:
                await bob.tells("info> direct connection to a")
                terminal.type("hello\n")
                await bob.hears("a: hello")
                bob.type("hello, terminal\x1b[2J")
                await terminal.shows("hello, terminal\\u001b[2J")
                assert "\x1b[2J" not in terminal.screen
                assert "-> " in terminal.screen
                terminal.type("half a li")
                bob.type("meanwhile")
                await terminal.shows("meanwhile")
                terminal.type("ne\n")
                await bob.hears("a: half a line")
                terminal.type("\x04")  # Ctrl-D
                assert await terminal.end() == 0

    run(main())


def test_lines_altered_on_disk_are_fetched_again_from_others(lan: Lan, tmp_path: Path) -> None:
    async def main() -> None:
        async with two_hosts(lan) as (a, b, chatters):
            chatters += [alice := await a.chat(tmp_path), bob := await b.chat(tmp_path)]
            await alice.tells("info> direct connection to ")
            bob.type("one", "the second line", "three")
            await alice.hears("b: three")
            await alice.leave()
            database = tmp_path / "a" / "megaphone" / "lan" / "a.db"
            data = database.read_bytes()
            assert b"the second line" in data
            database.write_bytes(data.replace(b"the second line", b"the sec0nd line"))
            chatters.append(alice := await a.chat(tmp_path))
            await alice.tells("warning> parts of the database were damaged")
            await alice.hears("b: one", "b: the second line", "b: three")
            alice.type("exit")
            assert (await alice.end())[0] == 0  # what was damaged is in its log, too
            chatters.append(alice := await a.chat(tmp_path, "--no-mdns", "--listen", "127.0.0.1:0"))
            await alice.hears("b: three")
            assert alice.lines_said() == ["b: one", "b: the second line", "b: three"]
            assert not any(line.startswith("warning> ") for line in alice.lines)

    run(main())


def test_a_key_whose_database_is_gone_is_not_used_again(lan: Lan, tmp_path: Path) -> None:
    """It would say something else where it has spoken already."""

    async def main() -> None:
        chatters: list[LanChatter] = []
        a = lan.add_host("a")
        async with all_killed(chatters):
            chatters.append(alice := await a.chat(tmp_path))
            await alice.tells("info> you are ")
            await alice.leave()
            (tmp_path / "a" / "megaphone" / "lan" / "a.db").unlink()
            chatters.append(alice := await a.chat(tmp_path))
            code, err = await alice.end()
            assert code == 1
            assert "a.key has no database beside it" in err

    run(main())
