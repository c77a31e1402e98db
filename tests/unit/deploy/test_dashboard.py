"""The dashboard: it is what the tables say, laid out well, and nothing of /metrics is missing or misspelt in it."""

import json
import re
from itertools import combinations, pairwise

import pytest

from deploy.grafana.dashboard import ROWS, build, text, with_variables
from megaphone.metrics.table import METRICS
from tests.unit.deploy.expressions import DASHBOARD, Asked, of_dashboard, of_rules

PANELS = [panel for panel in build()["panels"] if panel["type"] != "row"]
NAMES = {metric.name for metric in METRICS} | {
    f"{metric.name}_{part}" for metric in METRICS if metric.type == "histogram" for part in ("bucket", "sum", "count")
}
LABELS = {metric.name: {*metric.labels, "job", "instance"} for metric in METRICS}


def test_the_file_is_what_the_tables_say() -> None:
    assert DASHBOARD.read_text() == text(), "run `python -m deploy.grafana.dashboard`"


def test_panels_do_not_overlap_and_fill_their_rows() -> None:
    places = [panel["gridPos"] for panel in build()["panels"]]
    assert all(place["x"] >= 0 and place["x"] + place["w"] <= 24 for place in places)
    for one, other in combinations(places, 2):
        beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        below = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert beside or below
    assert [place["y"] for place in places] == sorted(place["y"] for place in places)
    for row, after in pairwise(ROWS):
        assert sum(panel.width for panel in row.panels) >= 16, row.title
        assert row.title != after.title


def test_ids_and_titles_are_there_once() -> None:
    ids = [panel["id"] for panel in build()["panels"]]
    assert len(ids) == len(set(ids))
    for row in ROWS:
        titles = [panel.title for panel in row.panels]
        assert len(titles) == len(set(titles))


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel["title"])
def test_a_panel_says_what_it_shows(panel: dict) -> None:
    assert panel["description"].endswith(".")
    assert panel["fieldConfig"]["defaults"]["unit"]
    assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
    lines = [target["legendFormat"] for target in panel["targets"]]
    assert len(set(lines)) == len(lines)
    if panel["type"] == "timeseries":
        assert all(lines)
        for target in panel["targets"]:
            shown = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
            grouped = re.search(r"by \(([^)]*)\)", target["expr"])
            if grouped:  # a label that was added up over would be shown as nothing
                assert shown <= set(re.split(r", *", grouped[1])), target["expr"]


def test_every_selector_follows_the_variables() -> None:
    for asked in of_dashboard():
        assert asked.selectors
        for _, matchers in asked.selectors:
            assert matchers.startswith('{job=~"$job", instance=~"$instance"'), asked


def test_the_variables_are_put_into_selectors_with_and_without_matchers() -> None:
    assert with_variables('sum(rate(megaphone_a_total{b="c"}[1m])) / megaphone_d{}') == (
        'sum(rate(megaphone_a_total{job=~"$job", instance=~"$instance", b="c"}[1m]))'
        ' / megaphone_d{job=~"$job", instance=~"$instance"}'
    )


@pytest.mark.parametrize("asked", [*of_dashboard(), *of_rules("alert"), *of_rules("record")], ids=lambda it: it.place)
def test_only_metrics_that_exist_are_asked_for(asked: Asked) -> None:
    recorded = {rule.place for rule in of_rules("record")}
    for name, matchers in asked.selectors:
        assert name in NAMES | recorded | {"up"}, name
        if name in LABELS:
            assert set(re.findall(r"(\w+)[!=]=?~?", matchers)) <= LABELS[name], matchers


def test_every_metric_is_shown_but_for_those_that_another_says() -> None:
    shown = {name for asked in of_dashboard() for name, _ in asked.selectors}
    unseen = {metric.name for metric in METRICS if not {metric.name, f"{metric.name}_bucket"} & shown}
    assert unseen == {"megaphone_worker_loop_lag_seconds"}  # its worst value of ten is shown


def test_the_dashboard_has_no_ids_of_somebodys_grafana() -> None:
    dashboard = json.loads(DASHBOARD.read_text())
    assert "id" not in dashboard
    assert [variable["name"] for variable in dashboard["templating"]["list"]] == ["datasource", "job", "instance"]
