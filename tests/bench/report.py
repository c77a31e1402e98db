"""Figures of a benchmark: medians, ratios, the table, and the closing JSON line."""

import json
import platform
import ssl
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

OURS, PEER = "megaphone", "haproxy"
VERDICTS = {True: "met", False: "MISSED", None: "not measured"}


@dataclass(frozen=True, slots=True)
class Target:
    """What the figure shall be: `of` is "ratio" (to the peer in the same round) or "value"."""

    of: str
    limit: float
    at_most: bool = True

    def met(self, value: float) -> bool:
        """Whether the value is good enough."""
        return value <= self.limit if self.at_most else value >= self.limit


class Figure:
    """One figure, measured for several relays in several rounds: `ours`, and `peer`, the one to compare with."""

    def __init__(
        self,
        name: str,
        unit: str,
        target: Target | None = None,
        digits: int = 2,
        *,
        ours: str = OURS,
        peer: str = PEER,
    ) -> None:
        self.name = name
        self.unit = unit
        self.target = target
        self.digits = digits
        self.ours = ours
        self.peer = peer
        self.rounds: dict[str, list[float]] = {}

    def add(self, relay: str, value: float) -> None:
        """Record the value of one more round."""
        self.rounds.setdefault(relay, []).append(value)

    def value(self, relay: str) -> float | None:
        """The median over the rounds."""
        return median(self.rounds[relay]) if relay in self.rounds else None

    def ratio(self) -> float | None:
        """The median over the rounds of ours divided by the peer's in the same round."""
        if not {self.ours, self.peer} <= self.rounds.keys():
            return None
        pairs = zip(self.rounds[self.ours], self.rounds[self.peer], strict=True)
        return median(ours / peer for ours, peer in pairs)

    def met(self) -> bool | None:
        """Whether the target is met; None without one."""
        if self.target is None:
            return None
        value = self.ratio() if self.target.of == "ratio" else self.value(self.ours)
        return None if value is None else self.target.met(value)

    def as_json(self) -> dict[str, Any]:
        """Everything measured."""
        target = self.target
        return {
            "name": self.name,
            "unit": self.unit,
            **{relay: round(median(values), 4) for relay, values in self.rounds.items()},
            "ratio": None if self.ratio() is None else round(self.ratio() or 0.0, 4),
            "target": target and {"of": target.of, "at_most" if target.at_most else "at_least": target.limit},
            "met": self.met(),
            "rounds": {relay: [round(value, 4) for value in values] for relay, values in self.rounds.items()},
        }


def _cell(figure: Figure, relay: str) -> str:
    values = figure.rounds.get(relay)
    if not values:
        return "-"
    digits = figure.digits
    spread = f" ({min(values):.{digits}f}-{max(values):.{digits}f})" if len(values) > 1 else ""
    return f"{median(values):.{digits}f}{spread}"


def _verdict(figure: Figure) -> str:
    target = figure.target
    if target is None:
        return ""
    sign = "<=" if target.at_most else ">="
    return f"{target.of} {sign} {target.limit:g}: {VERDICTS[figure.met()]}"


def table(figures: Sequence[Figure], relays: Sequence[str]) -> str:
    """The figures as text: median (smallest-largest round) for each relay."""
    rows = [["", *relays, "ratio", "target"]]
    for figure in figures:
        ratio = figure.ratio()
        cells = [_cell(figure, relay) for relay in relays]
        rows.append(
            [f"{figure.name} [{figure.unit}]", *cells, "" if ratio is None else f"{ratio:.2f}", _verdict(figure)]
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    return "\n".join(line.rstrip() for line in lines)


def _first_line(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "-"
    return (done.stdout or done.stderr).splitlines()[0].strip()


def machine() -> dict[str, Any]:
    """The machine and the versions of everything that takes part."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    cpu = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    memory = int(Path("/proc/meminfo").read_text().split()[1])
    return {
        "cpu": cpu[0] if cpu else platform.machine(),
        "cores": len(cpu),
        "memory_gib": round(memory / 1024 / 1024, 1),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "openssl": ssl.OPENSSL_VERSION,
        "haproxy": _first_line("/usr/sbin/haproxy", "-v"),
        "nginx": _first_line("/usr/sbin/nginx", "-v"),
        **{name: _first_line("dpkg-query", "-W", "-f", "${Version}", name) for name in ("ejabberd", "prosody")},
        "load_average": Path("/proc/loadavg").read_text().split()[:3],
    }


def print_report(what: str, settings: Mapping[str, Any], figures: Sequence[Figure], relays: Sequence[str]) -> None:
    """The table, then one line of JSON with everything."""
    print(table(figures, relays))
    compared = [figure for figure in figures if figure.ratio() is not None]
    ours, peers = (" or ".join(sorted(names)) for names in ({f.ours for f in compared}, {f.peer for f in compared}))
    print(
        "\nMedian (smallest-largest round)"
        + (f"; ratio = median of {ours} / {peers} in the same round." if ours else ".")
    )
    if missed := [figure.name for figure in figures if figure.met() is False]:
        print(f"Missed: {', '.join(missed)}.")
    facts = {
        "benchmark": what,
        "machine": machine(),
        "settings": dict(settings),
        "figures": [figure.as_json() for figure in figures],
    }
    print(json.dumps(facts))
    sys.stdout.flush()
