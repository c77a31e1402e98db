# One client connection, compiled interface.
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from megaphone.dispatch.counters cimport Board
from megaphone.dispatch.dispatcher cimport Connection, Dispatcher
from megaphone.edge.sketch cimport Sketch
from megaphone.sockets.poller cimport Poller
from megaphone.sockets.receiver cimport Receiver
from megaphone.sockets.tls cimport CertificateChoice
from megaphone.wire.framer cimport Bounds, Framer, Scan

cpdef enum State:
    AWAITING_PROXY = 0     # waiting for the PROXY header of a listed network
    HANDSHAKE = 1         # TLS
    NEGOTIATING = 2       # the edge answers the first stream itself
    ROUTING = 3           # waiting for the header of the stream that is passed through
    CONNECTING = 4        # waiting for the upstream's first bytes
    PREAUTH = 5           # relaying, not authenticated
    AUTHENTICATED = 6     # relaying
    CLOSING = 7           # our last bytes are on their way
    CLOSED = 8

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

cdef class ListenerFacts:
    # What a connection has to know of the listener it came by.
    cdef readonly str address
    cdef readonly str tls                  # "starttls", "direct" or "none"
    cdef readonly bint starttls_required
    cdef readonly tuple proxy_networks
    cdef readonly CertificateChoice certificates

cdef class Clients:
    # Everything the connections of one worker share.
    cdef readonly Poller poller
    cdef readonly Dispatcher dispatcher
    cdef readonly Board board
    cdef readonly Sketch sketch
    cdef public ClientLimits limits
    cdef public object admission           # edge.admission.Admission
    cdef public object domains             # frozenset of domain names, lower case
    cdef public object open_uplink         # (ClientConnection, domain) -> Owner, or a stream-error condition
    cdef public object on_closed           # (ClientConnection, Reason) -> None, or None
    cdef list throttled
    cdef uint32_t swept                    # next registry slot to look at

cdef class ClientConnection(Connection):
    cdef readonly Clients clients
    cdef readonly ListenerFacts listener
    cdef Receiver receiver
    cdef Framer framer_in                   # client to server
    cdef Framer framer_out                  # server to client
    cdef uint64_t bytes_in
    cdef uint64_t bytes_out
    cdef int64_t stanza_tokens              # in 1/16 stanza
    cdef int64_t byte_tokens                # in 1/16 byte
    cdef uint32_t refilled_ticks
    cdef uint32_t opened_ticks
    cdef uint32_t active_ticks
    cdef uint32_t deadline_ticks            # of CLOSING
    cdef uint8_t address[16]                # IPv6, or IPv4 mapped into it
    cdef uint16_t port
    cdef uint8_t state
    cdef uint8_t reason
    cdef bint admitted                      # counted in the address sketch
    cdef bint opaque                        # compressed or encrypted by the server: no framing any more
    cdef bint outbound_lost                 # the server's stream could not be framed
    cdef bint header_sent                   # the edge's own header of the current stream
    cdef bint throttled
    cdef bint client_ended
    cdef bytes pending                      # bytes before the connection is relayed
    cdef object negotiation
    cdef str domain
    cdef str jid
    cdef bytes sniffed                      # the server's bytes since success, while the JID is looked for
    cdef str end_condition                  # shutdown waits for the server's stanza to end

    cdef void begin(self)
    cdef void enter(self, int state)
    cdef void open_bytes(self, const uint8_t* data, size_t length)
    cdef void relay(self, const uint8_t* data, size_t length)
    cdef void account(self, Scan* result, size_t length)
    cdef bint refill(self)
    cdef void refuse(self, int error)
    cdef bint inject(self, str condition)
    cdef void detach(self)
    cdef void start_closing(self)
    cdef void close_now(self)
    cdef void sweep(self, uint32_t now_ticks)
    cdef void look_for_jid(self, const uint8_t* data, size_t length)
    cdef void mark_authenticated(self)

cdef ClientConnection accept_connection(Clients clients, ListenerFacts listener, int fd, const uint8_t* address, uint16_t port)
