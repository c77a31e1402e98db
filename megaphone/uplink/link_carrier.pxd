# One worker's links to one upstream, compiled interface.
from libc.stdint cimport uint32_t
from megaphone.dispatch.dispatcher cimport Dispatcher
from megaphone.sockets.poller cimport Pollable, Poller
from megaphone.uplink.admission cimport Admission
from megaphone.uplink.link cimport Link
from megaphone.uplink.link_stream cimport LinkStream

cdef class Lost(Pollable):
    cdef Poller poller
    cdef object streams

cdef class LinkCarrier(Admission):
    cdef Dispatcher dispatcher
    cdef object pool
    cdef readonly object upstream           # uplink.pool.Upstream
    cdef object facts
    cdef object is_returning
    cdef object on_report
    cdef object on_changed
    cdef bytes secret
    cdef str name
    cdef object tls                         # sockets.tls.ClientContext, or None
    cdef readonly list links
    cdef readonly object parting            # sockets that a session has done with, oldest first
    cdef Lost lost
    cdef uint32_t sweeps
    cdef readonly object said                        # whether the upstream is there, as was last reported; None: not yet

    cdef void add_link(self)
    cdef Link best(self)
    cdef bint open(self, LinkStream stream)
    cdef void mark(self, object healthy)
