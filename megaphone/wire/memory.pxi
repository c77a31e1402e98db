# What a connection keeps between two reads that split a stanza or a tag, and the recycling of that memory.

cdef enum:
    SMALLEST = 512              # bytes of a Memory; larger ones have twice, four times ... as many
    SIZES = 10                  # 512 bytes to 256 KiB: the most that can be in scope fits
    SPARE_BYTES = 65536         # of one size are kept for the next read; of those larger than this, one

cdef Memory* SPARE[SIZES]
cdef int SPARES[SIZES]
cdef Memory* resumed = NULL     # the connection's memory that slices point into


cdef Memory* take_memory(size_t size) noexcept nogil:
    """Room for `size` bytes; NULL if there is none."""
    cdef Memory* memory
    cdef int i = 0
    size += sizeof(Memory)
    while (<size_t> SMALLEST << i) < size:
        i += 1
    memory = SPARE[i]
    if memory != NULL:
        SPARE[i] = memory.next
        SPARES[i] -= 1
        return memory
    memory = <Memory*> malloc(<size_t> SMALLEST << i)
    if memory != NULL:
        memory.size = i
    return memory


cdef void give_back(Memory* memory) noexcept nogil:
    if memory == NULL:
        return
    if SPARES[memory.size] == 0 or <size_t> SPARES[memory.size] << memory.size < SPARE_BYTES // SMALLEST:
        memory.next = SPARE[memory.size]
        SPARE[memory.size] = memory
        SPARES[memory.size] += 1
    else:
        free(memory)


cdef inline size_t packed(Slice* slice) noexcept nogil:
    return 1 + slice.length


cdef inline uint8_t* pack(uint8_t* at, Slice* slice) noexcept nogil:
    at[0] = slice.length
    memcpy(at + 1, slice.data, slice.length)
    return at + 1 + slice.length


cdef inline const uint8_t* unpack(const uint8_t* at, Slice* slice) noexcept nogil:
    slice.length = at[0]
    slice.data = at + 1
    return at + 1 + slice.length


cdef inline bint in_start_tag(Framer* framer) noexcept nogil:
    """True from the end of a start tag's name to its '>'."""
    cdef int state = framer.after_reference if framer.state == REFERENCE else framer.state
    return IN_TAG <= state <= EMPTY_TAG


cdef bint remember(Framer* framer, const uint8_t* token, size_t token_length) noexcept nogil:
    """Copies what is in scope into the connection's memory; False if there is none to be had.

    The token is what this read holds of a name, or of a namespace name, that it has split.
    """
    global resumed
    cdef size_t size = 0
    cdef uint8_t* at
    cdef Memory* memory = resumed
    cdef int i, names = framer.depth - 1 if framer.depth else 0
    cdef bint in_tag = in_start_tag(framer)
    if memory != NULL and not changed and sizeof(Memory) + memory.scope + carried + token_length <= <size_t> SMALLEST << memory.size:
        resumed = NULL              # all is there already but the token
    else:
        for i in range(1, names + 1):
            size += packed(&NAMES[i])
        for i in range(binding_count):
            size += 1 + packed(&BINDINGS[i].prefix) + packed(&BINDINGS[i].name)
        if in_tag:
            size += packed(&tag)
            for i in range(framer.attributes):
                size += packed(&ATTRIBUTES[i].name)
        memory = take_memory(size + carried + token_length)
        if memory == NULL:
            return False
        memory.scope = <uint32_t> size
        memory.names = names
        memory.bindings = binding_count
        memory.in_tag = in_tag
        at = <uint8_t*> (memory + 1)
        for i in range(1, names + 1):
            at = pack(at, &NAMES[i])
        for i in range(binding_count):
            at[0] = BINDINGS[i].depth
            at = pack(pack(at + 1, &BINDINGS[i].prefix), &BINDINGS[i].name)
        if in_tag:
            at = pack(at, &tag)
            for i in range(framer.attributes):
                at = pack(at, &ATTRIBUTES[i].name)
    at = <uint8_t*> (memory + 1) + memory.scope
    memory.token = <uint8_t> (carried + token_length)
    memcpy(at, CARRIED, carried)
    if token_length:
        memcpy(at + carried, token, token_length)
    framer.memory = memory
    return True


cdef void recall(Framer* framer) noexcept nogil:
    """Puts what the last read left in scope back into the scratch area; slices point into the memory until the read is done."""
    global binding_count, carried, changed, resumed, slotted
    cdef Memory* memory = framer.memory
    cdef const uint8_t* at
    cdef int i
    leave_scope(-1)
    carried = slotted = 0
    changed = False
    NAMES[0].data = framer.root
    NAMES[0].length = framer.root_length
    resumed = memory
    framer.memory = NULL
    if memory == NULL:
        return
    at = <const uint8_t*> (memory + 1)
    for i in range(1, memory.names + 1):
        at = unpack(at, &NAMES[i])
    for i in range(memory.bindings):
        BINDINGS[i].depth = at[0]
        at = unpack(unpack(at + 1, &BINDINGS[i].prefix), &BINDINGS[i].name)
        bind(&BINDINGS[i])
    if memory.in_tag:
        at = unpack(at, &tag)
        tag.prefix = prefix_of(tag.data, tag.length)
        for i in range(framer.attributes):
            at = unpack(at, &ATTRIBUTES[i].name)
            ATTRIBUTES[i].name.prefix = prefix_of(ATTRIBUTES[i].name.data, ATTRIBUTES[i].name.length)
            ATTRIBUTES[i].hash = hash_bytes(ATTRIBUTES[i].name.data, ATTRIBUTES[i].name.length, KEY)
    memcpy(CARRIED, at, memory.token)
    carried = memory.token
