"""The row of several nodes."""

from typing import Final

from deploy.grafana.panel import graph

CLUSTER: Final = (
    graph(
        "Nodes alive",
        "short",
        "As each node sees them, its own included; 0 without a cluster. Where they differ for long, a network is cut.",
        ("min by (instance) (megaphone_nodes{})", "{{instance}}"),
    ),
    graph(
        "Workers without NATS",
        "short",
        "Of nodes in a cluster.",
        ("count by (instance) ((megaphone_nats_up{} == 0) and (megaphone_nodes{} > 0))", "{{instance}}"),
    ),
    graph(
        "Between nodes",
        "cps",
        "Messages to and from NATS; refused: no connection, too much waited, or too large; losses of the connection.",
        ("sum by (direction) (rate(megaphone_nats_messages_total{}[$__rate_interval]))", "{{direction}}"),
        ("sum(rate(megaphone_nats_refused_total{}[$__rate_interval]))", "refused"),
        ("sum(rate(megaphone_nats_losses_total{}[$__rate_interval]))", "losses"),
    ),
    graph(
        "Between nodes, bytes",
        "Bps",
        "Of their payloads.",
        ("sum by (direction) (rate(megaphone_nats_bytes_total{}[$__rate_interval]))", "{{direction}}"),
    ),
    graph(
        "Histories between nodes",
        "cps",
        "Batches that others were told, entries of others that were new here, conversations that were given up.",
        ("sum(rate(megaphone_history_told_total{}[$__rate_interval]))", "told"),
        ("sum(rate(megaphone_history_heard_total{}[$__rate_interval]))", "heard"),
        ("sum(rate(megaphone_history_lost_total{}[$__rate_interval]))", "given up"),
    ),
    graph(
        "Histories refused",
        "cps",
        "Batches that were not taken, by the reason.",
        ("sum by (reason) (rate(megaphone_history_refused_total{}[$__rate_interval]))", "{{reason}}"),
    ),
    graph(
        "Rows between nodes",
        "cps",
        "Accounts, rosters, rooms: told to the store, taken from it; and whether all has been shared (1).",
        ("sum by (event) (rate(megaphone_rows_total{}[$__rate_interval]))", "{{event}}"),
        ("min by (instance) (megaphone_rows_shared{})", "{{instance}} shared"),
    ),
)
