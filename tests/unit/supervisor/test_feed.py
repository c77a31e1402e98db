"""The dashboard's feed says what /metrics says, and nothing about anybody; and the files that show it."""

import hashlib
import json
import re

import pytest
from prometheus_client.parser import text_string_to_metric_families

from megaphone.dispatch.counters import BOARD_BYTES, Slot
from megaphone.metrics.table import METRICS
from megaphone.supervisor.feed import SHOWN
from megaphone.supervisor.pages import DIRECTORY, files
from tests.unit.supervisor.node_under_test import RunNode

PROCESS = re.compile("resident|cpu|open_fds")  # of the process, which does not stand still
UPSTREAM_SLOTS_AND_ABOVE = 256


@pytest.mark.trio
async def test_the_feed_is_what_metrics_says(run_node: RunNode) -> None:
    async with run_node(workers=2) as node:
        await node.wait_ready()
        for seat in node.supervisor.seats:  # every counter another number, so that none can pass for another
            for slot in range(Slot.LOOP_LAG_NS, BOARD_BYTES // 8):
                if slot not in (Slot.HEARTBEAT_NS, Slot.STARTED_NS, Slot.GENERATION) and slot < 2304:
                    seat.board.counters.set(slot, slot * 2 + seat.index)
        feed = json.loads((await node.control("/dashboard.json"))[1])
        _, page = await node.get("/metrics")
        compared = 0
        for family in text_string_to_metric_families(page):
            for sample in family.samples:
                if sample.name.endswith("_bucket") or sample.name not in feed["metrics"]:
                    continue
                told = [value for labels, value in feed["metrics"][sample.name] if labels == sample.labels]
                assert len(told) == 1, sample
                if not PROCESS.search(sample.name):
                    assert told[0] == pytest.approx(sample.value, rel=1e-12), sample
                    compared += 1
        assert compared > 100
        assert (feed["phase"], feed["ready"], feed["kind"], feed["token"]) == ("running", True, "edge", False)
        assert feed["uptime_seconds"] >= 0


def test_the_feed_names_metrics_that_there_are() -> None:
    assert {metric.name for metric in METRICS} >= SHOWN


def test_the_page_names_metrics_of_the_feed() -> None:
    """With what Prometheus appends to the name of a histogram."""
    text = "".join(path.read_text() for path in DIRECTORY.glob("*.*"))
    named = set(re.findall(r"megaphone_\w+", text))
    assert len(named) > 30
    histograms = {f"{name}_{part}" for name in SHOWN for part in ("sum", "count", "")}
    assert {name.removesuffix("_") for name in named} <= SHOWN | {name.rstrip("_") for name in histograms}


def test_vendored_files_are_those_that_were_published() -> None:
    manifest = json.loads((DIRECTORY / "uplot" / "manifest.json").read_text())
    found = {
        path.name: f"sha256-{hashlib.sha256(path.read_bytes()).hexdigest()}"
        for path in (DIRECTORY / "uplot").iterdir()
        if path.name != "manifest.json"
    }
    assert found == manifest["files"]
    assert manifest["licence"] in (DIRECTORY / "uplot" / "LICENSE").read_text()


def test_pages_ask_nobody_else() -> None:
    for path, answer in files().items():
        if "uplot" not in path and not path.endswith(".svg"):
            assert not re.findall(rb"https?://", answer.body), path
        assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'; script-src 'self'")
    assert sum(len(answer.body) for answer in files().values()) < 300_000
