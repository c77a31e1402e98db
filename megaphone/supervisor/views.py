"""What an operator may look at: the node's status, whether it is ready, and the facts behind `/metrics`."""

import os
import platform
import time
from collections.abc import Mapping
from typing import Any

from megaphone.config.hub import HubConfig
from megaphone.config.schema import Config, Domain, Upstream
from megaphone.dispatch.cluster_slots import ClusterSlot
from megaphone.dispatch.counters import AdmissionSlot, Board, LinkSlot, Slot, UpstreamSlot
from megaphone.metrics.edge import CONNECTION_STATES
from megaphone.metrics.facts import NodeFacts, WorkerFacts
from megaphone.metrics.upstreams import LINK_STATES
from megaphone.supervisor import process_facts
from megaphone.supervisor.child import State
from megaphone.supervisor.seat import Seat
from megaphone.supervisor.supervisor import Supervisor
from megaphone.supervisor.upgrade import RESULTS, Upgrade


def not_ready_reasons(supervisor: Supervisor) -> list[str]:
    """Why a load balancer should send nobody here; empty when it may."""
    if supervisor.draining.is_set():
        return ["draining"]
    reasons = [
        f"worker {seat.index} is {seat.state.value}" for seat in supervisor.seats if seat.state is not State.READY
    ]
    ready = [seat for seat in supervisor.seats if seat.state is State.READY]
    positions = {upstream.name: position for position, upstream in enumerate(supervisor.config.upstream)}
    for domain in () if supervisor.config.embedded else supervisor.config.domain:
        lacking = [str(seat.index) for seat in ready if not _reaches(seat, domain, positions)]
        if lacking:
            seen_by = "any worker" if len(lacking) == len(ready) else f"worker {', '.join(lacking)}"
            reasons.append(f"domain {domain.name}: no healthy upstream for {seen_by}")
    return reasons


def _reaches(seat: Seat, domain: Domain, positions: Mapping[str, int]) -> bool:
    board = seat.board.counters
    return any(
        _upstream(board, positions[name], UpstreamSlot.UP_HEALTHY) for name in domain.upstreams if name in positions
    )


def _upstream(board: Board, position: int, slot: int) -> int:
    return board.get(Board.upstream_slot(position, slot))


def status(supervisor: Supervisor, upgrade: Upgrade, *, admin_address: str) -> dict[str, Any]:
    """The whole node as one JSON object (documented in docs/reference/command-line.md)."""
    now = time.time()
    reasons = not_ready_reasons(supervisor)
    workers = [_worker(seat, now) for seat in supervisor.seats]
    reload_at, reload_outcome = supervisor.holdings.last_reload or (None, None)
    return {
        "version": supervisor.program.version,
        "fingerprint": supervisor.program.fingerprint,
        "pid": os.getpid(),
        "phase": supervisor.phase.value,
        "ready": not reasons,
        "reasons": reasons,
        "uptime_seconds": round(now - supervisor.holdings.started_at_seconds, 1),
        "config_path": supervisor.config_path,
        "last_reload": reload_outcome
        and {
            "ago_seconds": round(now - (reload_at or now), 1),
            "accepted": reload_outcome.accepted,
            "reason": reload_outcome.reason,
        },
        "upgrade": upgrade.view() if upgrade.state.number else None,
        "listen": [
            {"address": bound.address, "tls": supervisor.config.listen[bound.listen_index].tls}
            for bound in supervisor.listeners.bound
        ],
        "admin_address": admin_address,
        "control_socket": supervisor.config.admin.socket,
        "connections": sum(worker["connections"] for worker in workers),
        "workers": workers,
        "domains": [{"name": domain.name, "upstreams": domain.upstreams} for domain in supervisor.config.domain],
        "cluster": _cluster_status(supervisor),
        "upstreams": [
            _upstream_status(supervisor, position, upstream)
            for position, upstream in enumerate(supervisor.config.upstream)
        ],
    }


def _cluster_status(supervisor: Supervisor) -> dict[str, Any] | None:
    if supervisor.config.cluster is None:
        return None
    boards = [seat.board.counters for seat in supervisor.seats]
    return {
        "name": supervisor.config.cluster.name,
        "nodes": max(board.get(ClusterSlot.NODES) for board in boards),
        "connected_workers": sum(board.get(ClusterSlot.NATS_UP) for board in boards),
        "workers": len(boards),
    }


def _worker(seat: Seat, now: float) -> dict[str, Any]:
    child, board = seat.live, seat.board.counters
    states = {name: board.get(slot) for name, slot in CONNECTION_STATES.items()}
    return {
        "worker": seat.index,
        "pid": child and child.pid,
        "state": seat.state.value,
        "version": child and child.program.version,
        "uptime_seconds": child and round(now - child.started_at_seconds, 1),
        "restarts": {cause: count for cause, count in seat.restarts.items() if count},
        "last_exit": seat.last_exit and seat.last_exit.text,
        "connections": sum(states.values()),
        "connections_by_state": states,
        "accepted": board.get(Slot.ACCEPTED),
        "resident_bytes": child and child.pid and process_facts.resident_bytes(child.pid),
        "loop_lag_seconds": board.get(Slot.LOOP_LAG_NS) / 1e9,
        "mailbox_bytes": board.get(Slot.MAILBOX_BYTES),
    }


def _upstream_status(supervisor: Supervisor, position: int, upstream: Upstream) -> dict[str, Any]:
    boards = [seat.board.counters for seat in supervisor.seats]

    def total(slot: int) -> int:
        return sum(_upstream(board, position, slot) for board in boards)

    return {
        "name": upstream.name,
        "address": upstream.address,
        "mode": upstream.mode,
        "healthy_workers": total(UpstreamSlot.UP_HEALTHY),
        "connections": total(UpstreamSlot.UP_OPEN),
        "connects": total(UpstreamSlot.UP_CONNECTS),
        "connect_failures": total(UpstreamSlot.UP_CONNECT_FAILURES),
        "check_seconds": max(_upstream(board, position, UpstreamSlot.UP_CHECK_NS) for board in boards) / 1e9,
        "waiting": sum(board.get(Board.admission_slot(position, AdmissionSlot.AD_WAITING)) for board in boards),
        "links": [
            _link(seat, position, link)
            for seat in supervisor.seats
            for link in range(upstream.links if upstream.mode == "link" else 0)
        ],
    }


def _link(seat: Seat, position: int, link: int) -> dict[str, Any]:
    def count(slot: int) -> int:
        return seat.board.counters.get(Board.link_slot(position, link, slot))

    return {
        "worker": seat.index,
        "link": link,
        "state": LINK_STATES[count(LinkSlot.LI_STATE)],
        "streams": count(LinkSlot.LI_STREAMS),
        "round_trip_seconds": count(LinkSlot.LI_ROUND_TRIP_NS) / 1e9,
        "unsent_bytes": count(LinkSlot.LI_UNSENT_BYTES),
        "kept_bytes": count(LinkSlot.LI_KEPT_BYTES),
        "reattached": count(LinkSlot.LI_REATTACHES),
        "breaks": count(LinkSlot.LI_BREAKS),
    }


def node_facts(supervisor: Supervisor, upgrade: Upgrade, *, admin_requests: Mapping[tuple[str, str], int]) -> NodeFacts:
    """What one scrape of `/metrics` is made of."""
    return NodeFacts(
        version=supervisor.program.version,
        python=platform.python_version(),
        supervisor_resident_bytes=process_facts.resident_bytes(os.getpid()) or 0,
        workers=[_worker_facts(seat, supervisor.config) for seat in supervisor.seats],
        upstreams=[upstream.name for upstream in supervisor.config.upstream],
        certificates=supervisor.certificates,
        admin_requests=admin_requests,
        reloads=supervisor.holdings.reloads,
        upgrades={result: upgrade.state.counts[result] for result in RESULTS},
        upgrade_connections={"moved": upgrade.state.moved, "ended": upgrade.state.ended},
        links=[upstream.links if upstream.mode == "link" else 0 for upstream in supervisor.config.upstream],
    )


def _worker_facts(seat: Seat, config: Config) -> WorkerFacts:
    child = seat.live
    pid = child.pid if child is not None else None
    return WorkerFacts(
        index=seat.index,
        board=seat.board.counters,
        state=seat.state.value,
        version=child.program.version if child is not None else None,
        restarts=seat.restarts,
        started_at_seconds=child.started_at_seconds if child is not None else None,
        resident_bytes=process_facts.resident_bytes(pid) if pid is not None else None,
        cpu_seconds=process_facts.cpu_seconds(pid) if pid is not None else None,
        open_descriptors=process_facts.open_descriptors(pid) or _sockets(seat, config) if pid is not None else None,
        most_descriptors=process_facts.most_descriptors(pid) if pid is not None else None,
    )


def _sockets(seat: Seat, config: Config) -> int:
    """The sockets of a worker's connections: nearly all its descriptors, where the kernel does not count them."""
    board = seat.board.counters
    # The clients of a hub are streams on the links of edges.
    clients = 0 if isinstance(config, HubConfig) else sum(board.get(slot) for slot in CONNECTION_STATES.values())
    direct = (position for position, upstream in enumerate(config.upstream) if upstream.mode == "direct")
    return clients + sum(_upstream(board, position, UpstreamSlot.UP_OPEN) for position in direct)
