"""The numbers of the dashboard and of `megaphone top`: those of `/metrics`, from the same table, as JSON.

    {"at_seconds", "version", "phase", "ready", "reasons", "uptime_seconds", "kind", "token",
     "metrics": {name: [[{label: value}, number]]}}

Nothing in it is about a person or a single connection.
"""

import time
from collections.abc import Callable
from typing import Any, Final

from megaphone.metrics.collector import BoardCollector
from megaphone.metrics.facts import NodeFacts
from megaphone.metrics.table import METRICS
from megaphone.supervisor import views
from megaphone.supervisor.role import HUB
from megaphone.supervisor.supervisor import Supervisor

SHOWN: Final = frozenset(
    "megaphone_" + name
    for name in (
        *("workers", "worker_restarts_total", "worker_info", "worker_start_time_seconds"),
        *("worker_resident_memory_bytes", "worker_cpu_seconds_total", "worker_open_fds", "worker_max_fds"),
        *("supervisor_resident_memory_bytes", "worker_loop_lag_seconds", "worker_loop_lag_max_seconds"),
        *("connections", "connections_accepted_total", "connections_closed_total", "connection_bytes"),
        "client_round_trip_now_seconds",
        *("limit_refusals_total", "throttled_total"),
        *("websocket_connections", "http_connections", "bosh_sessions", "pages", "pages_windows"),
        *("stanzas_total", "stream_bytes_total", "mailbox_bytes", "mailbox_full_total"),
        *("sessions", "rooms", "room_occupants", "logins_total", "nodes", "nats_up"),
        *("upstream_healthy", "upstream_connections", "upstream_connects_total", "upstream_check_duration_seconds"),
        *("links", "link_streams", "link_bytes_total", "link_round_trip_seconds", "link_kept_bytes"),
        *("link_unsent_bytes", "link_attaches_total", "link_breaks_total", "link_credit_waits_total"),
        *("link_credit_wait_seconds_total", "link_turn_waits_total", "admission_waiting"),
        *("admission_opening", "admission_answer_duration_seconds"),
        *("hub_links", "hub_attaches_total", "hub_breaks_total", "hub_refused_total"),
        *("hub_frames_total", "hub_link_bytes_total", "hub_kept_bytes", "hub_unsent_bytes"),
    )
)


class Feed:
    """Answers with the numbers of the moment."""

    def __init__(self, supervisor: Supervisor, facts: Callable[[], NodeFacts]) -> None:
        self._supervisor = supervisor
        self._collector = BoardCollector(facts, [metric for metric in METRICS if metric.name in SHOWN])

    def now(self) -> dict[str, Any]:
        """The whole feed."""
        supervisor = self._supervisor
        reasons = views.not_ready_reasons(supervisor)
        now = time.time()
        return {
            "at_seconds": now,
            "version": supervisor.program.version,
            "phase": supervisor.phase.value,
            "ready": not reasons,
            "reasons": reasons,
            "uptime_seconds": now - supervisor.holdings.started_at_seconds,
            "kind": _kind(supervisor),
            "token": bool(supervisor.config.admin.token_file),
            "metrics": self._metrics(),
        }

    def _metrics(self) -> dict[str, list[tuple[dict[str, str], float]]]:
        found: dict[str, list[tuple[dict[str, str], float]]] = {}
        for family in self._collector.collect():
            for sample in family.samples:
                if not sample.name.endswith("_bucket"):
                    found.setdefault(sample.name, []).append((sample.labels, sample.value))
        return found


def _kind(supervisor: Supervisor) -> str:
    """What the node is: a hub, a chat service by itself, or an edge in front of servers."""
    if supervisor.role is HUB:
        return "hub"
    return "service" if supervisor.config.embedded else "edge"
