"""Links into stock ejabberd with ejabberd_megaphone: many clients on few sockets, commands, defects, TLS, options."""

import asyncio
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.link.conformance import Talkers, send_garbage
from tests.link.edge import Edge, facts
from tests.link.frames import Frame, Reason, Type
from tests.link.server import run
from tests.link.wire import Wire, WireClosedError
from tests.link.xmpp import LoginError, StreamEndError, XmppClient, unique
from tests.servers.certificates import CertificateAuthority
from tests.servers.ejabberd_link import SECRET, EjabberdLink
from tests.servers.model import ALICE, BOB, CAROL
from tests.servers.process import ServerError, wait_until

LINKS = 2
CLIENTS = 200
STREAM_LIMIT_BYTES = 65_536
WINDOW_BYTES = 8_192


def running(directory: Path, authority: CertificateAuthority, **options: str | int) -> Iterator[EjabberdLink]:
    """An ejabberd for links, stopped at the end."""
    server = EjabberdLink(directory, authority, options=options)
    try:
        server.start()
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="module")
def ejabberd(tmp_path_factory: pytest.TempPathFactory, authority: CertificateAuthority) -> Iterator[EjabberdLink]:
    """One whose limits a test can reach."""
    yield from running(
        tmp_path_factory.mktemp("ejabberd-link"),
        authority,
        stream_limit=STREAM_LIMIT_BYTES,
        window=WINDOW_BYTES,
        slow_consumer_timeout=3,  # who resumes and takes what waited may stand still for a while, too
    )


def address(number: int) -> str:
    return f"203.0.113.{1 + number}" if number % 5 else f"2001:db8::{1 + number:x}"


async def until(edge: Edge, condition: Callable[[], bool], timeout_seconds: float = 60.0) -> None:
    """Ask ejabberd, outside the loop, until the answer is true."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout_seconds
    while not await loop.run_in_executor(None, condition):
        assert loop.time() < deadline, "not in time"
        edge.check()


def test_many_clients_on_two_sockets(ejabberd: EjabberdLink) -> None:
    """They log in, talk in a chain across both links, and the commands know each by its own address."""

    async def main() -> None:
        async with (
            Edge(ejabberd.link, SECRET, name="edge/1") as first,
            Edge(ejabberd.link, SECRET, name="edge/2") as second,
        ):
            edges = (first, second)
            clients = await asyncio.gather(
                *(
                    XmppClient.login(
                        edges[number % LINKS],
                        (ALICE, BOB, CAROL)[number % 3],
                        mechanism=("SCRAM-SHA-1", "PLAIN")[number // 2 % 2],
                        client=facts((address(number), 40_000 + number)),
                    )
                    for number in range(CLIENTS)
                )
            )
            for number, client in enumerate(clients):
                client.message(clients[(number + 1) % CLIENTS].jid, f"from {number}")
            for number, client in enumerate(clients):
                assert await client.next_body() == f"from {(number - 1) % CLIENTS}"

            assert ejabberd.sockets() == LINKS
            links = ejabberd.api("megaphone_links")
            assert [(link["name"], link["state"], link["epoch"], link["streams"]) for link in links] == [
                (name, "attached", 1, CLIENTS // LINKS) for name in ("edge/1", "edge/2")
            ]
            assert all(link["received_bytes"] > 0 and link["sent_bytes"] > 0 for link in links)

            users = {user["jid"]: user for user in ejabberd.api("connected_users_info")}
            streams = {
                (stream["address"], stream["port"])
                for name in ("edge/1", links[1]["session"])
                for stream in ejabberd.api("megaphone_streams", link=name)
            }
            for number, client in enumerate(clients):
                user = users[client.jid]
                assert (user["connection"], user["ip"], user["port"]) == ("c2s_tls", address(number), 40_000 + number)
                assert (address(number), 40_000 + number) in streams
            for client in clients:
                await client.leave()
            # An id is in use until the edge's answer to the last SHUTDOWN has arrived.
            await until(first, lambda: [link["streams"] for link in ejabberd.api("megaphone_links")] == [0, 0])

    run(main())
    wait_until(lambda: ejabberd.sockets() == 0, "the sockets' end")


def test_plain_client_is_plain(ejabberd: EjabberdLink) -> None:
    async def main() -> None:
        async with Edge(ejabberd.link, SECRET) as edge:
            client = await XmppClient.login(edge, CAROL, client=facts(("192.0.2.9", 7), tls_version=0, transport=1))
            (user,) = (user for user in ejabberd.api("connected_users_info") if user["jid"] == client.jid)
            assert (user["connection"], user["ip"]) == ("c2s", "192.0.2.9")
            assert "SCRAM-SHA-1-PLUS" not in client.mechanisms

    run(main())


def test_channel_binding(ejabberd: EjabberdLink) -> None:
    """SCRAM-SHA-1-PLUS with the edge's tls-unique; a client that saw another one is refused."""

    async def main() -> None:
        async with Edge(ejabberd.link, SECRET) as edge:
            binding = unique()
            await XmppClient.login(
                edge, ALICE, mechanism="SCRAM-SHA-1-PLUS", client=facts(unique=binding), binding=binding
            )
            with pytest.raises(LoginError) as refused:
                await XmppClient.login(
                    edge, ALICE, mechanism="SCRAM-SHA-1-PLUS", client=facts(unique=unique()), binding=binding
                )
            assert refused.value.condition in ("not-authorized", "bad-protocol", "malformed-request")
            offered = {}
            for name, client in (
                ("unique", facts(unique=binding)),
                ("exporter", facts(tls_version=0x0304, exporter=bytes(32))),
                ("none", facts()),
            ):
                asking = XmppClient(edge.open(client), ALICE)
                await asking.begin()
                offered[name] = "SCRAM-SHA-1-PLUS" in asking.mechanisms
            # 23.01 cannot use tls-exporter, so it must not offer what would fail.
            assert offered == {"unique": True, "exporter": False, "none": False}

    run(main())


def test_killed_session_and_resumption_on_another_link(ejabberd: EjabberdLink) -> None:
    """Its clients' processes notice: one without stream management is gone, the other goes on with nothing lost."""

    async def main() -> None:
        async with Edge(ejabberd.link, SECRET, name="other") as other:
            broken = await Edge(ejabberd.link, SECRET, name="broken").connect()
            friend = await XmppClient.login(other, BOB)
            plain = await XmppClient.login(broken, CAROL)
            managed = await XmppClient.login(broken, ALICE)
            await managed.enable_resumption()
            friend.message(managed.jid, "before")
            assert await managed.next_body() == "before"

            assert ejabberd.api("test_kill_session", link="broken") == {"killed": 1}
            assert broken.wire is not None
            await broken.wire.wait_lost()
            await broken.stop_pinging()

            def jids() -> set[str]:
                return {user["jid"] for user in ejabberd.api("connected_users_info")}

            await until(other, lambda: plain.jid not in jids())
            friend.message(managed.jid, "between")
            after = await managed.resume(other)
            assert await after.next_body() == "between"
            friend.message(after.jid, "after")
            assert await after.next_body() == "after"
            await until(other, lambda: [link["name"] for link in ejabberd.api("megaphone_links")] == ["other"])

    run(main())


def test_slow_consumer(ejabberd: EjabberdLink) -> None:
    """A client that never reads: others talk on, it ends as a slow consumer at the limit, and loses nothing."""

    async def main() -> None:
        async with Edge(ejabberd.link, SECRET, window=4_096) as edge:
            talkers = await Talkers.login(edge, 20)
            slow = await XmppClient.login(edge, CAROL)
            await slow.enable_resumption()
            slow.stream.credit_withheld = True
            talking = asyncio.create_task(talkers.talk(50))
            sender = await XmppClient.login(edge, ALICE)
            bodies = [f"{number} " + "x" * 2_000 for number in range(2 * STREAM_LIMIT_BYTES // 2_000)]
            for body in bodies:
                sender.message(slow.jid, body)
            end = await slow.stream.wait_end()
            assert end.reason == Reason.SLOW_CONSUMER
            await talking
            await sender.stream.drain()
            after = await slow.resume(edge)
            assert [await after.next_body() for _ in bodies] == bodies

    run(main())


def test_sender_waits_for_a_busy_client_process(ejabberd: EjabberdLink) -> None:
    """While a client's process takes nothing, its edge gets no credit beyond the window; then all arrives in order."""

    async def main() -> None:
        async with Edge(ejabberd.link, SECRET) as edge, Edge(ejabberd.link, SECRET, name="busy") as busy:
            other = await XmppClient.login(edge, BOB)
            client = await XmppClient.login(busy, ALICE)
            assert ejabberd.api("test_suspend_clients", link="busy", milliseconds=60_000) == {"suspended": 1}
            before = client.stream.sent
            for number in range(100):
                client.message(other.jid, f"{number} " + "x" * 500)
            await busy.ping_and_wait()
            assert client.stream.outgoing
            assert client.stream.sent - before <= WINDOW_BYTES
            assert ejabberd.api("test_resume_clients") == {"resumed": 1}
            for number in range(100):
                assert (await other.next_body()).split()[0] == str(number)

    run(main())


def test_what_came_before_the_end_is_not_lost(ejabberd: EjabberdLink) -> None:
    """A client writes and is gone at once while its process is busy: its stanzas still arrive, then its end."""

    async def main() -> None:
        async with Edge(ejabberd.link, SECRET) as edge, Edge(ejabberd.link, SECRET, name="busy") as busy:
            other = await XmppClient.login(edge, BOB)
            client = await XmppClient.login(busy, ALICE)
            assert ejabberd.api("test_suspend_clients", link="busy", milliseconds=500) == {"suspended": 1}
            for number in range(50):
                client.message(other.jid, str(number))
            await client.stream.close(Reason.CONNECTION_LOST)
            for number in range(50):
                assert await other.next_body() == str(number)
            await until(edge, lambda: client.jid not in {u["jid"] for u in ejabberd.api("connected_users_info")})

    run(main())


def test_link_cut_within_frames_goes_on(ejabberd: EjabberdLink) -> None:
    """Under traffic, at odd bytes of both directions; the command shows the growing epoch."""

    async def main() -> None:
        async with Edge(ejabberd.link_socket, SECRET) as edge:
            talkers = await Talkers.login(edge, 40)
            for position in (1, 7, 8, 9, 1_000, 40_001):
                assert edge.wire is not None
                edge.wire.cut_sending(position)
                talking = asyncio.create_task(talkers.talk(20, filling=200))
                await edge.until(lambda: not edge.attached)
                assert await edge.reattach()
                assert edge.wire is not None
                edge.wire.cut_receiving(position)
                await edge.until(lambda: not edge.attached)
                assert await edge.reattach()
                await talking
            (link,) = ejabberd.api("megaphone_links")
            assert (link["epoch"], link["streams"], link["state"], link["peer"]) == (13, 40, "attached", "unix")

    run(main())


def test_round_trip_is_measured(ejabberd: EjabberdLink) -> None:
    async def main() -> None:
        async with Edge(ejabberd.link, SECRET) as edge:
            await until(edge, lambda: ejabberd.api("megaphone_links")[0]["round_trip_microseconds"] > 0)

    run(main())


def test_garbage_disturbs_only_its_link(ejabberd: EjabberdLink) -> None:
    """On a socket without proof, and on a link with one: its streams end as lost, those of others talk on."""

    async def main() -> None:
        async with Edge(ejabberd.link, SECRET) as good:
            talkers = await Talkers.login(good, 10)
            talking = asyncio.create_task(talkers.talk(50))
            client = await send_garbage(ejabberd.link, SECRET, CAROL)
            await talking
            await until(good, lambda: client.jid not in {u["jid"] for u in ejabberd.api("connected_users_info")})

    run(main())


def test_too_many_silent_sockets(ejabberd: EjabberdLink) -> None:
    """The oldest goes; an edge that says HELLO gets in."""

    async def main() -> None:
        most = 64 + 128  # max_links, and as many more
        wires = [await Wire.dial(ejabberd.link) for _ in range(most + 20)]
        try:
            async with Edge(ejabberd.link, SECRET) as edge:
                await (await XmppClient.login(edge, ALICE)).ping()
            await wires[0].wait_lost()
            assert not wires[-1].lost
        finally:
            for wire in wires:
                wire.cut()

    run(main())


def test_edge_that_asks_but_never_reads(ejabberd: EjabberdLink) -> None:
    """Its PINGs are not read on when the answers do not leave; the other link talks on; then its socket is given up."""
    flood = Frame(Type.PING, 0, bytes(16)).encode() * 2_000_000

    async def main() -> None:
        async with Edge(ejabberd.link, SECRET, name="good") as good:
            talkers = await Talkers.login(good, 10)
            deaf = await Edge(ejabberd.link, SECRET, name="deaf", ping_seconds=None).connect()
            assert deaf.wire is not None
            deaf.wire.stop_reading()
            deaf.wire.write(flood)

            def link() -> dict[str, Any]:
                (found,) = (each for each in ejabberd.api("megaphone_links") if each["name"] == "deaf")
                return dict(found)

            await talkers.talk(20)
            await until(good, lambda: link()["state"] == "detached", timeout_seconds=60.0)
            assert 0 < link()["received_bytes"] < len(flood) // 2
            deaf.cut()

    run(main())


IDLE_SECONDS = 4
# Collected as it should be such a process takes 4 kB, else at least 9, and after a login storm 26.
IDLE_CLIENT_BYTES = 7_000
ERLANG_FULLSWEEP_AFTER = 65_535


@pytest.fixture(scope="module")
def collecting(tmp_path_factory: pytest.TempPathFactory, authority: CertificateAuthority) -> Iterator[EjabberdLink]:
    """One whose period of idleness no test outlasts without meaning to."""
    yield from running(tmp_path_factory.mktemp("ejabberd-idle"), authority, idle_gc=IDLE_SECONDS)


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-1"])
def test_idle_clients_keep_no_garbage(collecting: EjabberdLink, mechanism: str) -> None:
    """What a login leaves in a client's process is gone soon afterwards, with nothing said by anybody."""

    async def main() -> None:
        async with Edge(collecting.link, SECRET, name="idle") as edge:
            talkers = await Talkers.login(edge, 50, mechanism)

            def bytes_each() -> list[int]:
                return list(collecting.api("test_client_memory", link="idle"))

            assert len(bytes_each()) == 50
            await until(edge, lambda: max(bytes_each()) < IDLE_CLIENT_BYTES)
            await talkers.talk(5)

    run(main())


def test_busy_client_is_not_collected(collecting: EjabberdLink) -> None:
    """One that falls silent is, once and not again before it speaks again; one that talks on is not."""

    async def main() -> None:
        async with Edge(collecting.link, SECRET, name="busy") as edge:
            assert collecting.api("test_watch_collections", link="busy") == {"watched": 1}
            silent, busy = [await XmppClient.login(edge, account) for account in (ALICE, BOB)]

            def collections(client: XmppClient) -> int:
                return int(collecting.api("test_collections", jid=client.jid)["collections"])

            async def talk_until_silent_is_collected(times: int) -> None:
                waiting = asyncio.create_task(until(edge, lambda: collections(silent) == 2 * times))
                while not waiting.done():
                    await busy.ping()
                await waiting

            await talk_until_silent_is_collected(1)
            assert collections(busy) == 0
            await silent.ping()
            await talk_until_silent_is_collected(2)
            assert collections(busy) == 0
            await until(edge, lambda: collections(busy) == 2)
            assert collections(silent) == 4

    run(main())


@pytest.mark.parametrize("during_login", [0, 20])
def test_whole_heap_is_collected_during_login_only(
    tmp_path: Path, authority: CertificateAuthority, during_login: int
) -> None:
    """Until the session begins, or is resumed, and by default each time; then as Erlang does it."""
    options = {"login_fullsweep_after": during_login} if during_login else {}
    for ejabberd in running(tmp_path, authority, **options):

        async def main(ejabberd: EjabberdLink = ejabberd) -> None:
            def settings() -> list[int]:
                return sorted(ejabberd.api("test_fullsweep_after", link="sweeps"))

            async with Edge(ejabberd.link, SECRET, name="sweeps") as edge:
                edge.open()  # and says nothing
                await until(edge, lambda: settings() == [during_login])
                alice, _ = [await XmppClient.login(edge, account) for account in (ALICE, BOB)]
                assert settings() == [during_login, ERLANG_FULLSWEEP_AFTER, ERLANG_FULLSWEEP_AFTER]
                await alice.enable_resumption()
                await (await alice.resume(edge)).ping()
                await until(edge, lambda: settings() == [during_login, ERLANG_FULLSWEEP_AFTER, ERLANG_FULLSWEEP_AFTER])

        run(main())


def test_stopping(tmp_path: Path, authority: CertificateAuthority) -> None:
    """DRAIN, stream errors to the clients, then SHUTDOWN for the link."""
    for ejabberd in running(tmp_path, authority):

        async def main(ejabberd: EjabberdLink = ejabberd) -> None:
            edge = await Edge(ejabberd.link, SECRET).connect()
            clients = [await XmppClient.login(edge, ALICE) for _ in range(20)]
            stopping = asyncio.get_running_loop().run_in_executor(None, ejabberd.stop)
            for client in clients:
                with pytest.raises(StreamEndError) as end:
                    await client.next()
                assert end.value.condition == "system-shutdown"
            assert edge.draining
            assert (await edge.wait_link_end()).reason == Reason.SYSTEM_SHUTDOWN
            await stopping
            await edge.stop_pinging()

        run(main())


def context(authority: CertificateAuthority, own: CertificateAuthority | None) -> ssl.SSLContext:
    """A client's, with a certificate that `own` has issued."""
    made = ssl.create_default_context(cafile=str(authority.certificate))
    if own is not None:
        files = own.issue("edge.example.test")
        made.load_cert_chain(files.chain, files.key)
    return made


def test_mutual_tls(ejabberd: EjabberdLink, authority: CertificateAuthority, tmp_path: Path) -> None:
    async def main() -> None:
        def edge(own: CertificateAuthority | None) -> Edge:
            return Edge(ejabberd.link_tls, SECRET, tls=context(authority, own), server_name="127.0.0.1")

        async with edge(authority) as good:
            talkers = await Talkers.login(good, 10)
            await talkers.talk(20)
            assert await good.cut_and_reattach()
            await talkers.talk(20)
        for own in (None, CertificateAuthority(tmp_path / "other")):
            with pytest.raises((WireClosedError, OSError)):
                await edge(own).connect()

    run(main())


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("secret", '"short"', "the secret has 5 bytes, it must have 16 to 1024"),
        ("secret", '"file:/does/not/exist"', "cannot read /does/not/exist: no such file or directory"),
        ("window", 1, "Expected integer from 4096 to 1048576"),
        ("grace", '"20 hours"', "grace is at most 65535 seconds"),
        ("idle_gc", -1, "Expected integer from 0 to 3600"),
        ("login_fullsweep_after", 65_536, "Expected integer from 0 to 65535"),
        ("max_streams", 0, "Expected integer from 1 to 16777216"),
        ("links", 1, "Unknown option: links"),
    ],
)
def test_wrong_option_is_named(
    tmp_path: Path, authority: CertificateAuthority, option: str, value: str | int, message: str
) -> None:
    """ejabberd does not start and its log says why."""
    server = EjabberdLink(tmp_path, authority, options={option: value})
    try:
        with pytest.raises(ServerError):
            server.start()
        assert message in (tmp_path / "ejabberd.log").read_text()
    finally:
        server.stop()


def test_installed_as_a_package(tmp_path: Path, authority: CertificateAuthority) -> None:
    """`module_install` compiles and loads it; after the configuration is reloaded it takes links.

    Taken out of the configuration it can be removed."""
    server = EjabberdLink(tmp_path, authority, packaged=True)
    server.copy_package()
    try:
        server.start()
        assert server.api("module_check", module="ejabberd_megaphone") == 0
        assert server.api("module_install", module="ejabberd_megaphone") == 0
        assert "ejabberd_megaphone" in str(server.api("modules_installed"))
        without = server.config.read_text()
        server.configure()
        assert server.api("reload_config") == 0

        async def main() -> None:
            async with Edge(server.link, SECRET) as edge:
                await (await Talkers.login(edge, 10)).talk(5)
                assert len(server.api("megaphone_links")) == 1
                server.config.write_text(without)
                assert server.api("reload_config") == 0
                assert server.api("module_uninstall", module="ejabberd_megaphone") == 0
                assert (await edge.wait_link_end()).reason == Reason.SYSTEM_SHUTDOWN

        run(main())
    finally:
        server.stop()
