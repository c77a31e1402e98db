"""Every Prometheus metric on one screen: `METRICS` is the table, the counter boards and the supervisor are the source.

Nothing is counted here. Workers add to their boards in shared memory, the supervisor hands in what only it knows
(`NodeFacts`), and a scrape turns both into samples. Counters are per node unless the worker says something about them;
so a page grows by about 40 lines for each further worker.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Final, Literal

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector

from megaphone.dispatch.bosh_slots import BoshSlot
from megaphone.dispatch.cluster_slots import ClusterSlot
from megaphone.dispatch.counters import AdmissionSlot, Board, Kind, LinkSlot, Reason, Slot, UpstreamSlot
from megaphone.dispatch.pages_slots import PagesSlot
from megaphone.dispatch.round_trip_slots import BUCKETS_SECONDS, RoundTripSlot
from megaphone.dispatch.websocket_slots import WebSocketSlot

_NS: Final = 1e-9
LINK_STATES: Final = ("broken", "connecting", "handshaking", "attached", "draining", "closed")  # uplink.link.LinkState
CONNECT_BUCKETS_SECONDS: Final = ("0.001", "0.005", "0.025", "0.1", "0.5", "2.5", "+Inf")  # of UP_CONNECT_BUCKETS


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerFacts:
    """What the supervisor knows of one worker index; None where there is no process at the moment."""

    index: int
    board: Board
    state: str  # starting, ready, draining, gone
    version: str | None
    restarts: Mapping[str, int]  # by cause
    started_at_seconds: float | None  # Unix time
    resident_bytes: int | None
    cpu_seconds: float | None
    open_descriptors: int | None
    most_descriptors: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeFacts:
    """Everything one scrape is made of."""

    version: str
    python: str
    supervisor_resident_bytes: int
    workers: Sequence[WorkerFacts]
    upstreams: Sequence[str]  # in the order of the boards' blocks
    certificates: Mapping[str, float]  # chain file to the Unix time at which its leaf expires
    admin_requests: Mapping[tuple[str, str], int]  # (endpoint, status)
    reloads: Mapping[str, int]  # by result
    upgrades: Mapping[str, int]  # by result
    upgrade_connections: Mapping[str, int]  # by what became of them
    links: Sequence[int]  # of each worker to each upstream; 0 where it takes ordinary connections


Labels = tuple[str, ...]  # label values
Samples = Iterable[tuple[Labels, float]]
Slots = Mapping[Labels, int]  # which slot of the board each sample comes from


@dataclass(frozen=True, slots=True)
class OfNode:
    """Board slots added up over all workers (or the largest of them), by label values."""

    slots: Slots
    merge: Callable[[Iterable[int]], int] = sum

    def __call__(self, node: NodeFacts) -> Samples:
        """The samples of one scrape."""
        for labels, slot in self.slots.items():
            yield labels, self.merge([worker.board.get(slot) for worker in node.workers] or [0])


@dataclass(frozen=True, slots=True)
class OfWorker:
    """Board slots of each worker: its index, then further label values."""

    slots: Slots
    scale: float = 1
    measured_only: bool = False  # 0 says that nothing was measured, and gives no sample

    def __call__(self, node: NodeFacts) -> Samples:
        """The samples of one scrape."""
        for worker in node.workers:
            for labels, slot in self.slots.items():
                value = worker.board.get(slot)
                if value or not self.measured_only:
                    yield (str(worker.index), *labels), value * self.scale


@dataclass(frozen=True, slots=True)
class OfUpstream:
    """Slots of each upstream's block, merged over all workers: its name, then further label values."""

    slots: Slots
    merge: Callable[[Iterable[int]], int] = sum
    scale: float = 1

    def __call__(self, node: NodeFacts) -> Samples:
        """The samples of one scrape."""
        for index, name in enumerate(node.upstreams):
            for labels, slot in self.slots.items():
                values = [worker.board.get(Board.upstream_slot(index, slot)) for worker in node.workers]
                yield (name, *labels), self.merge(values or [0]) * self.scale


@dataclass(frozen=True, slots=True)
class OfAdmission:
    """Slots of the admission block of each upstream with links, added up over all workers: its name, then more."""

    slots: Slots
    scale: float = 1

    def __call__(self, node: NodeFacts) -> Samples:
        """The samples of one scrape."""
        for index, (name, links) in enumerate(zip(node.upstreams, node.links, strict=True)):
            for labels, slot in self.slots.items() if links else ():
                values = [worker.board.get(Board.admission_slot(index, slot)) for worker in node.workers]
                yield (name, *labels), sum(values) * self.scale


@dataclass(frozen=True, slots=True)
class OfLink:
    """Slots of each link's block: upstream, worker, number of the link, then further label values."""

    slots: Slots
    scale: float = 1

    def __call__(self, node: NodeFacts) -> Samples:
        """The samples of one scrape."""
        for index, (name, links) in enumerate(zip(node.upstreams, node.links, strict=True)):
            for worker in node.workers:
                for link in range(links):
                    for labels, slot in self.slots.items():
                        value = worker.board.get(Board.link_slot(index, link, slot))
                        yield (name, str(worker.index), str(link), *labels), value * self.scale


def links_by_state(node: NodeFacts, index: int) -> dict[str, int]:
    """How many of the links to the upstream at this place are in each state."""
    states = [
        worker.board.get(Board.link_slot(index, link, LinkSlot.LI_STATE))
        for worker in node.workers
        for link in range(node.links[index])
    ]
    return {name: states.count(number) for number, name in enumerate(LINK_STATES)}


def _links(node: NodeFacts) -> Samples:
    for index, name in enumerate(node.upstreams):
        if node.links[index]:
            for state, count in links_by_state(node, index).items():
                yield (name, state), count


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


def _upstream_healthy(node: NodeFacts) -> Samples:
    for index, name in enumerate(node.upstreams):
        for worker in node.workers:
            yield (name, str(worker.index)), worker.board.get(Board.upstream_slot(index, UpstreamSlot.UP_HEALTHY))


def _admin_requests(node: NodeFacts) -> Samples:
    return node.admin_requests.items()


def _one_label(values: Mapping[str, float]) -> Samples:
    return (((label,), value) for label, value in values.items())


def _kebab(name: str) -> str:
    return name.lower().replace("_", "-")


REASONS: Final = {_kebab(reason.name): int(reason) for reason in Reason if reason.name != "REASONS"}
_CLOSED: Final[Slots] = {(label,): Slot.CLOSED_BY_REASON + value for label, value in REASONS.items()}
_KINDS: Final = {_kebab(kind.name): int(kind) for kind in Kind}
_STANZAS: Final[Slots] = {
    (direction, label): first + value
    for direction, first in (("in", Slot.STANZAS_IN), ("out", Slot.STANZAS_OUT))
    for label, value in _KINDS.items()
}
CONNECTION_STATES: Final = {
    "negotiating": Slot.OPEN_NEGOTIATING,
    "connecting": Slot.OPEN_CONNECTING,
    "preauth": Slot.OPEN_RELAYING_PREAUTH,
    "authenticated": Slot.OPEN_AUTHENTICATED,
    "closing": Slot.OPEN_CLOSING,
    "relaying": Slot.OPEN_RELAYING,
}
_STATES: Final[Slots] = {(label,): slot for label, slot in CONNECTION_STATES.items()}
_HANDSHAKES: Final[Slots] = {
    ("TLSv1.2", "ok"): Slot.TLS_1_2_OK,
    ("TLSv1.3", "ok"): Slot.TLS_1_3_OK,
    ("none", "failed"): Slot.TLS_FAILED,
}
_RECORD_LAYERS: Final[Slots] = {("own",): Slot.TLS_OWN_RECORDS, ("openssl",): Slot.TLS_OPENSSL_RECORDS}
_BYTES: Final[Slots] = {("in",): Slot.BYTES_IN, ("out",): Slot.BYTES_OUT}
_CONNECTS: Final[Slots] = {("ok",): UpstreamSlot.UP_CONNECTS, ("failed",): UpstreamSlot.UP_CONNECT_FAILURES}
_CHECKS: Final[Slots] = {("ok",): UpstreamSlot.UP_CHECKS_OK, ("failed",): UpstreamSlot.UP_CHECKS_FAILED}
_CONNECT_PARTS: Final[Slots] = {
    ("sum",): UpstreamSlot.UP_CONNECT_NS,
    **{(bound,): UpstreamSlot.UP_CONNECT_BUCKETS + place for place, bound in enumerate(CONNECT_BUCKETS_SECONDS)},
}
_CHECK_TIME: Final[Slots] = {(): UpstreamSlot.UP_CHECK_NS}
_FULL: Final[Slots] = {(): UpstreamSlot.UP_REFUSED_FULL}
_ANSWER_PARTS: Final[Slots] = {
    ("sum",): AdmissionSlot.AD_ANSWER_NS,
    **{(bound,): AdmissionSlot.AD_ANSWER_BUCKETS + place for place, bound in enumerate(CONNECT_BUCKETS_SECONDS)},
}
_ROUND_TRIPS: Final[Slots] = {
    ("50",): RoundTripSlot.MEDIAN_NS,
    ("90",): RoundTripSlot.NINETY_PERCENT_NS,
    ("100",): RoundTripSlot.WORST_NS,
}
_ROUND_TRIP_PARTS: Final[Slots] = {
    ("sum",): RoundTripSlot.SUM_NS,
    **{(bound,): RoundTripSlot.BUCKETS + place for place, bound in enumerate((*map(str, BUCKETS_SECONDS), "+Inf"))},
}
_LINK_FRAMES: Final[Slots] = {("in",): LinkSlot.LI_FRAMES_IN, ("out",): LinkSlot.LI_FRAMES_OUT}
_LINK_BYTES: Final[Slots] = {("in",): LinkSlot.LI_BYTES_IN, ("out",): LinkSlot.LI_BYTES_OUT}
_LINK_ATTACHES: Final[Slots] = {("new",): LinkSlot.LI_ATTACHES, ("resumed",): LinkSlot.LI_REATTACHES}
_PER_LINK: Final = ("upstream", "worker", "link")
_HUB_LINKS: Final[Slots] = {("attached",): Slot.HUB_LINKS_ATTACHED, ("waiting",): Slot.HUB_LINKS_WAITING}
_HUB_ATTACHES: Final[Slots] = {("new",): Slot.HUB_ATTACHES, ("resumed",): Slot.HUB_REATTACHES}
_HUB_FRAMES: Final[Slots] = {("in",): Slot.HUB_FRAMES_IN, ("out",): Slot.HUB_FRAMES_OUT}
_HUB_BYTES: Final[Slots] = {("in",): Slot.HUB_LINK_BYTES_IN, ("out",): Slot.HUB_LINK_BYTES_OUT}
# The label is the configuration key that sets the limit.
_REFUSALS: Final[Slots] = {
    ("stanza_bytes",): Slot.LIMIT_STANZA_BYTES,
    ("element_depth",): Slot.LIMIT_DEPTH,
    ("element_attributes",): Slot.LIMIT_ATTRIBUTES,
    ("preauth_bytes",): Slot.LIMIT_PREAUTH_BYTES,
    ("stanzas_per_second",): Slot.LIMIT_STANZA_RATE,
    ("bytes_per_second",): Slot.LIMIT_BYTE_RATE,
    ("max_connections",): Slot.LIMIT_WORKER_CONNECTIONS,
    ("connections_per_address",): Slot.CLOSED_BY_REASON + Reason.ADDRESS_LIMIT,
    ("connections_per_prefix",): Slot.CLOSED_BY_REASON + Reason.PREFIX_LIMIT,
    ("accepts_per_second_per_address",): Slot.CLOSED_BY_REASON + Reason.ADDRESS_RATE,
    ("accepts_per_second",): Slot.CLOSED_BY_REASON + Reason.TOTAL_RATE,
}

INTERNAL_SLOTS: Final = {
    Slot.HEARTBEAT_NS: "what the supervisor watches",
    Slot.STARTED_NS: "the supervisor knows the start time",
    Slot.RSS_BYTES: "the supervisor reads it from /proc, also of a worker that hangs",
    Slot.GENERATION: "part of every ConnectionID",
}


@dataclass(frozen=True, slots=True)
class Metric:
    """One line of the table."""

    name: str
    type: Literal["counter", "gauge", "histogram"]
    labels: tuple[str, ...]
    help: str
    samples: Callable[[NodeFacts], Samples]


# fmt: off
_HISTORY_REFUSALS: Final = (
    *("unknown-room", "unknown-origin", "excluded", "too-large", "malformed", "clock-order", "clock-ahead"),
    *("bad-chain", "bad-seal", "forged-author", "fork", "too-many-gaps", "duplicate"),
)

METRICS: Final = (
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
           "How late the worker's last heartbeat ran.", OfWorker({(): Slot.LOOP_LAG_NS}, _NS)),
    Metric("megaphone_worker_loop_lag_max_seconds", "gauge", ("worker",),
           "The worst of the worker's last 10 heartbeats.", OfWorker({(): Slot.LOOP_LAG_MAX_NS}, _NS)),
    Metric("megaphone_worker_poller_turns_total", "counter", ("worker",),
           "Times the worker asked the kernel for ready sockets.", OfWorker({(): Slot.POLLER_TURNS})),
    Metric("megaphone_worker_poller_events_total", "counter", ("worker",),
           "Ready sockets the kernel reported to the worker.", OfWorker({(): Slot.POLLER_EVENTS})),
    # connections
    Metric("megaphone_connections", "gauge", ("worker", "state"),
           "Client connections open now, by state.", OfWorker(_STATES)),
    Metric("megaphone_connections_accepted_total", "counter", ("worker",),
           "Client connections accepted.", OfWorker({(): Slot.ACCEPTED})),
    Metric("megaphone_connections_inherited_total", "counter", ("worker",),
           "Client connections taken over from the worker process before.", OfWorker({(): Slot.MOVED})),
    Metric("megaphone_connections_closed_total", "counter", ("reason",),
           "Client connections ended, by reason.", OfNode(_CLOSED)),
    Metric("megaphone_connection_bytes", "gauge", (),
           "Memory of one idle connection's objects in a worker.", OfNode({(): Slot.CONNECTION_BYTES}, max)),
    Metric("megaphone_client_round_trip_now_seconds", "gauge", ("worker", "percentile"),
           "Round trips of clients now: 50, 90 and 100 % of up to 256 connections of the worker are within this.",
           OfWorker(_ROUND_TRIPS, _NS, measured_only=True)),
    Metric("megaphone_client_round_trip_seconds", "histogram", (),
           "Round trips of clients: each worker looks at up to 256 connections every two seconds.",
           OfNode(_ROUND_TRIP_PARTS)),
    Metric("megaphone_limit_refusals_total", "counter", ("limit",),
           "Times a limit refused something; the label is its configuration key.", OfNode(_REFUSALS)),
    Metric("megaphone_throttled_total", "counter", (),
           "Times a connection was paused because it exceeded its own rate.", OfNode({(): Slot.THROTTLED})),
    # TLS
    Metric("megaphone_starttls_offered_total", "counter", (),
           "Streams before TLS that the edge answered itself.", OfNode({(): Slot.STARTTLS_OFFERED})),
    Metric("megaphone_tls_handshakes_total", "counter", ("version", "result"),
           "TLS handshakes finished (ok) or not (failed).", OfNode(_HANDSHAKES)),
    Metric("megaphone_tls_resumptions_total", "counter", (),
           "Successful TLS handshakes that used a session ticket.", OfNode({(): Slot.TLS_RESUMED})),
    Metric("megaphone_tls_record_layer_total", "counter", ("layer",),
           "Successful TLS handshakes by what goes on with the records: own, or OpenSSL.", OfNode(_RECORD_LAYERS)),
    Metric("megaphone_certificate_expiry_timestamp_seconds", "gauge", ("chain",),
           "Unix time at which this chain file's certificate expires.", lambda node: _one_label(node.certificates)),
    # traffic
    Metric("megaphone_stanzas_total", "counter", ("direction", "kind"),
           "Stanzas relayed: in = from clients, out = to clients.", OfNode(_STANZAS)),
    Metric("megaphone_stream_bytes_total", "counter", ("direction",),
           "Bytes of XML relayed, without TLS: in = from clients, out = to clients.", OfNode(_BYTES)),
    Metric("megaphone_mailbox_bytes", "gauge", ("worker",),
           "Bytes waiting in mailboxes for a peer that reads too slowly.", OfWorker({(): Slot.MAILBOX_BYTES})),
    Metric("megaphone_mailbox_memory_bytes", "gauge", ("worker",),
           "Memory of mailboxes: what waits, and free chunks that were needed in the last seconds.",
           OfWorker({(): Slot.MAILBOX_MEMORY_BYTES})),
    Metric("megaphone_mailbox_full_total", "counter", (),
           "Times a mailbox reached its limit and its writer was paused.", OfNode({(): Slot.MAILBOX_FULL})),
    # WebSocket
    Metric("megaphone_websocket_connections", "gauge", ("worker",),
           "Open client connections that speak WebSocket.", OfWorker({(): WebSocketSlot.OPEN})),
    Metric("megaphone_websocket_upgrades_total", "counter", ("result",),
           "HTTP requests on the listeners for clients, by result.",
           OfNode({("ok",): WebSocketSlot.OPENED, ("refused",): WebSocketSlot.REFUSED})),
    Metric("megaphone_websocket_pings_total", "counter", ("direction",),
           "Pings from clients, and those of the edge to silent ones.",
           OfNode({("in",): WebSocketSlot.PINGS_IN, ("out",): WebSocketSlot.PINGS_OUT})),
    Metric("megaphone_websocket_frames_refused_total", "counter", (),
           "Connections ended for a frame that RFC 6455 or a limit forbids.",
           OfNode({(): WebSocketSlot.FRAMES_REFUSED})),
    # BOSH
    Metric("megaphone_bosh_sessions", "gauge", ("worker",),
           "Sessions over BOSH.", OfWorker({(): BoshSlot.OPEN})),
    Metric("megaphone_bosh_sessions_opened_total", "counter", ("worker",),
           "Sessions over BOSH that have begun.", OfWorker({(): BoshSlot.OPENED})),
    Metric("megaphone_bosh_sessions_expired_total", "counter", (),
           "Of these, ended because their client did not ask again in time.", OfNode({(): BoshSlot.EXPIRED})),
    Metric("megaphone_bosh_sessions_refused_total", "counter", (),
           "Sessions not begun: there were too many, or the worker drains.", OfNode({(): BoshSlot.REFUSED})),
    Metric("megaphone_bosh_wrong_sids_total", "counter", ("result",),
           "Requests for no session of ours: answered so, or not looked at, as their address had sent too many.",
           OfNode({("unknown",): BoshSlot.WRONG_SID, ("locked",): BoshSlot.LOCKED})),
    Metric("megaphone_bosh_passed_on_total", "counter", ("worker",),
           "Requests that came to another worker than their session's.", OfWorker({(): BoshSlot.PASSED_ON})),
    # ephemeral pages
    Metric("megaphone_pages", "gauge", ("worker",),
           "Ephemeral pages that windows connected to the worker hold or want.", OfWorker({(): PagesSlot.PAGES})),
    Metric("megaphone_pages_windows", "gauge", ("worker", "state"),
           "Windows of ephemeral pages: connected, holding a page, waiting for one.",
           OfWorker({("connected",): PagesSlot.VISITORS, ("holding",): PagesSlot.HOLDERS,
                     ("waiting",): PagesSlot.WANTS})),
    Metric("megaphone_pages_requests_total", "counter", ("result",),
           "Requests for a page: taken from windows, put to holders, put to a second one, and contents brought.",
           OfNode({("taken",): PagesSlot.REQUESTS, ("asked",): PagesSlot.ASKS, ("hedged",): PagesSlot.HEDGES,
                   ("served",): PagesSlot.SERVED})),
    Metric("megaphone_pages_bad_hashes_total", "counter", (),
           "Contents that were not the page they were said to be, or too large; their holder was put out.",
           OfNode({(): PagesSlot.BAD_HASHES})),
    Metric("megaphone_pages_refused_total", "counter", (),
           "Joins, requests and messages of windows refused for a limit of [pages].", OfNode({(): PagesSlot.REFUSED})),
    Metric("megaphone_pages_messages_total", "counter", ("direction",),
           "Channel messages from and to windows.",
           OfNode({("in",): PagesSlot.MESSAGES_IN, ("out",): PagesSlot.MESSAGES_OUT})),
    Metric("megaphone_pages_bytes_total", "counter", ("direction",),
           "Bytes of these messages.", OfNode({("in",): PagesSlot.BYTES_IN, ("out",): PagesSlot.BYTES_OUT})),
    Metric("megaphone_http_connections", "gauge", ("worker",),
           "Open connections that ask for something else than XMPP over WebSocket.",
           OfWorker({(): WebSocketSlot.HTTP_OPEN})),
    Metric("megaphone_http_requests_total", "counter", ("result",),
           "HTTP requests, but those for XMPP over WebSocket.",
           OfNode({("ok",): WebSocketSlot.HTTP_ANSWERED, ("refused",): WebSocketSlot.HTTP_REFUSED})),
    Metric("megaphone_http_websockets_total", "counter", (),
           "WebSockets opened that do not carry XMPP.", OfNode({(): WebSocketSlot.MESSAGES_OPENED})),
    # embedded service
    Metric("megaphone_sessions", "gauge", ("worker", "state"),
           "Sessions of the embedded service at home in the worker.",
           OfWorker({("bound",): Slot.SESSIONS, ("waiting",): Slot.SESSIONS_WAITING})),
    Metric("megaphone_logins_total", "counter", ("result",),
           "Authentications, by result.", OfNode({("ok",): Slot.LOGINS, ("failed",): Slot.LOGIN_FAILURES})),
    Metric("megaphone_session_events_total", "counter", ("event",),
           "What happened to sessions.",
           OfNode({("bound",): Slot.SESSIONS_BOUND, ("resumed",): Slot.SESSIONS_RESUMED,
                   ("expired",): Slot.SESSIONS_EXPIRED, ("overflowed",): Slot.OVERFLOWS})),
    Metric("megaphone_rooms", "gauge", ("worker",),
           "Chat rooms at home in the worker.", OfWorker({(): Slot.ROOMS})),
    Metric("megaphone_room_occupants", "gauge", ("worker",),
           "Occupants of rooms, of any worker, whose session is at home here.", OfWorker({(): Slot.OCCUPANTS})),
    Metric("megaphone_connections_moved_total", "counter", ("worker", "direction"),
           "Connections given to the home of their user, and taken over.",
           OfWorker({("given",): Slot.SURRENDERED, ("taken",): Slot.ADOPTED})),
    Metric("megaphone_relayed_connections", "gauge", ("worker",),
           "Connections whose session is in another worker, and sessions whose connection is.",
           OfWorker({(): Slot.RELAYED_OPEN})),
    Metric("megaphone_bus_frames_total", "counter", ("worker", "direction"),
           "Frames between this worker and the others.",
           OfWorker({("in",): Slot.BUS_FRAMES_IN, ("out",): Slot.BUS_FRAMES_OUT})),
    Metric("megaphone_bus_bytes_total", "counter", ("worker", "direction"),
           "Bytes between this worker and the others.",
           OfWorker({("in",): Slot.BUS_BYTES_IN, ("out",): Slot.BUS_BYTES_OUT})),
    Metric("megaphone_bus_refused_total", "counter", ("worker",),
           "Frames for which too much waited for that worker already.", OfWorker({(): Slot.BUS_REFUSED})),
    Metric("megaphone_store_writes_total", "counter", ("worker",),
           "Writes to the database that are durable.", OfWorker({(): Slot.STORE_WRITES})),
    Metric("megaphone_store_refused_total", "counter", ("worker",),
           "Writes that the database did not take.", OfWorker({(): Slot.STORE_REFUSED})),
    Metric("megaphone_store_waiting", "gauge", ("worker",),
           "Writes that wait for a commit.", OfWorker({(): Slot.STORE_WAITING})),
    Metric("megaphone_archive_entries_total", "counter", ("worker", "event"),
           "Entries of archives of rooms and users: appended, erased, given in answer to queries.",
           OfWorker({("appended",): Slot.ARCHIVE_APPENDED, ("erased",): Slot.ARCHIVE_ERASED,
                     ("given",): Slot.ARCHIVE_GIVEN})),
    Metric("megaphone_archive_queries_total", "counter", ("worker",),
           "Queries of archives that were answered with a page.", OfWorker({(): Slot.ARCHIVE_QUERIES})),
    Metric("megaphone_promises_waiting", "gauge", ("worker",),
           "Acknowledgements that wait until something is durable.", OfWorker({(): Slot.PROMISES_WAITING})),
    # the cluster
    Metric("megaphone_nodes", "gauge", ("worker",),
           "Nodes of the cluster that the worker sees alive, our own included; 0 without a cluster.",
           OfWorker({(): ClusterSlot.NODES})),
    Metric("megaphone_nats_up", "gauge", ("worker",),
           "1 while the worker is connected to NATS.", OfWorker({(): ClusterSlot.NATS_UP})),
    Metric("megaphone_nats_messages_total", "counter", ("worker", "direction"),
           "Messages from and to NATS.",
           OfWorker({("in",): ClusterSlot.NATS_MESSAGES_IN, ("out",): ClusterSlot.NATS_MESSAGES_OUT})),
    Metric("megaphone_nats_bytes_total", "counter", ("worker", "direction"),
           "Bytes of their payloads.",
           OfWorker({("in",): ClusterSlot.NATS_BYTES_IN, ("out",): ClusterSlot.NATS_BYTES_OUT})),
    Metric("megaphone_nats_refused_total", "counter", ("worker",),
           "Messages that were not sent: no connection, too much waited, or too large.",
           OfWorker({(): ClusterSlot.NATS_REFUSED})),
    Metric("megaphone_nats_losses_total", "counter", ("worker",),
           "Connections to NATS that ended.", OfWorker({(): ClusterSlot.NATS_LOSSES})),
    Metric("megaphone_rows_shared", "gauge", ("worker",),
           "1 while worker 0 hears of other nodes' rows; 0 for other workers.",
           OfWorker({(): ClusterSlot.ROWS_SHARED})),
    Metric("megaphone_rows_total", "counter", ("worker", "event"),
           "Rows told to other nodes, heard of them, applied since they were newer, refused.",
           OfWorker({("told",): ClusterSlot.ROWS_TOLD, ("heard",): ClusterSlot.ROWS_HEARD,
                     ("applied",): ClusterSlot.ROWS_APPLIED, ("refused",): ClusterSlot.ROWS_REFUSED})),
    Metric("megaphone_history_told_total", "counter", ("worker",),
           "Batches of histories that another node was told.", OfWorker({(): ClusterSlot.HISTORY_TOLD})),
    Metric("megaphone_history_heard_total", "counter", ("worker",),
           "Entries of histories that another node has written and that were new here.",
           OfWorker({(): ClusterSlot.HISTORY_HEARD})),
    Metric("megaphone_history_lost_total", "counter", ("worker",),
           "Conversations about histories that were given up, to begin anew.",
           OfWorker({(): ClusterSlot.HISTORY_LOST})),
    Metric("megaphone_history_refused_total", "counter", ("worker", "reason"),
           "Batches of histories that were not taken, by the reason (docs/reference/history.md).",
           OfWorker({(reason,): ClusterSlot["HISTORY_" + reason.upper().replace("-", "_")]
                     for reason in _HISTORY_REFUSALS})),
    # upstreams
    Metric("megaphone_upstream_healthy", "gauge", ("upstream", "worker"),
           "1 when the worker's last checks of the upstream succeeded, else 0.", _upstream_healthy),
    Metric("megaphone_upstream_connections", "gauge", ("upstream",),
           "Connections to the upstream open now.", OfUpstream({(): UpstreamSlot.UP_OPEN})),
    Metric("megaphone_upstream_connects_total", "counter", ("upstream", "result"),
           "Attempts to connect to the upstream: ok, failed.", OfUpstream(_CONNECTS)),
    Metric("megaphone_upstream_connect_duration_seconds", "histogram", ("upstream",),
           "Time until a connection to the upstream was open.", OfUpstream(_CONNECT_PARTS)),
    Metric("megaphone_upstream_checks_total", "counter", ("upstream", "result"),
           "Health checks of the upstream by all workers: ok, failed.", OfUpstream(_CHECKS)),
    Metric("megaphone_upstream_check_duration_seconds", "gauge", ("upstream",),
           "Connect to features in the last good check, slowest worker.", OfUpstream(_CHECK_TIME, max, _NS)),
    Metric("megaphone_upstream_full_total", "counter", ("upstream",),
           "Times the upstream was passed over because of its max_connections.", OfUpstream(_FULL)),
    # links
    Metric("megaphone_links", "gauge", ("upstream", "state"),
           "Links of all workers by state: broken, connecting, handshaking, attached, draining, closed.", _links),
    Metric("megaphone_link_streams", "gauge", _PER_LINK,
           "Streams on the link, also those whose end is not complete.", OfLink({(): LinkSlot.LI_STREAMS})),
    Metric("megaphone_link_frames_total", "counter", (*_PER_LINK, "direction"),
           "Frames on the link: in = from the server, out = to the server.", OfLink(_LINK_FRAMES)),
    Metric("megaphone_link_bytes_total", "counter", (*_PER_LINK, "direction"),
           "Bytes on the link, without TLS: in = from the server, out = to the server.", OfLink(_LINK_BYTES)),
    Metric("megaphone_link_round_trip_seconds", "gauge", _PER_LINK,
           "Time from the last PING to its PONG; 0 before the first.", OfLink({(): LinkSlot.LI_ROUND_TRIP_NS}, _NS)),
    Metric("megaphone_link_kept_bytes", "gauge", _PER_LINK,
           "Bytes sent that the server has not acknowledged; at most 4 MiB.", OfLink({(): LinkSlot.LI_KEPT_BYTES})),
    Metric("megaphone_link_unsent_bytes", "gauge", _PER_LINK,
           "Of the kept bytes, those the socket has not taken.", OfLink({(): LinkSlot.LI_UNSENT_BYTES})),
    Metric("megaphone_link_attaches_total", "counter", (*_PER_LINK, "session"),
           "Sockets that became the link's: with a new session, or with one that was resumed.", OfLink(_LINK_ATTACHES)),
    Metric("megaphone_link_breaks_total", "counter", _PER_LINK,
           "Sockets lost, and attempts to connect that failed.", OfLink({(): LinkSlot.LI_BREAKS})),
    Metric("megaphone_link_refused_total", "counter", _PER_LINK,
           "Greetings that either side refused: secret, version, too many links.", OfLink({(): LinkSlot.LI_REFUSED})),
    Metric("megaphone_link_credit_waits_total", "counter", _PER_LINK,
           "Times a client had to wait for the server's credit.", OfLink({(): LinkSlot.LI_CREDIT_WAITS})),
    Metric("megaphone_link_credit_wait_seconds_total", "counter", _PER_LINK,
           "Time that clients have waited for credit.", OfLink({(): LinkSlot.LI_CREDIT_WAIT_NS}, _NS)),
    Metric("megaphone_link_turn_waits_total", "counter", _PER_LINK,
           "Times a client had to wait for its turn on a busy or broken link.", OfLink({(): LinkSlot.LI_TURN_WAITS})),
    # admission of new streams to links
    Metric("megaphone_admission_waiting", "gauge", ("upstream",),
           "New streams that wait for a link or for their turn.", OfAdmission({(): AdmissionSlot.AD_WAITING})),
    Metric("megaphone_admission_opening", "gauge", ("upstream",),
           "Streams opened that the server has not answered yet.", OfAdmission({(): AdmissionSlot.AD_OPENING})),
    Metric("megaphone_admission_waited_total", "counter", ("upstream",),
           "New streams that had to wait.", OfAdmission({(): AdmissionSlot.AD_WAITED})),
    Metric("megaphone_admission_returning_total", "counter", ("upstream",),
           "Of the streams that had to wait, those that went first.", OfAdmission({(): AdmissionSlot.AD_RETURNING})),
    Metric("megaphone_admission_wait_seconds_total", "counter", ("upstream",),
           "Time that streams have waited to be opened.", OfAdmission({(): AdmissionSlot.AD_WAITED_NS}, _NS)),
    Metric("megaphone_admission_refused_total", "counter", ("upstream",),
           "New streams for which there was no place to wait.", OfAdmission({(): AdmissionSlot.AD_REFUSED})),
    Metric("megaphone_admission_answer_duration_seconds", "histogram", ("upstream",),
           "Time from a stream's OPEN to the server's first bytes.", OfAdmission(_ANSWER_PARTS)),
    # links of a hub
    Metric("megaphone_hub_links", "gauge", ("state",),
           "Links that edges have to this hub: attached, or waiting for a new socket.", OfNode(_HUB_LINKS)),
    Metric("megaphone_hub_attaches_total", "counter", ("session",),
           "Sockets that became a link's: with a new session, or with one that was resumed.", OfNode(_HUB_ATTACHES)),
    Metric("megaphone_hub_breaks_total", "counter", (),
           "Sockets that broke while they carried a session.", OfNode({(): Slot.HUB_BROKEN})),
    Metric("megaphone_hub_refused_total", "counter", (),
           "Sockets that got no WELCOME: secret, version, too many links, no HELLO in time.",
           OfNode({(): Slot.HUB_REFUSED})),
    Metric("megaphone_hub_frames_total", "counter", ("direction",),
           "Frames on links: in = from edges, out = to edges.", OfNode(_HUB_FRAMES)),
    Metric("megaphone_hub_link_bytes_total", "counter", ("direction",),
           "Bytes on links, frame headers included: in = from edges, out = to edges.", OfNode(_HUB_BYTES)),
    Metric("megaphone_hub_kept_bytes", "gauge", (),
           "Bytes said to edges and not acknowledged; at most 4 MiB for each link.", OfNode({(): Slot.HUB_KEPT_BYTES})),
    Metric("megaphone_hub_unsent_bytes", "gauge", (),
           "Of these, bytes that no socket has taken yet.", OfNode({(): Slot.HUB_UNSENT_BYTES})),
    # operators
    Metric("megaphone_admin_requests_total", "counter", ("endpoint", "status"),
           "HTTP requests answered on the admin address and the control socket.", _admin_requests),
    Metric("megaphone_config_reloads_total", "counter", ("result",),
           "Reloads of the configuration: accepted, refused.", lambda node: _one_label(node.reloads)),
    Metric("megaphone_upgrades_total", "counter", ("result",),
           "Upgrades: done, failed (some workers go on as they were), refused (nothing has changed).",
           lambda node: _one_label(node.upgrades)),
    Metric("megaphone_upgrade_connections_total", "counter", ("result",),
           "Client connections of workers that handed over: moved to the successor, or ended, as they could not move.",
           lambda node: _one_label(node.upgrade_connections)),
)
# fmt: on


class BoardCollector(Collector):
    """Turns the facts of the moment into metric families; `facts` is called once for each scrape."""

    def __init__(self, facts: Callable[[], NodeFacts], metrics: Sequence[Metric] = METRICS) -> None:
        self._facts = facts
        self._metrics = metrics

    def describe(self) -> Iterable[Family]:
        """The families without samples, so that registering needs no facts."""
        return [_empty(metric) for metric in self._metrics]

    def collect(self) -> Iterator[Family]:
        """All families in the order of the table."""
        node = self._facts()
        for metric in self._metrics:
            family = _empty(metric)
            if isinstance(family, HistogramMetricFamily):
                _add_histogram(family, metric.samples(node))
            else:
                for labels, value in metric.samples(node):
                    family.add_metric(labels, value)
            yield family


def _empty(metric: Metric) -> CounterMetricFamily | GaugeMetricFamily | HistogramMetricFamily:
    match metric.type:
        case "counter":
            return CounterMetricFamily(metric.name, metric.help, labels=metric.labels)
        case "gauge":
            return GaugeMetricFamily(metric.name, metric.help, labels=metric.labels)
        case "histogram":
            return HistogramMetricFamily(metric.name, metric.help, labels=metric.labels)


def _add_histogram(family: HistogramMetricFamily, samples: Samples) -> None:
    """Boards count each time in one bucket; Prometheus wants each bucket to include the smaller ones."""
    by_labels: dict[Labels, dict[str, float]] = {}
    for (*labels, part), value in samples:
        by_labels.setdefault(tuple(labels), {})[part] = value
    for labels_of, parts in by_labels.items():
        sum_ns = parts.pop("sum")
        bounds = accumulate(parts.values())
        family.add_metric(labels_of, list(zip(parts, bounds, strict=True)), sum_value=sum_ns * _NS)
