"""The load test as a tester runs it: Locust from the command line against real servers, its figures and exit codes."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers.certificates import CertificateAuthority
from tests.servers.ejabberd import Ejabberd
from tests.servers.embedded import Embedded
from tests.servers.locust import Result, Running, start
from tests.servers.model import DOMAIN, Account
from tests.servers.process import free_port
from tests.servers.prosody_chat import GUESTS, ProsodyChat

PATIENT = "message_p99_ms=10000 rate_percent=50"  # other tests run beside: not the server's speed is tested here
SCENARIOS = {
    "idle": "ping_seconds=2 ping_p99_ms=10000",
    "rooms-large": "room_occupants=20 room_seconds=10 room_p99_ms=10000",
    "rooms-small": "room_seconds=2 room_p99_ms=10000",
    "presence-churn": "life_seconds=4 show_seconds=2 live_percent=60 login_p99_ms=10000",
    "login-storm": "",
    "slow-readers": f"chat_seconds=2 slow_message_seconds=0.5 {PATIENT}",
    "half-open": f"chat_seconds=2 ping_seconds=2 {PATIENT}",
    "hostile": f"chat_seconds=2 {PATIENT}",
    "soak": f"life_seconds=5 chat_seconds=2 show_seconds=2 live_percent=60 {PATIENT}",
}
SMALL = "per_user=40 hold_seconds=3"
PEOPLE = 20  # the kernel spreads them over two workers: one gets none once in a million times


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, authority: CertificateAuthority) -> Iterator[Embedded]:
    """An embedded service of our own: some of these tests kill its workers."""
    accounts = [Account(f"user{number}", "secret") for number in range(40)]
    rooms = {"create": "anyone"}
    served = Embedded(tmp_path_factory.mktemp("loadtest"), authority, accounts=accounts, rooms=rooms)
    served.register()
    try:
        served.start()
        yield served
    finally:
        served.stop()


def assert_passed(result: Result) -> None:
    assert result.code == 0, result
    assert "PASSED" in result.output
    assert not result.missed
    assert "Traceback" not in result.output


def test_the_figures_of_a_run_are_right(service: Embedded, authority: CertificateAuthority, tmp_path: Path) -> None:
    before = service.metric("megaphone_logins_total", result="ok")
    result = start(
        *(tmp_path / "chat", service.starttls, authority.certificate, "chat", "-u", "2"),
        overrides=f"per_user=100 chat_seconds=2 ping_seconds=2 hold_seconds=4 {PATIENT}",
    ).result()
    assert_passed(result)
    assert result.count("LOGIN") == result.count("CLOSE") == 200
    assert service.metric("megaphone_logins_total", result="ok") - before == 200
    sessions = result.rows("sessions")
    assert max(int(row["Sessions live"]) for row in sessions) == 200
    assert [row["Phase"] for row in sessions if row["Phase"] == "hold"]
    assert result.count("MESSAGE") == result.last("Messages sent") == result.last("Messages delivered") > 400
    assert result.count("PING") > 200
    assert all(row["Failure Count"] == "0" for row in result.rows("stats"))
    assert result.rows("failures") == []
    assert {row["Passed"] for row in result.rows("verdict")} == {"yes"}
    report = (tmp_path / "chat.html").read_text()
    assert "one to one" in report
    assert '"profile": "chat"' in report


def test_master_and_workers_report_as_one(service: Embedded, authority: CertificateAuthority, tmp_path: Path) -> None:
    port = str(free_port())
    overrides = f"per_user=50 chat_seconds=2 hold_seconds=5 {PATIENT}"
    arguments = ["-u", "4", "--master", "--expect-workers", "2", "--master-bind-port", port]
    master = start(*(tmp_path / "many", service.plain, authority.certificate, "chat", *arguments), overrides=overrides)
    # All that these are told of the test comes from their master.
    worker = ["loadtest", "--worker", "--master-port", port]
    workers = [Running(tmp_path / f"worker{number}", worker) for number in range(2)]
    result = master.result()
    assert_passed(result)
    assert result.count("LOGIN") == result.count("CLOSE") == 200
    assert result.last("Sessions live", "hold") == 200
    assert result.last("Peers known", "hold") == 4 * 200  # each flock knows all sessions, those of the other worker too
    assert result.count("MESSAGE") == result.last("Messages sent") == result.last("Messages delivered") > 400
    for ended in [each.result() for each in workers]:
        assert ended.code == 0, ended
        assert "Traceback" not in ended.output


def test_what_is_missed_is_told_with_its_reason(
    service: Embedded, authority: CertificateAuthority, tmp_path: Path
) -> None:
    accounts = ["--accounts", "user{n}", "--password", "wrong"]
    result = start(
        *(tmp_path / "wrong", service.starttls, authority.certificate, "idle", "-u", "1", *accounts),
        overrides="per_user=20 ramp_seconds=2 hold_seconds=1",
    ).result()
    assert result.code == 1, result
    assert "NOT PASSED" in result.output
    assert "sessions live at the end" in result.missed
    assert "failures of sasl:not-authorized" in result.missed
    (failure,) = result.rows("failures")
    assert (failure["Method"], failure["Error"], failure["Occurrences"]) == ("LOGIN", "sasl:not-authorized", "20")
    assert result.stat("LOGIN")["Failure Count"] == "20"
    assert "no" in {row["Passed"] for row in result.rows("verdict")}


def test_single_sessions_log_in_with_their_own_accounts(
    service: Embedded, authority: CertificateAuthority, tmp_path: Path
) -> None:
    accounts = ["--accounts", "user{n}", "--password", "secret", "--mechanism", "SCRAM-SHA-256"]
    result = start(
        *(tmp_path / "single", service.direct, authority.certificate, "single", "-u", "5", *accounts),
        overrides="chat_seconds=0.5 hold_seconds=3 message_p99_ms=10000",
    ).result()
    assert_passed(result)
    assert result.stat("LOGIN")["Name"] == "SCRAM-SHA-256 over tls"
    assert result.count("LOGIN") == result.last("Sessions live", "hold") == 5
    assert result.count("MESSAGE") == result.last("Messages delivered") > 5


def test_every_scenario_passes_on_a_server_that_is_well_and_misses_without_its_disturbance(
    service: Embedded, authority: CertificateAuthority, tmp_path: Path
) -> None:
    runs: dict[str, Running] = {}
    results: dict[str, Result] = {}
    for name, overrides in SCENARIOS.items():
        if len(runs) == 3:
            first = next(iter(runs))
            results[first] = runs.pop(first).result()
        arguments = (tmp_path / name, service.plain, authority.certificate, name, "-u", "1")
        runs[name] = start(*arguments, overrides=f"{SMALL} {overrides}")
    failing = ("rolling-restart", service.plain, authority.certificate, "rolling-restart", "-u", "1")
    restarted = start(tmp_path / failing[0], *failing[1:], "--disturb", "false", overrides=f"{SMALL} after_seconds=1")
    results |= {name: run.result() for name, run in runs.items()}
    for result in results.values():
        assert_passed(result)
    assert results["rooms-large"].last("Room occupants", "hold") == 40
    assert results["presence-churn"].last("Sessions that left in order") > 10
    assert results["half-open"].last("Odd clients logged in", "hold") >= 8
    assert results["hostile"].count("HOSTILE") == results["hostile"].last("Bad inputs refused") >= 2
    without = restarted.result()
    assert without.code == 1, without
    assert "the disturbance took place" in without.missed
    assert "'false' ended with 1" in without.output


def test_sessions_of_a_killed_worker_come_back(
    service: Embedded, authority: CertificateAuthority, tmp_path: Path
) -> None:
    single = (tmp_path / "single", service.plain, authority.certificate, "single", "-u", f"{PEOPLE}")
    # they hold until long after the kill, whichever of the two processes is slow to begin
    people = start(*single, overrides="chat_seconds=0.5 hold_seconds=18")
    result = start(
        *(tmp_path / "killed", service.plain, authority.certificate, "reconnect", "-u", "1"),
        *("--disturb-pid", str(service.workers()[0])),
        overrides="per_user=100 hold_seconds=11 after_seconds=1 back_seconds=9",
    ).result()
    assert_passed(result)
    lost = result.last("Sessions lost")
    assert 10 < lost < 100
    assert result.count("LOGIN") >= 100 + lost
    met = people.result()
    assert met.code == 1, met
    assert met.last("Sessions live", "hold") == PEOPLE
    assert met.last("Logins") == PEOPLE + met.last("Sessions lost") > PEOPLE
    assert {row["Error"].partition(":")[0] for row in met.rows("failures")} == {"session"}


def test_a_process_without_descriptors_says_what_it_can_do(
    service: Embedded, authority: CertificateAuthority, tmp_path: Path
) -> None:
    result = start(
        *(tmp_path / "few", service.plain, authority.certificate, "idle", "-u", "2"),
        overrides="per_user=200 hold_seconds=1",
        descriptors=300,
    ).result()
    assert result.code == 2, result
    assert "RLIMIT_NOFILE" in result.output
    assert "more sessions are possible in this process" in result.output
    assert "Traceback" not in result.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["loadtest", "chta"], "there is no profile 'chta'; did you mean chat?"),
        (["loadtest", "--host"], "the profile comes first"),
        (["loadtest", "chat"], "which server? --host xmpp://host:5222"),
        (["loadtest", "chat", "--host", "http://localhost"], "xmpp://host:port"),
        (["loadtest", "chat", "--host", "xmpp://localhost", "--set", "per_usr=1"], "did you mean sessions.per_user?"),
        (["loadtest", "reconnect", "--host", "xmpp://localhost"], "--disturb 'COMMAND' or --disturb-pid PID"),
        (["loadtest", "chat", "--host", "xmpp://localhost", "--processes", "2", "--set", "x"], "expected key=value"),
        (["locust", "-f", "loadtest/locustfile.py", "--headless"], "which scenario? --profile"),
        (["locust", "-f", "loadtest/locustfile.py", "--headless", "--profile", "idel"], "did you mean idle?"),
    ],
)
def test_bad_usage_is_explained(arguments: list[str], message: str, tmp_path: Path) -> None:
    result = Running(tmp_path / "bad", arguments).result()
    assert result.code == 2, result
    assert message in result.output
    assert "Traceback" not in result.output


def test_the_same_profile_runs_on_the_servers_of_debian(
    prosody_with_guests: ProsodyChat, ejabberd: Ejabberd, authority: CertificateAuthority, tmp_path: Path
) -> None:
    names = [f"load{number}" for number in range(50)]
    path = tmp_path / "accounts"
    path.write_text("# for one test\n" + "".join(f"{name}@{DOMAIN} secret of {name}\n" for name in names))
    overrides = f"chat_seconds=2 ping_seconds=2 hold_seconds=3 {PATIENT}"
    try:
        for name in names:
            ejabberd.api("register", user=name, host=DOMAIN, password=f"secret of {name}")
        with_accounts = start(
            *(tmp_path / "ejabberd", ejabberd.direct, authority.certificate, "chat", "-u", "2"),
            *("--accounts", str(path), "--mechanism", "SCRAM-SHA-1"),
            overrides=f"per_user=25 {overrides}",
        )
        with_guests = start(
            *(tmp_path / "prosody", prosody_with_guests.starttls, authority.certificate, "chat", "-u", "1"),
            domain=GUESTS,
            overrides=f"per_user=50 {overrides}",
        )
        results = {"SCRAM-SHA-1 over tls": with_accounts.result(), "ANONYMOUS over starttls": with_guests.result()}
    finally:
        for name in names:
            ejabberd.api("unregister", user=name, host=DOMAIN)
    for login, result in results.items():
        assert_passed(result)
        assert result.stat("LOGIN")["Name"] == login
        assert result.count("LOGIN") == result.last("Sessions live", "hold") == 50
        assert result.count("MESSAGE") == result.last("Messages delivered") > 50
