"""HTTP beyond the XMPP WebSocket: requests and their answers, routes, message connections, files, host-meta.

One HTTP connection is one `ClientConnection` of the edge, whose TLS, limits, admission and counters hold for it.
"""
