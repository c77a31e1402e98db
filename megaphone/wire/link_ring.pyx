"""The retained ring: the bytes one end of a link has said, kept until the other end has acknowledged them.

Frames are written into it once. From there they are sent, and sent again when the socket was replaced:

      acknowledged         sent            end
           |                 |               |
     ......|#################|===============|......        # on its way: kept     = not yet taken by the socket

It grows from 4 KiB to 4 MiB by doubling and shrinks again when little of it was needed.
"""

from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset

cdef enum:
    LEAST_BYTES = 4096


cdef void ring_free(Ring* ring) noexcept nogil:
    """Forgets all; every position is 0 again."""
    free(ring.data)
    memset(ring, 0, sizeof(Ring))


cdef bint resize(Ring* ring, size_t capacity) noexcept nogil:
    """Moves what is kept into memory of another size, a power of 2 that holds it."""
    cdef iovec parts[2]
    cdef uint64_t sent = ring.sent
    cdef int count, i
    cdef size_t at = ring.acknowledged & (capacity - 1), part, done
    cdef uint8_t* data = <uint8_t*> malloc(capacity)
    if data == NULL:
        return False
    ring.sent = ring.acknowledged
    count = ring_regions(ring, parts)
    ring.sent = sent
    for i in range(count):
        done = 0
        while done < parts[i].iov_len:
            part = parts[i].iov_len - done
            if part > capacity - at:
                part = capacity - at
            memcpy(data + at, <uint8_t*> parts[i].iov_base + done, part)
            done += part
            at = (at + part) & (capacity - 1)
    free(ring.data)
    ring.data = data
    ring.capacity = capacity
    return True


cdef bint ring_reserve(Ring* ring, size_t length) noexcept nogil:
    """Makes room for `length` more bytes; False at the limit, or without memory."""
    cdef size_t needed = ring_kept(ring) + length, capacity
    if needed <= ring.capacity:
        return True
    if needed > RING_LIMIT_BYTES:
        return False
    capacity = ring.capacity if ring.capacity else LEAST_BYTES
    while capacity < needed:
        capacity *= 2
    return resize(ring, capacity)


cdef void ring_put(Ring* ring, const uint8_t* data, size_t length) noexcept nogil:
    """Appends bytes for which ring_reserve has made room."""
    cdef size_t at = ring.end & (ring.capacity - 1)
    cdef size_t part = ring.capacity - at
    if part > length:
        part = length
    memcpy(ring.data + at, data, part)
    memcpy(ring.data, data + part, length - part)
    ring.end += length
    if ring_kept(ring) > ring.peak:
        ring.peak = ring_kept(ring)


cdef bint ring_acknowledge(Ring* ring, uint64_t received) noexcept nogil:
    """Lets go of what the peer has received. False if the present socket has not taken so much.

    Less than before is no news and no mistake: an old frame that is sent again tells an old count.
    """
    if received > ring.sent:
        return False
    if received > ring.acknowledged:
        ring.acknowledged = received
    return True


cdef bint ring_resume(Ring* ring, uint64_t received) noexcept nogil:
    """A new socket goes on behind what the peer has received. False if that is not kept, or was never written."""
    if received < ring.acknowledged or received > ring.written:
        return False
    ring.acknowledged = ring.sent = received
    return True


cdef int ring_regions(Ring* ring, iovec* regions) noexcept nogil:
    """What the socket has not taken, in one or two pieces; the number of pieces."""
    cdef size_t length = ring.end - ring.sent
    cdef size_t at, part
    if length == 0:
        return 0
    at = ring.sent & (ring.capacity - 1)
    part = ring.capacity - at
    regions[0].iov_base = ring.data + at
    regions[0].iov_len = part if part < length else length
    if part >= length:
        return 1
    regions[1].iov_base = ring.data
    regions[1].iov_len = length - part
    return 2


cdef void ring_shrink(Ring* ring) noexcept nogil:
    """Gives memory back if since the last call no more than a quarter of it was in use; called about once a second."""
    cdef size_t capacity = ring.capacity
    while capacity > LEAST_BYTES and ring.peak <= capacity // 4:
        capacity //= 2
    if capacity < ring.capacity:
        resize(ring, capacity)      # without memory for that it stays as it is
    ring.peak = ring_kept(ring)
