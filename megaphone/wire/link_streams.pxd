# Outline of the table of a link's streams: found by id in one step, at addresses that do not move.
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from cpython.ref cimport PyObject

# What a stream has come to.
cpdef enum StreamState:
    FREE = 0                # its place in the table is not in use
    OPENED = 1              # data goes both ways
    ENDED_BY_US = 2         # we have ended it; the peer's SHUTDOWN is awaited
    ENDED_BY_PEER = 3       # both have ended it, but our SHUTDOWN waits for room

# Which list a stream stands in.
cdef enum Queue:
    NOWHERE = 0
    HELD = 1                # has data to send, and credit, and waits for its turn
    OWING = 2               # a SHUTDOWN (if ended) or GET_DATA of it waits for room

# One stream at one end of a link: 64 bytes. Counts are bytes of data since OPEN. Only the session writes to it.
cdef struct Stream:
    PyObject* owner         # a reference, or NULL
    uint64_t sent           # by us
    uint64_t received       # by us, taken or not
    uint64_t granted        # the limit we have given
    Stream* next            # in its list
    Stream* previous
    uint32_t id
    uint32_t credit         # bytes that may be sent before the peer's limit is reached
    uint32_t untaken        # of the received bytes
    uint8_t state           # StreamState
    uint8_t queue           # Queue
    uint8_t wants           # its owner has data to send and will be told when it may
    uint8_t reason          # of the SHUTDOWN that waits for room

cdef struct StreamList:
    Stream* first
    Stream* last

cdef struct StreamTable:    # all zero when empty
    Stream** blocks
    uint32_t block_count
    uint32_t count          # streams in the table
    StreamList free
    Stream** index          # open addressing by id, at most half full
    uint32_t index_bits

cdef size_t table_bytes(StreamTable* table) noexcept nogil                  # its memory
cdef void table_free(StreamTable* table) noexcept nogil
cdef Stream* table_find(StreamTable* table, uint32_t id) noexcept nogil
cdef Stream* table_add(StreamTable* table, uint32_t id) noexcept nogil      # `id` is not in it; NULL: no memory
cdef void table_remove(StreamTable* table, Stream* stream) noexcept nogil
cdef Stream* table_next(StreamTable* table, uint32_t* place) noexcept nogil # walks through all; `place` begins at 0
cdef void list_append(StreamList* list, Stream* stream, int queue) noexcept nogil
cdef void list_remove(StreamList* list, Stream* stream) noexcept nogil
