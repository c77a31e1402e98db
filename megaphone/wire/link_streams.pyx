"""The table of a link's streams: each a struct of 64 bytes at an address that does not move, found by id in one step.

Streams lie in blocks of 256 places; an index with open addressing (linear probing, at most half full) finds them by
id, whichever ids the edge has chosen. Free places, and streams that wait for something, are chained in lists.
"""

from libc.stdlib cimport calloc, free, realloc
from libc.string cimport memset

cdef enum:
    BLOCK_STREAMS = 256
    LEAST_INDEX_BITS = 6

STREAM_BYTES = sizeof(Stream)


cdef void table_free(StreamTable* table) noexcept nogil:
    """Forgets all streams, whatever lists they stand in."""
    cdef uint32_t i
    for i in range(table.block_count):
        free(table.blocks[i])
    free(table.blocks)
    free(table.index)
    memset(table, 0, sizeof(StreamTable))


cdef size_t table_bytes(StreamTable* table) noexcept nogil:
    """The memory of blocks and index."""
    cdef size_t index = sizeof(Stream*) << table.index_bits if table.index != NULL else 0
    return index + table.block_count * (sizeof(Stream*) + BLOCK_STREAMS * sizeof(Stream))


cdef inline uint32_t place_of(StreamTable* table, uint32_t id) noexcept nogil:
    """Where the index has this id if nothing is in the way: the golden ratio spreads ids of any pattern."""
    return (id * <uint32_t> 0x9E3779B1) >> (32 - table.index_bits)


cdef Stream* table_find(StreamTable* table, uint32_t id) noexcept nogil:
    """The stream with this id, or NULL."""
    cdef uint32_t mask, at
    if table.index == NULL:
        return NULL
    mask = (<uint32_t> 1 << table.index_bits) - 1
    at = place_of(table, id)
    while table.index[at] != NULL:
        if table.index[at].id == id:
            return table.index[at]
        at = (at + 1) & mask
    return NULL


cdef void enter(StreamTable* table, Stream* stream) noexcept nogil:
    cdef uint32_t mask = (<uint32_t> 1 << table.index_bits) - 1, at = place_of(table, stream.id)
    while table.index[at] != NULL:
        at = (at + 1) & mask
    table.index[at] = stream


cdef bint grow_index(StreamTable* table) noexcept nogil:
    cdef uint32_t bits = table.index_bits + 1 if table.index != NULL else LEAST_INDEX_BITS
    cdef uint32_t place = 0
    cdef Stream** index = <Stream**> calloc(<size_t> 1 << bits, sizeof(Stream*))
    cdef Stream* stream
    if index == NULL:
        return False
    free(table.index)
    table.index = index
    table.index_bits = bits
    while True:
        stream = table_next(table, &place)
        if stream == NULL:
            return True
        enter(table, stream)


cdef bint add_block(StreamTable* table) noexcept nogil:
    cdef Stream** blocks = <Stream**> realloc(table.blocks, (table.block_count + 1) * sizeof(Stream*))
    cdef Stream* block
    cdef int i
    if blocks == NULL:
        return False
    table.blocks = blocks
    block = <Stream*> calloc(BLOCK_STREAMS, sizeof(Stream))
    if block == NULL:
        return False
    table.blocks[table.block_count] = block
    table.block_count += 1
    for i in range(BLOCK_STREAMS):
        list_append(&table.free, &block[i], NOWHERE)
    return True


cdef Stream* table_add(StreamTable* table, uint32_t id) noexcept nogil:
    """A new stream, OPENED and otherwise zero; NULL without memory."""
    cdef Stream* stream
    if table.index == NULL or 2 * (<uint64_t> table.count + 1) > <uint64_t> 1 << table.index_bits:
        if not grow_index(table):
            return NULL
    if table.free.first == NULL and not add_block(table):
        return NULL
    stream = table.free.first
    list_remove(&table.free, stream)
    memset(stream, 0, sizeof(Stream))
    stream.id = id
    stream.state = OPENED
    table.count += 1
    enter(table, stream)
    return stream


cdef void table_remove(StreamTable* table, Stream* stream) noexcept nogil:
    """Takes a stream, which stands in no list, out of the table; its place is free."""
    cdef uint32_t mask = (<uint32_t> 1 << table.index_bits) - 1
    cdef uint32_t hole = place_of(table, stream.id), at, home
    while table.index[hole] != stream:
        hole = (hole + 1) & mask
    # those behind the hole that would not be found across it move into it
    at = hole
    while True:
        at = (at + 1) & mask
        if table.index[at] == NULL:
            break
        home = place_of(table, table.index[at].id)
        if ((at - home) & mask) >= ((at - hole) & mask):
            table.index[hole] = table.index[at]
            hole = at
    table.index[hole] = NULL
    table.count -= 1
    memset(stream, 0, sizeof(Stream))
    list_append(&table.free, stream, NOWHERE)


cdef Stream* table_next(StreamTable* table, uint32_t* place) noexcept nogil:
    """The next stream of a walk through all of them, during which streams may be removed; NULL at the end."""
    cdef Stream* stream
    while place[0] < table.block_count * BLOCK_STREAMS:
        stream = &table.blocks[place[0] // BLOCK_STREAMS][place[0] % BLOCK_STREAMS]
        place[0] += 1
        if stream.state != FREE:
            return stream
    return NULL


cdef void list_append(StreamList* list, Stream* stream, int queue) noexcept nogil:
    """Puts a stream that stands in no list at the end of one."""
    stream.previous = list.last
    stream.next = NULL
    if list.last != NULL:
        list.last.next = stream
    else:
        list.first = stream
    list.last = stream
    stream.queue = queue


cdef void list_remove(StreamList* list, Stream* stream) noexcept nogil:
    """Takes a stream out of the list it stands in."""
    if stream.previous != NULL:
        stream.previous.next = stream.next
    else:
        list.first = stream.next
    if stream.next != NULL:
        stream.next.previous = stream.previous
    else:
        list.last = stream.previous
    stream.next = stream.previous = NULL
    stream.queue = NOWHERE
