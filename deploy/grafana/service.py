"""The row of the embedded chat service."""

from typing import Final

from deploy.grafana.panel import graph

SERVICE: Final = (
    graph(
        "Sessions",
        "short",
        "waiting: their connection broke and they may still come back (XEP-0198); the others are bound and connected.",
        ("sum by (state) (megaphone_sessions{})", "{{state}}"),
    ),
    graph(
        "Logins",
        "cps",
        "Authentications.",
        ("sum by (result) (rate(megaphone_logins_total{}[$__rate_interval]))", "{{result}}"),
    ),
    graph(
        "What happens to sessions",
        "cps",
        "overflowed: ended because the client took too little.",
        ("sum by (event) (rate(megaphone_session_events_total{}[$__rate_interval]))", "{{event}}"),
    ),
    graph(
        "Rooms",
        "short",
        "And their occupants.",
        ("sum(megaphone_rooms{})", "rooms"),
        ("sum(megaphone_room_occupants{})", "occupants"),
    ),
    graph(
        "Database",
        "cps",
        "refused: the disk is full, or too much waits.",
        ("sum(rate(megaphone_store_writes_total{}[$__rate_interval]))", "durable"),
        ("sum(rate(megaphone_store_refused_total{}[$__rate_interval]))", "refused"),
    ),
    graph(
        "Waiting for the disk",
        "short",
        "Writes, and acknowledgements that wait for them.",
        ("sum by (instance) (megaphone_store_waiting{})", "{{instance}} writes"),
        ("sum by (instance) (megaphone_promises_waiting{})", "{{instance}} acknowledgements"),
    ),
    graph(
        "Archives",
        "cps",
        "Entries of rooms' and users' archives: appended, erased, given in answer to queries.",
        ("sum by (event) (rate(megaphone_archive_entries_total{}[$__rate_interval]))", "{{event}}"),
        ("sum(rate(megaphone_archive_queries_total{}[$__rate_interval]))", "queries"),
    ),
    graph(
        "Between workers",
        "cps",
        "Frames; refused: too much waited for that worker.",
        ("sum by (direction) (rate(megaphone_bus_frames_total{}[$__rate_interval]))", "{{direction}}"),
        ("sum(rate(megaphone_bus_refused_total{}[$__rate_interval]))", "refused"),
    ),
    graph(
        "Between workers, bytes",
        "Bps",
        "Their bytes.",
        ("sum by (direction) (rate(megaphone_bus_bytes_total{}[$__rate_interval]))", "{{direction}}"),
    ),
    graph(
        "On the way home",
        "short",
        "relayed: both halves of connections with TLS whose session is in another worker; moved: connections a second.",
        ("sum(megaphone_relayed_connections{})", "relayed"),
        (
            "sum by (direction) (rate(megaphone_connections_moved_total{}[$__rate_interval]))",
            "{{direction}} a second",
        ),
    ),
)
