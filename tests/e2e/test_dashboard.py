"""The dashboard in a real browser, by itself and with links: its numbers are those of /metrics; search, kick, token."""

import asyncio
import base64
import http.client
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from megaphone.cli.output import latency
from tests.e2e.edges import edge_in, plain_listener
from tests.link.server import run
from tests.scenarios.light import LightClient
from tests.scenarios.websocket_client import WebSocketClient
from tests.servers.certificates import CertificateAuthority
from tests.servers.chromium import Chromium, browsing
from tests.servers.megaphone import Edge
from tests.servers.model import ALICE, BOB
from tests.servers.process import LOOPBACK, wait_until

TOKEN = "an-operators-token-for-tests"
# What changes while nobody does anything: it must lie between two scrapes, or be compared with another look.
RESTLESS = re.compile("resident|open_fds|round_trip|check_duration|link_(bytes|kept|unsent)|link_frames")
NUMBERS = """[...document.querySelectorAll('[data-metric]')]
  .filter(e => !('rate' in e.dataset) && e.dataset.value !== '')
  .map(e => [e.dataset.metric, e.dataset.merge ?? 'sum', e.dataset.format, Number(e.dataset.value), e.textContent])"""

Samples = list[tuple[str, dict[str, str], float]]


def with_token(edge: Edge) -> None:
    """A token for operators, WebSockets where there is direct TLS, and a plain listener."""
    path = edge.directory / "token"
    path.touch(0o600)
    path.write_text(TOKEN + "\n")
    edge.tables["admin"]["token_file"] = "token"
    edge.plain = plain_listener(edge)  # type: ignore[attr-defined]
    edge.tables["listen"][1] |= {"tls": "both", "web": ["websocket"]}
    edge.tables["websocket"] = {"ping_seconds": 600.0}


by_itself = edge_in("by_itself", with_token)
linked_to_prosody = edge_in("linked_to_prosody", with_token)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    with browsing(tmp_path_factory.mktemp("browser")) as started:
        yield started


def scrape(edge: Edge) -> Samples:
    """/metrics, read by Prometheus' own parser."""
    return [
        (sample.name, sample.labels, sample.value)
        for family in text_string_to_metric_families(edge.request("GET", "/metrics"))
        for sample in family.samples
    ]


def worth(expression: str, merge: str, samples: Samples) -> float:
    """What the page's expression is worth in a scrape, worked out here for a second time."""

    def of_term(text: str) -> float:
        name, _, labels = text.strip().partition("{")
        wanted = dict(re.findall(r'(\w+)="([^"]*)"', labels))
        values = [value for each, carried, value in samples if each == name and wanted.items() <= carried.items()]
        assert values, text
        return max(values) if merge == "max" else sum(values)

    def of_terms(text: str) -> float:
        first, *rest = map(of_term, text.split(" - "))
        return first - sum(rest)

    above, *below = map(of_terms, expression.split(" / "))
    return above / below[0] if below else above


def in_words(value: float, format_: str) -> str:
    """How the page writes it, in Python."""
    if format_ == "count":
        return f"{value:,.0f}"
    if format_ == "seconds":
        return latency(value)
    assert format_ == "bytes"
    for unit, size in (("B", 1), ("kB", 1e3), ("MB", 1e6), ("GB", 1e9)):
        if value < size * 999.95 or (unit == "B" and round(value) < 1000):
            return f"{value / size:.0f} B" if unit == "B" else f"{value / size:.1f} {unit}"
    raise AssertionError(value)


def open_dashboard(browser: Chromium, edge: Edge) -> None:
    browser.open("about:blank")
    browser.open(f"http://{LOOPBACK}:{edge.admin_port}/")
    browser.wait("document.body?.dataset.looks >= 1")


def unlock(browser: Chromium, token: str = TOKEN) -> None:
    browser.fill("#token", token)
    browser.click("#unlock button")


async def people(edge: Edge, authority: CertificateAuthority) -> list[Any]:
    """Two over TCP, one over WebSocket, one who was told to come back with another name."""
    clients: list[Any] = [await LightClient.login(edge.direct, each, authority.certificate) for each in (ALICE, BOB)]
    clients.append(await WebSocketClient.login(edge.direct, BOB, authority.certificate))
    reader, writer = await asyncio.open_connection(LOOPBACK, edge.plain.port)  # type: ignore[attr-defined]
    writer.write(b"<stream:stream to='nowhere.test' version='1.0' xmlns='jabber:client' "
                 b"xmlns:stream='http://etherx.jabber.org/streams'>")  # fmt: skip
    await reader.read()
    writer.close()
    return clients


@pytest.mark.parametrize("which", ["by_itself", "linked_to_prosody"])
def test_every_number_is_that_of_metrics(
    request: pytest.FixtureRequest, which: str, authority: CertificateAuthority, browser: Chromium
) -> None:
    edge: Edge = request.getfixturevalue(which)

    async def main() -> None:
        clients = await people(edge, authority)
        await asyncio.to_thread(check)
        for client in clients:
            await client.close()

    def check() -> None:
        open_dashboard(browser, edge)
        wait_until(lambda: edge.metric("megaphone_connections") == 3, "the end of who came for a wrong domain")
        browser.wait("Boolean(document.querySelector('[data-metric*=client_round_trip]').dataset.value)")
        for _ in range(30):
            before = scrape(edge)
            looks = browser.run("document.body.dataset.looks")
            browser.wait(f"document.body.dataset.looks > {looks}")
            numbers = browser.run(NUMBERS)
            after = scrape(edge)
            wrong = [
                (expression, value, shown)
                for expression, merge, kind, value, shown in numbers
                if not between(expression, merge, kind, value, before, after) or not written(value, kind, shown)
            ]
            if not wrong:
                break
        assert not wrong
        metrics = {name for number in numbers for name in re.findall(r"megaphone_\w+", number[0])}
        assert {"megaphone_connections", "megaphone_websocket_connections", "megaphone_stanzas_total"} <= metrics
        assert {"megaphone_connections_closed_total", "megaphone_worker_cpu_seconds_total"} - metrics == {
            "megaphone_worker_cpu_seconds_total"  # shown as a rate only
        }
        round_trips = {number[0]: number[3] for number in numbers if "client_round_trip" in number[0]}
        assert len(round_trips) == 2
        assert all(0 < value < 1 for value in round_trips.values())
        assert ("megaphone_link_round_trip_seconds" in shown_tables(browser)) == (which == "linked_to_prosody")
        assert "host-unknown" in browser.run("document.querySelector('#reasons').innerText")
        assert cells(browser, "transports") == [["TCP", "2"], ["WebSocket", "1"], ["BOSH", "0"], ["HTTP", "0"]]

    run(main())


def shown_tables(browser: Chromium) -> str:
    """The expressions of what can be seen."""
    return str(browser.run(
        "[...document.querySelectorAll('[data-metric]')].filter(e => e.offsetParent).map(e => e.dataset.metric).join()"
    ))  # fmt: skip


def cells(browser: Chromium, table: str) -> list[list[str]]:
    script = f"[...document.querySelectorAll('#{table} tbody tr')].map(r => [...r.cells].map(c => c.innerText))"
    found: list[list[str]] = browser.run(script)
    return found


def between(expression: str, merge: str, kind: str, value: float, before: Samples, after: Samples) -> bool:
    """Whether it is what /metrics says; of what changes by itself, nearly."""
    if kind == "age" or "loop_lag" in expression:  # tests/unit/supervisor/test_feed.py has them at rest
        return 0 <= value < 600
    bounds = sorted((worth(expression, merge, before), worth(expression, merge, after)))
    if RESTLESS.search(expression):
        return bounds[0] * 0.5 <= value <= bounds[1] * 2 or bounds[0] == bounds[1] == 0
    return bounds[0] - 1e-9 <= value <= bounds[1] + 1e-9


def written(value: float, kind: str, shown: str) -> bool:
    return bool(re.fullmatch(r"\d+ [smhd]( \d+ [smh])?", shown)) if kind == "age" else in_words(value, kind) == shown


def test_rates_are_what_counters_grow_by(by_itself: Edge, browser: Chromium) -> None:
    open_dashboard(browser, by_itself)

    def feed(at_seconds: float, number: float) -> str:
        counters = [[{"kind": "a, }"}, number], [{"kind": "b"}, 5]]
        return json.dumps({"at_seconds": at_seconds, "metrics": {"m_total": counters, "n": [[{}, 4]]}})

    def told(what: str, expression: str) -> Any:
        words = f"m.{what}({json.dumps(expression)}, {feed(12, 30)}{'' if what == 'value' else ', ' + feed(10, 10)})"
        return browser.run(f"import('/dashboard/numbers.js').then(m => {words})")

    assert told("rate", "m_total") == 10
    assert told("rate", 'm_total{kind="b"}') == 0
    assert told("value", 'm_total{kind="a, }"} - n / n') == (30 - 4) / 4
    assert told("value", "m_total") == 35
    assert told("value", "m_total - nobody_counts_this") is None


def test_times_are_written_as_on_the_command_line(by_itself: Edge, browser: Chromium) -> None:
    open_dashboard(browser, by_itself)
    values = [0, 0.000_004, 0.000_034, 0.000_951, 0.000_994, 0.000_996, 0.0123, 0.4567, 0.9994, 1, 1.234, 75.5]
    written = browser.run(f"import('/dashboard/formats.js').then(m => {values}.map(m.seconds))")
    assert written == [latency(value) for value in values]
    assert written[:3] == ["0 ms", "0.00 ms", "0.03 ms"]


def test_operators_see_and_kick_who_is_connected(
    by_itself: Edge, authority: CertificateAuthority, browser: Chromium
) -> None:
    async def main() -> None:
        clients = await people(by_itself, authority)
        kicked = clients[0]
        before = await asyncio.to_thread(by_itself.metric, "megaphone_connections_closed_total", reason="kicked")
        steer(kicked.jid)  # clients stand still meanwhile, so that who is kicked does not end the stream itself
        assert await kicked.end() == "policy-violation"
        after = await asyncio.to_thread(by_itself.metric, "megaphone_connections_closed_total", reason="kicked")
        assert after == before + 1
        for client in clients[1:]:
            await client.close()

    def steer(jid: str) -> None:
        open_dashboard(browser, by_itself)
        assert browser.run("document.querySelectorAll('.grave:not(dialog *)').length") == 0
        assert jid not in browser.run("document.body.innerText")
        unlock(browser, "x" * 20)
        browser.wait("document.querySelector('#token').placeholder === 'this is not the token of operators'")
        assert browser.run("document.querySelectorAll('.grave:not(dialog *)').length") == 0
        unlock(browser)
        browser.wait("document.querySelectorAll('#connections tbody tr').length === 3")
        browser.wait("document.querySelectorAll('#talkers tbody tr').length === 3")
        for table in ("connections", "talkers"):
            shown = [row[9] for row in cells(browser, table)]
            assert all(re.fullmatch(r"\d+\.\d+ ms", each) for each in shown), shown
        rows = by_itself.request("GET", "/page")["connections"]
        assert sorted(row["transport"] for row in rows) == ["tcp", "tcp", "websocket"]
        assert all(row["tls"] and 0 < row["round_trip_seconds"] < 1 for row in rows)
        carried = [row["bytes_in"] + row["bytes_out"] for row in talkers(by_itself)]
        assert carried == sorted(carried, reverse=True)
        browser.fill("#operator input[type=search]", jid.upper()[:8])
        browser.wait("document.querySelectorAll('#connections tbody tr').length === 1")
        assert cells(browser, "connections")[0][:2] == ["Kick", jid]
        browser.click("#connections .grave")
        browser.click("#sure .grave")
        browser.wait("document.querySelectorAll('#connections tbody tr').length === 0")
        requested = "performance.getEntriesByType('resource').map(e => e.name)"
        assert all(each.startswith(f"http://{LOOPBACK}:{by_itself.admin_port}/") for each in browser.run(requested))
        assert not any(TOKEN in each for each in browser.run(requested))
        assert browser.run("document.cookie + localStorage.length + sessionStorage.length") == "00"

    run(main())


def talkers(edge: Edge) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = edge.request("GET", "/talkers")["connections"]
    return found


def ask(edge: Edge, method: str, path: str, **headers: str) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection(LOOPBACK, edge.admin_port, timeout=30)
    try:
        connection.request(method, path, headers=headers)
        answer = connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
    finally:
        connection.close()


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
def test_files_are_modules_without_anything_inline(by_itself: Edge, tmp_path: Path) -> None:
    """As a policy that allows nothing inline is of use only where there is nothing."""
    status, headers, page = ask(by_itself, "GET", "/")
    assert status == 200
    policy = headers["content-security-policy"]
    assert policy.startswith("default-src 'none';")
    assert "unsafe" not in policy
    assert b"style=" not in page
    assert not re.search(rb"<script(?![^>]*src=)|\son\w+=", page)
    for path in {path.decode() for path in re.findall(rb'(?:src|href)="([^"]+)"', page)}:
        assert path.startswith("/dashboard/")
        status, headers, content = ask(by_itself, "GET", path)
        assert (status, headers["x-content-type-options"]) == (200, "nosniff")
        if path.endswith(".js"):
            (tmp_path / "module.mjs").write_bytes(content)
            subprocess.run(["node", "--check", tmp_path / "module.mjs"], check=True, timeout=60)


@pytest.mark.parametrize(
    "header", [f"Basic {base64.b64encode(TOKEN.encode()).decode()}", TOKEN, f"Bearer {TOKEN}x", "Bearer "]
)
def test_without_the_token_nobody_is_named_or_ended(by_itself: Edge, header: str) -> None:
    for method, path in [
        ("GET", "/page"),
        ("GET", "/talkers"),
        ("GET", "/nodes"),
        ("POST", "/kick"),
        ("POST", "/drain"),
    ]:
        for headers in ({}, {"Authorization": header}, {"Cookie": f"token={TOKEN}"}):
            status, answered, body = ask(by_itself, method, f"{path}?token={TOKEN}", **headers)
            assert (status, answered["www-authenticate"]) == (401, 'Bearer realm="megaphone"'), (path, headers)
            assert json.loads(body).keys() == {"error"}
    assert b"@" not in ask(by_itself, "GET", "/dashboard.json")[2]
