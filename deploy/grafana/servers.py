"""The rows of an edge and of a hub: the servers behind them, and the links to them."""

from typing import Final

from deploy.grafana.panel import graph

UPSTREAMS: Final = (
    graph(
        "Healthy",
        "percentunit",
        "Share of workers that reach the upstream.",
        ("avg by (instance, upstream) (megaphone_upstream_healthy{})", "{{instance}} {{upstream}}"),
    ),
    graph(
        "Connections",
        "short",
        "To each upstream; with links, its streams.",
        ("sum by (upstream) (megaphone_upstream_connections{})", "{{upstream}}"),
    ),
    graph(
        "Connects",
        "cps",
        "full: passed over because of max_connections.",
        (
            "sum by (upstream, result) (rate(megaphone_upstream_connects_total{}[$__rate_interval]))",
            "{{upstream}} {{result}}",
        ),
        ("sum by (upstream) (rate(megaphone_upstream_full_total{}[$__rate_interval]))", "{{upstream}} full"),
    ),
    graph(
        "Time to connect",
        "s",
        "Half of the connections were faster than the first line, 95 % than the second.",
        *(
            (
                f"histogram_quantile({share}, sum by (upstream, le)"
                " (rate(megaphone_upstream_connect_duration_seconds_bucket{}[$__rate_interval])))",
                f"{{{{upstream}}}} {name}",
            )
            for share, name in (("0.5", "median"), ("0.95", "95 %"))
        ),
    ),
    graph(
        "Health checks",
        "cps",
        "By all workers.",
        (
            "sum by (upstream, result) (rate(megaphone_upstream_checks_total{}[$__rate_interval]))",
            "{{upstream}} {{result}}",
        ),
    ),
    graph(
        "Time of a health check",
        "s",
        "From connect to stream features, slowest worker.",
        ("max by (upstream) (megaphone_upstream_check_duration_seconds{})", "{{upstream}}"),
    ),
)

LINKS: Final = (
    graph(
        "Links by state",
        "short",
        "All should be attached.",
        ("sum by (upstream, state) (megaphone_links{}) > 0", "{{upstream}} {{state}}"),
        stacked=True,
    ),
    graph(
        "Streams",
        "short",
        "Clients on each link.",
        ("megaphone_link_streams{}", "{{upstream}} {{worker}}/{{link}}"),
    ),
    graph(
        "Round trip",
        "s",
        "From the last PING to its PONG.",
        ("megaphone_link_round_trip_seconds{}", "{{upstream}} {{worker}}/{{link}}"),
    ),
    graph(
        "Bytes",
        "Bps",
        "in: from the server.",
        (
            "sum by (upstream, direction) (rate(megaphone_link_bytes_total{}[$__rate_interval]))",
            "{{upstream}} {{direction}}",
        ),
    ),
    graph(
        "Frames",
        "cps",
        "in: from the server.",
        (
            "sum by (upstream, direction) (rate(megaphone_link_frames_total{}[$__rate_interval]))",
            "{{upstream}} {{direction}}",
        ),
    ),
    graph(
        "Not acknowledged",
        "bytes",
        "kept: said and not acknowledged, at most 4 MiB for each link; unsent: of these, not taken by the socket.",
        ("max by (upstream) (megaphone_link_kept_bytes{})", "{{upstream}} kept, fullest link"),
        ("max by (upstream) (megaphone_link_unsent_bytes{})", "{{upstream}} unsent, fullest link"),
    ),
    graph(
        "Breaks and greetings",
        "short",
        "In five minutes. resumed: with every stream going on.",
        ("sum by (upstream) (increase(megaphone_link_breaks_total{}[5m]))", "{{upstream}} breaks"),
        ("sum by (upstream) (increase(megaphone_link_refused_total{}[5m]))", "{{upstream}} refused"),
        (
            "sum by (upstream, session) (increase(megaphone_link_attaches_total{}[5m]))",
            "{{upstream}} {{session}}",
        ),
    ),
    graph(
        "Clients that wait",
        "short",
        "At any time: for the server's credit. A second: that had to, for credit or for their turn.",
        (
            "sum by (upstream) (rate(megaphone_link_credit_wait_seconds_total{}[$__rate_interval]))",
            "{{upstream}} for credit, at any time",
        ),
        (
            "sum by (upstream) (rate(megaphone_link_credit_waits_total{}[$__rate_interval]))",
            "{{upstream}} for credit, a second",
        ),
        (
            "sum by (upstream) (rate(megaphone_link_turn_waits_total{}[$__rate_interval]))",
            "{{upstream}} for a turn, a second",
        ),
    ),
    graph(
        "Time until the server answers a new stream",
        "s",
        "95 % of streams were faster; and how long those that had to wait for their turn did.",
        (
            "histogram_quantile(0.95, sum by (upstream, le)"
            " (rate(megaphone_admission_answer_duration_seconds_bucket{}[$__rate_interval])))",
            "{{upstream}} 95 %",
        ),
        (
            "sum by (upstream) (rate(megaphone_admission_wait_seconds_total{}[$__rate_interval]))"
            " / (sum by (upstream) (rate(megaphone_admission_waited_total{}[$__rate_interval])) > 0)",
            "{{upstream}} mean wait",
        ),
    ),
    graph(
        "Queue of new streams",
        "short",
        "opening: said to the server and not answered; waiting: for their turn.",
        ("sum by (upstream) (megaphone_admission_waiting{})", "{{upstream}} waiting"),
        ("sum by (upstream) (megaphone_admission_opening{})", "{{upstream}} opening"),
    ),
    graph(
        "New streams that had to wait",
        "cps",
        "returning: clients that came back and went first; refused: no place to wait.",
        ("sum by (upstream) (rate(megaphone_admission_waited_total{}[$__rate_interval]))", "{{upstream}} waited"),
        ("sum by (upstream) (rate(megaphone_admission_returning_total{}[$__rate_interval]))", "{{upstream}} returning"),
        ("sum by (upstream) (rate(megaphone_admission_refused_total{}[$__rate_interval]))", "{{upstream}} refused"),
    ),
)

HUB: Final = (
    graph(
        "Links of edges",
        "short",
        "waiting: broken, within the grace time.",
        ("sum by (instance, state) (megaphone_hub_links{})", "{{instance}} {{state}}"),
    ),
    graph(
        "Greetings, breaks, refusals",
        "short",
        "In five minutes.",
        ("sum by (session) (increase(megaphone_hub_attaches_total{}[5m]))", "{{session}}"),
        ("sum(increase(megaphone_hub_breaks_total{}[5m]))", "breaks"),
        ("sum(increase(megaphone_hub_refused_total{}[5m]))", "refused"),
    ),
    graph(
        "Bytes",
        "Bps",
        "in: from edges.",
        ("sum by (direction) (rate(megaphone_hub_link_bytes_total{}[$__rate_interval]))", "{{direction}}"),
    ),
    graph(
        "Frames",
        "cps",
        "in: from edges.",
        ("sum by (direction) (rate(megaphone_hub_frames_total{}[$__rate_interval]))", "{{direction}}"),
    ),
    graph(
        "Not acknowledged",
        "bytes",
        "By edges.",
        ("sum by (instance) (megaphone_hub_kept_bytes{})", "{{instance}} kept"),
        ("sum by (instance) (megaphone_hub_unsent_bytes{})", "{{instance}} unsent"),
    ),
)
