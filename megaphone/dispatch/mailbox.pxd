# The mailbox's C interface: a struct embedded in each sender, chunks from one pool per worker.
from libc.stdint cimport uint8_t, uint32_t, uint64_t

cdef enum:
    CHUNK_BYTES = 4096      # a page, so that the memory of each can be given back
    CHUNK_DATA = 4080       # CHUNK_BYTES less the chunk's own head
    SLAB_CHUNKS = 64        # mapped at once

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
    cdef Chunk** free                       # room for all; [0, bare) have no memory, [bare, spares) have
    cdef readonly uint32_t made             # chunks, of which each is in a mailbox or free
    cdef readonly uint32_t spares           # free ones
    cdef readonly uint32_t bare             # of these, those whose memory was given back
    cdef uint32_t fewest                    # spares, since the window began
    cdef uint32_t unneeded                  # of the spares, how many were not needed in a whole window
    cdef uint32_t window_began_ticks
    cdef public uint32_t window_ticks
    cdef Chunk** slabs
    cdef readonly uint64_t queued_bytes     # in all mailboxes of this pool

    cdef Chunk* get(self) noexcept
    cdef bint map_slab(self) noexcept
    cdef bint put(self, Mailbox* mailbox, const uint8_t* data, size_t length) noexcept
    cdef bint put_first(self, Mailbox* mailbox, const uint8_t* data, size_t length) noexcept
    cdef void take(self, Mailbox* mailbox, size_t length) noexcept
    cdef void clear(self, Mailbox* mailbox) noexcept
    cdef void give_back(self, uint32_t now_ticks) noexcept

cdef bytes mailbox_bytes(const Mailbox* mailbox)
