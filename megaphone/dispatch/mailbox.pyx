"""The mailbox: the bytes queued for one socket, in chunks that are recycled, so that queueing allocates nothing.

An empty mailbox owns no chunk. A mailbox never refuses: its limit is the sender's business, which pauses the
writer at the limit; a mailbox therefore holds at most that limit and one read buffer.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy


cdef class ChunkPool:
    """The chunks of one worker; keeps at most `spares_limit` free ones (4 KiB each) for reuse."""

    def __cinit__(self, uint32_t spares_limit=1024):
        self.spares_limit = spares_limit

    def __dealloc__(self):
        cdef Chunk* chunk
        while self.spare != NULL:
            chunk = self.spare
            self.spare = chunk.next
            free(chunk)

    cdef bint put(self, Mailbox* mailbox, const uint8_t* data, size_t length) noexcept:
        """Appends a copy of `data`; False if there is no memory."""
        cdef Chunk* chunk
        cdef size_t part
        while length:
            chunk = mailbox.tail
            if chunk == NULL or chunk.end == CHUNK_DATA:
                if self.spare != NULL:
                    chunk = self.spare
                    self.spare = chunk.next
                    self.spares -= 1
                else:
                    chunk = <Chunk*> malloc(sizeof(Chunk))
                    if chunk == NULL:
                        return False
                chunk.next = NULL
                chunk.begin = chunk.end = 0
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
            if self.spares < self.spares_limit:
                chunk.next = self.spare
                self.spare = chunk
                self.spares += 1
            else:
                free(chunk)

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
