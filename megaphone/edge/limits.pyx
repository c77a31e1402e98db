"""What a connection is measured by, and what it has to know of the listener it came in through.

Both are made once per configuration and shared by all connections; a reload replaces them as a whole.
"""

from megaphone.sockets.poller cimport TICKS_PER_SECOND

from megaphone.sockets.client_address import network_matcher
from megaphone.sockets.poller import ticks_of


cdef class ClientLimits:
    """`[limits]` of the configuration in the units of the hot path."""

    def __init__(self, limits):
        self.bounds.stanza_bytes = limits.stanza_bytes
        self.bounds.depth = limits.element_depth
        self.bounds.attributes = limits.element_attributes
        self.preauth_ticks = ticks_of(limits.preauth_seconds)
        self.preauth_bytes = limits.preauth_bytes
        self.idle_ticks = ticks_of(limits.idle_seconds)
        self.slow_ticks = ticks_of(limits.slow_consumer_seconds)
        self.close_ticks = ticks_of(limits.close_seconds)
        self.connect_ticks = ticks_of(limits.connect_seconds)
        self.mailbox_bytes = limits.mailbox_bytes
        self.stanzas_per_second = limits.stanzas_per_second
        self.stanzas_burst = limits.stanzas_burst * TICKS_PER_SECOND
        self.bytes_per_second = limits.bytes_per_second
        self.bytes_burst = limits.bytes_burst * TICKS_PER_SECOND
        self.close_over_rate = limits.over_rate == "close"


cdef class WebSocketLimits:
    """`[websocket]` of the configuration in the units of the hot path."""

    def __init__(self, table):
        self.path = table.path.encode()
        self.origins = None if "*" in table.origins else frozenset(origin.lower().encode() for origin in table.origins)
        self.forwarded_ranges = network_matcher(table.forwarded_from)
        self.forwarded_header = table.forwarded_header.encode()
        self.request_bytes = table.request_bytes
        self.ping_ticks = ticks_of(table.ping_seconds)


cdef class ListenerFacts:
    """What a connection has to know of the listener it came by."""

    def __init__(self, str tls, bint starttls_required, tuple proxy_networks, CertificateChoice certificates, int place=0, bint websocket=False, object web=None):
        self.tls = tls
        self.starttls_required = starttls_required
        self.proxy_networks = proxy_networks
        self.certificates = certificates
        self.place = place
        self.websocket = websocket
        self.web = web
        self.http = websocket or web is not None
