"""Clients in browsers: WebSocket, BOSH, ephemeral pages, and what else is asked for over HTTP."""

from typing import Final

from deploy.grafana.panel import graph

WEB: Final = (
    graph(
        "WebSocket",
        "short",
        "Connections; and by the second: opening handshakes by result, pings, frames that were refused.",
        ("sum(megaphone_websocket_connections{})", "connections"),
        ("sum by (result) (rate(megaphone_websocket_upgrades_total{}[$__rate_interval]))", "{{result}}"),
        ("sum by (direction) (rate(megaphone_websocket_pings_total{}[$__rate_interval]))", "ping {{direction}}"),
        ("sum(rate(megaphone_websocket_frames_refused_total{}[$__rate_interval]))", "refused"),
    ),
    graph(
        "HTTP",
        "short",
        "Connections; and by the second: requests by result, and WebSockets of other things than XMPP.",
        ("sum(megaphone_http_connections{})", "connections"),
        ("sum by (result) (rate(megaphone_http_requests_total{}[$__rate_interval]))", "{{result}}"),
        ("sum(rate(megaphone_http_websockets_total{}[$__rate_interval]))", "WebSockets"),
    ),
    graph(
        "BOSH",
        "short",
        "Sessions; and by the second: those begun, expired and refused, requests passed on to another worker, and "
        "requests for sessions that there are not.",
        ("sum(megaphone_bosh_sessions{})", "sessions"),
        ("sum(rate(megaphone_bosh_sessions_opened_total{}[$__rate_interval]))", "begun"),
        ("sum(rate(megaphone_bosh_sessions_expired_total{}[$__rate_interval]))", "expired"),
        ("sum(rate(megaphone_bosh_sessions_refused_total{}[$__rate_interval]))", "refused"),
        ("sum(rate(megaphone_bosh_passed_on_total{}[$__rate_interval]))", "passed on"),
        ("sum by (result) (rate(megaphone_bosh_wrong_sids_total{}[$__rate_interval]))", "wrong session: {{result}}"),
    ),
    graph(
        "Ephemeral pages",
        "short",
        "Pages that windows hold or want, and the windows.",
        ("sum(megaphone_pages{})", "pages"),
        ("sum by (state) (megaphone_pages_windows{})", "windows {{state}}"),
    ),
    graph(
        "Requests for ephemeral pages",
        "cps",
        "Taken from windows, put to holders, put to a second one, answered; contents that were not the page they were "
        "said to be; and what a limit refused.",
        ("sum by (result) (rate(megaphone_pages_requests_total{}[$__rate_interval]))", "{{result}}"),
        ("sum(rate(megaphone_pages_bad_hashes_total{}[$__rate_interval]))", "wrong hash"),
        ("sum(rate(megaphone_pages_refused_total{}[$__rate_interval]))", "refused"),
    ),
    graph(
        "Bytes of ephemeral pages",
        "Bps",
        "Channel messages from and to windows, and their bytes.",
        ("sum by (direction) (rate(megaphone_pages_bytes_total{}[$__rate_interval]))", "{{direction}}"),
        ("sum by (direction) (rate(megaphone_pages_messages_total{}[$__rate_interval]))", "messages {{direction}}"),
    ),
)
