"""What a room's owner or a bad network does to `megaphone chat`, and what it says then."""

import asyncio
import re
from pathlib import Path

import pytest

from megaphone.cli import chat_session
from megaphone.cli.chat_events import Event
from megaphone.cli.chat_session import Session
from megaphone.cli.chat_settings import Login, Settings
from megaphone.sockets.endpoint import Endpoint
from tests.adversity.network import Network
from tests.link.server import run
from tests.scenarios.chatter import Chatter, chatting, start
from tests.scenarios.room_owner import RoomOwner
from tests.servers.certificates import CertificateAuthority
from tests.servers.model import ALICE, BOB, ROOMS
from tests.servers.process import LOOPBACK
from tests.servers.prosody_chat import GUESTS, ProsodyChat

Options = tuple[str | Path | int, ...]


class Place:
    """Where Alice chats and Bob owns rooms."""

    def __init__(self, server: ProsodyChat, authority: CertificateAuthority, directory: Path) -> None:
        self.server = server
        self.authority = authority.certificate
        (directory / "password").write_text(ALICE.password)
        self.options: Options = (
            *("--server", f"{LOOPBACK}:{server.starttls.port}", "--ca", self.authority),
            *("--account", ALICE.jid, "--password-file", directory / "password"),
        )

    def owner(self, room: str) -> RoomOwner:
        return RoomOwner(f"{room}@{ROOMS}", BOB, self.server.starttls, self.authority)


@pytest.fixture
def place(prosody_with_guests: ProsodyChat, authority: CertificateAuthority, tmp_path: Path) -> Place:
    """The server with its accounts."""
    return Place(prosody_with_guests, authority, tmp_path)


async def ended(chatter: Chatter) -> tuple[int, str]:
    try:
        return await chatter.end()
    finally:
        await chatter.kill()


@pytest.mark.parametrize("what", ["kick", "ban", "members", "destroy"])
def test_who_is_removed_is_told_why(place: Place, what: str) -> None:
    """The room is found by its name: an item of the domain that is conference/text."""
    room = f"removed-{what}"
    said = {
        "kick": "kicked: too loud",
        "ban": "banned: for ever",
        "members": "the room is for members only now",
        "destroy": "the room was destroyed: spring cleaning",
    }[what]

    async def main() -> None:
        async with place.owner(room) as owner, chatting(room, "Alice", options=place.options) as (alice,):
            assert alice.lines[0] == "[ROOM] here: Owner"
            if what == "kick":
                await owner.kick("Alice", "too loud")
            elif what == "ban":
                await owner.set_affiliation("outcast", ALICE, "for ever")
            elif what == "members":
                await owner.configure(membersonly="1")
            else:
                await owner.destroy("spring cleaning")
            assert await alice.end() == (1, f"megaphone: error: no longer in {room}@{ROOMS}: {said}\n")
            assert alice.lines[-1] == f"[LEAVE] Alice left the chat ({said})"

    run(main())


def test_who_is_not_let_in_is_told_why(place: Place, tmp_path: Path) -> None:
    async def main() -> None:
        async with place.owner("closed") as owner:
            await owner.configure(membersonly="1")
            code, err = await ended(await start("closed", "Alice", options=place.options))
            assert (code, err.split(" (")[0].strip()) == (1, f"megaphone: error: closed@{ROOMS} is for members only")
            await owner.configure(membersonly="0")
            await owner.set_affiliation("outcast", ALICE)
            code, err = await ended(await start("closed", "Alice", options=place.options))
            assert (code, err.split(" (")[0].strip()) == (1, f"megaphone: error: you are banned from closed@{ROOMS}")

    run(main())


def test_a_room_with_a_password(place: Place, tmp_path: Path) -> None:
    async def main() -> None:
        async with place.owner("secret") as owner:
            await owner.configure(passwordprotectedroom="1", roomsecret="open & sesame")
            code, err = await ended(await start("secret", "Alice", options=place.options))
            assert code == 1
            assert err.startswith(f"megaphone: error: secret@{ROOMS} asks for a password, and this is not it: give")
            (tmp_path / "room").write_text("open & sesame\n")
            async with chatting(
                "secret", "Alice", options=(*place.options, "--room-password-file", tmp_path / "room")
            ) as (alice,):
                await alice.leave()

    run(main())


def test_subjects_renamings_and_private_messages(place: Place) -> None:
    async def main() -> None:
        async with place.owner("varied") as owner:
            owner.set_subject("Tea at five")
            async with chatting("varied", "Alice", options=place.options) as (alice,):
                await alice.shows("[SUBJECT] Tea at five")
                owner.whisper("Alice", "psst")
                await alice.shows("[Owner to you] psst")
                owner.say("two\nlines")
                await alice.shows("[Owner] lines")
                owner.rename("Boss")
                await alice.shows("[NICK] Owner is now Boss")
                owner.set_subject("Cake\n[JOIN] Eve joined the chat")
                await alice.shows("[SUBJECT] Boss: Cake [JOIN] Eve joined the chat")
                await alice.leave()

    run(main())


def test_ids_used_again_hide_no_live_message(place: Place) -> None:
    """A bot that gives each of its messages the same id and text is heard each time."""

    async def main() -> None:
        async with place.owner("bot") as owner, chatting("bot", "Alice", options=place.options) as (alice,):
            for _ in range(3):
                owner.say("tick", identifier="same")
            owner.say("end")
            await alice.shows("[Owner] end")
            assert alice.said() == ["[Owner] tick"] * 3 + ["[Owner] end"]

    run(main())


def test_a_line_that_the_room_refuses_is_said_to_be_lost(place: Place) -> None:
    async def main() -> None:
        async with place.owner("moderated") as owner:
            await owner.configure(moderatedroom="1", **{"defaultaffiliation": "none"})
            async with chatting("moderated", "Alice", options=place.options) as (alice,):
                alice.type("x" * 9_000, "may I?")
                await alice.until(lambda lines: sum(line.startswith("[ERROR] ") for line in lines) == 2, "two errors")
                long, forbidden = (line for line in alice.lines if line.startswith("[ERROR] "))
                start_of_it = f"{'x' * 39}…"
                assert (
                    long == f"[ERROR] not sent: {start_of_it}: 9000 bytes are too long for one message (at most 8000)"
                )
                assert forbidden.startswith("[ERROR] not sent: may I?: forbidden")
                await alice.leave()

    run(main())


def test_wrong_kind_of_port(place: Place) -> None:
    async def main() -> None:
        login = place.options[2:]
        direct, starttls = place.server.direct.port, place.server.starttls.port
        for port, tls, said in (
            (direct, "starttls", "it may expect --tls direct on this port\n"),
            (starttls, "direct", "this port may expect --tls starttls\n"),
            (starttls, "none", "the server lets in nobody without TLS: leave out --tls none\n"),
        ):
            options = ("--server", f"{LOOPBACK}:{port}", "--tls", tls, *login)
            code, err = await ended(await start("any", "Alice", options=options))
            assert (code, err.endswith(said)) == (1, True), err

    run(main())


def test_a_silent_loss_is_noticed_and_the_nick_that_is_still_taken_is_worked_around(
    prosody_with_guests: ProsodyChat, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The path dies without a word: the server keeps our occupant for long, and a guest cannot take its nick."""
    monkeypatch.setattr(chat_session, "CONFLICT_PAUSES", (0.05, 0.05))

    async def main() -> None:
        public = prosody_with_guests.starttls
        async with Network((public.host, public.port)) as network:
            lines: list[str] = []
            changed = asyncio.Event()

            def show(event: Event) -> None:
                lines.extend(event.lines())
                changed.set()

            async def shows(start: str) -> None:
                async with asyncio.timeout(30.0):
                    while not any(line.startswith(start) for line in lines):
                        changed.clear()
                        await changed.wait()

            server = Endpoint(*network.address)
            login = Login(GUESTS, None, "", "starttls", None, False)
            session = Session(Settings("silent", "John", None, login, [server], 20, 15.0, ping_seconds=1.0), show)
            chat = asyncio.create_task(session.run())
            await shows("[JOIN] John ")
            options = ("--server", f"{LOOPBACK}:{public.port}", "--domain", GUESTS)
            async with chatting("silent", "Mary", options=options) as (mary,):
                await shows("[JOIN] Mary ")
                network.freeze()
                session.say_nowait("into the void")
                mary.type("meanwhile")
                await shows("[ROOM] John is still taken, joining as John-")
                await shows("[Mary] meanwhile")
                await shows("[John-")  # whatever its nick is by now: on a busy machine another ping may be late
                ours = next(line for line in lines if line.startswith("[John-"))
                assert re.fullmatch(r"\[John-[0-9a-f]{4}\] into the void", ours)
                await mary.shows(ours)
                said = [line for line in lines if line.startswith(("[Mary]", "[John"))]
                assert said == ["[Mary] meanwhile", ours]
            session.leave()
            await chat

    run(main())
