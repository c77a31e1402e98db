# The dispatcher's compiled interface; uplinks and services cimport it.
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from cpython.ref cimport PyObject

cpdef enum Delivery:
    DELIVERED = 0   # queued or sent
    FULL = 1        # queued, but the mailbox is at its limit: send no more until take_drained
    GONE = 2        # no such connection (any more)

cdef class Sink:
    # Whoever takes what a socket's receiver reads.
    cdef void take_bytes(self, const uint8_t* data, size_t length)
    cdef void take_end(self, int error)         # 0: orderly end; > 0: errno; < 0: TLS failure
    cdef void take_drained(self)                # the mailbox that was full has room again
    cdef void take_writable(self)               # connected (upstream) or handshake done (client)

cdef class Connection(Sink):
    # One accepted client connection, as the dispatcher sees it.
    cdef readonly uint64_t id
    cdef public Owner owner
    cdef bint credit                            # the owner has asked for data that has not come yet
    cdef void pause_reading(self)
    cdef void resume_reading(self)
    cdef int deliver(self, const uint8_t* data, size_t length)
    cdef int deliver_stanza(self, const uint8_t* data, size_t length)   # one whole stanza, certainly well-formed
    cdef int deliver_burst(self, const uint8_t* data, size_t length, int kind, uint32_t count)  # several of one kind
    cdef void end(self, str condition, int reason)
    cdef void take_tick(self, uint32_t now_ticks)           # about once a second, unless it rests
    cdef bint unthrottle(self)                  # False: still over its rate
    # moving to another process (moving.py); the owner is asked for itself
    cdef uint64_t fingerprint(self)             # another one as soon as export() or the owner's would say something else
    cpdef object export(self)                   # Moved, or None: it stays, for now or for good
    cpdef activate(self)                        # restored, with its id: begins; its owner is told next
    cpdef leave(self)                           # has moved, or is not needed: closes its descriptors without a word
    cpdef object write_off(self)                # it stays behind, without a board: its end is counted now ...
    cpdef take_back(self, object written_off)   # ... or not, as the successor has failed

cdef class Owner(Sink):
    # The session owner behind a connection: an uplink's stream, or a session of the embedded service.
    cdef void take_data(self, Connection connection, const uint8_t* data, size_t length)
    cdef void take_room(self, Connection connection)        # deliver() said FULL, now there is room
    cdef void take_client_end(self, Connection connection, bint said_goodbye)   # its last byte came; </stream:stream> too?
    cdef void take_shutdown(self, Connection connection, int reason)    # the edge ends the connection: counters.Reason
    cdef void take_tick(self, Connection connection, uint32_t now_ticks)  # about once a second, unless it rests
    cpdef str upstream_name(self)                           # for people; None if there is none
    # moving to another process, with its connection
    cdef uint64_t fingerprint(self)
    cpdef object export(self, Connection connection)        # Moved, or None: it stays, and the connection with it
    cpdef activate(self, Connection connection)             # restored: begins; the connection is in the registry already
    cpdef leave(self, Connection connection)

cdef class Dispatcher:
    cdef PyObject** slots
    cdef uint32_t* free_slots
    cdef uint32_t free_count
    cdef bint unsorted                          # connections took slots of their own choice: the free ones have to be found anew
    cdef uint32_t* rests_until                  # of each slot: before this tick its connection need not be looked at
    cdef readonly uint32_t capacity
    cdef readonly uint32_t worker
    cdef public uint64_t generation
    cdef readonly uint32_t open_connections
    cdef uint32_t looked_at                     # next slot for `look_at_part`

    cdef void find_free_slots(self) noexcept
    cdef uint32_t slot_of(self, uint64_t connection_id) noexcept
    cdef Connection find(self, uint64_t connection_id)
    cdef bint register(self, Connection connection)
    cdef bint register_again(self, Connection connection)
    cdef void release(self, Connection connection)
    cdef void put_data(self, Connection connection, const uint8_t* data, size_t length)
    cdef void get_data(self, uint64_t connection_id)
    cdef int send_data(self, uint64_t connection_id, const uint8_t* data, size_t length)
    cdef int send_stanza(self, uint64_t connection_id, const uint8_t* data, size_t length)
    cdef int send_burst(self, uint64_t connection_id, const uint8_t* data, size_t length, int kind, uint32_t count)
    cdef void shutdown(self, uint64_t connection_id, str condition, int reason)
    cdef void rest(self, Connection connection, uint32_t until_ticks)
    cdef void wake(self, Connection connection)
    cdef void look_at_part(self, uint32_t parts, uint32_t now_ticks, uint32_t longest_rest_ticks)
