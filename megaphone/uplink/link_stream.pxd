# One client's stream on a link, and the session that carries it: compiled interface.
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from megaphone.dispatch.counters cimport Board
from megaphone.dispatch.dispatcher cimport Sink
from megaphone.dispatch.mailbox cimport Mailbox
from megaphone.uplink.admission cimport Admission
from megaphone.uplink.uplink cimport UplinkStream
from megaphone.wire.link_session cimport LinkSession
from megaphone.wire.link_streams cimport Stream

cdef class LinkOwner(Sink):
    # What a session tells the link that it belongs to.
    cdef void session_has_output(self)
    cdef void session_attached(self, bint resumed)
    cdef void session_refused(self, int reason, str text)
    cdef void session_drains(self)
    cdef void session_disconnects(self)             # the socket is to be closed
    cdef void session_ended(self, int reason, str text)
    cdef void session_lost(self, LinkStream stream) # the stream has ended with the session; its client is to be told

cdef class EdgeSession(LinkSession):
    cdef LinkOwner link                     # None once it has another session
    cdef Board board
    cdef int block                          # where the link's LinkSlot begin
    cdef uint32_t live                      # streams of ours that are not over
    cdef uint32_t abandoned                 # streams that ended before they were answered, if the server still has them

    cdef uint64_t* slots(self) noexcept
    cdef uint32_t unanswered(self) noexcept

cpdef enum LinkStreamState:
    QUEUED = 0          # waits for a link, or for its turn
    OPENING = 1         # OPEN is said
    OPEN = 2            # the server has answered
    OVER = 3

cdef class LinkStream(UplinkStream):
    cdef Admission admission
    cdef EdgeSession session
    cdef Stream* stream                     # while OPENING or OPEN
    cdef Mailbox waiting                    # the client's bytes that the link does not take yet
    cdef uint64_t began_ns                  # of QUEUED, then of OPENING
    cdef uint64_t credit_wait_ns            # since when the client waits for credit; 0: it does not
    cdef uint32_t untaken                   # of the server's bytes, with a client that does not read
    cdef uint32_t deadline_ticks            # of what the client or we said last
    cdef uint8_t state                      # LinkStreamState
    cdef uint8_t last_reason                # LinkReason, to be said when the last bytes are
    cdef bint returning

    cdef bint open_on(self, EdgeSession session, bytes facts)
    cdef void take_answer(self, const uint8_t* data, size_t length)
    cdef void send_waiting(self)
    cdef void await_credit(self)
    cdef void note_credit(self)
    cdef void keep(self, const uint8_t* data, size_t length)
    cdef void end(self, int reason)
    cdef void forget(self)
    cdef void take_server_end(self, int reason)
    cdef void tell_client(self)
    cdef bint moves(self) noexcept
