# One client connection, compiled interface.
from libc.stdint cimport uint8_t, uint16_t, uint32_t
from megaphone.edge.clients cimport Clients
from megaphone.edge.limits cimport ListenerFacts
from megaphone.edge.relay cimport RelayedConnection

cdef class ClientConnection(RelayedConnection):
    cdef readonly ListenerFacts listener
    cdef uint32_t opened_ticks
    cdef uint32_t deadline_ticks            # of CLOSING
    cdef uint8_t address[16]                # IPv6, or IPv4 mapped into it
    cdef uint16_t port
    cdef bint admitted                      # counted in the address sketch
    cdef bint header_sent                   # the edge's own header of the current stream
    cdef bint client_ended
    cdef bint offering                      # STARTTLS is optional and the client has not chosen
    cdef bytes pending                      # bytes from the client that wait for a decision
    cdef bytes held                         # the server's first bytes, until its features are complete
    cdef object negotiation
    cdef str domain
    cdef str upstream                       # name of the last upstream, for people

    cdef void begin(self)
    cdef void open_bytes(self, const uint8_t* data, size_t length) except *
    cdef void choose(self, const uint8_t* data, size_t length) except *
    cdef int hold(self, const uint8_t* data, size_t length) except? -1
    cdef void pass_on(self, bytes data)
    cdef bint inject(self, str condition)
    cdef void detach(self)
    cdef void start_closing(self)
    cdef void close_now(self)

cdef ClientConnection accept_connection(Clients clients, ListenerFacts listener, int fd, const uint8_t* address, uint16_t port)
