"""A figure: what was measured for several parties in several rounds, its medians, its ratios and its targets."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Literal

OURS, PEER = "megaphone", "haproxy"


@dataclass(frozen=True, slots=True)
class Target:
    """What a figure shall be: its "value", or its "ratio" to a peer in the same round (by default the figure's)."""

    of: Literal["value", "ratio"]
    limit: float
    at_most: bool = True
    peer: str = ""

    def met(self, value: float) -> bool:
        """Whether the value is good enough."""
        return value <= self.limit if self.at_most else value >= self.limit


class Figure:
    """`ours` is compared with each of `peers`, the first is the main one; a `detail` is for terminal and JSON only."""

    def __init__(
        self,
        name: str,
        unit: str,
        *targets: Target,
        digits: int = 2,
        ours: str = OURS,
        peers: Sequence[str] = (PEER,),
        detail: bool = False,
    ) -> None:
        self.name = name
        self.unit = unit
        self.targets = targets
        self.digits = digits
        self.ours = ours
        self.peers = peers
        self.detail = detail
        if strange := {target.peer for target in targets if target.of == "ratio"} - {"", *peers}:
            raise ValueError(f"{name}: a target names {', '.join(strange)}, who is no peer")
        self.rounds: dict[str, list[float]] = {}

    def add(self, party: str, value: float) -> None:
        """Record the value of one more round."""
        self.rounds.setdefault(party, []).append(value)

    def value(self, party: str) -> float | None:
        """The median over the rounds."""
        return median(self.rounds[party]) if party in self.rounds else None

    @property
    def peer(self) -> str:
        """The first of the peers; "" if there is none."""
        return self.peers[0] if self.peers else ""

    @property
    def ratios(self) -> dict[str, float]:
        """To each of the peers that was measured beside ours."""
        found = {peer: self.ratio(peer) for peer in self.peers}
        return {peer: ratio for peer, ratio in found.items() if ratio is not None}

    def ratio(self, peer: str = "") -> float | None:
        """The median over the rounds of ours divided by the peer's in the same round; None if one was not measured."""
        peer = peer or self.peer
        if not {self.ours, peer} <= self.rounds.keys():
            return None
        pairs = list(zip(self.rounds[self.ours], self.rounds[peer], strict=True))
        return median(ours / peers for ours, peers in pairs) if all(peers for _, peers in pairs) else None

    def measured(self, target: Target) -> float | None:
        """What the target is about."""
        return self.ratio(target.peer) if target.of == "ratio" else self.value(self.ours)

    def met(self, target: Target) -> bool | None:
        """Whether the target is met; None if what it is about was not measured."""
        value = self.measured(target)
        return None if value is None else target.met(value)

    def as_json(self) -> dict[str, Any]:
        """Everything measured; what can be derived from the rounds is there for the reader."""
        return {
            "name": self.name,
            "unit": self.unit,
            "digits": self.digits,
            "detail": self.detail,
            "ours": self.ours,
            "peers": list(self.peers),
            "medians": {party: _rounded(median(values)) for party, values in self.rounds.items()},
            "ratios": {peer: _rounded(ratio) for peer, ratio in self.ratios.items()},
            "targets": [
                {
                    "of": target.of,
                    "peer": (target.peer or self.peer) if target.of == "ratio" else "",
                    "at_most" if target.at_most else "at_least": target.limit,
                    "met": self.met(target),
                }
                for target in self.targets
            ],
            "rounds": {party: [_rounded(value) for value in values] for party, values in self.rounds.items()},
        }


def from_json(facts: Mapping[str, Any]) -> Figure:
    """The figure that `as_json` told about."""
    targets = [
        Target(each["of"], each.get("at_most", each.get("at_least")), "at_most" in each, each["peer"])
        for each in facts["targets"]
    ]
    figure = Figure(
        facts["name"],
        facts["unit"],
        *targets,
        digits=facts["digits"],
        ours=facts["ours"],
        peers=facts["peers"],
        detail=facts["detail"],
    )
    figure.rounds = {party: list(values) for party, values in facts["rounds"].items()}
    return figure


def shown(figures: Sequence[Figure]) -> list[Figure]:
    """Without details."""
    return [figure for figure in figures if not figure.detail]


def _rounded(value: float) -> float:
    return float(f"{value:.6g}")
