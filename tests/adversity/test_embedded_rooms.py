"""Rooms over several workers: all see all, a killed worker costs its own, a join is a position."""

import asyncio
import random
import ssl
from collections.abc import Awaitable, Callable, Iterator
from typing import TypeVar

import pytest
import uvloop

from tests.adversity.embedded_line import attribute
from tests.adversity.embedded_node import EmbeddedNode, kill_worker, names_at
from tests.adversity.embedded_people import until
from tests.adversity.embedded_talker import Talker, body, kind_of, stanza_id, statuses
from tests.adversity.watch import connection_rows, running
from tests.servers.certificates import CertificateAuthority
from tests.servers.model import DOMAIN, ROOMS

WORKERS = 3
# By home.
NAMES = {home: names_at(home, WORKERS, DOMAIN, 40, begin="u") for home in range(WORKERS)}
ROOM_AT = {home: names_at(home, WORKERS, ROOMS, 6, begin="room") for home in range(WORKERS)}

Result = TypeVar("Result")


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory, authority: CertificateAuthority) -> Iterator[EmbeddedNode]:
    """Three workers by themselves."""
    made = EmbeddedNode(tmp_path_factory.mktemp("embedded"), authority, workers=WORKERS, accounts=())
    made.tables["tls"] = {"record_layer": "openssl"}  # whose connections stay where they came
    made.register_names(name for names in NAMES.values() for name in names)
    with running(made):
        yield made


@pytest.fixture(scope="module")
def context(authority: CertificateAuthority) -> ssl.SSLContext:
    """Trusts the test run's authority."""
    return ssl.create_default_context(cafile=str(authority.certificate))


def play(scene: Callable[[], Awaitable[Result]]) -> Result:
    """Run a scene on uvloop."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(scene())  # type: ignore[arg-type]


def worker_of(node: EmbeddedNode, talker: Talker) -> int:
    """The worker that holds a talker's socket."""
    port = talker.line.port
    return next(int(row["worker"]) for row in connection_rows(node) if row["port"] == port)


async def connected_to(node: EmbeddedNode, worker: int, user: str, tls: ssl.SSLContext) -> Talker:
    """A session over TLS whose socket is in this worker: the kernel chooses, so it may take some attempts."""
    for _ in range(60):
        talker = await Talker.login(user, node.direct, tls=tls, management=True)
        if await asyncio.to_thread(worker_of, node, talker) == worker:
            return talker
        await talker.close()
    raise TimeoutError(f"no connection to worker {worker} in 60 attempts")


async def all_see_all(talkers: list[Talker], room: str) -> None:
    """Everybody enters, speaks, is heard by everybody, and is seen to leave."""
    own = await talkers[0].join(room)
    assert statuses(own) >= {"110", "201"}
    await talkers[0].configure(room)
    for talker in talkers[1:]:
        await talker.join(room)
    for talker in talkers:
        for other in talkers:
            if other is not talker and talkers.index(other) < talkers.index(talker):
                await other.hear_presence(f"{room}@{ROOMS}/{talker.user}", None)
        talker.say(f"{room}@{ROOMS}", f"hello of {talker.user}", "groupchat")
        for each in talkers:
            heard = await each.hear_message(f"hello of {talker.user}")
            assert attribute(heard, "from") == f"{room}@{ROOMS}/{talker.user}"
    talkers[-1].leave(room)
    for other in talkers[:-1]:
        await other.hear_presence(f"{room}@{ROOMS}/{talkers[-1].user}", "unavailable")
    for talker in talkers:
        await talker.close()


@pytest.mark.parametrize("room_home", range(WORKERS))
def test_three_on_one_worker(node: EmbeddedNode, room_home: int) -> None:
    async def scene() -> None:
        talkers = [await Talker.login(name, node.plain) for name in NAMES[0][:3]]
        await all_see_all(talkers, ROOM_AT[room_home][0])

    play(scene)


def test_on_all_workers(node: EmbeddedNode, context: ssl.SSLContext) -> None:
    async def scene() -> None:
        talkers = [await Talker.login(NAMES[home][0], node.plain) for home in range(WORKERS)]
        talkers += [await Talker.login(NAMES[home][1], node.direct, tls=context) for home in range(WORKERS)]
        for talker in talkers:
            for other in talkers:
                talker.say(f"{other.user}@{DOMAIN}", f"{talker.user} to {other.user}")
        for other in talkers:
            for talker in talkers:
                heard = await other.hear_message(f"{talker.user} to {other.user}")
                assert attribute(heard, "from") == talker.jid
        await all_see_all(talkers, ROOM_AT[1][1])

    play(scene)


def test_a_killed_worker_costs_its_own(node: EmbeddedNode, context: ssl.SSLContext) -> None:
    """Worker 1 is killed: who lives there, and who is connected there, loses the connection, and nobody else does."""
    there, elsewhere, kept = ROOM_AT[1][2], ROOM_AT[0][2], ROOM_AT[1][3]

    async def scene() -> None:
        doomed = await Talker.login(NAMES[1][0], node.plain, management=True)
        remote = await Talker.login(NAMES[0][2], node.plain)
        others = [await Talker.login(NAMES[home][3], node.plain) for home in (0, 2)]
        through = await connected_to(node, 1, NAMES[2][4], context)
        everybody = [others[0], others[1], remote, doomed, through]
        for room in (there, elsewhere, kept):
            await others[0].join(room)
            await others[0].configure(room, persistent=room == kept)
            for talker in everybody[1:]:
                await talker.join(room)
            doomed.say(f"{room}@{ROOMS}", f"before in {room}", "groupchat")
            for talker in everybody:
                await talker.hear_message(f"before in {room}")
        remote.say(f"{doomed.user}@{DOMAIN}", "are you there?")
        await doomed.hear_message("are you there?")
        doomed.send("<r xmlns='urn:xmpp:sm:3'/>")  # its answer says that what the room was told to keep is kept
        await doomed.hear(lambda each: each.startswith(b"<a "), "acknowledged")
        await kill_worker(node, 1)
        await doomed.until(lambda: doomed.lost, "the doomed one notices")
        await through.until(lambda: through.lost, "so does who is connected there")
        # the room elsewhere: the doomed one has left, the one who was connected there has not
        for talker in (*others, remote):
            left = await talker.hear_presence(f"{elsewhere}@{ROOMS}/{doomed.user}", "unavailable")
            assert statuses(left) == {"333"}
        # rooms at home there are gone, and whoever was in them knows it
        for talker in (*others, remote):
            for room in (there, kept):
                gone = await talker.hear_presence(f"{room}@{ROOMS}/{talker.user}", "unavailable")
                assert statuses(gone) == {"110", "332"}
        others[1].say(f"{elsewhere}@{ROOMS}", "we go on", "groupchat")
        for talker in (*others, remote):
            await talker.hear_message("we go on")
        # the one who was connected there comes back to the session, and has missed nothing
        await through.connect(
            node.direct, tls=context, management=True, resume=(through.line.resumption_id, through.count)
        )
        assert through.resumed
        await through.hear_message("we go on")
        # the doomed one's session is gone; what was said meanwhile waits
        remote.say(f"{doomed.user}@{DOMAIN}", "come back!")
        await doomed.connect(node.plain, management=True, resume=(doomed.line.resumption_id, doomed.count))
        assert not doomed.resumed
        await doomed.hear_message("come back!")
        # and everybody can enter again: one room with all it had, the other a new one
        own = await others[0].join(kept)
        assert "201" not in statuses(own)
        old = await others[0].hear_message(f"before in {kept}")
        assert b"urn:xmpp:delay" in old
        own = await others[1].join(there)
        assert "201" in statuses(own)
        for talker in (*others, remote):
            await talker.ping()
            assert not talker.lost
        for talker in everybody:
            await talker.close()

    play(scene)


class Member:
    """Somebody who enters and leaves a room again and again; `stays` are the ids heard in each stay, history first."""

    def __init__(self, user: str) -> None:
        self.user = user
        self.entered = asyncio.Event()  # for the first time
        self.stays: list[list[int]] = []
        self.history = 0

    async def come_and_go(self, node: EmbeddedNode, room: str, until_set: asyncio.Event) -> None:
        talker = await Talker.login(self.user, node.plain)
        while not until_set.is_set():
            await talker.join(room, history=random.choice((0, 1, 5, 20)))
            self.entered.set()
            await asyncio.sleep(random.uniform(0.0, 0.4))
            talker.leave(room)
            await talker.hear_presence(f"{room}@{ROOMS}/{self.user}", "unavailable")
            heard = [each for each in talker.elements if kind_of(each) == "message" and stanza_id(each)]
            talker.elements.clear()
            self.history += sum(b"urn:xmpp:delay" in each for each in heard)
            self.stays.append([stanza_id(each) for each in heard])
        await talker.close()


def test_a_join_is_a_position(node: EmbeddedNode, capsys: pytest.CaptureFixture[str]) -> None:
    """History and what follows it are one piece of the order that everybody sees: no gap, nothing twice."""
    room, senders_count, per_sender = ROOM_AT[2][4], 20, 60

    async def scene() -> tuple[list[list[bytes]], list[Member]]:
        names = [NAMES[number % WORKERS][10 + number // WORKERS] for number in range(senders_count)]
        senders = [await Talker.login(name, node.plain) for name in names]
        await senders[0].join(room)
        await senders[0].configure(room)
        for sender in senders[1:]:
            await sender.join(room)
        members = [Member(NAMES[home][30 + number]) for home in range(WORKERS) for number in range(2)]
        over = asyncio.Event()
        comings = [asyncio.create_task(member.come_and_go(node, room, over)) for member in members]
        for number in range(per_sender):
            if number == 10:  # the rest is said while they come and go, however long it took them to log in
                for member in members:
                    await member.entered.wait()
            for sender in senders:
                sender.say(f"{room}@{ROOMS}", f"{sender.user} {number}", "groupchat")
            await asyncio.sleep(0.05)
        heard: list[list[bytes]] = []
        for sender in senders:

            def messages(sender: Talker = sender) -> list[bytes]:
                return [each for each in sender.elements if kind_of(each) == "message" and body(each)]

            await until(lambda: len(messages()) >= senders_count * per_sender, "all messages came", 30.0)
            heard.append(messages())
        over.set()
        await asyncio.gather(*comings)
        for sender in senders:
            await sender.close()
        return heard, members

    heard, members = play(scene)
    order = [stanza_id(each) for each in heard[0]]
    assert order == sorted(set(order))
    assert len(order) == senders_count * per_sender
    for each in heard[1:]:
        assert [stanza_id(message) for message in each] == order
    for sender in {body(each).partition(" ")[0] for each in heard[0]}:
        said = [body(each) for each in heard[0] if body(each).partition(" ")[0] == sender]
        assert said == [f"{sender} {number}" for number in range(per_sender)]
    place = {id_: at for at, id_ in enumerate(order)}
    stays = [stay for member in members for stay in member.stays if stay]
    for stay in stays:
        begin = place[stay[0]]
        assert stay == order[begin : begin + len(stay)]
    history = sum(member.history for member in members)
    assert history > 0
    assert sum(map(len, stays)) > history
    with capsys.disabled():
        print(
            f"\n{len(stays)} stays in a room of {senders_count} senders: "
            f"{sum(map(len, stays))} messages, {history} of history"
        )
