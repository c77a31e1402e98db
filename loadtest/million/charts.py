"""The plots of a run, out of the points of its report."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from loadtest.million.plot import Band, Curve, Plot, Series
from loadtest.million.scale import clock as clock_text
from loadtest.million.scale import decades, linear, short, time_scale
from loadtest.million.verdicts import LOGINS_PER_SECOND, MEMORY_BYTES, P99_SECONDS

Point = Mapping[str, Any]

# From the bottom up: Megaphone's parts, then the load generator's.
MEMORY: Final = (
    ("workers", "workers", "--c1"),
    ("supervisor", "supervisor", "--c6"),
    ("server_kernel", "kernel, for Megaphone", "--c2"),
    ("generator", "load generator", "--c3"),
    ("generator_kernel", "kernel, for the load generator", "--c4"),
)
CPU: Final = (
    ("workers", "workers", "--c1"),
    ("supervisor", "supervisor", "--c6"),
    ("generator", "load processes", "--c3"),
    ("controller", "their parent", "--c4"),
    ("other", "everything else", "--c7"),
    ("stolen", "taken by the host", "--c5"),
)
LATENCY: Final = (("p50", "--c6", 0), ("p99", "--c1", 1), ("p99.9", "--c5", 2))


def charts(report: Mapping[str, Any]) -> list[Plot]:
    """All plots that the run has something for."""
    points: Sequence[Point] = report["points"]
    if len(points) < 2:
        return []
    time = time_scale(points[-1]["at"])

    def plot(title: str, unit: str, curves: list[Curve], most: float, **more: Any) -> Plot:
        given = {"y": linear(most), "bands": bands(points), **more}
        return Plot(title, unit, curves, x=time, x_text=clock_text, **given)

    found = [
        plot("Sessions", "logged in", [_curve(points, "sessions", "--c1", "open")], _most(points, "open"), filled=True),
        plot(
            "Memory",
            "GB, by who uses it",
            [
                Curve(name, colour, [(p["at"], p["memory"].get(side, 0) / 1000) for p in points])
                for side, name, colour in MEMORY
            ],
            max(sum(p["memory"].values()) for p in points) / 1000,
            stacked=True,
            limit=(MEMORY_BYTES / 1e9, "limit of Megaphone's part"),
        ),
        plot(
            "Logins",
            "a second",
            [_curve(points, "logins", "--c1", "logins")],
            _most(points, "logins"),
            filled=True,
            limit=(LOGINS_PER_SECOND, "wanted") if report["kind"] == "hold" else None,
        ),
    ]
    if any(p["messages"] for p in points):
        most = _most(points, "messages")
        found.append(
            plot("Messages", "delivered a second", [_curve(points, "messages", "--c6", "messages")], most, filled=True)
        )
        found.append(_latency(points, "Delivery of a message", "chat", plot, P99_SECONDS * 1000))
    if any("login" in p for p in points):
        found.append(_latency(points, "Login", "login", plot, None))
    found.append(
        plot(
            "CPU",
            f"processors busy, of {report['machine']['cores']}",
            [Curve(name, colour, [(p["at"], p["cpu"].get(side, 0)) for p in points]) for side, name, colour in CPU],
            max(report["machine"]["cores"], *(sum(p["cpu"].values()) for p in points)),
            stacked=True,
        )
    )
    return found


def bands(points: Sequence[Point]) -> list[Band]:
    """The phases along the axis of time."""
    found: list[Band] = []
    for point in points:
        if found and found[-1].name == point["phase"]:
            found[-1] = Band(found[-1].name, found[-1].low, point["at"])
        else:
            found.append(Band(point["phase"], found[-1].high if found else 0.0, point["at"]))
    return found


def _curve(points: Sequence[Point], name: str, colour: str, key: str) -> Curve:
    return Curve(name, colour, [(point["at"], point[key]) for point in points])


def _most(points: Sequence[Point], key: str) -> float:
    return float(max(point[key] for point in points))


def _latency(points: Sequence[Point], title: str, key: str, plot: Callable[..., Plot], limit_ms: float | None) -> Plot:
    values = [value for point in points if key in point for value in point[key] if value > 0]
    scale = decades(min(values), max(values))

    def series(index: int) -> Series:
        return [(p["at"], p[key][index] if key in p and p[key][index] > 0 else None) for p in points]

    curves = [Curve(name, colour, series(index)) for name, colour, index in LATENCY]
    limit = (limit_ms, f"p99 wanted below {limit_ms:g} ms") if limit_ms else None
    return plot(title, "ms, logarithmic", curves, 1.0, y=scale, limit=limit, y_text=short)
