"""What deploy/ asks Prometheus: every expression of the dashboard and of the rules, and the series they select."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

DEPLOY = Path(__file__).parents[3] / "deploy"
DASHBOARD = DEPLOY / "grafana" / "megaphone.json"
RULES = DEPLOY / "prometheus" / "rules"

_RULE = re.compile(r"^( +)- (alert|record): (\S+)\n\1  expr: (?:\|-\n((?:\1    .*\n)+)|(.*)\n)", re.MULTILINE)
_SELECTOR = re.compile(r"\b((?:[a-z_]+:)?megaphone_\w+(?::\w+)?|up)\b(\{[^}]*\})?")


@dataclass(frozen=True, slots=True)
class Asked:
    """One expression, and where it stands."""

    place: str
    expression: str

    @property
    def selectors(self) -> list[tuple[str, str]]:
        """Name and matchers of each series that it selects."""
        return [(name, matchers) for name, matchers in _SELECTOR.findall(self.expression)]


def of_dashboard() -> Iterator[Asked]:
    """Queries of panels and annotations, as Grafana keeps them."""
    dashboard = json.loads(DASHBOARD.read_text())
    for panel in dashboard["panels"]:
        for target in panel.get("targets", ()):
            yield Asked(f"{panel['title']}, {target['legendFormat'] or target['refId']}", target["expr"])
    for annotation in dashboard["annotations"]["list"]:
        yield Asked(annotation["name"], annotation["expr"])


def of_rules(kind: str) -> Iterator[Asked]:
    """Expressions of all rules of this kind: `alert` or `record`."""
    for file in sorted(RULES.glob("*.yml")):
        for _, found, name, block, line in _RULE.findall(file.read_text()):
            if found == kind:
                yield Asked(name, " ".join((block or line).split()))
