"""The report of a run: report.json, small, and report.html beside it."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from loadtest.million import page
from loadtest.million.hold import Outcome
from loadtest.million.plan import Plan
from loadtest.million.timeline import thinned
from loadtest.million.verdicts import all_met
from loadtest.million.watch import Watch

POINTS: Final = 300
ENDED: Final = "complete"


def content(
    plan: Plan, outcome: Outcome, watch: Watch, facts: Mapping[str, Any], *, began: str, ended: str, settings: Any
) -> dict[str, Any]:
    """Everything worth keeping; `ended` is ENDED, or why the run has ended early."""
    points = thinned(watch.timeline.points, POINTS)
    return {
        "kind": plan.kind,
        "command": plan.command,
        "began": began,
        "ended": ended,
        "met": ended == ENDED and bool(outcome.verdicts) and all_met(outcome.verdicts),
        "verdicts": [verdict.as_json() for verdict in outcome.verdicts],
        "plan": {
            "sessions": plan.sessions,
            "hold_seconds": plan.hold_seconds,
            "messages_per_second": plan.rate,
            "logins_in_flight": plan.in_flight,
            "keep_alive_seconds": plan.keep_alive_seconds,
            "body_bytes": plan.body_bytes,
            "tls": plan.tls,
            **({"tls12_of_these": plan.tls12} if plan.tls12 else {}),
            **({"churn_per_second": plan.churn} if plan.kind == "soak" else {}),
        },
        **facts,
        "settings_changed": settings,
        "figures": {
            **outcome.figures,
            "machine_stalled_seconds": watch.sampler.stalled_seconds(),
            "longest_pause_seconds": round(watch.longest_pause, 2),
        },
        "counters": {name: count for name, count in sorted(watch.generator.counters().items()) if count},
        "failures": dict(watch.generator.failures().most_common(50)),
        "server_log": watch.server.troubles(),
        "percentiles": [50, 99, 99.9],
        "points": [point.as_json() for point in points],
    }


def write(report: Mapping[str, Any], directory: Path) -> tuple[Path, Path]:
    """Write both files; their paths, HTML first."""
    directory.mkdir(parents=True, exist_ok=True)
    html, data = directory / "report.html", directory / "report.json"
    data.write_text(dump(report))
    html.write_text(page.render(report))
    return html, data


def dump(report: Mapping[str, Any]) -> str:
    """JSON with a line for each key, and for each point."""
    lines = []
    for key, value in report.items():
        if key in ("points", "verdicts") and value:
            rows = ",\n    ".join(json.dumps(row, ensure_ascii=False) for row in value)
            lines.append(f'  "{key}": [\n    {rows}\n  ]')
        else:
            lines.append(f'  "{key}": {json.dumps(value, ensure_ascii=False)}')
    return "{\n" + ",\n".join(lines) + "\n}\n"
