"""The rows of every node: overview, connections, traffic, workers, operators."""

from typing import Final

from deploy.grafana.panel import Panel, Query, figure, graph

OVERVIEW: Final = (
    figure(
        "Nodes",
        "short",
        "Supervisors that answer.",
        "count(megaphone_build_info{})",
    ),
    figure(
        "Workers not ready",
        "short",
        "Workers that start, drain or are gone.",
        'sum(megaphone_workers{state!="ready"})',
        ((1, "red"),),
    ),
    figure("Connections", "short", "Of clients, in all states.", "sum(megaphone_connections{})"),
    figure(
        "Sessions",
        "short",
        "Of the chat service, also those whose client may still come back.",
        'sum(megaphone_sessions{state="bound"})',
    ),
    figure(
        "Messages",
        "cps",
        "Message stanzas from clients.",
        'sum(rate(megaphone_stanzas_total{direction="in", kind="message"}[$__rate_interval]))',
    ),
    figure(
        "Memory",
        "bytes",
        "Of supervisors and workers, without the kernel's for sockets.",
        "sum(megaphone_worker_resident_memory_bytes{}) + sum(megaphone_supervisor_resident_memory_bytes{})",
    ),
    figure(
        "Worst lag",
        "s",
        "How late a worker's heartbeat was: so long its clients waited.",
        "max(megaphone_worker_loop_lag_max_seconds{})",
        ((0.1, "orange"), (0.5, "red")),
    ),
    figure(
        "First certificate ends",
        "s",
        "Time that is left.",
        "min(megaphone_certificate_expiry_timestamp_seconds{}) - time()",
    ),
)

CONNECTIONS: Final = (
    graph(
        "Connections by state",
        "short",
        "negotiating: before TLS; preauth: before the login; relaying: of a hub.",
        ("sum by (state) (megaphone_connections{})", "{{state}}"),
        stacked=True,
    ),
    graph(
        "Connections by node",
        "short",
        "Clients of each node.",
        ("sum by (instance) (megaphone_connections{})", "{{instance}}"),
    ),
    graph(
        "Accepted and ended",
        "cps",
        "Connections that come and go.",
        ("sum(rate(megaphone_connections_accepted_total{}[$__rate_interval]))", "accepted"),
        ("sum(rate(megaphone_connections_closed_total{}[$__rate_interval]))", "ended"),
    ),
    graph(
        "Ended by reason",
        "cps",
        "docs/reference/metrics.md explains each.",
        ("sum by (reason) (rate(megaphone_connections_closed_total{}[$__rate_interval])) > 0", "{{reason}}"),
    ),
    graph(
        "Round trips of clients",
        "s",
        "As the kernel measures them, to the next proxy if there is one; of a sample of 256 for each worker.",
        *(
            (
                f"histogram_quantile({share}, sum by (le)"
                " (rate(megaphone_client_round_trip_seconds_bucket{}[$__rate_interval])))",
                name,
            )
            for share, name in (("0.5", "median"), ("0.9", "90 %"), ("0.99", "99 %"))
        ),
    ),
    graph(
        "Round trips of clients now",
        "s",
        "By worker: half of its clients, and 90 % of them, are within this.",
        (
            'megaphone_client_round_trip_now_seconds{percentile=~"50|90"}',
            "{{instance}} {{worker}}, {{percentile}} %",
        ),
    ),
    graph(
        "Refused by a limit",
        "cps",
        "The name is the key of the configuration that sets the limit.",
        ("sum by (limit) (rate(megaphone_limit_refusals_total{}[$__rate_interval])) > 0", "{{limit}}"),
    ),
    graph(
        "Made to wait",
        "cps",
        "throttled: clients over their rate; mailbox full: a peer that reads too slowly.",
        ("sum(rate(megaphone_throttled_total{}[$__rate_interval]))", "throttled"),
        ("sum(rate(megaphone_mailbox_full_total{}[$__rate_interval]))", "mailbox full"),
    ),
)

TRAFFIC: Final = (
    graph(
        "Stanzas",
        "cps",
        "in: from clients; out: to clients.",
        ("sum by (direction, kind) (rate(megaphone_stanzas_total{}[$__rate_interval]))", "{{kind}} {{direction}}"),
    ),
    graph(
        "XML",
        "Bps",
        "Bytes without TLS.",
        ("sum by (direction) (rate(megaphone_stream_bytes_total{}[$__rate_interval]))", "{{direction}}"),
    ),
    graph(
        "Waiting in mailboxes",
        "bytes",
        "For peers that read too slowly.",
        ("sum by (instance) (megaphone_mailbox_bytes{})", "{{instance}}"),
        ("sum by (instance) (megaphone_mailbox_memory_bytes{})", "{{instance}}, memory"),
    ),
    graph(
        "TLS handshakes",
        "cps",
        "Also streams before TLS, which the edge answers itself.",
        (
            "sum by (version, result) (rate(megaphone_tls_handshakes_total{}[$__rate_interval]))",
            "{{result}} {{version}}",
        ),
        ("sum(rate(megaphone_starttls_offered_total{}[$__rate_interval]))", "STARTTLS offered"),
    ),
    graph(
        "TLS record layers",
        "cps",
        "Handshakes by what goes on afterwards; what OpenSSL goes on with does not move in an upgrade.",
        ("sum by (layer) (rate(megaphone_tls_record_layer_total{}[$__rate_interval]))", "{{layer}}"),
    ),
    graph(
        "TLS resumptions",
        "percentunit",
        "Share of good handshakes that used a session ticket.",
        (
            "sum(rate(megaphone_tls_resumptions_total{}[$__rate_interval]))"
            ' / sum(rate(megaphone_tls_handshakes_total{result="ok"}[$__rate_interval]))',
            "resumed",
        ),
    ),
    Panel(
        "Certificates",
        "s",
        "Time until each ends.",
        (Query("megaphone_certificate_expiry_timestamp_seconds{} - time()"),),
        kind="table",
    ),
)

WORKERS: Final = (
    graph(
        "CPU",
        "percentunit",
        "Of one core; a worker cannot use more.",
        ("rate(megaphone_worker_cpu_seconds_total{}[$__rate_interval])", "{{instance}} {{worker}}"),
    ),
    graph(
        "Lag",
        "s",
        "The worst of the last ten heartbeats.",
        ("megaphone_worker_loop_lag_max_seconds{}", "{{instance}} {{worker}}"),
    ),
    graph(
        "Memory",
        "bytes",
        "Resident.",
        ("megaphone_worker_resident_memory_bytes{}", "{{instance}} {{worker}}"),
        ("megaphone_supervisor_resident_memory_bytes{}", "{{instance}} supervisor"),
    ),
    graph(
        "Memory for each connection",
        "bytes",
        "All that workers have, by their connections (with few it says nothing), and an idle one's objects.",
        (
            "sum by (instance) (megaphone_worker_resident_memory_bytes{})"
            " / (sum by (instance) (megaphone_connections{}) > 0)",
            "{{instance}}",
        ),
        ("max by (instance) (megaphone_connection_bytes{})", "{{instance}} objects"),
    ),
    graph(
        "Descriptors in use",
        "percentunit",
        "Of those that the worker may open.",
        ("megaphone_worker_open_fds{} / megaphone_worker_max_fds{}", "{{instance}} {{worker}}"),
    ),
    graph(
        "Workers replaced",
        "short",
        "In five minutes, by why the process before ended.",
        (
            "sum by (instance, cause) (increase(megaphone_worker_restarts_total{}[5m]))",
            "{{instance}} {{cause}}",
        ),
    ),
    graph(
        "Workers by state",
        "short",
        "gone: between two processes.",
        ("sum by (state) (megaphone_workers{})", "{{state}}"),
        stacked=True,
    ),
    graph(
        "Ready sockets for each turn",
        "short",
        "How many sockets one call of the kernel brought: the more, the busier and the more efficient.",
        (
            "rate(megaphone_worker_poller_events_total{}[$__rate_interval])"
            " / rate(megaphone_worker_poller_turns_total{}[$__rate_interval])",
            "{{instance}} {{worker}}",
        ),
    ),
    graph(
        "Age",
        "s",
        "Since the worker's process was started.",
        ("time() - megaphone_worker_start_time_seconds{}", "{{instance}} {{worker}}"),
    ),
)

OPERATORS: Final = (
    graph(
        "Reloads",
        "short",
        "In five minutes.",
        ("sum by (instance, result) (increase(megaphone_config_reloads_total{}[5m]))", "{{instance}} {{result}}"),
    ),
    graph(
        "Requests to the admin pages",
        "cps",
        "Also those of Prometheus.",
        (
            "sum by (endpoint, status) (rate(megaphone_admin_requests_total{}[$__rate_interval]))",
            "{{endpoint}} {{status}}",
        ),
    ),
    Panel(
        "What runs",
        "short",
        "Version of Megaphone and of Python.",
        (Query("sum by (instance, version, python) (megaphone_build_info{})"),),
        kind="table",
    ),
    graph(
        "Upgrades",
        "short",
        "In five minutes; of a failed one some workers go on as they were, of a refused one all.",
        ("sum by (instance, result) (increase(megaphone_upgrades_total{}[5m]))", "{{instance}} {{result}}"),
    ),
    graph(
        "Connections that changed their process",
        "short",
        "In five minutes: moved to a successor, or ended because they could not move.",
        ("sum by (result) (increase(megaphone_upgrade_connections_total{}[5m]))", "{{result}}"),
        (
            "sum by (instance, worker) (increase(megaphone_connections_inherited_total{}[5m])) > 0",
            "{{instance}} {{worker}} took over",
        ),
    ),
    graph(
        "Workers by version",
        "short",
        "More than one version only while an upgrade is under way, or after one that stopped.",
        ("sum by (instance, version) (megaphone_worker_info{})", "{{instance}} {{version}}"),
    ),
)
