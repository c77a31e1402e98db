"""Clients of browsers: WebSocket, and what is asked for over HTTP."""

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
)
