"""Metrics of clients' connections: how many, their TLS, their traffic, and what limits refused."""

from typing import Final

from megaphone.dispatch.counters import Kind, Reason, Slot
from megaphone.dispatch.round_trip_slots import BUCKETS_SECONDS, RoundTripSlot
from megaphone.metrics.sources import NS, Metric, OfNode, OfWorker, Slots, one_label


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
_ROUND_TRIPS: Final[Slots] = {
    ("50",): RoundTripSlot.MEDIAN_NS,
    ("90",): RoundTripSlot.NINETY_PERCENT_NS,
    ("100",): RoundTripSlot.WORST_NS,
}
_ROUND_TRIP_PARTS: Final[Slots] = {
    ("sum",): RoundTripSlot.SUM_NS,
    **{(bound,): RoundTripSlot.BUCKETS + place for place, bound in enumerate((*map(str, BUCKETS_SECONDS), "+Inf"))},
}
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

# fmt: off
EDGE: Final = (
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
           OfWorker(_ROUND_TRIPS, NS, measured_only=True)),
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
           "Unix time at which this chain file's certificate expires.", lambda node: one_label(node.certificates)),
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
)
# fmt: on
