"""The disk under the embedded service fills up and is emptied again: what is refused, what waits, what is kept."""

import asyncio
import itertools
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvloop

from tests.adversity.embedded_line import attribute
from tests.adversity.embedded_node import EmbeddedNode, kill_worker, names_at
from tests.adversity.embedded_talker import Talker, body, kind_of
from tests.adversity.watch import running
from tests.servers.certificates import CertificateAuthority
from tests.servers.model import DOMAIN, ROOMS

WORKERS = 2
DISK_BYTES = 3_145_728
HERE = names_at(0, WORKERS, DOMAIN, 4)
THERE = names_at(1, WORKERS, DOMAIN, 4)
ROOM = names_at(1, WORKERS, ROOMS, 1, begin="room")[0]
ASK = "<r xmlns='urn:xmpp:sm:3'/>"
LONG = "x" * 4000
FOR_EVER = f"<message type='groupchat' to='{ROOM}@{ROOMS}' id='told-{{0}}'><body>told {{0}}</body></message>"
CARD = "<iq type='set' id='told-{0}'><vCard xmlns='vcard-temp'><FN>{0}</FN></vCard></iq>"
NOTICED_SECONDS = 20.0  # a home takes what it is told until its first write has failed, and writes that later


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of three megabytes."""
    mounted = tmp_path / "disk"
    mounted.mkdir()
    if os.geteuid() != 0:
        pytest.skip("only root may mount")
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "none", str(mounted)]
    if (made := subprocess.run(command, capture_output=True, check=False)).returncode:
        pytest.skip(f"nothing may be mounted here: {made.stderr.decode()}")
    try:
        yield mounted
    finally:
        subprocess.run(["umount", "--lazy", str(mounted)], check=True)


def fill(disk: Path) -> None:
    """Leave no room on the disk."""
    with (disk / "filler").open("wb", buffering=0) as filler:
        for size in (65_536, 4_096):
            try:
                while filler.write(b"x" * size) == size:
                    pass
            except OSError:
                continue


def condition(error: bytes) -> str:
    """The condition of a stanza error."""
    return error.partition(b"<error")[2].partition(b"><")[2].split(b" ")[0].split(b"/")[0].decode()


def is_ack(element: bytes) -> bool:
    return element.startswith(b"<a ")


def is_refused(element: bytes) -> bool:
    return attribute(element, "type") == "error" and (attribute(element, "id") or "").startswith("long")


async def say_until_refused(talker: Talker, to: str) -> dict[str, str]:
    """Send long messages until one comes back; all of them by their ids. More of them may come back later."""
    said: dict[str, str] = {}
    for number in range(3000):
        said[f"long{number}"] = text = f"{number} {LONG}"
        talker.send(f"<message type='chat' to='{to}' id='long{number}'><body>{text}</body></message>")
        await talker.ping()
        if any(map(is_refused, talker.elements)):
            return said
    raise AssertionError("nothing was refused")


async def tell_until_refused(talker: Talker, stanza: str) -> bytes:
    """Send a stanza of which its home keeps something until it comes back as an error; that error."""

    def is_answer(element: bytes) -> bool:
        return attribute(element, "id") == identifier and kind_of(element) != "presence"

    deadline = time.monotonic() + NOTICED_SECONDS
    for number in itertools.count():
        identifier = f"told-{number}"
        talker.send(stanza.format(number))
        answer = await talker.hear(is_answer, f"an answer to {identifier}")
        if attribute(answer, "type") == "error":
            return answer
        assert time.monotonic() < deadline, "nothing was refused"
    raise AssertionError


@pytest.mark.parametrize("absent", [HERE[3], THERE[3]], ids=["home-here", "home-elsewhere"])
def test_a_full_disk(disk: Path, tmp_path: Path, authority: CertificateAuthority, absent: str) -> None:
    node = EmbeddedNode(tmp_path, authority, workers=WORKERS, accounts=())
    node.data = disk / "data"
    node.tables["service"]["data"] = str(node.data)
    node.register_names([*HERE, *THERE])

    async def scene() -> None:
        sender = await Talker.login(HERE[0], node.plain, management=True)
        friends = [await Talker.login(name, node.plain, management=True) for name in (HERE[1], THERE[1])]
        await sender.join(ROOM)
        await sender.configure(ROOM, persistent=True)
        await friends[0].join(ROOM)
        sender.send(ASK)
        await sender.hear(is_ack, "acknowledged")
        fill(disk)
        said = await say_until_refused(sender, f"{absent}@{DOMAIN}")
        # nothing is acknowledged that is not safe, and everything else goes on
        sender.send(ASK)
        for friend in friends:
            sender.say(f"{friend.user}@{DOMAIN}", "are you there?")
            await friend.hear_message("are you there?")
            friend.say(f"{sender.user}@{DOMAIN}", f"{friend.user} is")
            await sender.hear_message(f"{friend.user} is")
        late = await Talker.login(THERE[2], node.plain, management=True)
        late.say(f"{sender.user}@{DOMAIN}", "I am new")
        await sender.hear_message("I am new")
        # who resumes hears how much was handled only when that is safe
        late.line.drop()
        await late.until(lambda: late.lost, "dropped")
        resume = (late.line.resumption_id, late.count)
        coming_back = asyncio.create_task(late.connect(node.plain, management=True, resume=resume))
        # a room that keeps what is said takes nothing that it cannot keep, and nobody hears it; so does a user's home
        refused = await tell_until_refused(sender, FOR_EVER)
        assert condition(refused) == "resource-constraint"
        unheard = (attribute(refused, "id") or "").replace("-", " ")
        refused = await tell_until_refused(sender, CARD)
        assert condition(refused) == "resource-constraint"
        await sender.ping()
        assert not any(map(is_ack, sender.elements))
        assert not coming_back.done()
        # there is room again
        (disk / "filler").unlink()
        acknowledged = await sender.hear(is_ack, "acknowledged at last")
        assert attribute(acknowledged, "h") is not None
        await coming_back
        assert late.resumed
        assert late.line.handled_before == 2  # presence and a message
        sender.say(f"{absent}@{DOMAIN}", "after all that")
        sender.say(f"{ROOM}@{ROOMS}", "kept again", "groupchat")
        await friends[0].hear_message("kept again")
        heard = [body(each) for each in friends[0].elements if kind_of(each) == "message"]
        assert unheard not in heard
        assert heard.count("told 0") == (unheard != "told 0")
        there = await Talker.login(absent, node.plain)
        await there.hear_message("after all that")
        got = [body(each) for each in there.elements if kind_of(each) == "message"]
        assert len(got) == len(set(got))
        friends[1].say(f"{sender.user}@{DOMAIN}", "behind all errors of this home")
        await sender.hear_message("behind all errors of this home")
        errors = {attribute(each, "id") or "": condition(each) for each in filter(is_refused, sender.elements)}
        assert set(errors.values()) == {"resource-constraint"}
        assert set(got) == {said[id_] for id_ in said.keys() - errors.keys()}
        for talker in (sender, *friends, late, there):
            assert not talker.lost
        # what was delivered while nothing could be kept is kept by now: its client has never acknowledged it
        sender.send(ASK)
        await sender.hear(is_ack, "acknowledged to its end")
        await kill_worker(node, 1)
        await friends[1].until(lambda: friends[1].lost, "killed")
        await friends[1].connect(node.plain)
        late_copy = await friends[1].hear_message("are you there?")
        assert b"urn:xmpp:delay" in late_copy or attribute(late_copy, "from") == sender.jid
        for talker in (sender, friends[0], friends[1]):
            await talker.close()

    with running(node), asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(scene())
    assert "Traceback" not in node.log.read_text()
