"""Metrics of the node, its processes, and what operators do."""

from collections.abc import Callable
from typing import Final

from megaphone.dispatch.counters import Slot
from megaphone.metrics.facts import NodeFacts, WorkerFacts
from megaphone.metrics.sources import NS, Metric, OfWorker, Samples, one_label


def _workers_by_state(node: NodeFacts) -> Samples:
    for state in ("starting", "ready", "draining", "gone"):
        yield (state,), sum(worker.state == state for worker in node.workers)


def _restarts(node: NodeFacts) -> Samples:
    for worker in node.workers:
        for cause, count in worker.restarts.items():
            yield (str(worker.index), cause), count


def _versions(node: NodeFacts) -> Samples:
    for worker in node.workers:
        if worker.version is not None:
            yield (str(worker.index), worker.version), 1


def _process(read: Callable[[WorkerFacts], float | None]) -> Callable[[NodeFacts], Samples]:
    def samples(node: NodeFacts) -> Samples:
        for worker in node.workers:
            if (value := read(worker)) is not None:
                yield (str(worker.index),), value

    return samples


def _admin_requests(node: NodeFacts) -> Samples:
    return node.admin_requests.items()


# fmt: off
PROCESSES: Final = (
    # the node and its processes
    Metric("megaphone_build_info", "gauge", ("version", "python"),
           "Always 1; the labels say what is running.", lambda node: [((node.version, node.python), 1)]),
    Metric("megaphone_workers", "gauge", ("state",),
           "Workers by state: starting, ready, draining, gone.", _workers_by_state),
    Metric("megaphone_worker_restarts_total", "counter", ("worker", "cause"),
           "Workers replaced, by why the process before ended.", _restarts),
    Metric("megaphone_worker_info", "gauge", ("worker", "version"),
           "Always 1; the version that the worker process was started from.", _versions),
    Metric("megaphone_worker_start_time_seconds", "gauge", ("worker",),
           "Unix time at which the worker process was started.", _process(lambda worker: worker.started_at_seconds)),
    Metric("megaphone_worker_resident_memory_bytes", "gauge", ("worker",),
           "Resident memory of the worker process.", _process(lambda worker: worker.resident_bytes)),
    Metric("megaphone_worker_cpu_seconds_total", "counter", ("worker",),
           "CPU time, user and system, of the worker process.", _process(lambda worker: worker.cpu_seconds)),
    Metric("megaphone_worker_open_fds", "gauge", ("worker",),
           "File descriptors that the worker process has open.", _process(lambda worker: worker.open_descriptors)),
    Metric("megaphone_worker_max_fds", "gauge", ("worker",),
           "File descriptors that the worker process may have open.", _process(lambda worker: worker.most_descriptors)),
    Metric("megaphone_supervisor_resident_memory_bytes", "gauge", (),
           "Resident memory of the supervisor process.", lambda node: [((), node.supervisor_resident_bytes)]),
    Metric("megaphone_worker_loop_lag_seconds", "gauge", ("worker",),
           "How late the worker's last heartbeat ran.", OfWorker({(): Slot.LOOP_LAG_NS}, NS)),
    Metric("megaphone_worker_loop_lag_max_seconds", "gauge", ("worker",),
           "The worst of the worker's last 10 heartbeats.", OfWorker({(): Slot.LOOP_LAG_MAX_NS}, NS)),
    Metric("megaphone_worker_poller_turns_total", "counter", ("worker",),
           "Times the worker asked the kernel for ready sockets.", OfWorker({(): Slot.POLLER_TURNS})),
    Metric("megaphone_worker_poller_events_total", "counter", ("worker",),
           "Ready sockets the kernel reported to the worker.", OfWorker({(): Slot.POLLER_EVENTS})),
)
# fmt: on

# fmt: off
OPERATORS: Final = (
    # operators
    Metric("megaphone_admin_requests_total", "counter", ("endpoint", "status"),
           "HTTP requests answered on the admin address and the control socket.", _admin_requests),
    Metric("megaphone_config_reloads_total", "counter", ("result",),
           "Reloads of the configuration: accepted, refused.", lambda node: one_label(node.reloads)),
    Metric("megaphone_upgrades_total", "counter", ("result",),
           "Upgrades: done, failed (some workers go on as they were), refused (nothing has changed).",
           lambda node: one_label(node.upgrades)),
    Metric("megaphone_upgrade_connections_total", "counter", ("result",),
           "Client connections of workers that handed over: moved to the successor, or ended, as they could not move.",
           lambda node: one_label(node.upgrade_connections)),
)
# fmt: on
