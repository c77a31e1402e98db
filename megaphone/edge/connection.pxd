# One client connection, compiled interface.
from libc.stdint cimport uint8_t, uint16_t
from megaphone.edge.clients cimport Clients
from megaphone.edge.closing cimport ClosableConnection
from megaphone.edge.limits cimport ListenerFacts

cdef class ClientConnection(ClosableConnection):
    cdef readonly ListenerFacts listener
    cdef uint8_t address[16]                # IPv6, or IPv4 mapped into it
    cdef readonly uint16_t port
    cdef public object session              # the edge's own part of the stream, while it lasts; opening.py keeps it here
    cdef public str domain                  # that the client wants, once it is known to be one of ours

    cdef void begin(self)
    cdef void open_bytes(self, const uint8_t* data, size_t length) except *

cdef ClientConnection accept_connection(Clients clients, ListenerFacts listener, int fd, const uint8_t* address, uint16_t port)
