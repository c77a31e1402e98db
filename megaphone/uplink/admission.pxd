# Admission of new streams to an upstream's links, compiled interface.
from libc.stdint cimport uint32_t, uint64_t
from megaphone.dispatch.counters cimport Board
from megaphone.sockets.poller cimport Poller
from megaphone.uplink.uplink cimport Carrier

cdef class Admission(Carrier):
    cdef Poller poller
    cdef Board board
    cdef int block                          # where this upstream's AdmissionSlot begin
    cdef readonly bint attached             # a link is there
    cdef public bint asleep                 # what a predecessor hands over is not ours yet (link_part.py)
    cdef readonly uint64_t unattached_ns             # since when none is
    cdef uint64_t connect_ns                # how long a stream waits when none is
    cdef uint64_t slow_ns                   # how long a client waits for the server's credit
    cdef uint32_t linger_ticks
    cdef object left                        # streams whose client broke off and may still be answered, oldest first
    cdef object lingering                   # streams whose client is gone and whose last bytes are not, oldest first
    cdef object returning                   # streams that wait, oldest first: an OrderedDict as a set
    cdef object others
    cdef readonly uint32_t opening          # streams opened and not answered
    cdef uint32_t opening_limit

    cdef uint64_t* slots(self) noexcept     # of this upstream's AdmissionSlot, where the board is now
    cdef bint place(self, stream)           # LinkCarrier's: opens it on a link; False if it cannot be now
    cdef void admit(self)                   # LinkCarrier's: opens those whose turn it is
    cdef bint has_turn(self) noexcept
    cdef bint given_up(self, uint64_t began_ns) noexcept
    cdef bint add(self, stream, bint returning)
    cdef void prefer(self, stream)
    cdef void remove(self, stream)
    cdef object next(self)
    cdef void opened(self) noexcept
    cdef void ended(self) noexcept
    cdef void answered(self, uint64_t elapsed_ns) noexcept
