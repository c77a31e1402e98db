"""Every query of the dashboard and of the rules, asked of a real Prometheus that scrapes real nodes with real clients.

A chat service, and an edge that reaches one domain directly and another one through links and a hub: together they have
every metric there is. What is asked for must be there, so a name, a label or a value that no node has fails here.
"""

import asyncio
import contextlib
import math
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from megaphone.host.needs import descriptors_of_worker
from megaphone.metrics.table import METRICS
from tests.scenarios.light import LightClient
from tests.servers.certificates import CertificateAuthority
from tests.servers.embedded import Embedded
from tests.servers.hub import Hub
from tests.servers.megaphone import Edge, upstream_of
from tests.servers.model import ALICE, BOB, DAVE, DOMAIN, SECOND_DOMAIN, Account, Endpoint
from tests.servers.process import LOOPBACK, ServerError, wait_until
from tests.servers.prometheus import Prometheus
from tests.servers.prosody import Prosody
from tests.unit.deploy.expressions import Asked, of_dashboard, of_rules

VARIABLES = {"$job": "megaphone-.*", "$instance": ".*", "$__rate_interval": "10m"}
# Nothing to be seen while all is well, or at least not in a minute.
RIGHTLY_EMPTY = {
    "Workers replaced": "no worker died",
    "Connections that changed their process, {{instance}} {{worker}} took over": "no node was upgraded",
    "Workers without NATS, {{instance}}": "all nodes of clusters have their NATS, or there is no cluster",
    "instance:megaphone_memory_per_connection:bytes": "of nodes with more than 1,000 connections",
}
STAGE_SECONDS = 60.0


class Stage:
    """The nodes, and the Prometheus that watches them."""

    def __init__(self, directory: Path, authority: CertificateAuthority, prosody: Prosody) -> None:
        self.authority = authority.certificate
        self.service = Embedded(directory / "service", authority)
        self.service.tables["limits"]["preauth_seconds"] = 600
        self.service.register()
        self.hub = Hub(directory / "hub", [upstream_of(prosody)])
        assert isinstance(self.hub.link, tuple)
        linked = {
            "name": "linked",
            "address": f"{LOOPBACK}:{self.hub.link[1]}",
            "mode": "link",
            "secret_file": str(self.hub.directory / "link.secret"),
            "opening_streams": 1,  # so that some have to wait
        }
        self.edge = Edge(directory / "edge", authority, [upstream_of(prosody, "direct"), linked], workers=1)
        self.edge.tables["domain"] = [
            {"name": DOMAIN, "upstreams": ["direct"]},
            {"name": SECOND_DOMAIN, "upstreams": ["linked"]},
        ]
        self._visitor: socket.socket | None = None
        nodes = {"service": self.service, "edge": self.edge, "hub": self.hub}
        self.prometheus = Prometheus(
            directory / "prometheus",
            {f"megaphone-{job}": [f"{LOOPBACK}:{node.admin_port}"] for job, node in nodes.items()},
        )

    def start(self) -> None:
        """All of them, the edge after its hub; Prometheus has looked twice, and one connection stays."""
        for each in (self.prometheus, self.service, self.hub, self.edge):
            each.start()
        self.prometheus.wait_ready()
        self._visitor = socket.create_connection((self.service.plain.host, self.service.plain.port))
        wait_until(lambda: self._is_there("count(count_over_time(megaphone_build_info[1m]) >= 2) == 3"), "2 scrapes")

    def stop(self) -> None:
        """The last one first."""
        for each in (self.prometheus, self.edge, self.hub, self.service):
            each.stop()
        if self._visitor is not None:
            self._visitor.close()

    def _is_there(self, expression: str) -> bool:
        return bool(self.prometheus.query(expression))

    def found(self, expression: str) -> bool:
        """Whether the expression has a result that is a number."""
        return any(not math.isnan(value) for _, value in self.prometheus.query(expression))

    async def talk(self) -> None:
        """Clients of each node log in, say something, and go; some have to wait, one is refused by a limit."""
        for node, endpoint in ((self.service, self.service.direct), (self.edge, self.edge.starttls)):
            await self._say(endpoint, ALICE, BOB, node.name if isinstance(node, Embedded) else "edge")
        async with asyncio.timeout(STAGE_SECONDS):
            while not await asyncio.to_thread(self.edge.metric, "megaphone_admission_waited_total"):
                await asyncio.gather(*(self._say(self.edge.direct, DAVE, DAVE, f"linked {each}") for each in range(6)))
        await asyncio.to_thread(self._too_deep, self.service.plain)

    async def _say(self, endpoint: Endpoint, one: Account, other: Account, text: str) -> None:
        async with contextlib.AsyncExitStack() as stack:
            clients = []
            for account in (one, other):
                client = await LightClient.login(endpoint, account, self.authority)
                stack.push_async_callback(client.close)
                clients.append(client)
            clients[0].message(clients[1].jid, text)
            while (await clients[1].next()).findtext("{jabber:client}body") != text:
                pass

    def _too_deep(self, endpoint: Endpoint) -> None:
        header = f"<stream:stream to='{DOMAIN}' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' "
        with socket.create_connection((endpoint.host, endpoint.port), timeout=STAGE_SECONDS) as connection:
            connection.sendall(f"{header}version='1.0'>".encode())
            connection.recv(4096)
            connection.sendall(b"<a>" * 100)
            while connection.recv(4096):
                pass


@pytest.fixture(scope="module")
def stage(
    tmp_path_factory: pytest.TempPathFactory, authority: CertificateAuthority, prosody_behind_edge: Prosody
) -> Iterator[Stage]:
    """Everything runs, and clients have talked since Prometheus first looked."""
    stage = Stage(tmp_path_factory.mktemp("monitoring"), authority, prosody_behind_edge)
    try:
        stage.start()
        asyncio.run(stage.talk())
        yield stage
    finally:
        stage.stop()


def filled_in(expression: str) -> str:
    """With the variables' values, as Grafana does it."""
    for name, value in VARIABLES.items():
        expression = expression.replace(name, value)
    return expression


@pytest.mark.parametrize("asked", [*of_dashboard(), *of_rules("record")], ids=lambda asked: asked.place)
def test_a_query_has_a_result(stage: Stage, asked: Asked) -> None:
    expression = filled_in(asked.expression)
    if asked.place in RIGHTLY_EMPTY:
        stage.prometheus.query(expression)  # an error in it is one all the same
        return
    wait_until(lambda: stage.found(expression), expression, STAGE_SECONDS)


@pytest.mark.parametrize(
    "asked",
    [*of_dashboard(), *of_rules("record"), *of_rules("alert")],
    ids=lambda asked: asked.place,
)
def test_every_series_that_is_selected_is_there(stage: Stage, asked: Asked) -> None:
    """Also of what is empty while all is well: a label or value that no node has can never fire."""
    for name, matchers in asked.selectors:
        selector = filled_in(f"{name}{matchers}")
        if name not in RIGHTLY_EMPTY:
            wait_until(lambda selector=selector: stage.found(selector), selector, STAGE_SECONDS)


def test_a_name_that_no_node_has_would_be_noticed(stage: Stage) -> None:
    assert not stage.found(filled_in('sum(megaphone_connectoins{job=~"$job"})'))
    assert not stage.found('megaphone_links{state="broke"}')


def test_prometheus_evaluates_every_rule_and_finds_nothing_wrong(stage: Stage) -> None:
    def rules() -> list[dict]:
        return [rule for group in stage.prometheus.get("rules")["groups"] for rule in group["rules"]]

    wait_until(lambda: all(rule["health"] != "unknown" for rule in rules()), "the rules' first turn", STAGE_SECONDS)
    assert {rule["name"] for rule in rules()} == {rule.place for kind in ("alert", "record") for rule in of_rules(kind)}
    assert [rule["name"] for rule in rules() if rule["health"] != "ok"] == []
    assert stage.prometheus.query('ALERTS{alertstate="firing", severity="critical"}') == []


def test_all_that_nodes_show_is_scraped(stage: Stage) -> None:
    """The three nodes together have a sample of every metric of the reference."""

    def missing() -> set[str]:
        names = set(stage.prometheus.get("label/__name__/values"))
        return {metric.name for metric in METRICS if not {metric.name, f"{metric.name}_bucket"} & names}

    with contextlib.suppress(ServerError):  # then it is told what is missing
        wait_until(lambda: not missing(), "all metrics are scraped", STAGE_SECONDS)
    assert missing() == set()


@pytest.mark.parametrize(
    ("job", "direct", "embedded", "workers"), [("service", False, True, 2), ("edge", True, False, 1)]
)
def test_a_worker_has_no_more_descriptors_than_the_arithmetic_says(
    stage: Stage, job: str, direct: bool, embedded: bool, workers: int
) -> None:
    """That of `megaphone check --host`."""
    node = f'{{job="megaphone-{job}"}}'
    for labels, most in stage.prometheus.query(f"max_over_time(megaphone_worker_open_fds{node}[10m])"):
        worker = f'{{job="megaphone-{job}", worker="{labels["worker"]}"}}'
        ((_, accepted),) = stage.prometheus.query(f"megaphone_connections_accepted_total{worker}")
        needed = descriptors_of_worker(int(accepted), direct=direct, embedded=embedded, workers=workers)
        assert 10 < most <= needed
