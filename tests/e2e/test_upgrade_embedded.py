"""Upgrades of the embedded service: slixmpp clients talk on, in rooms too, and never notice; sessions are resumed."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.test_upgrade_direct import connections, upgrade
from tests.scenarios.talkers import STEP_TIMEOUT_SECONDS, Talker, conversation
from tests.servers.certificates import CertificateAuthority
from tests.servers.embedded import Embedded
from tests.servers.model import ALICE, BOB, CAROL, ROOMS
from tests.servers.process import wait_until

MESSAGES = 15  # that everybody hears between two events
ROOM = f"balcony@{ROOMS}"


@pytest.fixture
def node(tmp_path: Path, authority: CertificateAuthority) -> Iterator[Embedded]:
    """Three workers."""
    made = Embedded(tmp_path, authority, workers=3, service={"plain_without_tls": True})
    made.register()
    try:
        made.start()
        yield made
    finally:
        made.stop()


@pytest.mark.parametrize("plugins", [(), ("xep_0198", "xep_0280")], ids=["plainly", "managed, with carbons"])
def test_nobody_notices_several_upgrades(
    node: Embedded, authority: CertificateAuthority, plugins: tuple[str, ...]
) -> None:
    async def session() -> float:
        endpoints = [node.direct, node.starttls, node.plain]
        async with conversation((ALICE, BOB), endpoints, authority.certificate, plugins=plugins) as talking:
            await talking.go_on(MESSAGES)
            before, closed = connections(node), node.metric("megaphone_connections_closed_total")
            assert {row["tls"] for row in before.values()} == {None, "TLSv1.3"}
            assert node.metric("megaphone_relayed_connections") == 0  # every socket is at home
            for _ in range(3):
                workers = node.workers()
                done = await upgrade(node)
                assert done.returncode == 0, done.stdout + done.stderr
                assert f"{len(talking.talkers)} connections moved, 0 ended" in done.stdout
                assert not set(workers) & set(node.workers())
                await talking.go_on(MESSAGES)
                after = connections(node)
                assert {port: row["id"] for port, row in after.items()} == {
                    port: row["id"] for port, row in before.items()
                }
            assert node.metric("megaphone_connections_closed_total") == closed
            assert node.metric("megaphone_sessions", state="bound") == len(talking.talkers)
            await talking.end()
            return talking.longest_silence_seconds()

    silence = asyncio.run(session())
    print(f"longest silence {silence * 1000:.0f} ms")


class Guest(Talker):
    """Somebody in a room: what is said there, in order."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.register_plugin("xep_0045")
        self.room: list[tuple[str, str]] = []
        self.add_event_handler("groupchat_message", self._overhear)

    def _hear(self, message: Any) -> None:
        if message["type"] != "groupchat":
            super()._hear(message)

    def _overhear(self, message: Any) -> None:
        if message["body"]:
            self.room.append((message["from"].resource, message["body"]))

    async def enter(self) -> None:
        """Be in the room."""
        await self.plugin["xep_0045"].join_muc_wait(ROOM, self.boundjid.user, timeout=STEP_TIMEOUT_SECONDS)


def test_a_room_has_one_order_through_upgrades(node: Embedded, authority: CertificateAuthority) -> None:
    async def session() -> None:
        guests = [
            Guest(account, "room", endpoint, authority.certificate)
            for account, endpoint in zip((ALICE, BOB, CAROL), (node.direct, node.starttls, node.plain), strict=True)
        ]
        try:
            for number, guest in enumerate(guests):
                await guest.login()
                await guest.enter()
                if number == 0:
                    form = await guest.plugin["xep_0045"].get_room_config(ROOM)
                    form["type"] = "submit"
                    await guest.plugin["xep_0045"].set_room_config(ROOM, form)
            said = 0
            for _ in range(2):
                upgrading = asyncio.create_task(upgrade(node))
                while not upgrading.done():
                    for guest in guests:
                        guest.send_message(mto=ROOM, mbody=str(said), mtype="groupchat")
                    said += 1
                    await asyncio.sleep(0.03)
                done = await upgrading
                assert done.returncode == 0, done.stdout + done.stderr
            async with asyncio.timeout(STEP_TIMEOUT_SECONDS):
                while not all(len(guest.room) == 3 * said for guest in guests):
                    assert not any(guest.ends for guest in guests), [guest.ends for guest in guests]
                    await asyncio.sleep(0.02)
            assert guests[0].room == guests[1].room == guests[2].room
            for guest in guests:
                own = [body for nick, body in guests[0].room if nick == guest.boundjid.user]
                assert own == [str(number) for number in range(said)]
            assert [guest.ends for guest in guests] == [[], [], []]
        finally:
            for guest in guests:
                guest.abort()

    asyncio.run(session())


def test_a_session_is_resumed_after_an_upgrade(node: Embedded, authority: CertificateAuthority) -> None:
    """The client's connection breaks before the upgrade, and it comes back after it: nothing said meanwhile is lost."""

    async def session() -> None:
        alice = Talker(ALICE, "phone", node.direct, authority.certificate)
        bob = Talker(BOB, "desk", node.starttls, authority.certificate)
        resumed = asyncio.Event()
        try:
            for each in (alice, bob):
                each.register_plugin("xep_0198")
                await each.login()
            alice.add_event_handler("session_resumed", lambda _: resumed.set())
            async with asyncio.timeout(STEP_TIMEOUT_SECONDS):
                while not alice.plugin["xep_0198"].enabled_in:
                    await asyncio.sleep(0.02)
            alice.transport.abort()
            await asyncio.to_thread(
                wait_until, lambda: node.metric("megaphone_sessions", state="waiting") == 1, "the session to wait"
            )
            for number in range(5):
                bob.send_message(mto=alice.boundjid.full, mbody=str(number), mtype="chat")
            done = await upgrade(node)
            assert done.returncode == 0, done.stdout + done.stderr
            for number in range(5, 8):
                bob.send_message(mto=alice.boundjid.full, mbody=str(number), mtype="chat")
            alice.connect(alice.endpoint.host, alice.endpoint.port)
            async with asyncio.timeout(STEP_TIMEOUT_SECONDS):
                await resumed.wait()
                while len(alice.heard.get(bob.boundjid.full, ())) < 8:
                    await asyncio.sleep(0.02)
            assert alice.heard == {bob.boundjid.full: list(range(8))}
            assert bob.ends == []
            assert node.metric("megaphone_sessions", state="waiting") == 0
        finally:
            for each in (alice, bob):
                each.abort()

    asyncio.run(session())
