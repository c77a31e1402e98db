"""What a run shall do."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Kind = Literal["hold", "storm", "soak", "upgrade"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Rates are those of all load processes together, a second.

    `hold`: all log in, talk, leave. `storm`: a quarter of the workers is killed while they talk. `soak`: `churn` of the
    sessions leave and come each second while the others talk. `upgrade`: all talk in fixed pairs while Megaphone's
    program is replaced; `upgrade_with` is the command for that, "" for Megaphone's own.
    """

    kind: Kind
    sessions: int
    hold_seconds: float
    rate: float  # one-to-one messages
    in_flight: int  # logins at once; 0: as many as suit the number of workers
    keep_alive_seconds: float
    body_bytes: int
    churn: float
    workers: int  # 0: as many as it takes
    loaders: int
    tls: float  # part of the sessions, with direct TLS (XEP-0368)
    tls12: float  # part of these, with version 1.2
    upgrade_with: str
    output: Path
    command: str

    @property
    def idle_seconds(self) -> float:
        """How long sessions only keep themselves alive, before they talk: what they cost by being there."""
        return min(30.0, self.hold_seconds / 10)
