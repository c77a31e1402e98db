# Outline of the writing half of a session: what is said and kept until it is acknowledged.
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from megaphone.wire.link_ring cimport RING_LIMIT_BYTES, Ring

cdef enum:
    DATA_BOUND_BYTES = 3145728                      # kept bytes above which no data is taken
    STREAMS_BOUND_BYTES = RING_LIMIT_BYTES - 8192   # the same for GET_DATA and SHUTDOWN

cdef class LinkOutput:
    cdef readonly int role                      # Side: EDGE or SERVER
    cdef readonly bint welcomed                 # the session exists: there was a WELCOME, and it has not ended
    cdef readonly bint drained                  # we have said DRAIN
    cdef readonly uint64_t frames_out           # since this object was made
    cdef readonly uint64_t received_bytes       # of frames since the session began, whole ones
    cdef uint64_t acknowledged_bytes            # of these, told to the peer
    cdef Ring ring

    cpdef uint64_t kept_bytes(self)             # said and not acknowledged; at most 4 MiB
    cpdef uint64_t unsent_bytes(self)           # not yet taken by the socket
    cdef void drain(self)                       # says DRAIN, once: from the edge no more streams come, the server wants none

    # --- events ---
    cdef void on_output(self)                   # there is something to send: flush at the end of the turn

    # --- for the classes above ---
    cdef bint has_room(self, size_t length, size_t bound) noexcept
    cdef void say(self, const uint8_t* frame, size_t length)
    cdef void say_of_link(self, const uint8_t* frame, size_t length)
    cdef void say_received(self, int type, uint64_t stamp)
    cdef bint say_shutdown(self, uint32_t id, uint64_t sent, int reason, bytes text)
    cdef bint ack_due(self) noexcept
    cdef bint acknowledge(self, int type, uint64_t received)
    cdef void fail(self, int reason, str text)  # the peer's mistake
