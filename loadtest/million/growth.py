"""What a session and a message cost as the number of sessions grows: several runs, one page."""

import argparse
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any, Final

from loadtest.million import page
from loadtest.million.plot import Curve, Plot
from loadtest.million.scale import Scale, linear, short

HOLD_SECONDS: Final = 60.0
SECONDS_OF_A_SESSION: Final = 20.0  # between two messages of one, as long as that is not more than is asked for

# Title, unit, and curves: name, colour and where the value is in a report's figures.
PLOTS: Final[tuple[tuple[str, str, tuple[tuple[str, str, tuple[str, ...]], ...]], ...]] = (
    (
        "Memory of a session",
        "bytes",
        (
            ("workers", "--c1", ("session_user_bytes",)),
            ("kernel, for Megaphone", "--c2", ("session_kernel_bytes",)),
            ("both, and the processes without any session", "--c5", ("session_total_bytes",)),
        ),
    ),
    (
        "CPU of a message",
        "µs, from sender to receiver",
        (
            ("workers", "--c1", ("workers_cpu_us", "per_message")),
            ("load generator", "--c3", ("generator_cpu_us", "per_message")),
        ),
    ),
    (
        "CPU of a login",
        "µs",
        (
            ("workers", "--c1", ("workers_cpu_us", "per_login")),
            ("load generator", "--c3", ("generator_cpu_us", "per_login")),
        ),
    ),
    ("Delivery of a message", "ms, p99", (("p99", "--c1", ("chat_ms", "p99")),)),
)


def run(options: argparse.Namespace) -> int:
    """Run each size, one after the other, and write growth.html and growth.json; 0 if all runs were complete."""
    output = options.output or Path("var") / "growth"
    hold = HOLD_SECONDS if options.hold is None else options.hold
    try:
        sizes = [int(word) for word in options.sizes.split(",")]
    except ValueError:
        print(f"sizes are numbers with commas between them, not {options.sizes!r}", file=sys.stderr)
        return 2
    reports = []
    for sessions in sizes:
        directory = output / str(sessions)
        rate = min(sessions / SECONDS_OF_A_SESSION, 5_000.0 if options.rate is None else options.rate)
        words = ["--sessions", str(sessions), "--hold", f"{hold:g}", "--rate", f"{rate:g}", "--output", str(directory)]
        words += ["--keep-alive", f"{options.keep_alive:g}"]
        words += ["--in-flight", str(options.in_flight)] if options.in_flight else []
        # A process of its own: what one run leaves behind in its parent must not count in the next.
        subprocess.run([sys.executable, "-m", "loadtest.million", *words], check=False)  # noqa: S603 - our own words
        path = directory / "report.json"
        if path.exists():
            reports.append(json.loads(path.read_text()))
    reports += [json.loads(path.read_text()) for path in options.others]
    reports = sorted(
        (each for each in reports if each["ended"] == "complete"), key=lambda each: each["plan"]["sessions"]
    )
    if not reports:
        print("no run was complete", file=sys.stderr)
        return 1
    summary = summarised(reports)
    output.mkdir(parents=True, exist_ok=True)
    (output / "growth.json").write_text(json.dumps(summary, indent=1) + "\n")
    (output / "growth.html").write_text(render(summary))
    print(f"report: {output / 'growth.html'}")
    return 0 if len(reports) == len(sizes) + len(options.others) else 1


def summarised(reports: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What the plots need, of all sizes."""
    return {
        "machine": reports[0]["machine"],
        "versions": reports[0]["versions"],
        "runs": [
            {
                "sessions": report["plan"]["sessions"],
                "command": report["command"],
                "workers": report["size"]["workers"],
                "values": {
                    "/".join(path): value_at(report["figures"], path) for _, _, curves in PLOTS for _, _, path in curves
                },
            }
            for report in reports
        ],
    }


def value_at(figures: Mapping[str, Any], path: Sequence[str]) -> float | None:
    """A value in nested figures; None when it was not measured."""
    value: Any = figures
    for key in path:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value if isinstance(value, int | float) else None


def render(summary: Mapping[str, Any]) -> str:
    """The page."""
    runs = summary["runs"]
    machine = summary["machine"]
    plots = [plot for each in PLOTS if (plot := _plot(runs, *each)) is not None]
    header = ("", *(f"{run['sessions']:,}" for run in runs), "last / first")
    rows = [("workers", *(f"{run['workers']:,}" for run in runs), "")]
    for title, unit, curves in PLOTS:
        for name, _, path in curves:
            values = [run["values"]["/".join(path)] for run in runs]
            shown = ["-" if value is None else f"{value:,g}" for value in values]
            ratio = f"{values[-1] / values[0]:.2f}" if values[0] and values[-1] is not None else "-"
            rows.append((f"{title}, {name} ({unit.partition(',')[0]})", *shown, ratio))
    return page.document(
        "Cost as the number of sessions grows",
        [
            "<h1>Cost as the number of sessions grows</h1>",
            f'<p class="lead">{machine["cores"]} x {escape(machine["processor"])}, {machine["memory_gb"]:g} GB, '
            f"Linux {machine['kernel']}.</p>",
            *(page.figure(plot) for plot in plots),
            page.table(rows, header),
            "<h2>Commands</h2>",
            f"<pre>{escape(chr(10).join(run['command'] for run in runs))}</pre>",
        ],
    )


def _plot(runs: Sequence[Mapping[str, Any]], title: str, unit: str, curves: Any) -> Plot | None:
    sizes = [run["sessions"] for run in runs]
    low, high = min(sizes) / 1.3, max(sizes) * 1.3
    drawn = [
        Curve(name, colour, [(run["sessions"], run["values"]["/".join(path)]) for run in runs], marks=True)
        for name, colour, path in curves
    ]
    values = [value for curve in drawn for _, value in curve.values if value is not None]
    if not values:
        return None
    return Plot(
        title, unit, drawn, x=Scale(low, high, tuple(sizes), logarithmic=True), y=linear(max(values)), x_text=short
    )
