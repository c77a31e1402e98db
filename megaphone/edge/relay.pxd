# The data path of a client connection, compiled interface.
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from megaphone.dispatch.counters cimport SERVER_CLOSED, STANZAS_OUT
from megaphone.dispatch.dispatcher cimport Connection
from megaphone.edge.clients cimport Clients
from megaphone.sockets.receiver cimport Receiver
from megaphone.wire.framer cimport (
    Bounds, COMPRESSED_ELEMENT, Framer, PROCEED_ELEMENT, STANZA, STREAM_END, SUCCESS_ELEMENT, Scan, framer_ended,
)

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

cdef const Bounds* server_bounds() noexcept
cdef int kind_of(const uint8_t* stanza, size_t length) noexcept

cdef class RelayedConnection(Connection):
    cdef readonly Clients clients
    cdef Receiver receiver
    cdef Framer framer_in                   # client to server
    cdef Framer framer_out                  # server to client
    cdef uint64_t bytes_in
    cdef uint64_t bytes_out
    cdef int64_t stanza_tokens              # in 1/16 stanza
    cdef int64_t byte_tokens                # in 1/16 byte
    cdef uint32_t refilled_ticks
    cdef uint32_t active_ticks
    cdef uint8_t state
    cdef uint8_t reason
    cdef uint8_t speech                     # websocket.Speech
    cdef uint8_t in_starttls                # TLS was begun with STARTTLS
    cdef uint8_t awaits_admission           # who this is stands in the HTTP request, if one comes
    cdef uint8_t secured                    # a trusted proxy says that its client has TLS
    cdef bint opaque                        # compressed or encrypted by the server, or HTTP: no framing
    cdef bint outbound_lost                 # the server's stream could not be framed
    cdef bint throttled
    cdef str jid
    cdef bytes sniffed                      # the server's bytes since success, while the JID is looked for
    cdef str end_condition                  # the end waits for the server's stanza to end

    cdef void enter(self, int state)
    cdef void relay(self, const uint8_t* data, size_t length)
    cdef bint over_preauth(self)
    cdef void account(self, Scan* result, size_t length)
    cdef bint refill(self)
    cdef bint looks_on(self)
    cdef void count_out(self, size_t length, int kind, uint32_t count)
    cdef void refuse(self, int error)
    cdef void mark_authenticated(self)
    cdef void look_for_jid(self, const uint8_t* data, size_t length)

# What every delivery of a server's bytes begins with, passed on as they are or as messages.


cdef inline bint begin_delivery(RelayedConnection connection, const uint8_t* data, size_t length):
    """False: the connection is closing, and takes nothing."""
    if connection.state >= CLOSING:
        return False
    if connection.state == CONNECTING:
        connection.enter(PREAUTH)
    connection.active_ticks = connection.clients.poller.now_ticks
    if connection.state == AUTHENTICATED and connection.jid is None and connection.sniffed is not None:
        connection.look_for_jid(data, length)
    return True


cdef inline bint note_event(RelayedConnection connection, int event, const Scan* result, const uint8_t* data, size_t length):
    """Counts what the framer of the server's stream has seen; True: what follows is no XMPP in clear any more."""
    cdef uint64_t* slots = connection.clients.board.slots
    cdef int kind
    for kind in range(4):
        slots[<int> STANZAS_OUT + kind] += result.counts[kind]
    if event == STREAM_END and not framer_ended(&connection.framer_in) and not connection.receiver.ended:
        connection.reason = SERVER_CLOSED       # it was the first to say goodbye
    elif event == STANZA:
        if result.element == SUCCESS_ELEMENT and connection.state == PREAUTH:
            connection.mark_authenticated()
            if connection.jid is None:
                connection.look_for_jid(data, length)
        return result.element == COMPRESSED_ELEMENT or result.element == PROCEED_ELEMENT
    return False


cdef inline bint awaits_jid(RelayedConnection connection) noexcept:
    """Inside SASL2's success, whose end has not come yet."""
    return (connection.state == PREAUTH and connection.framer_out.depth > 1
            and connection.framer_out.element == SUCCESS_ELEMENT and connection.jid is None)
