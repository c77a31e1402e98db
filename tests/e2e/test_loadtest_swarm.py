"""The swarm against real servers: every way in, every behaviour, every message, and what a session costs."""

import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

from loadtest.swarm import Accounts, Behaviour, Mechanism, Security, Settings, Swarm, Target
from tests.adversity.embedded_line import PASSWORD
from tests.adversity.embedded_node import EmbeddedNode
from tests.servers.certificates import CertificateAuthority
from tests.servers.ejabberd import Ejabberd
from tests.servers.model import ALICE, BOB, CAROL, DOMAIN, ROOMS, Endpoint
from tests.servers.process import LOOPBACK
from tests.servers.prosody import Prosody
from tests.servers.prosody_chat import GUESTS, ProsodyChat

PATIENCE = 60.0
SECURITY: dict[str, Security] = {"none": "plain", "starttls": "starttls", "direct": "tls"}
ACCOUNTS = 20


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory, authority: CertificateAuthority) -> Iterator[EmbeddedNode]:
    service = EmbeddedNode(tmp_path_factory.mktemp("swarm-node"), authority, accounts=(), rooms={"create": "anyone"})
    service.register_names(f"user{number}" for number in range(ACCOUNTS))
    try:
        service.start()
        yield service
    finally:
        service.stop()


def target(endpoint: Endpoint, authority: CertificateAuthority | None = None, domain: str = DOMAIN) -> Target:
    ca_file = None if authority is None else str(authority.certificate)
    security = SECURITY[endpoint.tls]
    return Target(host=endpoint.host, ports=(endpoint.port,), domain=domain, security=security, ca_file=ca_file)


def guests(node: EmbeddedNode, **settings: object) -> Swarm:
    return Swarm(target(node.plain), Accounts.anonymous(), Settings(**settings))  # type: ignore[arg-type]


def opened(swarm: Swarm, count: int, behaviour: Behaviour = "regular") -> None:
    wanted = swarm.counters()["open"] + count
    swarm.open(count, behaviour=behaviour)
    assert swarm.wait(lambda: swarm.counters()["open"] == wanted or bool(swarm.failures()), PATIENCE), swarm.counters()
    assert swarm.failures() == {}


def closed(swarm: Swarm) -> None:
    before, open_now = swarm.counters()["closed"], swarm.counters()["open"]
    swarm.close()
    assert swarm.wait(lambda: swarm.counters()["closing"] == 0, PATIENCE)
    assert swarm.counters()["closed"] == before + open_now
    assert swarm.counters()["close_timeouts"] == swarm.counters()["lost"] == 0
    assert swarm.failures() == {}


def reaches(swarm: Swarm, **least: int) -> bool:
    return swarm.wait(lambda: all(swarm.counters()[name] >= count for name, count in least.items()), PATIENCE)


def chats(swarm: Swarm, messages: int) -> None:
    """Say at least so many, and wait until nothing is on its way."""
    swarm.change(chat_per_second=2000.0)
    assert reaches(swarm, chat_sent=messages), swarm.counters()
    swarm.change(chat_per_second=0.0)
    assert swarm.wait(lambda: swarm.counters()["chat_received"] == swarm.counters()["chat_sent"], PATIENCE), (
        swarm.counters()
    )
    assert swarm.histograms()["chat"].count == swarm.counters()["chat_received"]
    assert swarm.counters()["chat_bounced"] == 0


# --- ways in ---


@pytest.mark.parametrize("mechanism", ["ANONYMOUS", "PLAIN", "SCRAM-SHA-1", "SCRAM-SHA-256"])
@pytest.mark.parametrize("tls", ["none", "starttls", "direct"])
def test_ways_into_megaphone(
    node: EmbeddedNode, authority: CertificateAuthority, tls: str, mechanism: Mechanism
) -> None:
    endpoint = {"none": node.plain, "starttls": node.starttls, "direct": node.direct}[tls]
    is_anonymous = mechanism == "ANONYMOUS"
    accounts = Accounts.anonymous() if is_anonymous else Accounts.generated(ACCOUNTS, PASSWORD, mechanism)
    with Swarm(target(endpoint, authority), accounts) as swarm:
        if tls == "none" and mechanism == "PLAIN":  # no server offers passwords in the clear
            swarm.open(1)
            assert reaches(swarm, login_failures=1)
            assert swarm.failures() == {"sasl:mechanism-not-offered": 1}
            return
        opened(swarm, 2 * ACCOUNTS)
        assert swarm.histograms()["login"].count == swarm.counters()["logins"] == 2 * ACCOUNTS
        names = {line.partition(b"@")[0].decode() for line in swarm.jids().splitlines()}
        assert is_anonymous or names == {f"user{number}" for number in range(ACCOUNTS)}
        chats(swarm, 200)
        closed(swarm)


@pytest.mark.parametrize(
    ("tls", "mechanism"), [("starttls", "SCRAM-SHA-1"), ("direct", "SCRAM-SHA-1"), ("direct", "PLAIN")]
)
def test_ways_into_prosody(prosody: Prosody, authority: CertificateAuthority, tls: str, mechanism: Mechanism) -> None:
    lines = [f"{account.jid} {account.password}" for account in (ALICE, BOB, CAROL)]
    endpoint = {"starttls": prosody.starttls, "direct": prosody.direct}[tls]
    with Swarm(target(endpoint, authority), Accounts.from_lines(lines, mechanism)) as swarm:
        opened(swarm, 6)
        swarm.change(keep_alive="ping", keep_alive_seconds=0.2)
        assert reaches(swarm, pings_answered=12)
        swarm.change(keep_alive="none")
        chats(swarm, 300)
        closed(swarm)


@pytest.mark.parametrize(("tls", "mechanism"), [("starttls", "SCRAM-SHA-1"), ("direct", "PLAIN")])
def test_ways_into_ejabberd(
    ejabberd: Ejabberd, authority: CertificateAuthority, tls: str, mechanism: Mechanism
) -> None:
    lines = [f"{account.jid} {account.password}" for account in (ALICE, CAROL)]
    endpoint = {"starttls": ejabberd.starttls, "direct": ejabberd.direct}[tls]
    with Swarm(target(endpoint, authority), Accounts.from_lines(lines, mechanism)) as swarm:
        opened(swarm, 4)
        swarm.change(keep_alive="ping", keep_alive_seconds=0.2)
        assert reaches(swarm, pings_answered=12)
        swarm.change(keep_alive="none")
        chats(swarm, 100)
        closed(swarm)


def test_a_login_can_be_pipelined(node: EmbeddedNode) -> None:
    with guests(node, pipeline=True) as swarm:
        opened(swarm, 50)
        chats(swarm, 100)
        closed(swarm)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"password": "wrong"}, "sasl:not-authorized"),
        ({"trust": False}, "tls:unable to get local issuer certificate"),
        ({"domain": "second.test"}, "tls:hostname mismatch"),
    ],
)
def test_failures_have_reasons(
    node: EmbeddedNode, authority: CertificateAuthority, change: dict[str, object], reason: str
) -> None:
    accounts = Accounts.generated(ACCOUNTS, str(change.get("password", PASSWORD)))
    trusted = authority if change.get("trust", True) else None
    with Swarm(target(node.direct, trusted, str(change.get("domain", DOMAIN))), accounts) as swarm:
        swarm.open(3)
        assert reaches(swarm, login_failures=3), swarm.counters()
        assert swarm.failures() == {reason: 3}


def test_sources_are_taken_in_turn(node: EmbeddedNode) -> None:
    pool = ("127.0.77.0/29",)
    where = Target(host=LOOPBACK, ports=(node.plain.port,), domain=DOMAIN, source_addresses=pool)
    with Swarm(where, Accounts.anonymous()) as swarm:
        opened(swarm, 12)
        rows = subprocess.run(["ss", "-Htn", "src 127.0.77.0/24"], capture_output=True, text=True, check=True).stdout
        used = [row.split()[3].rpartition(":")[0] for row in rows.splitlines()]
        assert sorted(used) == sorted(f"127.0.77.{number}" for number in range(1, 7) for _ in range(2))


# --- what open sessions do ---


def test_two_swarms_chat_with_each_other(node: EmbeddedNode) -> None:
    with guests(node) as left, guests(node) as right:
        opened(left, 30)
        opened(right, 30)
        left.peers(right.jids())
        assert left.counters()["peers"] == 30
        left.change(chat_per_second=1000.0, body_bytes=2000)
        assert reaches(left, chat_sent=500)
        left.change(chat_per_second=0.0)
        assert right.wait(lambda: right.counters()["chat_received"] == left.counters()["chat_sent"], PATIENCE)
        assert right.counters()["bytes_in"] > 500 * 2000
        assert 0 < right.histograms()["chat"].percentile(99) < PATIENCE
        assert left.counters()["chat_received"] == 0


def test_messages_to_who_is_gone_bounce(node: EmbeddedNode) -> None:
    with guests(node) as left, guests(node) as right:
        opened(left, 10)
        opened(right, 10)
        left.peers(right.jids())
        closed(right)
        left.change(chat_per_second=500.0)
        assert reaches(left, chat_bounced=100)
        left.change(chat_per_second=0.0)
        assert left.wait(lambda: left.counters()["chat_bounced"] == left.counters()["chat_sent"], PATIENCE)
        assert left.failures() == {"message:service-unavailable": left.counters()["chat_sent"]}


def test_rooms(node: EmbeddedNode) -> None:
    rooms = [f"swarm{number}@{ROOMS}" for number in range(5)]
    with guests(node) as swarm:
        opened(swarm, 60)
        swarm.enter(rooms, 10)
        assert reaches(swarm, occupants=50), (swarm.counters(), swarm.failures())
        swarm.change(room_per_second=200.0)
        assert reaches(swarm, room_sent=100)
        swarm.change(room_per_second=0.0)
        assert swarm.wait(lambda: swarm.counters()["room_received"] == 10 * swarm.counters()["room_sent"], PATIENCE)
        assert (
            swarm.counters()["room_expected"] == swarm.histograms()["room"].count == swarm.counters()["room_received"]
        )
        swarm.enter(rooms[:2], 12)
        assert swarm.wait(lambda: swarm.counters()["occupants"] == 24, PATIENCE), (swarm.counters(), swarm.failures())
        closed(swarm)


def test_presence_and_white_space(node: EmbeddedNode) -> None:
    with guests(node, keep_alive="space", keep_alive_seconds=0.1) as swarm:
        opened(swarm, 20)
        swarm.change(presence_per_second=500.0)
        assert reaches(swarm, spaces_sent=100, presence_sent=200)
        closed(swarm)


def test_pings_and_other_requests_are_answered(node: EmbeddedNode) -> None:
    with guests(node) as swarm, socket.create_connection((node.plain.host, node.plain.port), PATIENCE) as raw:
        opened(swarm, 1)
        jid = swarm.jids().decode()

        def talk(text: str, end: bytes) -> bytes:
            raw.sendall(text.encode())
            raw.settimeout(0.01)
            heard = b""

            def came() -> bool:
                nonlocal heard
                with contextlib.suppress(TimeoutError):
                    heard += raw.recv(4096)
                return end in heard

            assert swarm.wait(came, PATIENCE), heard
            return heard

        streams = "http://etherx.jabber.org/streams"
        header = f"<stream:stream xmlns='jabber:client' xmlns:stream='{streams}' to='{DOMAIN}' version='1.0'>"
        talk(header, b"</stream:features>")
        talk("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='ANONYMOUS'/>", b"<success")
        talk(header, b"</stream:features>")
        talk("<iq type='set' id='1'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>", b"</iq>")
        assert b"result" in talk(f"<iq type='get' id='it\"s' to='{jid}'><ping xmlns='urn:xmpp:ping'/></iq>", b"</iq>")
        refused = talk(f"<iq type='get' id=\"it's\" to='{jid}'><query xmlns='jabber:iq:version'/></iq>", b"</iq>")
        assert b"<service-unavailable" in refused
        assert swarm.counters()["pings_heard"] == 1


# --- clients that are not good ---


@pytest.mark.parametrize("tls", ["none", "direct"])
def test_slow_readers_read_what_they_may(node: EmbeddedNode, authority: CertificateAuthority, tls: str) -> None:
    endpoint = {"none": node.plain, "direct": node.direct}[tls]
    settings = Settings(slow_bytes_per_second=2000)
    with Swarm(target(endpoint, authority), Accounts.anonymous(), settings) as swarm:
        opened(swarm, 5)
        opened(swarm, 1, "slow")
        swarm.change(slow_messages_per_second=200.0)
        assert reaches(swarm, slow_sent=200)
        swarm.change(slow_messages_per_second=0.0)
        assert reaches(swarm, slow_received=1)
        assert swarm.counters()["slow_received"] < 100
        swarm.change(slow_bytes_per_second=200_000)
        assert swarm.wait(lambda: swarm.counters()["slow_received"] == swarm.counters()["slow_sent"], PATIENCE)
        closed(swarm)


def test_half_open_and_silent_clients(node: EmbeddedNode) -> None:
    with guests(node, keep_alive="ping", keep_alive_seconds=0.1) as swarm:
        opened(swarm, 3, "half-open")
        opened(swarm, 3, "silent")
        assert (swarm.counters()["logins"], swarm.jids()) == (3, b"")
        swarm.wait(lambda: False, 0.5)
        assert swarm.counters()["pings_sent"] == 0
        closed(swarm)


def hostile(swarm: Swarm, count: int) -> dict[str, int]:
    swarm.open(count, behaviour="hostile")
    assert swarm.wait(
        lambda: swarm.counters()["hostile_refused"] + swarm.counters()["hostile_wrong"] == count, PATIENCE
    )
    assert swarm.counters()["open"] == swarm.counters()["connecting"] == 0
    return swarm.failures()


def test_megaphone_refuses_bad_input(node: EmbeddedNode) -> None:
    with guests(node) as swarm:
        assert hostile(swarm, 45) == {}
        assert swarm.counters()["hostile_refused"] == 45


def test_what_a_server_answers_wrongly_is_told(
    prosody_with_guests: ProsodyChat, authority: CertificateAuthority
) -> None:
    where = target(prosody_with_guests.starttls, authority, GUESTS)
    with Swarm(where, Accounts.anonymous(), Settings(hostile_timeout_seconds=5)) as swarm:
        failures = hostile(swarm, 15)
        assert swarm.counters()["hostile_refused"] >= 10
        assert swarm.counters()["hostile_wrong"] == sum(failures.values())
        assert all(reason.startswith("hostile:") for reason in failures), failures


# --- ends ---


def test_resets(node: EmbeddedNode) -> None:
    with guests(node) as swarm:
        opened(swarm, 20)
        swarm.abort(8)
        assert (swarm.counters()["aborted"], swarm.counters()["open"]) == (8, 12)
        closed(swarm)


def test_whom_the_server_loses_comes_back(node: EmbeddedNode) -> None:
    with guests(node, reconnect=True, reconnect_seconds=0.2) as swarm:
        opened(swarm, 30)
        os.kill(node.workers()[0], 9)
        assert swarm.wait(lambda: swarm.counters()["lost"] > 0, PATIENCE)
        assert swarm.wait(lambda: swarm.counters()["open"] == 30, PATIENCE), (swarm.counters(), swarm.failures())
        assert swarm.counters()["logins"] == 30 + swarm.counters()["lost"]
        assert set(swarm.failures()) <= {"session:closed", "session:ECONNRESET", "login:closed", "login:ECONNRESET"}
        chats(swarm, 100)


@pytest.mark.parametrize(
    ("host", "family", "source"), [(LOOPBACK, socket.AF_INET, "127.0.78.1"), ("::1", socket.AF_INET6, "::1")]
)
def test_a_server_that_never_answers_times_out(host: str, family: socket.AddressFamily, source: str) -> None:
    with socket.create_server((host, 0), family=family) as mute:
        where = Target(host=host, ports=(mute.getsockname()[1],), domain=DOMAIN, source_addresses=(source,))
        with Swarm(where, Accounts.anonymous(), Settings(login_timeout_seconds=0.3)) as swarm:
            swarm.open(5)
            assert reaches(swarm, login_failures=5)
            assert swarm.failures() == {"login:timeout": 5}
            assert mute.accept()[1][0] == source


# --- what a session costs ---

MEASURE = """
import sys
from loadtest.swarm import Accounts, Settings, Swarm, Target

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096

sessions = int(sys.argv[3])
target = Target(host="127.0.0.1", ports=(int(sys.argv[1]),), domain=sys.argv[2], security=sys.argv[4], verify=False)
swarm = Swarm(target, Accounts.anonymous())
swarm.open(100)
assert swarm.wait(lambda: swarm.counters()["open"] == 100, 60), swarm.failures()
before = resident()
swarm.open(sessions)
assert swarm.wait(lambda: swarm.counters()["open"] == 100 + sessions, 60), swarm.failures()
print((resident() - before) / sessions)
"""


@pytest.mark.parametrize("tls", ["none", "direct"])
def test_an_idle_session_costs_less_than_two_kilobytes(node: EmbeddedNode, tls: str) -> None:
    """Also with TLS 1.3, of which only records stay."""
    port = {"none": node.plain, "direct": node.direct}[tls].port
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(port), DOMAIN, "5000", SECURITY[tls]],
        capture_output=True,
        text=True,
        check=False,
        timeout=180,
    )
    assert done.returncode == 0, done.stderr
    assert 50 < float(done.stdout) <= 2000
