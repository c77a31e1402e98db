"""report.html: one file without any other; what was measured, in words, cards, plots and tables."""

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any, Final

from loadtest.million.charts import MEMORY, charts
from loadtest.million.plot import NARROW, WIDE, Plot, draw

Report = Mapping[str, Any]

CSS: Final = Path(__file__).with_name("page.css").read_text()

TITLES: Final = {
    "hold": "{sessions:,} sessions on one machine",
    "storm": "Reconnect storm at {sessions:,} sessions",
    "soak": "Soak with {sessions:,} sessions",
    "upgrade": "Upgrade under {sessions:,} sessions",
}
METHOD: Final = """
Both ends of every connection are on this machine. The memory of processes is their PSS (a page that several share
counts in parts) and, as kernel memory, their page and descriptor tables. Of the kernel's memory for sockets each side
has that of its own ends: for each the kernel's objects of a socket in use and its
part of what lies in TCP's buffers; Megaphone also has the sockets between its workers, and the load generator the
buckets of its bound ports. What the machine's free memory has shrunk by beyond all that is "not accounted for". The
CPU time of a packet on loopback counts for its sender. Latencies run from the moment a message is written in one load
process until it is read in another.
"""


def render(report: Report) -> str:
    """The page of a run."""
    title = TITLES[report["kind"]].format(sessions=report["plan"]["sessions"])
    parts = [
        _pill(report),
        f"<h1>{title}</h1>",
        f'<p class="lead">{_lead(report)}</p>',
        cards(report["verdicts"]),
        "<h2>Over time</h2>",
        *(figure(plot) for plot in charts(report)),
        "<h2>Memory</h2>",
        _memory(report),
        "<h2>Failures</h2>",
        _failures(report),
        "<h2>Figures</h2>",
        *_figures(report["figures"]),
        "<h2>Machine</h2>",
        table(_machine(report)),
        "<h2>How it was measured</h2>",
        f"<p>{escape(METHOD.strip())}</p>",
        f"<pre>{escape(report['command'])}</pre>",
        _details("All counters of the load generator", table(_rows(report["counters"]))),
        _details("What Megaphone's log warned of", _log(report["server_log"])) if report["server_log"] else "",
    ]
    return document(title, parts)


def document(title: str, parts: Iterable[str]) -> str:
    """A page without outside requests."""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{CSS}</style></head>\n<body><main>\n"
        + "\n".join(filter(None, parts))
        + "\n</main></body></html>\n"
    )


def figure(plot: Plot) -> str:
    """A plot with its title and legend, once for wide and once for narrow screens."""
    legend = ""
    if len(plot.curves) > 1:
        shown = reversed(plot.curves) if plot.stacked else plot.curves
        legend = "".join(
            f'<span><i style="background:var({curve.colour})"></i>{escape(curve.name)}</span>' for curve in shown
        )
        legend = f'<div class="legend">{legend}</div>'
    return (
        f"<figure><h3>{escape(plot.title)} <span>{escape(plot.unit)}</span></h3>{legend}"
        + draw(plot, WIDE, css_class="wide")
        + draw(plot, NARROW, css_class="narrow")
        + "</figure>"
    )


def cards(verdicts: Sequence[Mapping[str, Any]]) -> str:
    """A card for each verdict."""
    found = []
    for verdict in verdicts:
        state, mark = ("met", "✓") if verdict["met"] else ("missed", "✕")
        found.append(
            f'<div class="card"><div class="name">{escape(verdict["name"])}</div>'
            f'<div class="value">{escape(verdict["shown"])}</div>'
            f'<div class="wanted"><span class="mark {state}">{mark} {state}</span> · {escape(verdict["wanted"])}</div>'
            + (f'<div class="note">{escape(verdict["note"])}</div>' if verdict["note"] else "")
            + "</div>"
        )
    return f'<div class="cards">{"".join(found)}</div>'


def table(rows: Sequence[Sequence[str]], header: Sequence[str] = (), *, sums: int = 0) -> str:
    """A table; all columns but the first are numbers, the last `sums` rows are sums."""
    if not rows:
        return '<p class="soft">none</p>'

    def cells(row: Sequence[str], tag: str) -> str:
        return "".join(
            f"<{tag}{' class=number' if column else ''}>{escape(cell)}</{tag}>" for column, cell in enumerate(row)
        )

    head = f"<thead><tr>{cells(header, 'th')}</tr></thead>" if header else ""
    body = "".join(
        f"<tr{' class=sum' if number >= len(rows) - sums else ''}>{cells(row, 'td')}</tr>"
        for number, row in enumerate(rows)
    )
    return f'<div class="table"><table>{head}<tbody>{body}</tbody></table></div>'


def _pill(report: Report) -> str:
    missed = sum(not verdict["met"] for verdict in report["verdicts"])
    if report["ended"] != "complete":
        return f'<span class="pill missed">ended early: {escape(report["ended"].splitlines()[0])}</span>'
    if missed:
        return f'<span class="pill missed">{missed} of {len(report["verdicts"])} figures missed</span>'
    return f'<span class="pill met">all {len(report["verdicts"])} figures met</span>'


def _lead(report: Report) -> str:
    machine, size, plan = report["machine"], report["size"], report["plan"]
    return escape(
        f"{machine['cores']} x {machine['processor']}, {machine['memory_gb']:g} GB, Linux {machine['kernel']}. "
        f"{size['workers']} workers of Megaphone {report['versions']['megaphone']} and {size['load_processes']} load "
        f"processes{_tls(plan)}; {plan['messages_per_second']:,.0f} messages/s between "
        f"{'the same two each' if report['kind'] == 'upgrade' else 'random pairs'} for "
        f"{_duration(plan['hold_seconds'])}. {report['began'][:10]}."
    )


def _tls(plan: Mapping[str, Any]) -> str:
    part = float(plan.get("tls", 0))
    words = f", TLS for {part:.0%} of the sessions" if 0 < part < 1 else ", TLS" if part else ""
    old = plan.get("tls12_of_these", 0)
    return words + (f" ({old:.0%} of these 1.2)" if old else "")


def _memory(report: Report) -> str:
    figures, sessions = report["figures"], max(1, report["plan"]["sessions"])
    memory, empty = figures.get("memory_bytes"), figures.get("memory_empty_bytes", {})
    if not memory:
        return '<p class="soft">not measured</p>'
    rows = [
        (name, f"{memory[side] / 1e6:,.0f} MB", f"{(memory[side] - empty.get(side, 0)) / sessions:,.0f} bytes")
        for side, name, _ in MEMORY
    ]
    rows.append(("not accounted for", f"{figures['memory_unaccounted_bytes'] / 1e6:,.0f} MB", ""))
    own = ("workers", "supervisor", "server_kernel")
    total, grown = sum(memory[side] for side in own), sum(memory[side] - empty.get(side, 0) for side in own)
    rows.append(("Megaphone and its sockets", f"{total / 1e6:,.0f} MB", f"{grown / sessions:,.0f} bytes"))
    return table(rows, ("", "at the most", "a session"), sums=1)


def _failures(report: Report) -> str:
    rows = [(reason, f"{count:,}") for reason, count in report["failures"].items()]
    return (
        table(rows, ("reason", "how often")) if rows else '<p class="soft">None: nothing failed in the whole run.</p>'
    )


def _figures(figures: Mapping[str, Any]) -> list[str]:
    """Tables of what has several values, by kind, and one of the rest."""
    times = [(_words(name[:-3]), value) for name, value in figures.items() if name.endswith("_ms")]
    costs = [(_words(name[:-7]), value) for name, value in figures.items() if name.endswith("_cpu_us")]
    processors, stalled = figures.get("cpu_of_the_hold"), figures.get("machine_stalled_seconds")
    workers = list(figures.get("upgrade_workers", {}).items())
    sizes = [
        (_words(name[:-6]), {side: round(size / 1e6, 1) for side, size in value.items()})
        for name, value in figures.items()
        if name in ("memory_before_bytes", "memory_most_bytes", "memory_after_bytes")
    ]
    rest = {name: value for name, value in figures.items() if not isinstance(value, Mapping)}
    return [
        _matrix("milliseconds", times),
        _matrix("microseconds of CPU", costs),
        _matrix("processors busy", [("during the hold", processors)]) if processors else "",
        _matrix("seconds stalled for want of", [("whole run", stalled)]) if stalled else "",
        _matrix("MB", sizes),
        _matrix("connections", workers),
        table(_rows(rest)),
    ]


def _matrix(what: str, rows: Sequence[tuple[str, Mapping[str, Any]]]) -> str:
    if not rows:
        return ""
    columns = list(rows[0][1])
    body = [(name, *(_value(values.get(column)) for column in columns)) for name, values in rows]
    return table(body, (what, *map(_words, columns)))


def _machine(report: Report) -> list[tuple[str, str]]:
    rows = [*report["machine"].items(), *report["versions"].items(), *report["size"].items(), *report["plan"].items()]
    rows += [(name, " ".join(map(str, value))) for name, value in report["settings_changed"].items()]
    return [(_words(name), _value(value)) for name, value in rows]


def _rows(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = []
    for name, value in values.items():
        if isinstance(value, Mapping):
            rows += _rows(value, f"{prefix}{_words(name)}: ")
        else:
            rows.append((prefix + _words(name), _value(value)))
    return rows


def _words(name: str) -> str:
    return name if "." in name else name.replace("_", " ")


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        return f"{value:,}"
    return "-" if value is None else str(value)


def _duration(seconds: float) -> str:
    if seconds >= 7200:
        return f"{seconds / 3600:g} hours"
    return f"{seconds / 60:g} minutes" if seconds >= 120 else f"{seconds:g} seconds"


def _details(summary: str, content: str) -> str:
    return f"<details><summary>{escape(summary)}</summary>{content}</details>"


def _log(lines: Sequence[str]) -> str:
    return f"<pre>{escape(chr(10).join(lines))}</pre>"
