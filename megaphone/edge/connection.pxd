# One client connection, compiled interface.
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from megaphone.dispatch.counters cimport Board
from megaphone.dispatch.dispatcher cimport Connection, Dispatcher
from megaphone.edge.limits cimport ClientLimits, ListenerFacts
from megaphone.edge.sketch cimport Sketch
from megaphone.sockets.poller cimport Poller
from megaphone.sockets.receiver cimport Receiver
from megaphone.wire.framer cimport Framer, Scan

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
    cdef bint offering                      # STARTTLS is optional and the client has not chosen
    cdef bytes pending                      # bytes from the client that wait for a decision
    cdef bytes held                         # the server's first bytes, until its features are complete
    cdef object negotiation
    cdef str domain
    cdef str upstream                       # name of the last upstream, for people
    cdef str jid
    cdef bytes sniffed                      # the server's bytes since success, while the JID is looked for
    cdef str end_condition                  # shutdown waits for the server's stanza to end

    cdef void begin(self)
    cdef void enter(self, int state)
    cdef void open_bytes(self, const uint8_t* data, size_t length)
    cdef void relay(self, const uint8_t* data, size_t length)
    cdef void choose(self, const uint8_t* data, size_t length)
    cdef int hold(self, const uint8_t* data, size_t length)
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
