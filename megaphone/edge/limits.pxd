# What a connection is measured by and where it came in, compiled interface.
from libc.stdint cimport int64_t, uint32_t
from megaphone.sockets.tls_contexts cimport CertificateChoice
from megaphone.wire.framer cimport Bounds

cdef class ClientLimits:
    # [limits] in the units of the hot path; shared by all connections, replaced as a whole by a reload.
    cdef Bounds bounds
    cdef readonly uint32_t preauth_ticks
    cdef readonly uint32_t preauth_bytes
    cdef readonly uint32_t idle_ticks
    cdef readonly uint32_t slow_ticks
    cdef readonly uint32_t close_ticks
    cdef readonly uint32_t connect_ticks
    cdef readonly uint32_t mailbox_bytes
    cdef readonly int64_t stanzas_per_second
    cdef readonly int64_t stanzas_burst
    cdef readonly int64_t bytes_per_second
    cdef readonly int64_t bytes_burst
    cdef readonly bint close_over_rate

cdef class WebSocketLimits:
    # [websocket]; shared by all connections, replaced as a whole by a reload.
    cdef readonly bytes path
    cdef readonly object origins            # frozenset of bytes, in lower case; None: all
    cdef readonly list forwarded_ranges
    cdef readonly bytes forwarded_header
    cdef readonly uint32_t request_bytes
    cdef readonly uint32_t ping_ticks

cdef class ListenerFacts:
    # What a connection has to know of the listener it came by.
    cdef readonly str tls                  # "starttls", "direct", "both" or "none"
    cdef readonly bint starttls_required
    cdef readonly tuple proxy_networks
    cdef readonly bint websocket            # XMPP over WebSocket is served
    cdef readonly object web                # who serves all other HTTP (web.server.WebServer); None: nobody
    cdef readonly bint http                 # an HTTP request may come instead of a stream
    cdef readonly CertificateChoice certificates
    cdef readonly int place                 # index in [[listen]]
