"""Writes the Grafana dashboard, `megaphone.json`, from the tables of panels beside it.

    python -m deploy.grafana.dashboard

The JSON is what is imported; the tables are what is read and changed. Colours are Grafana's own, which suit its light
and its dark theme. Every query picks nodes by the variables `job` and `instance`, which `build` writes into it.
"""

import json
import re
from pathlib import Path
from typing import Any, Final

from deploy.grafana.cluster import CLUSTER
from deploy.grafana.node import CONNECTIONS, OPERATORS, OVERVIEW, TRAFFIC, WORKERS
from deploy.grafana.panel import Panel, Query, Row
from deploy.grafana.servers import HUB, LINKS, UPSTREAMS
from deploy.grafana.service import SERVICE
from deploy.grafana.web import WEB

ROWS: Final = (
    Row("Overview", OVERVIEW),
    Row("Connections", CONNECTIONS),
    Row("Traffic and TLS", TRAFFIC),
    Row("Web", WEB),
    Row("Workers", WORKERS),
    Row("Chat service", SERVICE),
    Row("Cluster", CLUSTER),
    Row("Servers behind an edge", UPSTREAMS),
    Row("Links", LINKS),
    Row("Hub", HUB),
    Row("Operators", OPERATORS),
)

FILE: Final = Path(__file__).with_name("megaphone.json")
COLUMNS: Final = 24
ROW_HEIGHT: Final = 1
SELECTOR: Final = re.compile(r"(megaphone_\w+)\{([^}]*)\}")
MATCHERS: Final = 'job=~"$job", instance=~"$instance"'
REPLACED: Final = "sum by (instance, worker, cause) (increase(megaphone_worker_restarts_total{}[1m])) > 0"
DATASOURCE: Final = {"type": "prometheus", "uid": "${datasource}"}


def with_variables(expression: str) -> str:
    """The expression with the variables' matchers in each selector."""

    def selector(found: re.Match[str]) -> str:
        return f"{found[1]}{{{', '.join(filter(None, (MATCHERS, found[2])))}}}"

    return SELECTOR.sub(selector, expression)


def build() -> dict[str, Any]:
    """The dashboard as Grafana keeps it."""
    panels: list[dict[str, Any]] = []
    y = 0
    for row in ROWS:
        panels.append(_row(row, len(panels) + 1, y))
        y += ROW_HEIGHT
        x = height = 0
        for panel in row.panels:
            if x + panel.width > COLUMNS:
                x, y, height = 0, y + height, 0
            panels.append(_panel(panel, len(panels) + 1, {"h": panel.height, "w": panel.width, "x": x, "y": y}))
            x, height = x + panel.width, max(height, panel.height)
        y += height
    return {
        "uid": "megaphone",
        "title": "Megaphone",
        "description": "Edges, chat services and hubs: docs/how-to/monitor.md, docs/reference/metrics.md",
        "tags": ["megaphone", "xmpp"],
        "schemaVersion": 39,
        "version": 1,
        "editable": True,
        "graphTooltip": 1,  # one crosshair for all panels
        "refresh": "30s",
        "time": {"from": "now-3h", "to": "now"},
        "timezone": "",
        "templating": {"list": _variables()},
        "annotations": {"list": _annotations()},
        "panels": panels,
    }


def _variables() -> list[dict[str, Any]]:
    return [
        {
            "name": "datasource",
            "label": "Prometheus",
            "type": "datasource",
            "query": "prometheus",
            "current": {},
            "hide": 0,
            "refresh": 1,
        },
        _variable("job", "Job", "label_values(megaphone_build_info, job)"),
        _variable("instance", "Node", 'label_values(megaphone_build_info{job=~"$job"}, instance)'),
    ]


def _variable(name: str, label: str, query: str) -> dict[str, Any]:
    return {
        "name": name,
        "label": label,
        "type": "query",
        "datasource": DATASOURCE,
        "query": {"query": query, "refId": name},
        "definition": query,
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "current": {"text": ["All"], "value": ["$__all"]},
        "refresh": 2,  # whenever the time range changes
        "sort": 1,
        "hide": 0,
    }


def _annotations() -> list[dict[str, Any]]:
    return [
        {
            "name": "Workers replaced",
            "datasource": DATASOURCE,
            "enable": True,
            "iconColor": "orange",
            "expr": with_variables(REPLACED),
            "step": "60s",
            "titleFormat": "worker {{worker}} of {{instance}}: {{cause}}",
        }
    ]


def _row(row: Row, number: int, y: int) -> dict[str, Any]:
    place = {"h": ROW_HEIGHT, "w": COLUMNS, "x": 0, "y": y}
    return {"id": number, "type": "row", "title": row.title, "collapsed": False, "gridPos": place, "panels": []}


def _panel(panel: Panel, number: int, place: dict[str, int]) -> dict[str, Any]:
    return {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.description,
        "datasource": DATASOURCE,
        "gridPos": place,
        "targets": [_target(query, chr(ord("A") + index), panel) for index, query in enumerate(panel.queries)],
        "fieldConfig": {"defaults": _defaults(panel), "overrides": []},
        "options": _options(panel),
    }


def _target(query: Query, name: str, panel: Panel) -> dict[str, Any]:
    now = panel.kind != "timeseries"
    return {
        "refId": name,
        "datasource": DATASOURCE,
        "expr": with_variables(query.expression),
        "legendFormat": query.legend,
        "instant": now,
        "range": not now,
        **({"format": "table"} if panel.kind == "table" else {}),
    }


def _defaults(panel: Panel) -> dict[str, Any]:
    steps: list[dict[str, Any]] = [{"color": "green" if panel.thresholds else "text", "value": None}]
    steps += [{"color": colour, "value": value} for value, colour in panel.thresholds]
    defaults: dict[str, Any] = {
        "unit": panel.unit,
        "color": {"mode": "thresholds" if panel.kind == "stat" else "palette-classic"},
        "thresholds": {"mode": "absolute", "steps": steps},
    }
    if panel.kind == "timeseries":
        defaults["min"] = 0
        defaults["custom"] = {
            "drawStyle": "line",
            "lineWidth": 1,
            "fillOpacity": 25 if panel.stacked else 0,
            "showPoints": "never",
            "spanNulls": False,
            "stacking": {"mode": "normal" if panel.stacked else "none", "group": "A"},
        }
    return defaults


def _options(panel: Panel) -> dict[str, Any]:
    match panel.kind:
        case "timeseries":
            return {
                "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
                "tooltip": {"mode": "multi", "sort": "desc"},
            }
        case "stat":
            return {
                "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
                "colorMode": "value",
                "graphMode": "none",
                "textMode": "auto",
            }
        case "table":
            return {"showHeader": True}


def text() -> str:
    """The file's text."""
    return json.dumps(build(), indent=2) + "\n"


if __name__ == "__main__":
    FILE.write_text(text())
