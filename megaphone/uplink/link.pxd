# One link: a session and the socket it has at the moment, compiled interface.
from libc.stdint cimport uint32_t, uint64_t
from megaphone.dispatch.counters cimport Board
from megaphone.dispatch.dispatcher cimport Sink
from megaphone.sockets.link_sender cimport LinkSender
from megaphone.sockets.poller cimport Poller
from megaphone.sockets.receiver cimport Receiver
from megaphone.uplink.admission cimport Admission
from megaphone.uplink.link_stream cimport EdgeSession, LinkOwner

cpdef enum LinkState:
    BROKEN = 0              # no socket; the next attempt waits for its time
    CONNECTING = 1          # TCP, then TLS
    HANDSHAKING = 2         # CHALLENGE, HELLO, WELCOME
    ATTACHED = 3
    DRAINING = 4            # attached, but one side wants no new streams on it
    CLOSED = 5              # for good

cdef class Link(LinkOwner):
    cdef Poller poller
    cdef Board board
    cdef int block                          # where this link's LinkSlot begin
    cdef object carrier                     # link_carrier.LinkCarrier
    cdef Admission admission                # the same
    cdef object upstream                    # uplink.pool.Upstream
    cdef object tls                         # sockets.tls.ClientContext, or None
    cdef bytes secret
    cdef str name
    cdef readonly int index
    cdef readonly int state                 # LinkState
    cdef bint ended                         # the session is over
    cdef EdgeSession session
    cdef Receiver receiver
    cdef LinkSender sender
    cdef str trouble                        # the last that was reported; None: it works
    cdef uint64_t due_ns                    # of the next attempt, or the end of CONNECTING
    cdef uint64_t attached_ns
    cdef uint64_t changed_ns                # since when it is attached, or is not
    cdef uint64_t frames_in                 # of the session, as counted on the board
    cdef uint64_t frames_out
    cdef uint64_t bytes_out
    cdef uint32_t delay_ms                  # before the next attempt

    cdef uint64_t* slots(self) noexcept     # of this link's LinkSlot, where the board is now
    cdef bint usable(self) noexcept
    cdef EdgeSession new_session(self, bytes session_id)
    cdef void connect(self)
    cdef void lose_socket(self, str text)
    cdef void forget_session(self)
    cdef void enter(self, int state)
    cdef void report(self, str text)
    cdef void count(self)
    cdef void sweep(self, bint tick)
    cdef void end(self, int reason, str text)

cdef class Parting(Sink):
    cdef Receiver receiver
    cdef uint32_t deadline_ticks
