"""Debian's terminal clients at the embedded service: profanity as a person uses it, go-sendxmpp as a script does."""

import asyncio
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.scenarios.client import stanza
from tests.scenarios.company import Company, Script
from tests.scenarios.terminal import Terminal
from tests.servers.certificates import CertificateAuthority
from tests.servers.embedded import Embedded
from tests.servers.model import BOB, CAROL, ROOMS

Played = Callable[[Script], None]
STEP_SECONDS = 60.0  # on a busy machine
OWNER = "http://jabber.org/protocol/muc#owner"
ROOM = f"terrace@{ROOMS}"
PROFANITY_ACCOUNT = """\
[{jid}]
enabled=true
jid={jid}
server={host}
port={port}
tls.policy=trust
password={password}
resource=profanity
muc.service={rooms}
muc.nick=Carol
"""


@pytest.mark.skipif(shutil.which("profanity") is None, reason="profanity is not installed")
def test_profanity(played: Played, embedded: Embedded, home: Path) -> None:
    environment = profanity_home(home, embedded)

    async def script(company: Company) -> None:
        bob = await company.enter(BOB, "xep_0045", resource="desk")
        async with Terminal(home, ["profanity", "--account", CAROL.jid], environment) as terminal:
            await terminal.until("logged in successfully, online (priority 0)")
            assert f"{CAROL.jid}/profanity" in terminal.screen()
            # the roster, and a subscription both ways
            terminal.type(f"/roster add {BOB.jid} Bobby")
            await terminal.until(f"Roster item added: {BOB.jid} (Bobby)")
            terminal.type(f"/sub request {BOB.jid}")
            await bob.expect(stanza("presence", kind="subscribe", of=CAROL.jid))
            bob.send_presence(pto=CAROL.jid, ptype="subscribed")
            bob.send_presence(pto=CAROL.jid, ptype="subscribe")
            await terminal.until(f"Received authorization request from {BOB.jid}")
            terminal.type(f"/sub allow {BOB.jid}")
            await bob.expect(stanza("presence", kind="subscribed", of=CAROL.jid))
            bob.send_presence(pshow="away", pstatus="in the garden")
            await terminal.until('Bobby (desk) is away, "in the garden"')
            # one to one
            bob.send_message(CAROL.jid, "hällo Carol ♥", mtype="chat")
            await terminal.until("<< chat message: Bobby/desk (win 2)")
            terminal.type("/win 2")
            await terminal.until("hällo Carol ♥")
            terminal.type("hello Bob")
            (heard,) = await bob.expect(stanza("message", kind="chat", child="{jabber:client}body"))
            assert heard.findtext("{jabber:client}body") == "hello Bob"
            # a room
            terminal.type(f"/join {ROOM}")
            await terminal.until("You have joined the room as Carol, role: moderator, affiliation: owner")
            await terminal.until("Room locked, requires configuration.")
            terminal.type("/room accept")
            await terminal.until("Room unlocked.")
            await bob.plugin["xep_0045"].join_muc_wait(ROOM, "Bob", timeout=STEP_SECONDS)
            await terminal.until(lambda screen: any(line.endswith("  Bob") for line in screen.splitlines()))
            bob.send_message(ROOM, "hello room", mtype="groupchat")
            await terminal.until("hello room")
            terminal.type("good evening")
            await bob.expect(stanza("message", kind="groupchat", of=f"{ROOM}/Carol", child="{jabber:client}body"))
            terminal.type('/subject set "tea at five"')
            _keep(await terminal.until("*Carol has set the room subject: tea at five"))
            terminal.type("/close")
            await bob.expect(stanza("presence", kind="unavailable", of=f"{ROOM}/Carol"))
            terminal.type(f"/roster remove {BOB.jid}")
            await bob.expect(stanza("presence", kind="unsubscribed", of=CAROL.jid))
            terminal.type("/quit")
            await terminal.ended()
        await bob.del_roster_item(CAROL.jid)

    played(script)


@pytest.mark.skipif(shutil.which("profanity") is None, reason="profanity is not installed")
def test_profanity_shows_what_was_said_before(played: Played, embedded: Embedded, home: Path) -> None:
    """History on join, from the archive: without what was taken back, and without that it was."""
    environment = profanity_home(home, embedded)
    room = f"veranda@{ROOMS}"

    async def script(company: Company) -> None:
        bob = await company.enter(BOB, "xep_0045", "xep_0424", resource="desk")
        await bob.plugin["xep_0045"].join_muc_wait(room, "Bob", timeout=STEP_SECONDS)
        await bob.ask("set", f"<query xmlns='{OWNER}'><x xmlns='jabber:x:data' type='submit'/></query>", to=room)
        for text in ("the first word", "a slip of the tongue", "the last wörd ♥"):
            bob.send_message(room, text, mtype="groupchat")
            (heard,) = await bob.expect(stanza("message", kind="groupchat", child="{jabber:client}body"))
            if text == "a slip of the tongue":
                mark = heard.find("{urn:xmpp:sid:0}stanza-id")
                assert mark is not None
                bob.plugin["xep_0424"].send_retraction(room, mark.get("id"), mtype="groupchat")
                await bob.expect(stanza("message", kind="groupchat", child="{urn:xmpp:message-retract:1}retract"))
        async with Terminal(home, ["profanity", "--account", CAROL.jid], environment) as terminal:
            await terminal.until("logged in successfully, online (priority 0)")
            terminal.type(f"/join {room}")
            await terminal.until("the last wörd ♥")
            screen = terminal.screen()
            assert "the first word" in screen
            assert screen.index("the first word") < screen.index("the last wörd ♥")
            assert "slip" not in screen
            assert "retract" not in screen
            bob.send_message(room, "and one more", mtype="groupchat")
            await terminal.until("and one more")
            terminal.type("/quit")
            await terminal.ended()

    played(script)


@pytest.mark.skipif(shutil.which("go-sendxmpp") is None, reason="go-sendxmpp is not installed")
@pytest.mark.parametrize("tls", ["direct", "starttls"])
def test_go_sendxmpp(played: Played, embedded: Embedded, authority: CertificateAuthority, home: Path, tls: str) -> None:
    environment = {"HOME": str(home), "PATH": os.environ["PATH"], "SSL_CERT_FILE": str(authority.certificate)}
    endpoint = getattr(embedded, tls)
    where = ["--jserver", f"{endpoint.host}:{endpoint.port}", *(["--tls"] if tls == "direct" else [])]
    login = ["go-sendxmpp", "--username", CAROL.jid, "--password", CAROL.password, *where]

    async def send(*arguments: str, text: str) -> None:
        process = await asyncio.create_subprocess_exec(
            *login, *arguments, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        said, _ = await asyncio.wait_for(process.communicate(text.encode()), STEP_SECONDS)
        assert (process.returncode, said) == (0, b"")

    async def script(company: Company) -> None:
        bob = await company.enter(BOB, "xep_0045", resource="desk")
        await send(BOB.jid, text="from a script: ♥ & <b>")
        (heard,) = await bob.expect(stanza("message", kind="chat", child="{jabber:client}body"))
        assert heard.findtext("{jabber:client}body") == "from a script: ♥ & <b>"
        await bob.plugin["xep_0045"].join_muc_wait(ROOM, "Bob", timeout=STEP_SECONDS)
        await bob.ask("set", f"<query xmlns='{OWNER}'><x xmlns='jabber:x:data' type='submit'/></query>", to=ROOM)
        await send("--chatroom", "--alias", "cron", ROOM, text="the backup is done")
        (heard,) = await bob.expect(stanza("message", kind="groupchat", of=f"{ROOM}/cron"))
        assert heard.findtext("{jabber:client}body") == "the backup is done"
        await bob.expect(stanza("presence", kind="unavailable", of=f"{ROOM}/cron"))
        listener = await asyncio.create_subprocess_exec(
            *login, "--listen", env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        try:
            assert listener.stdout is not None
            for number in range(3):  # the first may wait for it
                bob.send_message(CAROL.jid, f"are you listening? {number}", mtype="chat")
                line = await asyncio.wait_for(listener.stdout.readline(), STEP_SECONDS)
                assert f"are you listening? {number}" in line.decode()
        finally:
            listener.terminate()
            await listener.wait()
        bob.send_presence(pto=f"{ROOM}/Bob", ptype="unavailable")
        await company.settle()

    played(script)


def profanity_home(home: Path, embedded: Embedded) -> dict[str, str]:
    """Give profanity Carol's account; returns the environment that it is to run in."""
    accounts = home / ".local/share/profanity/accounts"
    accounts.parent.mkdir(parents=True)
    accounts.write_text(
        PROFANITY_ACCOUNT.format(
            jid=CAROL.jid,
            host=embedded.starttls.host,
            port=embedded.starttls.port,
            password=CAROL.password,
            rooms=ROOMS,
        )
    )
    return {"HOME": str(home), "PATH": os.environ["PATH"], "TERM": "xterm", "LANG": "C.UTF-8"}


def _keep(screen: str) -> None:
    """Where MEGAPHONE_SCREENS names a directory, keep what a person saw."""
    if (directory := os.environ.get("MEGAPHONE_SCREENS")) is not None:
        Path(directory, "profanity.txt").write_text(screen)
