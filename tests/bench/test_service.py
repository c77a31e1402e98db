"""`make bench WHAT=service` in small: every part reports, and the clients notice what is wrong with a delivery."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.bench.report.figure import OURS
from tests.bench.service import PARTS
from tests.bench.service_compared import PROSODY, Talk
from tests.bench.service_room import fill_room
from tests.bench.services import MECHANISM, Service, running
from tests.bench.talkers import talking_clients
from tests.bench.tampering import Tamper, once, tampered
from tests.servers.process import ServerError

CLIENTS = 4
SMALL = (
    *(
        "--servers",
        f"{OURS},{PROSODY}",
        "--workers",
        "1",
        "--rounds",
        "1",
        "--seconds",
        "0.3",
        "--sessions",
        "4",
        "--idle",
        "20",
    ),
    *("--occupants", "10", "--messages", "40", "--logins", "40"),
)
TIMEOUT_SECONDS = 180.0  # on a busy machine

TAMPERS: dict[str, Tamper] = {
    "lost": lambda data: b"",
    "doubled": lambda data: data + data,
    "cut": lambda data: data.replace(b"xx</body>", b"x</body>", 1),
    "bounced": lambda data: b"<message type='error'><error type='cancel'/></message>",
}


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    """A Prosody that has nothing left from another test, such as messages for who was offline."""
    with running(PROSODY, tmp_path / PROSODY, CLIENTS) as service:
        yield service


def test_every_part_reports(tmp_path: Path) -> None:
    """The last line is JSON, and has every figure of every part; each part keeps its table."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench.service", *SMALL, "--out", str(tmp_path)],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
        timeout=TIMEOUT_SECONDS,
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout.splitlines()[-1])
    names = [f"service-{part}" for part in PARTS]
    assert [each["table"] for each in report["tables"]] == names
    assert sorted(path.stem for path in tmp_path.glob("*.json")) == sorted(names)
    measured = {figure["name"]: figure["medians"] for each in report["tables"] for figure in each["figures"]}
    for name in (
        "4 sessions, one under way in each pair",
        "4 sessions, 16 of each under way",
        "memory per idle session",
        "one sender: deliveries per CPU-second",
        "8 senders: deliveries per CPU-second",
        "logins: sessions per CPU-second",
    ):
        assert measured[name][PROSODY] > 0
        assert measured[name][OURS] > 0


def _pairs(talk: Talk) -> None:
    talk.clients.pairs(CLIENTS, 16, 0.5)


def _room(talk: Talk) -> None:
    fill_room(talk, CLIENTS)
    talk.clients.talk_in_room(2, 8, 200)


@pytest.mark.parametrize("talking", [_pairs, _room])
def test_every_delivery_is_counted(service: Service, talking: Callable[[Talk], None]) -> None:
    """Whatever is not tampered with arrives: the relay alone is not what the other test notices."""
    with (
        tampered(service.endpoint, lambda data: data) as endpoint,
        talking_clients(endpoint, MECHANISM, CLIENTS) as clients,
    ):
        clients.open(CLIENTS)
        talking(Talk(service, clients))


@pytest.mark.parametrize(
    ("talking", "how"), [*((_pairs, how) for how in TAMPERS), *((_room, how) for how in ("lost", "doubled"))]
)
def test_wrong_deliveries_are_noticed(service: Service, talking: Callable[[Talk], None], how: str) -> None:
    """One message that is lost, doubled, cut or bounced ends the benchmark."""
    with (
        tampered(service.endpoint, once(TAMPERS[how])) as endpoint,
        talking_clients(endpoint, MECHANISM, CLIENTS) as clients,
    ):
        clients.open(CLIENTS)
        with pytest.raises(ServerError, match="the load generator ended"):
            talking(Talk(service, clients))
