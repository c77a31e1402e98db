"""The pages: out of a report, without anything from elsewhere, with what was missed said first."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from loadtest.million import growth, page, picture, report, verdicts
from loadtest.million.charts import bands
from loadtest.million.timeline import Point
from loadtest.swarm import Histogram

MEMORY = {
    "workers": 4_000_000_000,
    "supervisor": 50_000_000,
    "server_kernel": 4_100_000_000,
    "generator": 900_000_000,
    "generator_kernel": 4_300_000_000,
}


def points() -> list[dict[str, Any]]:
    return [
        Point(
            at=float(at),
            seconds=1.0,
            phase="ramp" if at < 5 else "hold",
            open=100 * at,
            counts={"logins": 100, "chat_received": 50 if at >= 5 else 0},
            cpu={"workers": 0.5, "generator": 0.4},
            memory=MEMORY,
            durations={"chat": Histogram.of([0.001, 0.1]), "login": Histogram.of([0.01])},
        ).as_json()
        for at in range(1, 11)
    ]


@pytest.fixture
def content() -> dict[str, Any]:
    return {
        "kind": "hold",
        "command": "python -m loadtest.million --output 'a<b>'",
        "began": "2026-11-26T10:00:00+00:00",
        "ended": report.ENDED,
        "met": True,
        "verdicts": [verdicts.lost(0).as_json(), verdicts.memory(9_000_000_000).as_json()],
        "plan": {"sessions": 1_000, "hold_seconds": 600.0, "messages_per_second": 50.0},
        "machine": {"processor": "A & B", "cores": 2, "memory_gb": 25.3, "kernel": "6.1"},
        "versions": {"megaphone": "0.1.0"},
        "size": {"sessions": 1_000, "workers": 2, "load_processes": 3},
        "settings_changed": {"net.ipv4.tcp_mem": [1, 2, 3]},
        "figures": {
            "chat_ms": {"count": 5, "p50": 1.0, "p99": 2.0},
            "workers_cpu_us": {"per_login": 250.0, "per_message": 80.0},
            "generator_cpu_us": {"per_login": 100.0, "per_message": 40.0},
            "memory_bytes": MEMORY,
            "memory_empty_bytes": {},
            "memory_unaccounted_bytes": 1_000_000,
            "session_user_bytes": 3_600,
            "session_kernel_bytes": 4_000,
        },
        "counters": {"logins": 1_000},
        "failures": {"login:timeout": 3},
        "server_log": ["<script>"],
        "points": points(),
    }


class Elements(HTMLParser):
    """Counts elements, and insists on each being closed."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.seen.append(tag)
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: Any) -> None:
        self.seen.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_a_page_is_whole_and_asks_nobody(content: dict[str, Any]) -> None:
    made = page.render(content)
    elements = Elements()
    elements.feed(made)
    assert elements.open == []
    assert elements.seen.count("figure") == 7
    assert elements.seen.count("svg") == 14  # for wide and for narrow screens
    assert "script" not in elements.seen
    assert "link" not in elements.seen
    assert not re.search(r"https?:|src=|url\(|@import", made.replace("http://www.w3.org/2000/svg", ""))
    for word in ("1,000 sessions on one machine", "A &amp; B", "a&lt;b&gt;", "login:timeout", "1 2 3"):
        assert word in made


def test_a_page_says_that_there_was_tls(content: dict[str, Any]) -> None:
    assert "3 load processes; 50 messages/s" in page.render(content)
    content["plan"]["tls"] = 1.0
    assert "3 load processes, TLS; 50 messages/s" in page.render(content)
    content["plan"] |= {"tls": 0.8, "tls12_of_these": 0.05}
    assert "processes, TLS for 80% of the sessions (5% of these 1.2); 50 messages/s" in page.render(content)


def test_a_page_of_an_upgrade(content: dict[str, Any]) -> None:
    silence = verdicts.silence(Histogram.of([0.2, 0.01]), Histogram.of([0.004]))
    content |= {"kind": "upgrade", "verdicts": [silence.as_json()]}
    content["figures"] |= {
        "upgrade_workers": {"worker 0": {"moved": 512, "ended": 1, "seconds": 2.5}},
        "memory_before_bytes": MEMORY,
        "memory_after_bytes": {**MEMORY, "workers": 4_100_000_000},
        "longest_silence_in_the_upgrade_ms": {"count": 2, "p50": 10.0},
    }
    made = page.render(content)
    elements = Elements()
    elements.feed(made)
    assert elements.open == []
    for word in ("Upgrade under 1,000 sessions", "between the same two each", "before it p50 4 ms", "4,100", "512"):
        assert word in made


def test_what_was_missed_is_said_first(content: dict[str, Any]) -> None:
    assert "all 2 figures met" in page.render(content)
    content["verdicts"].append(verdicts.lost(7).as_json())
    assert "1 of 3 figures missed" in page.render(content)
    content["ended"] = "load process 7 has ended\nmore"
    assert "ended early: load process 7 has ended<" in page.render(content)


def test_a_run_that_ended_at_once_has_a_page_too(content: dict[str, Any]) -> None:
    content |= {"points": [], "verdicts": [], "figures": {}, "counters": {}, "failures": {}, "ended": "stopped"}
    assert "ended early: stopped" in page.render(content)


def test_all_variables_have_a_colour(content: dict[str, Any]) -> None:
    made = page.render(content)
    used, light_and_dark = set(re.findall(r"var\((--[\w-]+)\)", made)), re.findall(r"(--[\w-]+):", made)
    assert {name: light_and_dark.count(name) for name in used} == dict.fromkeys(used, 2)


def test_phases_along_the_axis() -> None:
    assert [(band.name, band.low, band.high) for band in bands(points())] == [("ramp", 0.0, 4.0), ("hold", 4.0, 10.0)]


def test_json_has_a_line_for_each_point(content: dict[str, Any], tmp_path: Path) -> None:
    html, data = report.write(content, tmp_path / "new")
    assert json.loads(data.read_text()) == content
    assert sum(line.startswith('    {"at"') for line in data.read_text().splitlines()) == 10
    assert html.read_text() == page.render(content)


def test_pictures_stand_by_themselves(content: dict[str, Any], tmp_path: Path) -> None:
    paths = picture.write(content, tmp_path)
    assert [path.name for path in paths][:2] == ["sessions.svg", "memory.svg"]
    assert len(paths) == 7
    for path in paths:
        text = path.read_text()
        ElementTree.fromstring(text)
        used, defined = set(re.findall(r"var\((--[\w-]+)\)", text)), re.findall(r"(--[\w-]+):", text)
        assert used <= set(defined)
        assert "http" not in text.replace("http://www.w3.org/2000/svg", "")
    assert "kernel, for Megaphone" in paths[1].read_text()


def test_growth_over_several_runs(content: dict[str, Any]) -> None:
    larger = {**content, "plan": {**content["plan"], "sessions": 50_000}, "figures": {"session_user_bytes": 3_500}}
    summary = growth.summarised([content, larger])
    assert [run["values"]["session_user_bytes"] for run in summary["runs"]] == [3_600, 3_500]
    assert summary["runs"][1]["values"]["workers_cpu_us/per_login"] is None
    made = growth.render(json.loads(json.dumps(summary)))
    elements = Elements()
    elements.feed(made)
    assert elements.open == []
    assert "50,000" in made
