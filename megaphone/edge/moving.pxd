# How a client connection moves to another process, compiled interface.
from libc.stdint cimport uint8_t, uint16_t, uint64_t
from megaphone.edge.closing cimport ClosableConnection
from megaphone.edge.limits cimport ListenerFacts

cdef class MovableConnection(ClosableConnection):
    cdef readonly ListenerFacts listener
    cdef uint8_t address[16]                # IPv6, or IPv4 mapped into it
    cdef readonly uint16_t port
    cdef public object session              # the edge's own part of the stream, while it lasts; opening.py keeps it here
    cdef public str domain                  # that the client wants, once it is known to be one of ours

    cdef bint movable(self)
    cdef int flags(self) noexcept
    cdef int restore_from(self, object record, int fd) except -1
