# The mailbox's C interface: a struct embedded in each sender, chunks from one pool per worker.
from libc.stdint cimport uint8_t, uint32_t, uint64_t

cdef enum:
    CHUNK_BYTES = 4096
    CHUNK_DATA = 4080       # CHUNK_BYTES less the chunk's own head

cdef struct Chunk:
    Chunk* next
    uint32_t begin          # first byte not yet taken
    uint32_t end            # one after the last byte put
    uint8_t data[CHUNK_DATA]

cdef struct Mailbox:        # 24 bytes, all zero when empty
    Chunk* head
    Chunk* tail
    uint32_t size           # bytes queued

cdef class ChunkPool:
    cdef Chunk* spare
    cdef uint32_t spares
    cdef uint32_t spares_limit
    cdef readonly uint64_t queued_bytes     # in all mailboxes of this pool

    cdef bint put(self, Mailbox* mailbox, const uint8_t* data, size_t length) noexcept
    cdef bint put_first(self, Mailbox* mailbox, const uint8_t* data, size_t length) noexcept
    cdef void take(self, Mailbox* mailbox, size_t length) noexcept
    cdef void clear(self, Mailbox* mailbox) noexcept

cdef bytes mailbox_bytes(const Mailbox* mailbox)
