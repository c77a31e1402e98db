"""What stock modules of Prosody do with a stream of a link: mod_smacks, mod_csi_simple, mod_limits, SASL, runners."""

import asyncio
import time
from collections.abc import Iterator

import pytest

from tests.link.edge import Edge, facts
from tests.link.frames import FEATURE_GOES_ON, Reason
from tests.link.server import run
from tests.link.xmpp import LoginError, StreamEndError, XmppClient, unique
from tests.servers.certificates import CertificateAuthority
from tests.servers.model import ALICE, BOB, CAROL, Account
from tests.servers.prosody_link import SECRET, ProsodyLink

GRACE_SECONDS = 2
WINDOW_BYTES = 16_384
QUEUE_BYTES = 131_072
RATE_BYTES = 20_000  # a second, for each client
WAIT_SECONDS = 2  # that a stanza of a stream takes, and with it the stream
LIMITED_SECONDS = 1.0  # that 80 kB take at least, when all of the burst (two seconds' worth) and a window are taken off
LIMITED = Account("limited", "secret")
USERS = (ALICE, BOB, CAROL, LIMITED)
OPTIONS = f"""
megaphone_grace = {GRACE_SECONDS}
megaphone_window = {WINDOW_BYTES}
megaphone_queue = {QUEUE_BYTES}
network_settings = {{ tcp_backlog = 4096; read_timeout = 3 }}
csi_resume_inactive_delay = 0.2
limits = {{ c2s = {{ rate = "{RATE_BYTES // 1_000}kb/s" }} }}
unlimited_jids = {{ "alice@example.test", "bob@example.test", "carol@example.test" }}
"""


@pytest.fixture(scope="module")
def prosody(tmp_path_factory: pytest.TempPathFactory, authority: CertificateAuthority) -> Iterator[ProsodyLink]:
    """One with small windows and short times, in which only LIMITED is limited."""
    server = ProsodyLink(
        tmp_path_factory.mktemp("prosody-stream"),
        authority,
        options=OPTIONS,
        modules=("limits", "test_wait"),
        accounts=USERS,
    )
    # The template's settings of the network would be a second value.
    server.configuration.write_text(
        server.configuration.read_text().replace("network_settings = { tcp_backlog = 4096 }\n", "", 1)
    )
    server.register()
    try:
        server.start()
        yield server
    finally:
        server.stop()


# mod_smacks -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("other_link", [False, True])
def test_resumption_onto_another_stream(prosody: ProsodyLink, other_link: bool) -> None:
    """While the old stream is still open; what was not acknowledged comes again, and what comes later goes on."""

    async def main() -> None:
        async with Edge(prosody.link, SECRET) as edge, Edge(prosody.link, SECRET) as other:
            bob = await XmppClient.login(edge, BOB)
            alice = await XmppClient.login(edge, ALICE)
            await alice.enable_resumption()
            alice.presence()
            await alice.ping()
            alice.stream.credit_withheld = True  # nobody reads it: the message is lost with the old stream
            bob.message(alice.jid, "before")
            await bob.ping()
            resumed = await alice.resume(other if other_link else edge, facts(("192.0.2.99", 4_711)))
            assert await resumed.next_body() == "before"
            for number in range(3):
                bob.message(alice.jid, f"after {number}")
                assert await resumed.next_body() == f"after {number}"
                resumed.message(bob.jid, f"answer {number}")
                assert await bob.next_body() == f"answer {number}"
            while await alice.stream.read():
                pass
            assert alice.stream.end is not None
            assert f"{alice.jid} | 192.0.2.99" in " ".join(prosody.shell('c2s:show(nil, "jid ip")').split())

    run(main())


@pytest.mark.parametrize("how", ["stream", "link", "grace"])
def test_resumption_after_the_end(prosody: ProsodyLink, how: str) -> None:
    """Of the stream, of the whole link, and of a link that did not come back within the grace time."""

    async def main() -> None:
        async with Edge(prosody.link, SECRET) as edge:
            bob = await XmppClient.login(edge, BOB)
            first = await Edge(prosody.link, SECRET).connect()
            alice = await XmppClient.login(first, ALICE)
            await alice.enable_resumption()
            alice.presence()
            await alice.ping()
            if how == "stream":
                await alice.stream.close(Reason.CONNECTION_LOST)
            elif how == "link":
                await first.leave()
            else:
                first.cut()
            while "hibernating" not in await asyncio.to_thread(prosody.shell, f'c2s:show("{alice.jid}", "jid smacks")'):
                edge.check()
            bob.message(alice.jid, "while away")
            resumed = await alice.resume(edge)
            assert await resumed.next_body() == "while away"
            await first.leave()

    run(main())


def test_without_stream_management_the_grace_time_ends_the_session(prosody: ProsodyLink) -> None:
    async def main() -> None:
        async with Edge(prosody.link, SECRET) as edge:
            bob = await XmppClient.login(edge, BOB)
            bob.presence()
            first = await Edge(prosody.link, SECRET).connect()
            other = await XmppClient.login(first, BOB)
            other.presence()
            while (await bob.next()).get("from") != other.jid:
                pass
            first.cut()
            element = await bob.next()  # mod_presence says it when the session ends
            while element.get("from") != other.jid:
                element = await bob.next()
            assert element.get("type") == "unavailable"
            assert not await first.reattach()
            assert other.stream.end is not None
            await first.leave()

    run(main())


# mod_csi_simple -------------------------------------------------------------------------------------------------------


def test_client_state_indication(prosody: ProsodyLink) -> None:
    """Presence waits while the client is inactive, a message lets all go, and then presence waits again."""

    async def main() -> None:
        async with Edge(prosody.link, SECRET) as edge:
            bob = await XmppClient.login(edge, BOB)
            alice = await XmppClient.login(edge, ALICE)
            await alice.ping()
            alice.send("<inactive xmlns='urn:xmpp:csi:0'/>")
            await asyncio.to_thread(state_is, prosody, alice, "inactive")
            for round_number in range(2):
                for number in range(5):
                    bob.send(f"<presence to='{alice.jid}'><status>{round_number} {number}</status></presence>")
                await bob.ping()
                received = alice.stream.received
                await edge.ping_and_wait()
                assert alice.stream.received == received
                bob.message(alice.jid, "important")
                for number in range(5):
                    assert (await alice.next()).findtext("{*}status") == f"{round_number} {number}"
                assert await alice.next_body() == "important"
                await asyncio.to_thread(state_is, prosody, alice, "inactive")
            bob.presence()
            bob.send(f"<presence to='{alice.jid}'><status>last</status></presence>")
            await bob.ping()
            alice.send("<active xmlns='urn:xmpp:csi:0'/>")
            assert (await alice.next()).findtext("{*}status") == "last"

    run(main())


def state_is(prosody: ProsodyLink, client: XmppClient, state: str) -> None:
    """Returns when mod_csi has the client in this state."""
    for _ in range(200):
        if f"{client.jid} | {state}" in " ".join(prosody.shell(f'c2s:show("{client.jid}", "jid csi")').split()):
            return
    raise AssertionError(f"{client.jid} does not get {state}")


# Credit, limits, the runner -------------------------------------------------------------------------------------------


def test_slow_consumer_ends_alone(prosody: ProsodyLink) -> None:
    """A client that never reads gets a window, then the queue fills, then it is closed; others talk all the time."""

    async def main() -> None:
        async with Edge(prosody.link, SECRET, window=4_096) as edge:
            alice, bob, slow = [await XmppClient.login(edge, account) for account in (ALICE, BOB, CAROL)]
            slow.stream.credit_withheld = True
            for number in range(QUEUE_BYTES // 1_000 + 10):
                bob.message(slow.jid, f"{number} {'x' * 1_000}")
                bob.message(alice.jid, f"{number}")
                assert await alice.next_body() == f"{number}"
            await bob.ping()
            await edge.until(lambda: slow.stream.end is not None)
            assert slow.stream.end is not None
            assert slow.stream.end.reason == Reason.SLOW_CONSUMER
            assert slow.stream.received <= 4_096 + slow.stream.taken
            assert slow.jid not in prosody.shell("c2s:show()")

    run(main())


def test_client_that_does_not_read_gets_its_window_and_later_the_rest(prosody: ProsodyLink) -> None:
    async def main() -> None:
        async with Edge(prosody.link, SECRET, window=4_096) as edge:
            bob, late = [await XmppClient.login(edge, account) for account in (BOB, CAROL)]
            late.stream.credit_withheld = True
            for number in range(50):
                bob.message(late.jid, f"{number} {'x' * 1_000}")
            await bob.ping()
            await edge.until(lambda: late.stream.received == late.stream.limit)
            late.stream.credit_withheld = False
            late.stream.give_credit()
            for number in range(50):
                assert (await late.next_body()).split()[0] == str(number)

    run(main())


def test_credit_waits_for_the_runner(prosody: ProsodyLink) -> None:
    """While a stanza is being dealt with asynchronously, no more than a window is taken, and the rest comes after."""

    async def main() -> None:
        async with Edge(prosody.link, SECRET) as edge:
            alice = await XmppClient.login(edge, ALICE)
            bob, carol = [await XmppClient.login(edge, account) for account in (BOB, CAROL)]
            await alice.ping()
            begun = time.monotonic()
            wait = f"<wait xmlns='urn:test:wait' seconds='{WAIT_SECONDS}'/>"
            alice.send(f"<iq type='get' id='wait' to='{ALICE.domain}'>{wait}</iq>")
            for number in range(60):
                alice.message(bob.jid, f"{number} {'x' * 1_000}")
            for _ in range(5):
                await carol.ping()  # the server is not held up, only the stream
                assert len(alice.stream.outgoing) > 0 or time.monotonic() - begun > WAIT_SECONDS
            assert (await alice.next()).get("id") == "wait"
            for number in range(60):
                assert (await bob.next_body()).split()[0] == str(number)

    run(main())


def test_limit_of_one_client_does_not_slow_another(prosody: ProsodyLink) -> None:
    """mod_limits holds the one that sends too much, whose credit ends; it comes to an end all the same."""

    async def main() -> None:
        async with Edge(prosody.link, SECRET) as edge:
            busy = await XmppClient.login(edge, LIMITED)
            bob, carol = [await XmppClient.login(edge, account) for account in (BOB, CAROL)]
            begun = time.monotonic()
            for number in range(80):
                busy.message(bob.jid, f"{number} {'x' * 1_000}")
            for _ in range(20):
                await carol.ping()
                assert len(busy.stream.outgoing) > 0 or time.monotonic() - begun > LIMITED_SECONDS
            for number in range(80):
                assert (await bob.next_body()).split()[0] == str(number)

    run(main())


def test_held_data_is_not_lost_when_the_client_goes(prosody: ProsodyLink) -> None:
    """As with a socket: what it sent before is read at the pace of its limit, then the session ends."""

    async def main() -> None:
        async with Edge(prosody.link, SECRET) as edge:
            busy = await XmppClient.login(edge, LIMITED)
            bob = await XmppClient.login(edge, BOB)
            for number in range(40):
                busy.message(bob.jid, f"{number} {'x' * 1_000}")
            await busy.stream.drain()
            busy.stream.put_shutdown(Reason.CONNECTION_LOST)
            for number in range(40):
                assert (await bob.next_body()).split()[0] == str(number)

    run(main())


def test_silent_client_gets_a_keepalive(prosody: ProsodyLink) -> None:
    """mod_c2s sends a space on a read timeout; with stream management mod_smacks asks, and nobody answering ends it."""

    async def main() -> None:
        async with Edge(prosody.link, SECRET) as edge:
            bob, alice = [await XmppClient.login(edge, account) for account in (BOB, ALICE)]
            await alice.enable_resumption()
            received = bob.stream.received
            await edge.until(lambda: bob.stream.received > received)
            assert (await bob.stream.read()).replace(b" ", b"") == b""  # more than one if the other login took long
            await edge.until(lambda: alice.stream.end is not None)
            assert alice.stream.end is not None
            assert alice.stream.end.reason == Reason.CONNECTION_TIMEOUT
            assert bob.stream.end is None

    run(main())


# SASL and channel binding ---------------------------------------------------------------------------------------------


def test_scram_plus(prosody: ProsodyLink) -> None:
    async def main() -> None:
        async with Edge(prosody.link, SECRET) as edge:
            binding = unique()
            client = await XmppClient.login(
                edge, ALICE, mechanism="SCRAM-SHA-1-PLUS", client=facts(unique=binding), binding=binding
            )
            await client.ping()

    run(main())


@pytest.mark.parametrize("lie", [b"", unique(), bytes(12)], ids=["nothing", "another", "zeros"])
def test_lie_about_the_binding_is_refused(prosody: ProsodyLink, lie: bytes) -> None:
    async def main() -> None:
        async with Edge(prosody.link, SECRET) as edge:
            with pytest.raises(LoginError):
                await XmppClient.login(
                    edge, ALICE, mechanism="SCRAM-SHA-1-PLUS", client=facts(unique=unique()), binding=lie
                )
            await XmppClient.login(edge, ALICE)

    run(main())


@pytest.mark.parametrize("why", ["none told", "TLS 1.3", "feature not agreed"])
def test_no_scram_plus_without_binding(prosody: ProsodyLink, why: str) -> None:
    """Prosody 0.12 knows tls-unique only."""

    async def main() -> None:
        features = FEATURE_GOES_ON if why == "feature not agreed" else 3
        async with Edge(prosody.link, SECRET, features=features) as edge:
            client = facts()
            if why == "TLS 1.3":
                client = facts(tls_version=0x0304, exporter=bytes(32))
            elif why == "feature not agreed":
                client = facts(unique=unique())
            session = XmppClient(edge.open(client), ALICE)
            await session.begin()
            assert "SCRAM-SHA-1" in session.mechanisms
            assert "SCRAM-SHA-1-PLUS" not in session.mechanisms

    run(main())


def test_client_without_tls_may_not_log_in(prosody: ProsodyLink) -> None:
    """c2s_require_encryption holds: the edge says that there is none, and STARTTLS is its affair."""

    async def main() -> None:
        async with Edge(prosody.link, SECRET) as edge:
            session = XmppClient(edge.open(facts(tls_version=0, transport=1)), ALICE)
            with pytest.raises(StreamEndError):  # Prosody ends a stream to which it has nothing to offer
                await session.begin()

    run(main())
