# One client's stream on a link, compiled interface.
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from megaphone.dispatch.dispatcher cimport Connection
from megaphone.dispatch.mailbox cimport Mailbox
from megaphone.hub.shared cimport Hub
from megaphone.wire.link_session cimport LinkSession
from megaphone.wire.link_streams cimport Stream

cdef enum:
    GOODBYE_BYTES = 16          # </stream:stream>

cpdef enum HubStreamState:
    CONNECTING = 0      # the server has not said anything yet
    RELAYING = 1
    ENDING = 2          # the server's last words wait for credit
    ENDED = 3

cdef class HubStream(Connection):
    cdef readonly Hub hub
    cdef LinkSession link
    cdef Stream* stream                     # NULL once it has ended
    cdef Mailbox waiting                    # from the server: what the link would not take yet
    cdef readonly object facts              # link_open.Open, until the server has answered
    cdef uint64_t bytes_in
    cdef uint64_t bytes_out
    cdef uint32_t untaken                   # bytes passed on for which no credit has been given yet
    cdef uint32_t opened_ticks
    cdef uint32_t deadline_ticks            # of ENDING
    cdef uint16_t port
    cdef uint8_t address[16]                # the client's: IPv6, or IPv4 mapped into it
    cdef uint8_t tail[GOODBYE_BYTES]        # the server's last bytes
    cdef uint8_t state                      # HubStreamState
    cdef uint8_t reason                     # counters.Reason
    cdef uint8_t link_reason                # link.LinkReason of our SHUTDOWN

    cdef void enter(self, int state)
    cdef void begin(self, object facts)
    cdef void take_client_bytes(self, const uint8_t* data, size_t length)
    cdef void offer(self)
    cdef void note_tail(self, const uint8_t* data, size_t length) noexcept
    cdef void detach(self)
    cdef void finish_end(self)
    cdef void take_link_end(self, int reason)
    cdef void release(self)
