"""Clients of the embedded service that ask for too much: they are slowed down or let go, and nobody else notices."""

import asyncio
import ssl
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator

import pytest
import uvloop

from tests.adversity.embedded_line import attribute
from tests.adversity.embedded_node import EmbeddedNode, names_at
from tests.adversity.embedded_talker import Talker, body, kind_of
from tests.adversity.watch import running
from tests.servers.certificates import CertificateAuthority
from tests.servers.model import DOMAIN, ROOMS

WORKERS = 2
NAMES = {home: names_at(home, WORKERS, DOMAIN, 40) for home in range(WORKERS)}
RATE, BURST = 1000, 500
OCCUPANTS = 50
MAILBOX_BYTES = 65_536
MESSAGES_LIMIT = 3000  # 24 MB
PATIENCE_SECONDS = 30.0  # for a round trip beside an abuser, on a busy machine


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory, authority: CertificateAuthority) -> Iterator[EmbeddedNode]:
    """Two workers; a client may say so much in a second, and has a second to read."""
    made = EmbeddedNode(tmp_path_factory.mktemp("embedded"), authority, workers=WORKERS, accounts=())
    made.tables["limits"] |= {
        "stanzas_per_second": RATE,
        "stanzas_burst": BURST,
        "slow_consumer_seconds": 1.0,
        "mailbox_bytes": MAILBOX_BYTES,
    }
    made.register_names(name for names in NAMES.values() for name in names)
    with running(made):
        yield made


@pytest.fixture(scope="module")
def context(authority: CertificateAuthority) -> ssl.SSLContext:
    """Trusts the test run's authority."""
    return ssl.create_default_context(cafile=str(authority.certificate))


def play(scene: Callable[[], Awaitable[None]]) -> None:
    """Run a scene on uvloop."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(scene())  # type: ignore[arg-type]


def test_who_floods_is_slowed_down(node: EmbeddedNode) -> None:
    count = 3000
    overdrawn = 65_536 / len("<message type='chat' to='' id=''><body>flood</body></message>")  # by what one read brings

    async def scene() -> None:
        flooder = await Talker.login(NAMES[0][0], node.plain)
        victim = await Talker.login(NAMES[1][0], node.plain)
        others = [await Talker.login(NAMES[home][1], node.plain) for home in range(WORKERS)]
        began = time.monotonic()
        for number in range(count):
            flooder.say(f"{victim.user}@{DOMAIN}", f"flood {number}")
        trips = []
        while len([each for each in victim.elements if kind_of(each) == "message"]) < count:
            asked = time.monotonic()
            others[0].say(f"{others[1].user}@{DOMAIN}", f"calm {asked}")
            await others[1].hear_message(f"calm {asked}")
            trips.append(time.monotonic() - asked)
            await asyncio.sleep(0.02)
            assert time.monotonic() - began < 60.0
        took = time.monotonic() - began
        assert [body(each) for each in victim.elements if kind_of(each) == "message"] == [
            f"flood {number}" for number in range(count)
        ]
        assert took > (count - BURST - overdrawn) / RATE * 0.9
        assert max(trips) < PATIENCE_SECONDS
        for talker in (flooder, victim, *others):
            await talker.close()

    throttled = node.metric("megaphone_throttled_total")
    play(scene)
    assert node.metric("megaphone_throttled_total") > throttled


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_a_storm_of_logins(node: EmbeddedNode, context: ssl.SSLContext, tls: bool) -> None:
    """Everybody at once, and one user many times with one resource: the newest session stays, others know why."""

    async def scene() -> None:
        endpoint = node.direct if tls else node.plain
        same = NAMES[1][2]
        users = [*NAMES[0][3:23], *NAMES[1][3:23], *[same] * 40]
        talkers = [Talker(user) for user in users]
        results = await asyncio.gather(
            *(talker.connect(endpoint, tls=context) for talker in talkers), return_exceptions=True
        )
        for talker, result in zip(talkers, results, strict=True):
            assert result is None or (talker.user == same and isinstance(result, AssertionError)), result
        again = [talker for talker in talkers if talker.user == same]
        await again[0].until(lambda: True, "")
        deadline = time.monotonic() + PATIENCE_SECONDS
        while sum(not talker.lost for talker in again) > 1:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.02)
        assert Counter(talker.line.condition for talker in again) == {"conflict": len(again) - 1, "": 1}
        for talker in talkers:
            if not talker.lost:
                await talker.ping()
                await talker.close()

    play(scene)


@pytest.mark.parametrize(("tls", "management"), [(False, False), (True, True)], ids=["plain", "tls-with-acks"])
def test_a_slow_reader_in_a_room(node: EmbeddedNode, context: ssl.SSLContext, tls: bool, management: bool) -> None:
    """It alone is let go, and leaves the room; the others get everything, in order, while it has not yet."""
    room = f"slow{int(tls)}{int(management)}"
    text = "x" * 8000

    def has_left(other: Talker) -> bool:
        return any(
            kind_of(each) == "presence"
            and attribute(each, "from") == f"{room}@{ROOMS}/{slow.user}"
            and attribute(each, "type") == "unavailable"
            for each in other.elements
        )

    slow = Talker(NAMES[1][38])

    async def scene() -> None:
        others = [
            await Talker.login(NAMES[number % WORKERS][number // WORKERS], node.plain)
            for number in range(OCCUPANTS - 1)
        ]
        await others[0].join(room)
        await others[0].configure(room)
        for other in others[1:]:
            await other.join(room)
        endpoint = node.direct if tls else node.plain
        await slow.connect(endpoint, tls=context, management=management, receive_buffer_bytes=4096)
        await slow.join(room)
        slow.line.pause()
        said = 0
        while not has_left(others[1]):  # what the kernel takes is no trouble yet
            others[0].say(f"{room}@{ROOMS}", f"{said} {text}", "groupchat")
            if said % 25 == 24:
                await others[0].hear_message(f"{said} {text}", 30.0)
                await asyncio.sleep(0.05)
            said += 1
            assert said < MESSAGES_LIMIT
        for other in others[1:]:
            await other.hear_message(f"{said - 1} {text}", 30.0)
            heard = [body(each).partition(" ")[0] for each in other.elements if body(each).endswith(text)]
            assert heard == [str(number) for number in range(said - 1)]
            assert not other.lost
        slow.line.read_on()
        await slow.until(lambda: slow.lost, "the slow one is let go", 30.0)
        for other in others:
            await other.close()

    play(scene)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while node.metric("megaphone_mailbox_bytes"):
        assert time.monotonic() < deadline


def test_nothing_went_wrong(node: EmbeddedNode) -> None:
    log = node.log.read_text()
    assert "Traceback" not in log
    assert node.metric("megaphone_worker_restarts_total") == 0
