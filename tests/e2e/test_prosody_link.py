"""Links into stock Prosody with mod_megaphone: many clients on few sockets, the shell, TLS, options, stopping."""

import asyncio
import contextlib
import re
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.link.conformance import Talkers, send_garbage
from tests.link.edge import Edge, facts
from tests.link.frames import Reason
from tests.link.server import run
from tests.link.session import SessionEndError
from tests.link.sides import NO_ARCHIVE
from tests.link.wire import Wire, WireClosedError
from tests.link.xmpp import StreamEndError, XmppClient
from tests.servers.certificates import CertificateAuthority
from tests.servers.model import ALICE, BOB, CAROL
from tests.servers.process import ServerError, wait_until
from tests.servers.prosody_link import SECRET, ProsodyLink

LINKS = 2
CLIENTS = 200


def running(
    directory: Path, authority: CertificateAuthority, options: str = "", secret: str | None = None
) -> Iterator[ProsodyLink]:
    """A Prosody for links without an archive, stopped at the end."""
    server = ProsodyLink(directory, authority, options=NO_ARCHIVE + options, secret=secret)
    server.register()
    try:
        server.start()
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="module")
def prosody(tmp_path_factory: pytest.TempPathFactory, authority: CertificateAuthority) -> Iterator[ProsodyLink]:
    """One with default options."""
    yield from running(tmp_path_factory.mktemp("prosody-link"), authority)


def test_many_clients_on_two_sockets(prosody: ProsodyLink) -> None:
    """They log in, talk in a chain across both links, and the shell knows each by its own address."""

    async def main() -> None:
        async with (
            Edge(prosody.link, SECRET, name="edge/1") as first,
            Edge(prosody.link, SECRET, name="edge/2") as second,
        ):
            edges = (first, second)
            clients = await asyncio.gather(
                *(
                    XmppClient.login(
                        edges[number % LINKS],
                        (ALICE, BOB, CAROL)[number % 3],
                        mechanism=("SCRAM-SHA-1", "PLAIN")[number // 2 % 2],
                        client=facts(
                            (f"203.0.113.{1 + number}" if number % 5 else f"2001:db8::{1 + number:x}", 40_000 + number)
                        ),
                    )
                    for number in range(CLIENTS)
                )
            )
            for number, client in enumerate(clients):
                client.message(clients[(number + 1) % CLIENTS].jid, f"from {number}")
            for number, client in enumerate(clients):
                assert await client.next_body() == f"from {(number - 1) % CLIENTS}"

            assert prosody.sockets == LINKS
            listing = prosody.shell("megaphone:links()")
            assert f"{LINKS} links, {CLIENTS} streams" in listing
            for name in ("edge/1", "edge/2"):
                assert re.search(rf"^{name} +[0-9a-f]{{8}} attached +1 +{CLIENTS // LINKS} ", listing, re.MULTILINE)

            sessions = prosody.shell('c2s:show(nil, "jid ip")')
            streams = prosody.shell("megaphone:streams()")
            for number, client in enumerate(clients):
                address = f"203.0.113.{1 + number}" if number % 5 else f"2001:db8::{1 + number:x}"
                assert re.search(rf"{re.escape(client.jid)} +\| {re.escape(address)} ", sessions)
                assert re.search(
                    rf" {re.escape(address)} +{40_000 + number} .* {re.escape(client.jid)}$", streams, re.MULTILINE
                )
            assert f"{CLIENTS // LINKS} streams" in prosody.shell('megaphone:streams("edge/2")')
            for client in clients:
                await client.leave()
            wait_until(lambda: f"{LINKS} links, 0 streams" in prosody.shell("megaphone:links()"), "no stream left")

    run(main())
    wait_until(lambda: prosody.sockets == 0, "the sockets' end")


def test_link_cut_within_frames_goes_on(prosody: ProsodyLink) -> None:
    """Under traffic, at odd bytes of both directions; the shell shows the growing epoch."""

    async def main() -> None:
        async with Edge(prosody.link, SECRET) as edge:
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
            assert re.search(r"attached +13 +40 ", prosody.shell("megaphone:links()"))

    run(main())


def test_round_trip_is_measured(prosody: ProsodyLink) -> None:
    async def main() -> None:
        async with Edge(prosody.link, SECRET) as edge:
            loop, deadline = asyncio.get_running_loop(), asyncio.get_running_loop().time() + 20
            while not re.search(
                r" [0-9.]+ ms$", await loop.run_in_executor(None, prosody.shell, "megaphone:links()"), re.MULTILINE
            ):
                assert loop.time() < deadline
            edge.check()

    run(main())


def test_garbage_disturbs_only_its_link(prosody: ProsodyLink) -> None:
    """On a socket without proof, and on a link with one: its streams end as lost, those of others talk on."""

    async def main() -> None:
        async with Edge(prosody.link, SECRET) as good:
            talkers = await Talkers.login(good, 10)
            talking = asyncio.create_task(talkers.talk(50))
            client = await send_garbage(prosody.link, SECRET, CAROL)
            await talking
            assert client.jid not in prosody.shell("c2s:show()")

    run(main())


def test_stopping(tmp_path: Path, authority: CertificateAuthority) -> None:
    """DRAIN, stream errors to the clients, SHUTDOWN for each stream, then for the link."""
    for prosody in running(tmp_path, authority):

        async def main(prosody: ProsodyLink = prosody) -> None:
            edge = await Edge(prosody.link, SECRET).connect()
            clients = [await XmppClient.login(edge, ALICE) for _ in range(20)]
            stopping = asyncio.get_running_loop().run_in_executor(None, prosody.stop)
            for client in clients:
                with pytest.raises(StreamEndError) as end:
                    await client.next()
                assert end.value.condition == "system-shutdown"
                with contextlib.suppress(SessionEndError):  # the link may have ended too by now
                    while await client.stream.read():
                        pass
                assert client.stream.end is not None
                assert client.stream.end.reason == Reason.SYSTEM_SHUTDOWN
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


def test_mutual_tls(tmp_path: Path, authority: CertificateAuthority) -> None:
    files = authority.issue("link.example.test")
    options = (
        f'megaphone_ssl = {{ certificate = "{files.chain}"; key = "{files.key}"; '
        f'cafile = "{authority.certificate}"; capath = "" }}'
    )
    for prosody in running(tmp_path / "prosody", authority, options):

        async def main(prosody: ProsodyLink = prosody) -> None:
            def edge(own: CertificateAuthority | None) -> Edge:
                return Edge(prosody.link, SECRET, tls=context(authority, own), server_name="link.example.test")

            async with edge(authority) as good:
                talkers = await Talkers.login(good, 10)
                await talkers.talk(20)
            for own in (None, CertificateAuthority(tmp_path / "other")):
                with pytest.raises((WireClosedError, OSError)):
                    await edge(own).connect()

        run(main())


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("megaphone_window = 1", "megaphone_window: has to be a whole number from 4096 to 1048576, not 1"),
        ('megaphone_grace = "long"', "megaphone_grace: has to be a whole number from 0 to 3600, not long"),
        ("", "megaphone_secret: is missing"),
        (
            'megaphone_secret = "short"',
            "megaphone_secret: the secret has to be 16 to 1024 bytes",
        ),
        (
            'megaphone_secret_file = "/does/not/exist"',
            "megaphone_secret_file: /does/not/exist: No such file or directory",
        ),
        ('megaphone_ssl = "yes"', "megaphone_ssl: has to be a table"),
    ],
)
def test_wrong_option_is_named(tmp_path: Path, authority: CertificateAuthority, option: str, message: str) -> None:
    """The module is not loaded then, and the rest of Prosody runs."""
    about_secret = option.startswith("megaphone_secret") or not option
    for prosody in running(tmp_path, authority, *("", option) if about_secret else (option,)):
        assert message in prosody.process.log.read_text()
        assert prosody.sockets == 0

        async def main(prosody: ProsodyLink = prosody) -> None:
            with pytest.raises(ConnectionRefusedError):
                await Wire.dial(prosody.link)

        run(main())


def test_reloading(prosody: ProsodyLink) -> None:
    """It ends the links in order; the next ones are taken by the new code, and stream management bridges it."""

    async def main() -> None:
        edge = await Edge(prosody.link, SECRET).connect()
        client = await XmppClient.login(edge, ALICE)
        await client.enable_resumption()
        await asyncio.to_thread(prosody.shell, 'module:reload("megaphone", "*")')
        assert (await edge.wait_link_end()).reason == Reason.SYSTEM_SHUTDOWN
        await edge.stop_pinging()
        async with Edge(prosody.link, SECRET) as after:
            resumed = await client.resume(after)
            await resumed.ping()
            assert "1 links, 1 streams" in await asyncio.to_thread(prosody.shell, "megaphone:links()")

    run(main())


def test_shell_without_links(prosody: ProsodyLink) -> None:
    # those of the tests before may have a moment left
    wait_until(
        lambda: re.search(r"\b0 links, 0 streams", prosody.shell("megaphone:links()")) is not None, "no link left"
    )
    with pytest.raises(ServerError):
        prosody.shell("megaphone:nothing()")
