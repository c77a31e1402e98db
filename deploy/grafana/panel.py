"""What the rows of the dashboard are written with: a panel, its queries, a row of panels.

In a query `megaphone_x{}` means: of the nodes that the variables pick. A rate is per second over `$__rate_interval`,
which Grafana makes four scrapes long at least.
"""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Query:
    """One expression and what its lines are called."""

    expression: str
    legend: str = ""


@dataclass(frozen=True, slots=True)
class Panel:
    """One picture. Units are Grafana's; thresholds are (from this value, colour)."""

    title: str
    unit: str
    description: str
    queries: tuple[Query, ...]
    kind: Literal["timeseries", "stat", "table"] = "timeseries"
    stacked: bool = False
    thresholds: tuple[tuple[float, str], ...] = ()
    width: int = 8
    height: int = 8


@dataclass(frozen=True, slots=True)
class Row:
    """Panels under one heading."""

    title: str
    panels: tuple[Panel, ...]


def graph(title: str, unit: str, description: str, *queries: tuple[str, str], stacked: bool = False) -> Panel:
    """Lines over time."""
    return Panel(title, unit, description, tuple(Query(*query) for query in queries), stacked=stacked)


def figure(
    title: str, unit: str, description: str, expression: str, thresholds: tuple[tuple[float, str], ...] = ()
) -> Panel:
    """One number, now."""
    return Panel(title, unit, description, (Query(expression),), "stat", False, thresholds, width=3, height=4)
