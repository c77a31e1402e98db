"""`megaphone chat` with pipes against a real server: talking, coming and going, and going on after a loss."""

import asyncio
import contextlib
import re
import signal
from pathlib import Path

import pytest

from tests.adversity.network import Network
from tests.link.server import run
from tests.scenarios.chatter import Chatter, chatting, start
from tests.servers.certificates import CertificateAuthority
from tests.servers.ejabberd import Ejabberd
from tests.servers.megaphone import Edge, upstream_of
from tests.servers.model import ALICE, BOB, ROOMS, Endpoint
from tests.servers.process import LOOPBACK, free_port
from tests.servers.prosody import Prosody
from tests.servers.prosody_chat import GUEST_ROOMS, GUESTS, ProsodyChat

LINES = 30
SERVICE_OF = {"guests": GUEST_ROOMS, "accounts": ROOMS, "of_ejabberd": ROOMS}


def through(*ports: int) -> tuple[str, ...]:
    return ("--server", ",".join(f"{LOOPBACK}:{port}" for port in ports), "--domain", GUESTS)


@pytest.fixture
def guests(prosody_with_guests: ProsodyChat) -> tuple[str, ...]:
    """Options of an anonymous user."""
    return through(prosody_with_guests.starttls.port)


def of_alice(endpoint: Endpoint, authority: CertificateAuthority, directory: Path) -> tuple[str | Path, ...]:
    (directory / "password").write_text(ALICE.password)
    login = ("--account", ALICE.jid, "--password-file", directory / "password", "--ca", authority.certificate)
    return ("--server", f"{endpoint.host}:{endpoint.port}", "--tls", endpoint.tls, *login)


@pytest.fixture
def accounts(
    prosody_with_guests: ProsodyChat, authority: CertificateAuthority, tmp_path: Path
) -> tuple[str | Path, ...]:
    """Options of Alice, whose rooms have an archive and stanza-ids."""
    return of_alice(prosody_with_guests.direct, authority, tmp_path)


@pytest.fixture
def of_ejabberd(ejabberd: Ejabberd, authority: CertificateAuthority, tmp_path: Path) -> tuple[str | Path, ...]:
    """Options of Alice at an ejabberd."""
    return of_alice(ejabberd.starttls, authority, tmp_path)


def test_three_clients_see_the_same_in_the_same_order(guests: tuple[str, ...]) -> None:
    async def main() -> None:
        async with chatting("order", "John", "Mary", "Rick", options=guests) as chatters:
            john, mary, _ = chatters
            for number in range(LINES):
                for chatter in chatters:
                    chatter.type(f"{chatter.nick} {number}")
            for chatter in chatters:
                await chatter.until(lambda lines: sum(line.startswith("[John] John") for line in lines) == LINES, "all")
                await chatter.until(lambda lines: sum(line.startswith("[Mary] Mary") for line in lines) == LINES, "all")
                await chatter.until(lambda lines: sum(line.startswith("[Rick] Rick") for line in lines) == LINES, "all")
            assert len(john.said()) == 3 * LINES
            assert all(chatter.said() == john.said() for chatter in chatters)
            assert [line for line in mary.said() if line.startswith("[Mary]")] == [
                f"[Mary] Mary {number}" for number in range(LINES)
            ]

    run(main())


def test_coming_going_and_exit(guests: tuple[str, ...]) -> None:
    async def main() -> None:
        async with chatting("lobby", "John", "Mary", options=guests) as (john, mary):
            assert john.lines[:2] == [f"[ROOM] lobby@{GUEST_ROOMS} is new", "[JOIN] John joined the chat"]
            assert mary.lines[:2] == ["[ROOM] here: John", "[JOIN] Mary joined the chat"]
            await john.shows("[JOIN] Mary joined the chat")
            mary.type("hi!", "", "   ")
            await john.shows("[Mary] hi!")
            await mary.shows("[Mary] hi!")
            await mary.leave()
            assert mary.lines[-1] == "[LEAVE] Mary left the chat"
            await john.shows("[LEAVE] Mary left the chat")
            await john.leave()
            assert john.said() == mary.said() == ["[Mary] hi!"]

    run(main())


def test_the_end_of_the_input_waits_until_everything_was_heard(guests: tuple[str, ...]) -> None:
    async def main() -> None:
        async with chatting("pipe", "John", options=guests) as (john,):
            mary = await start("pipe", "Mary", options=guests)
            mary.type(*(f"line {number}" for number in range(100)))
            assert await mary.end_of_input() == (0, "")
            await john.shows("[LEAVE] Mary left the chat")
            assert john.said() == [f"[Mary] line {number}" for number in range(100)]

    run(main())


def test_two_who_create_the_room_at_once_meet_in_it(guests: tuple[str, ...]) -> None:
    async def main() -> None:
        both = [await start("race", nick, options=guests) for nick in ("John", "Mary")]
        try:
            for chatter in both:
                await chatter.until(lambda lines: any("Mary" in line for line in lines), "Mary")
                await chatter.until(lambda lines: any("John" in line for line in lines), "John")
        finally:
            await asyncio.gather(*(chatter.kill() for chatter in both))

    run(main())


def test_history_is_shown_to_who_comes_later(guests: tuple[str, ...]) -> None:
    async def main() -> None:
        async with chatting("history", "John", options=guests) as (john,):
            john.type("one", "two", "three")
            await john.shows("[John] three")
            async with chatting("history", "Mary", options=(*guests, "--history", 2)) as (mary,):
                await mary.shows("[John] three")
                assert mary.said() == ["[John] two", "[John] three"]
            async with chatting("history", "Rick", options=(*guests, "--history", 0)) as (rick,):
                john.type("four")
                await rick.shows("[John] four")
                assert rick.said() == ["[John] four"]

    run(main())


def test_what_could_steer_the_terminal_arrives_as_text(guests: tuple[str, ...]) -> None:
    async def main() -> None:
        async with chatting("hostile", "John", options=guests) as (john,):
            mary = await start("hostile", "John] [Mary", options=guests)
            nick = '["John] [Mary"]'
            try:
                mary.type("\x9b31mred\x85 \u202eevil", "\x1b]0;title\x07 & <b>", "tab\there")
                await john.shows(f"{nick} tab here")
                assert not re.search("[\x00-\x1f\x7f-\x9f\u202e]", "".join(john.lines))
                assert john.said() == [
                    f"{nick} \\u009b31mred",
                    f"{nick}  \\u202eevil",
                    f"{nick} \ufffd]0;title\ufffd & <b>",
                    f"{nick} tab here",
                ]
                assert '[JOIN] "John] [Mary" joined the chat' in john.lines
            finally:
                await mary.kill()

    run(main())


@pytest.mark.parametrize("who", ["guests", "accounts", "of_ejabberd"])
def test_after_a_loss_it_goes_on_through_the_next_server(who: str, request: pytest.FixtureRequest) -> None:
    """With and without stanza-ids: nothing is shown twice, nothing that was said meanwhile is missed."""
    options: tuple[str | Path, ...] = request.getfixturevalue(who)
    host, _, port = str(options[1]).rpartition(":")

    async def main() -> None:
        target = (host, int(port))
        room = f"{who}@{SERVICE_OF[who]}"
        async with Network(target) as first, Network(target) as second:
            at_first, at_second = (f"{LOOPBACK}:{network.address[1]}" for network in (first, second))
            async with (
                chatting(room, "Mary", options=options) as (mary,),
                chatting(room, "John", options=(*options[2:], "--server", f"{at_first},{at_second}")) as (john,),
            ):
                mary.type("before")
                await john.shows("[Mary] before")
                john.type("mine")
                await mary.shows("[John] mine")
                await first.go_away()
                john.type("said without a server")
                mary.type("meanwhile 1", "meanwhile 2")
                await mary.shows("[Mary] meanwhile 2")
                await john.shows(f"[SERVER] lost {at_first}, trying {at_second}")
                await john.shows(f"[SERVER] joined again through {at_second}")
                mary.type("after")
                for chatter in (john, mary):
                    await chatter.shows("[Mary] after")
                    await chatter.shows("[John] said without a server")
                assert len(john.said()) == 6
                assert john.said() == mary.said()
                # And back, by the one that is there again.
                await first.come_back()
                await second.go_away()
                await john.shows(f"[SERVER] joined again through {at_first}")
                mary.type("at last")
                for chatter in (john, mary):
                    await chatter.shows("[Mary] at last")
                assert john.said() == mary.said()
                assert john.lines.count("[JOIN] John joined the chat") == 1
                await john.leave()

    run(main())


def test_one_of_two_megaphones_is_killed_and_only_its_clients_move(
    tmp_path: Path, authority: CertificateAuthority, prosody_behind_edge: Prosody
) -> None:
    async def main(first: Edge, second: Edge) -> None:
        at_first, at_second = (f"{LOOPBACK}:{edge.direct.port}" for edge in (first, second))
        moving = ("--server", f"{at_first},{at_second}", *of_alice(first.direct, authority, tmp_path)[2:])
        staying = of_alice(second.direct, authority, tmp_path)
        async with (
            chatting("killed", "John", options=moving) as (john,),
            chatting("killed", "Mary", options=staying) as (mary,),
        ):
            mary.type("before")
            await john.shows("[Mary] before")
            first.process.signal(signal.SIGKILL)
            await john.shows(f"[SERVER] lost {at_first}, trying {at_second}")
            john.type("still here")
            await mary.shows("[John] still here")
            await john.shows(f"[SERVER] joined again through {at_second}")
            for chatter in (john, mary):
                await chatter.leave()
            assert john.said() == mary.said() == ["[Mary] before", "[John] still here"]
            assert not any(line.startswith("[SERVER]") for line in mary.lines)

    with contextlib.ExitStack() as stack:
        edges = [Edge(tmp_path / name, authority, [upstream_of(prosody_behind_edge)]) for name in ("first", "second")]
        for edge in edges:
            stack.callback(edge.stop)
            edge.start()
        run(main(*edges))


def test_a_server_that_is_away_for_a_while_is_tried_with_growing_pauses(prosody_with_guests: ProsodyChat) -> None:
    async def main() -> None:
        public = prosody_with_guests.starttls
        network = Network((public.host, public.port))
        async with network, chatting("patience", "John", options=through(network.address[1])) as (john,):
            await network.go_away()
            await john.until(lambda lines: sum("Connection refused, " in line for line in lines) >= 2, "two failures")
            john.type("while away")
            await network.come_back()
            await john.shows("[John] while away")
            pauses = [float(found[1]) for line in john.lines if (found := re.search(r" in ([\d.]+) s$", line))]
            assert len(pauses) >= 3  # more where it is not back before the third has passed
            assert 0.4 <= pauses[0] <= 1.0 <= pauses[1] <= 2.0 <= pauses[2] <= 4.0
            await john.leave()

    run(main())


def test_the_first_server_of_the_list_may_be_away(guests: tuple[str, ...], prosody_with_guests: ProsodyChat) -> None:
    async def main() -> None:
        away, there = free_port(), prosody_with_guests.starttls.port
        async with chatting("list", "John", options=through(away, there)) as (john,):
            assert john.lines[0] == (f"[SERVER] {LOOPBACK}:{away}: Connection refused, trying {LOOPBACK}:{there}")
            await john.leave()

    run(main())


async def _end(chatter: Chatter) -> tuple[int, str]:
    try:
        return await chatter.end()
    finally:
        await chatter.kill()


async def refused(room: str, nick: str, options: tuple[str | Path | int, ...]) -> tuple[int, str]:
    return await _end(await start(room, nick, options=options))


def test_nick_conflict(guests: tuple[str, ...]) -> None:
    async def main() -> None:
        async with chatting("conflict", "John", options=guests):
            code, err = await refused("conflict", "John", guests)
            assert code == 1
            assert err.startswith(f"megaphone: error: the nick John is taken in conflict@{GUEST_ROOMS}")

    run(main())


def test_wrong_password(accounts: tuple[str | Path, ...], tmp_path: Path) -> None:
    (tmp_path / "password").write_text(BOB.password)
    code, err = asyncio.run(refused("any", "John", accounts))
    assert code == 1
    assert err.startswith("megaphone: error: the server refused the login: not-authorized")


def test_no_server_at_all() -> None:
    first, second = free_port(), free_port()
    assert asyncio.run(refused("any", "John", through(first, second))) == (
        3,
        f"megaphone: error: {LOOPBACK}:{first}: Connection refused; {LOOPBACK}:{second}: Connection refused\n",
    )


def test_who_says_nothing_has_entered_or_is_told_why_not(guests: tuple[str, ...]) -> None:
    """An empty input is no reason to call a chat that never began a good one."""

    async def silent(options: tuple[str, ...]) -> tuple[int, str]:
        chatter = await start("silence", "John", options=options)
        try:
            return await chatter.end_of_input()
        finally:
            await chatter.kill()

    async def main() -> None:
        nobody = free_port()
        assert await silent(through(nobody)) == (3, f"megaphone: error: {LOOPBACK}:{nobody}: Connection refused\n")
        async with chatting("silence", "Mary", options=guests) as (mary,):
            assert await silent(guests) == (0, "")
            await mary.shows("[JOIN] John joined the chat")

    run(main())


def test_a_domain_that_wants_an_account(prosody_with_guests: ProsodyChat) -> None:
    port = prosody_with_guests.starttls.port
    assert asyncio.run(refused("any", "John", ("--server", f"{LOOPBACK}:{port}", "--domain", "example.test"))) == (
        1,
        "megaphone: error: example.test lets in nobody without an account: give --account JID\n",
    )


def test_a_certificate_that_is_not_to_be_trusted(prosody_with_guests: ProsodyChat, accounts: tuple) -> None:
    code, err = asyncio.run(refused("any", "John", accounts[:-2]))
    assert code == 1
    assert "the certificate is not to be trusted: " in err


def test_a_service_that_is_none(guests: tuple[str, ...]) -> None:
    code, err = asyncio.run(refused("any@nowhere.guests.test", "John", guests))
    assert code == 1
    assert err.startswith("megaphone: error: ")
    assert "any@nowhere.guests.test" in err
