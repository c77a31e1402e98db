"""Metrics of what comes over HTTP: WebSocket, BOSH, ephemeral pages, and all else that is asked for."""

from typing import Final

from megaphone.dispatch.bosh_slots import BoshSlot
from megaphone.dispatch.pages_slots import PagesSlot
from megaphone.dispatch.websocket_slots import WebSocketSlot
from megaphone.metrics.sources import Metric, OfNode, OfWorker

# fmt: off
WEB: Final = (
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
)
# fmt: on
