# Outline of the traffic of a session: streams, credit, fairness and what is kept until it is acknowledged.
#
# A `Stream*` is the owner's from `open_stream` or `on_opened` until it calls `close_stream` or `on_shutdown` returns.
# The session holds a reference to the stream's owner (`<object> stream.owner`) as long.
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from megaphone.wire.link cimport Frame
from megaphone.wire.link_ring cimport Ring
from megaphone.wire.link_streams cimport Stream, StreamList, StreamTable

cdef class LinkExchange:
    cdef readonly int role                      # Side: EDGE or SERVER
    cdef readonly bint welcomed                 # the session exists: there was a WELCOME, and it has not ended
    cdef readonly bint draining                 # the peer has said DRAIN
    cdef readonly bint drained                  # we have said DRAIN
    cdef readonly uint32_t window_bytes         # we grant on each stream
    cdef readonly uint32_t peer_window_bytes    # the peer grants on each stream
    cdef readonly uint32_t streams_limit        # as in WELCOME
    cdef public uint32_t backlog_limit_bytes    # unsent bytes from which on streams are held; 262,144
    cdef readonly uint64_t received_bytes       # of frames since the session began, whole ones
    cdef readonly uint64_t frames_in            # since this object was made
    cdef readonly uint64_t frames_out
    cdef readonly uint64_t held_times           # a stream had to wait for its turn
    cdef readonly uint64_t starved_times        # a stream had to wait for credit
    cdef Ring ring
    cdef StreamTable table
    cdef StreamList held
    cdef StreamList owing
    cdef Stream* served                         # may send one frame although others wait
    cdef bint serving
    cdef uint32_t incarnation                   # changes when all streams end
    cdef uint64_t acknowledged_in               # of received_bytes, told to the peer
    cdef uint32_t next_id                       # edge: the least id never used
    cdef uint32_t* free_ids                     # edge: ids that are free again, a stack
    cdef uint32_t free_id_count

    # --- what the owner calls ---
    cdef bint can_open(self) noexcept           # edge: `open_stream` will succeed
    cdef Stream* open_stream(self, bytes facts, object owner)   # edge: OPEN with Open.encode(); NULL if it may not
    cdef void set_owner(self, Stream* stream, object owner)     # server: in on_opened
    cdef size_t can_send(self, Stream* stream) noexcept         # bytes that put_data would take in one frame now
    # Sends as much as may be sent now and returns how much that was. If it is less than `length`, keep the rest and
    # offer it in `on_room`; newer data must not be offered before it.
    cdef size_t put_data(self, Stream* stream, const uint8_t* data, size_t length)
    cdef void took(self, Stream* stream, size_t length)         # the owner has passed on so much of what on_data brought
    cdef void close_stream(self, Stream* stream, int reason, str text)
    cdef void drain(self)                                       # says DRAIN, once
    cpdef uint32_t stream_count(self)                           # also those whose end is not complete
    cpdef uint64_t kept_bytes(self)                             # said and not acknowledged
    cpdef uint64_t unsent_bytes(self)                           # not yet taken by the socket
    cpdef uint64_t memory_bytes(self)                           # of the ring and the table

    # --- events: the owner overrides them ---
    cdef void on_opened(self, Stream* stream, object facts)     # server: facts is a link_open.Open
    cdef void on_data(self, Stream* stream, const uint8_t* data, size_t length)     # `data` is valid during the call
    cdef void on_room(self, Stream* stream)                     # put_data will take something again
    cdef void on_shutdown(self, Stream* stream, int reason, str text)   # it has ended: the peer, or the session
    cdef void on_drain(self)
    cdef void on_output(self)                                   # there is something to send: flush at the end of the turn

    # --- for LinkSession ---
    cdef void fail(self, int reason, str text)
    cdef bint has_room(self, size_t length, size_t bound) noexcept
    cdef void say(self, const uint8_t* frame, size_t length)
    cdef void say_of_link(self, const uint8_t* frame, size_t length)
    cdef bint say_shutdown(self, uint32_t id, uint64_t sent, int reason, bytes text)
    cdef bint acknowledge(self, int type, uint64_t received)
    cdef void answer_ping(self, uint64_t stamp)
    cdef void settle(self)                      # ACK if due, then whoever has waited
    cdef void serve(self)
    cdef void take_frame(self, Frame* frame)
    cdef void begin_anew(self, str text)
    cdef void end_streams(self, str text)

    # --- its own ---
    cdef bint keep_places(self, uint32_t ids) noexcept
    cdef Stream* add(self, uint32_t id) noexcept
    cdef void hold(self, Stream* stream) noexcept
    cdef bint pay(self, Stream* stream)
    cdef uint64_t grantable(self, Stream* stream) noexcept
    cdef void grant(self, Stream* stream)
    cdef void owe(self, Stream* stream) noexcept
    cdef void fail_at(self, Frame* frame, str what)
    cdef void take_credit(self, Frame* frame)
    cdef void take_open(self, Frame* frame)
    cdef void take_shutdown(self, Frame* frame)
    cdef void disown(self, Stream* stream)
    cdef void release(self, Stream* stream) noexcept
