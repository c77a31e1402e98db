"""The mailbox: the bytes queued for one socket, in chunks that are recycled, so that queueing allocates nothing.

An empty mailbox owns no chunk. A mailbox never refuses: its limit is the sender's business, which pauses the
writer at the limit; a mailbox therefore holds at most that limit and one read buffer.

Free chunks wait for their next use on a stack, so that those at its bottom are those that a burst has left behind.
What nobody has needed for some seconds loses its memory, not its place:

    0 ─── given back ─── bare ─── not used lately ─── fewest ─── used and free again ─── spares        made
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdlib cimport free, realloc
from libc.string cimport memcpy
from posix.mman cimport MADV_DONTNEED, MAP_ANONYMOUS, MAP_FAILED, MAP_PRIVATE, PROT_READ, PROT_WRITE, madvise, mmap, munmap

cdef enum:
    WINDOW_TICKS = 160      # 10 s (a tick is 1/16 s): a chunk that was not needed for so long loses its memory
    GIVEN_BACK_AT_ONCE = 256    # chunks: 1 MiB, some 100 µs


cdef class ChunkPool:
    """The chunks of one worker. As many as its mailboxes ever needed at once; memory have those needed lately."""

    def __cinit__(self):
        self.window_ticks = WINDOW_TICKS

    def __dealloc__(self):
        cdef uint32_t slab
        if self.spares == self.made:    # else some mailbox outlives the pool
            for slab in range(self.made // <uint32_t> SLAB_CHUNKS):
                munmap(self.slabs[slab], SLAB_CHUNKS * CHUNK_BYTES)
        free(self.slabs)
        free(self.free)

    cdef Chunk* get(self) noexcept:
        """An empty chunk; NULL if there is no memory."""
        cdef Chunk* chunk
        if self.spares == 0 and not self.map_slab():
            return NULL
        self.spares -= 1
        if self.spares < self.fewest:
            self.fewest = self.spares
        if self.spares < self.bare:
            self.bare = self.spares
        chunk = self.free[self.spares]
        chunk.next = NULL
        chunk.begin = chunk.end = 0
        return chunk

    cdef bint map_slab(self) noexcept:
        """Makes more chunks, none of which has memory yet; False if the system refuses. Called when none is free."""
        cdef uint32_t count = self.made // <uint32_t> SLAB_CHUNKS + 1
        cdef Chunk** slabs = <Chunk**> realloc(self.slabs, count * sizeof(Chunk*))
        cdef Chunk** places
        cdef void* slab
        cdef uint32_t i
        if slabs == NULL:
            return False
        self.slabs = slabs
        places = <Chunk**> realloc(self.free, count * SLAB_CHUNKS * sizeof(Chunk*))
        if places == NULL:
            return False
        self.free = places
        slab = mmap(NULL, SLAB_CHUNKS * CHUNK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
        if slab == MAP_FAILED:
            return False
        slabs[count - 1] = <Chunk*> slab
        for i in range(SLAB_CHUNKS):
            places[i] = <Chunk*> slab + i
        self.made += SLAB_CHUNKS
        self.spares = self.bare = SLAB_CHUNKS
        return True

    cdef void give_back(self, uint32_t now_ticks) noexcept:
        """Gives the memory of spares back that were not needed for a window, some at a time (the sweep calls this)."""
        cdef uint32_t limit
        if now_ticks - self.window_began_ticks >= self.window_ticks:
            self.window_began_ticks = now_ticks
            self.unneeded = self.fewest
            self.fewest = self.spares
        limit = min(self.unneeded, self.fewest, self.bare + GIVEN_BACK_AT_ONCE)
        while self.bare < limit:
            madvise(self.free[self.bare], CHUNK_BYTES, MADV_DONTNEED)
            self.bare += 1

    cdef bint put(self, Mailbox* mailbox, const uint8_t* data, size_t length) noexcept:
        """Appends a copy of `data`; False if there is no memory."""
        cdef Chunk* chunk
        cdef size_t part
        while length:
            chunk = mailbox.tail
            if chunk == NULL or chunk.end == CHUNK_DATA:
                chunk = self.get()
                if chunk == NULL:
                    return False
                if mailbox.tail == NULL:
                    mailbox.head = chunk
                else:
                    mailbox.tail.next = chunk
                mailbox.tail = chunk
            part = CHUNK_DATA - chunk.end
            if part > length:
                part = length
            memcpy(chunk.data + chunk.end, data, part)
            chunk.end += part
            mailbox.size += part
            self.queued_bytes += part
            data += part
            length -= part
        return True

    cdef bint put_first(self, Mailbox* mailbox, const uint8_t* data, size_t length) noexcept:
        """Puts a copy of `data` before everything else; False if there is no memory (then nothing has changed)."""
        cdef Mailbox first = Mailbox(NULL, NULL, 0)
        if not self.put(&first, data, length):
            self.clear(&first)
            return False
        if first.tail != NULL:
            first.tail.next = mailbox.head
            if mailbox.head != NULL:
                first.tail = mailbox.tail
            first.size += mailbox.size
            mailbox[0] = first
        return True

    cdef void take(self, Mailbox* mailbox, size_t length) noexcept:
        """Removes the first `length` bytes (at most `mailbox.size`)."""
        cdef Chunk* chunk
        cdef size_t part
        while length:
            chunk = mailbox.head
            part = chunk.end - chunk.begin
            if part > length:
                chunk.begin += length
                mailbox.size -= length
                self.queued_bytes -= length
                return
            length -= part
            mailbox.size -= part
            self.queued_bytes -= part
            mailbox.head = chunk.next
            if mailbox.head == NULL:
                mailbox.tail = NULL
            self.free[self.spares] = chunk
            self.spares += 1

    cdef void clear(self, Mailbox* mailbox) noexcept:
        self.take(mailbox, mailbox.size)


cdef bytes mailbox_bytes(const Mailbox* mailbox):
    """A copy of all that is queued."""
    cdef bytes copy
    cdef char* at
    cdef const Chunk* chunk = mailbox.head
    if mailbox.size == 0:
        return b""
    copy = PyBytes_FromStringAndSize(NULL, mailbox.size)
    at = PyBytes_AS_STRING(copy)
    while chunk != NULL:
        memcpy(at, chunk.data + chunk.begin, chunk.end - chunk.begin)
        at += chunk.end - chunk.begin
        chunk = chunk.next
    return copy
