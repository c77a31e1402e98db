# Outline of the streams of a session: opening, sending in turns, credit, ends.
#
# A `Stream*` is the owner's from `open_stream` or `on_opened` until it calls `close_stream` or `on_shutdown` returns.
# The session holds a reference to the stream's owner (`<object> stream.owner`) as long.
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from megaphone.wire.link_output cimport LinkOutput
from megaphone.wire.link_streams cimport Stream, StreamList, StreamTable

cdef class LinkExchange(LinkOutput):
    cdef readonly bint draining                 # the peer has said DRAIN
    cdef readonly uint32_t window_bytes         # we grant on each stream
    cdef readonly uint32_t peer_window_bytes    # the peer grants on each stream
    cdef readonly uint32_t streams_limit        # as in WELCOME
    cdef public uint32_t backlog_limit_bytes    # unsent bytes from which on streams are held; 262,144
    cdef readonly uint64_t frames_in            # since this object was made
    cdef readonly uint64_t held_times           # a stream had to wait for its turn
    cdef readonly uint64_t starved_times        # a stream had to wait for credit
    cdef StreamTable table
    cdef StreamList held
    cdef StreamList owing
    cdef Stream* served                         # may send one frame although others wait
    cdef bint serving
    cdef uint32_t incarnation                   # changes when all streams end
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
    cpdef uint32_t stream_count(self)                           # also those whose end is not complete
    cpdef uint64_t memory_bytes(self)                           # of the ring and the table

    # --- events: the owner overrides them ---
    cdef void on_room(self, Stream* stream)                     # put_data will take something again
    cdef void on_shutdown(self, Stream* stream, int reason, str text)   # it has ended: the peer, or the session

    # --- for the classes above ---
    cdef Stream* add(self, uint32_t id) noexcept
    cdef void hold(self, Stream* stream) noexcept
    cdef void serve(self)
    cdef void owe(self, Stream* stream) noexcept
    cdef void disown(self, Stream* stream)
    cdef void release(self, Stream* stream) noexcept
    cdef void begin_anew(self, str text)
    cdef void end_streams(self, str text)

    # --- its own ---
    cdef bint keep_places(self, uint32_t ids) noexcept
    cdef bint pay(self, Stream* stream)
    cdef uint64_t grantable(self, Stream* stream) noexcept
    cdef void grant(self, Stream* stream)
