# What all uplinks share, compiled interface: the choice of an upstream, and the stream of one client to it.
from libc.stdint cimport uint32_t, uint64_t
from megaphone.dispatch.counters cimport Board
from megaphone.dispatch.dispatcher cimport Connection, Dispatcher, Owner
from megaphone.dispatch.mailbox cimport Mailbox
from megaphone.sockets.poller cimport Poller

cdef class Carrier:
    # How streams get to an upstream: by a socket each (direct), or by its links.
    cdef UplinkStream new_stream(self)

cdef class Uplink:
    cdef readonly Poller poller
    cdef readonly Dispatcher dispatcher
    cdef readonly Board board
    cdef readonly object pool               # uplink.pool.Pool
    cdef readonly list carriers             # a Carrier for each upstream, by its index
    cdef list distinct                      # each of them once: upstreams may share one

    cdef object start(self, uint64_t connection_id, str domain, uint64_t tried)
    cdef void fail_over(self, UplinkStream failed)
    cdef uint64_t tried_of(self, object names)

cdef class UplinkStream(Owner):
    cdef Uplink uplink
    cdef object upstream                    # uplink.pool.Upstream; None: none was left
    cdef str domain
    cdef uint64_t connection_id
    cdef uint64_t tried                     # upstreams that failed, a bit each
    cdef bint counted                       # among the upstream's open connections
    cdef bint detached                      # the client is gone, or another stream has taken over
    cdef bint client_ended

    cdef uint64_t* block(self)
    cdef void let_go(self)
    cdef void note_connected(self, uint64_t began_ns)
    cdef void give_up(self, str condition, int reason)
    # what each kind does in its own way
    cdef int begin(self)                                # starts towards `upstream`: 0, or the errno of its failure
    cdef void give_waiting(self, Mailbox* waiting)      # what the client has said and nobody was told
    cdef void take_waiting(self, Mailbox* waiting)
    cdef void close(self)                               # lets go of everything

cdef enum:
    TIME_BUCKETS = 7

cdef int bucket_of(uint64_t elapsed_ns) noexcept nogil
