"""The full screen of `megaphone chat`, driven by textual's pilot in front of a real server."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

import pytest
from rich.text import Text
from textual.pilot import Pilot
from textual.widgets import Input, Static

from megaphone.cli.chat_screen import ChatScreen
from megaphone.cli.chat_settings import Login, Settings
from megaphone.cli.chat_talk import Talk
from megaphone.sockets.endpoint import Endpoint
from tests.adversity.network import Network
from tests.scenarios.chatter import chatting
from tests.servers.process import LOOPBACK, free_port
from tests.servers.prosody_chat import GUEST_ROOMS, GUESTS, ProsodyChat

STEP_TIMEOUT_SECONDS = 30.0


def settings(room: str, nick: str, port: int) -> Settings:
    login = Login(GUESTS, None, "", "starttls", None, False)
    return Settings(room, nick, None, login, [Endpoint(LOOPBACK, port)], 20, 15.0)


def rows(screen: ChatScreen) -> list[str]:
    """The talk as it is drawn, without blanks at the ends."""
    return [strip.text.strip() for strip in screen.query_one("#talk", Talk).lines]


def part(screen: ChatScreen, name: str) -> str:
    content = screen.query_one(f"#{name}", Static).content
    assert isinstance(content, Text)
    return content.plain


async def until(pilot: Pilot[None], condition: Callable[[], bool], what: str) -> None:
    try:
        async with asyncio.timeout(STEP_TIMEOUT_SECONDS):
            while not condition():
                await pilot.pause(0.05)
    except TimeoutError:
        assert isinstance(pilot.app, ChatScreen)
        raise AssertionError(f"{what}: {rows(pilot.app)}") from None


@contextlib.asynccontextmanager
async def on_screen(
    room: str, nick: str, port: int, size: tuple[int, int] = (80, 24)
) -> AsyncIterator[tuple[ChatScreen, Pilot[None]]]:
    """A screen whose chat has begun."""
    screen = ChatScreen(settings(room, nick, port))
    async with screen.run_test(size=size) as pilot:
        await until(pilot, lambda: screen.session is not None and screen.session.inside, "inside")
        yield screen, pilot


def test_talking_on_the_screen(prosody_with_guests: ProsodyChat) -> None:
    port = prosody_with_guests.starttls.port
    options = ("--server", f"{LOOPBACK}:{port}", "--domain", GUESTS)

    async def main() -> None:
        async with chatting("screen", "Mary", options=options) as (mary,):
            async with on_screen("screen", "John", port) as (screen, pilot):
                await until(pilot, lambda: part(screen, "server") == f"● {LOOPBACK}:{port}", "inside")
                assert part(screen, "title") == f"screen@{GUEST_ROOMS}"
                await until(pilot, lambda: part(screen, "here").split() == ["2", "here", "John", "Mary"], "both here")
                await pilot.press(*"hi", "space", *"all", "enter")
                await until(pilot, lambda: any(row.endswith("John hi all") for row in rows(screen)), "own line")
                assert screen.query_one("#input", Input).value == ""
                await mary.shows("[John] hi all")
                mary.type("\x1b[2J [b]bold[/b] " + "long " * 30)
                await until(pilot, lambda: "long" in rows(screen)[-1], "Mary's line")
                first = next(row for row in rows(screen) if "[b]bold[/b]" in row)
                assert first[5:].startswith("         Mary \ufffd[2J [b]bold[/b] long")
                drawn = [strip.text for strip in screen.query_one("#talk", Talk).lines]
                further = [row for row in drawn if "long" in row and "[b]" not in row]
                assert len(further) >= 3
                assert {len(row) - len(row.lstrip()) for row in further} == {drawn[0].index("here: Mary")}
                await pilot.press(*"exit", "enter")
                await until(pilot, lambda: not screen.is_running, "the end")
            assert screen.error is None
            await mary.shows("[LEAVE] John left the chat")

    asyncio.run(main())


def test_another_width_draws_the_talk_anew(prosody_with_guests: ProsodyChat) -> None:
    port = prosody_with_guests.starttls.port

    async def main() -> None:
        async with on_screen("width", "John", port) as (screen, pilot):
            screen.query_one("#input", Input).value = "word_" * 20
            await pilot.press("enter")
            await until(pilot, lambda: any("word" in row for row in rows(screen)), "own line")
            wide = sum("word" in row for row in rows(screen))
            await pilot.resize_terminal(44, 20)
            await until(pilot, lambda: sum("word" in row for row in rows(screen)) > wide, "more rows")
            assert not screen.query_one("#here").display
            assert all(len(row) <= 44 for row in rows(screen))
            await pilot.resize_terminal(120, 40)
            await until(pilot, lambda: sum("word" in row for row in rows(screen)) < wide, "fewer rows")
            assert screen.query_one("#here").display
            await pilot.press("ctrl+c")
            await until(pilot, lambda: not screen.is_running, "the end")

    asyncio.run(main())


def test_reading_back_is_not_disturbed_by_new_lines(prosody_with_guests: ProsodyChat) -> None:
    port = prosody_with_guests.starttls.port
    options = ("--server", f"{LOOPBACK}:{port}", "--domain", GUESTS)

    async def main() -> None:
        async with (
            chatting("scroll", "Mary", options=options) as (mary,),
            on_screen("scroll", "John", port) as (screen, pilot),
        ):
            talk = screen.query_one("#talk", Talk)
            mary.type(*(f"line {number}" for number in range(60)))
            await until(pilot, lambda: rows(screen)[-1].endswith("line 59"), "all lines")
            await until(pilot, lambda: talk.is_vertical_scroll_end, "the end")
            await pilot.press("pageup")
            await until(pilot, lambda: not talk.is_vertical_scroll_end, "above the end")
            at = talk.scroll_y
            mary.type("one more")
            await until(pilot, lambda: rows(screen)[-1].endswith("one more"), "the new line")
            await pilot.pause(0.2)
            assert talk.scroll_y == at
            await pilot.press("pagedown", "pagedown", "x")
            await until(pilot, lambda: talk.is_vertical_scroll_end, "the end again")
            assert screen.query_one("#input", Input).value == "x", "the keys for scrolling leave the line alone"

    asyncio.run(main())


def test_no_server_ends_the_screen_with_the_reason() -> None:
    port = free_port()

    async def main() -> ChatScreen:
        screen = ChatScreen(settings("any", "John", port))
        async with screen.run_test() as pilot:
            await until(pilot, lambda: not screen.is_running, "the end")
        return screen

    screen = asyncio.run(main())
    assert screen.error is not None
    assert (screen.error.code, str(screen.error)) == (3, f"{LOOPBACK}:{port}: Connection refused")


def test_lines_typed_without_a_server_wait_and_are_counted(prosody_with_guests: ProsodyChat) -> None:
    public = prosody_with_guests.starttls

    async def main() -> None:
        network = Network((public.host, public.port))
        async with network, on_screen("away", "John", network.address[1]) as (screen, pilot):
            await network.go_away()
            await until(pilot, lambda: part(screen, "server").startswith("○"), "lost")
            await pilot.press(*"later", "enter")
            await until(pilot, lambda: part(screen, "server").endswith(" · 1 unsent"), "unsent")
            await network.come_back()
            await until(pilot, lambda: rows(screen)[-1].endswith("John later"), "said")
            await until(pilot, lambda: part(screen, "server").startswith("●"), "inside again")

    asyncio.run(main())


@pytest.mark.parametrize("size", [(80, 24), (40, 10), (20, 5)])
def test_small_screens_have_room_for_the_line(prosody_with_guests: ProsodyChat, size: tuple[int, int]) -> None:
    async def main() -> None:
        async with on_screen(f"small-{size[0]}", "John", prosody_with_guests.starttls.port, size) as (screen, pilot):
            line = screen.query_one("#input", Input)
            assert line.region.bottom == size[1]
            assert line.region.width >= size[0] - 6
            assert screen.query_one("#talk").region.height == size[1] - 2
            await pilot.press("a")
            assert line.value == "a"

    asyncio.run(main())
