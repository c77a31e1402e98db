# A listening socket, compiled interface.
from megaphone.sockets.address cimport Address
from megaphone.sockets.poller cimport Pollable, Poller

cdef class ListeningSocket(Pollable):
    cdef Poller poller
    cdef int accepts_per_turn
    cdef int set_aside                      # its descriptor while it does not accept; -1 otherwise
    cdef void listen_on(self, Poller poller, int fd, int accepts_per_turn)
    cdef void accept_some(self)
    cdef void take(self, int fd, Address* address)      # an accepted, non-blocking socket and whom it comes from
