# A framer as bytes, for another process that goes on with its stream (docs/reference/hand-over.md).
#
#   version 1                1 byte
#   state and what goes on   15 bytes: state, after_reference, depth, attributes, element, matched, restart_allowed,
#                            reference_length, declaring, usual_root, utf8_left, utf8_low, utf8_high, names follow, root_length
#   reference, stanza_bytes  8 and 4 bytes, the least significant first
#   root                     root_length bytes
#   only if names follow     names, bindings, in_tag, token_length: 1 byte each; then, as in a Memory, names (length, bytes),
#                            bindings (depth, prefix, namespace name), the tag and its attributes, the token
#
# What is read is checked as if a stranger had written it: a slice that points nowhere would be read later.

cdef enum:
    RECORD_VERSION = 1
    RECORD_HEAD = 28            # bytes before the root


cdef bytes framer_export(Framer* framer):
    """The framer as bytes; it goes on as it is."""
    cdef uint8_t head[RECORD_HEAD]
    cdef uint8_t counts[4]
    cdef int i
    cdef Memory* memory = framer.memory
    head[0] = RECORD_VERSION
    head[1], head[2], head[3], head[4] = framer.state, framer.after_reference, framer.depth, framer.attributes
    head[5], head[6], head[7], head[8] = framer.element, framer.matched, framer.restart_allowed, framer.reference_length
    head[9], head[10], head[11], head[12] = framer.declaring, framer.usual_root, framer.utf8_left, framer.utf8_low
    head[13], head[14], head[15] = framer.utf8_high, memory != NULL, framer.root_length
    for i in range(8):
        head[16 + i] = framer.reference >> (8 * i) & 0xFF
    for i in range(4):
        head[24 + i] = framer.stanza_bytes >> (8 * i) & 0xFF
    record = PyBytes_FromStringAndSize(<const char*> head, RECORD_HEAD) + PyBytes_FromStringAndSize(<const char*> framer.root, framer.root_length)
    if memory == NULL:
        return record
    counts[0], counts[1], counts[2], counts[3] = memory.names, memory.bindings, memory.in_tag, memory.token
    return (record + PyBytes_FromStringAndSize(<const char*> counts, 4)
            + PyBytes_FromStringAndSize(<const char*> (memory + 1), memory.scope + memory.token))


cdef bint framer_import(Framer* framer, const uint8_t* data, size_t length) noexcept nogil:
    """Makes a framer, not one that has memory already, go on as the one that was exported; False for what no framer says."""
    cdef int i
    memset(framer, 0, sizeof(Framer))
    if length < RECORD_HEAD or data[0] != RECORD_VERSION or data[15] > ROOT_LIMIT or length < RECORD_HEAD + <size_t> data[15]:
        return False
    framer.state, framer.after_reference, framer.depth, framer.attributes = data[1], data[2], data[3], data[4]
    framer.element, framer.matched, framer.restart_allowed, framer.reference_length = data[5], data[6], data[7], data[8]
    framer.declaring, framer.usual_root, framer.utf8_left, framer.utf8_low = data[9], data[10], data[11], data[12]
    framer.utf8_high, framer.root_length = data[13], data[15]
    for i in range(8):
        framer.reference |= <uint64_t> data[16 + i] << (8 * i)
    for i in range(4):
        framer.stanza_bytes |= <uint32_t> data[24 + i] << (8 * i)
    memcpy(framer.root, data + RECORD_HEAD, framer.root_length)
    if not state_is_sound(framer):
        return False
    if data[14]:
        return import_memory(framer, data + RECORD_HEAD + framer.root_length, length - RECORD_HEAD - framer.root_length)
    if length != RECORD_HEAD + <size_t> framer.root_length:
        return False
    # whatever is open below the root, or under way in a tag, has names
    return framer.state == REFUSED or framer.depth <= 1 and framer.state != NAME and not in_start_tag(framer)


cdef bint state_is_sound(Framer* framer) noexcept nogil:
    """Whether the machine can be in this state: what it counts with stays within its tables."""
    cdef int state = framer.state
    if state > REFUSED or framer.element > STREAM_ERROR_ELEMENT or framer.utf8_left > 3 or framer.reference_length > 8:
        return False
    if state == REFUSED:
        return NOT_WELL_FORMED_XML <= framer.matched <= ENCODING_NOT_UTF8
    if framer.declaring and (framer.attributes == 0 or not in_start_tag(framer)):
        return False
    if state == REFERENCE and not (framer.after_reference == TEXT or framer.after_reference == VALUE_DOUBLE or framer.after_reference == VALUE_SINGLE):
        return False
    if state == DECLARATION and framer.matched > 5 or state == BANG and framer.matched > 6:
        return False
    if framer.usual_root and framer.root_length < 8:
        return False
    if framer.depth == 0:
        return not (state == TEXT or state == TAG or state == END_NAME or state == END_TAG or state == BANG or state == CDATA
                    or state == REFERENCE and framer.after_reference == TEXT)
    return framer.root_length > 0 and state != PROLOG and state != END


cdef inline const uint8_t* skip_slice(const uint8_t* at, const uint8_t* end, bint named) noexcept nogil:
    """What follows a packed slice, which is a name with at most one colon, or any bytes; NULL if it is not there or empty."""
    if at == NULL or at == end or at[0] == 0 or end - at < 1 + <Py_ssize_t> at[0]:
        return NULL
    if named and prefix_of(at + 1, at[0]) < 0:
        return NULL
    return at + 1 + at[0]


cdef inline bint splits_token(Framer* framer) noexcept nogil:
    """True where a read that ends here has split a name, a namespace name or the XML declaration."""
    cdef int state = framer.state
    return (state == NAME or state == ATTRIBUTE or state == END_NAME or state == DECLARATION and framer.matched == 5
            or framer.declaring and (state == VALUE_DOUBLE or state == VALUE_SINGLE))


cdef bint import_memory(Framer* framer, const uint8_t* data, size_t length) noexcept nogil:
    cdef const uint8_t* end = data + length
    cdef const uint8_t* at = data + 4
    cdef Memory* memory
    cdef Slice attribute = Slice(data, 0, 0)
    cdef int i, depth = 0
    if length < 4 or data[0] != (framer.depth - 1 if framer.depth else 0) or data[1] > BINDINGS_LIMIT or data[2] != in_start_tag(framer):
        return False
    if framer.state == REFUSED or data[3] and not splits_token(framer):
        return False
    if data[3] == 0 and (framer.state == NAME or framer.state == ATTRIBUTE):
        return False                # the states begin with the first byte of a name
    for i in range(data[0]):
        at = skip_slice(at, end, False)
    for i in range(data[1]):
        if at == NULL or at == end or at[0] < depth or at[0] > framer.depth + 1:
            return False            # in the order in which their elements were opened
        depth = at[0]
        at = skip_slice(skip_slice(at + 1, end, False), end, False)
    if data[2]:
        at = skip_slice(at, end, True)
        for i in range(framer.attributes):
            if at != NULL and at < end and i == framer.attributes - 1:
                attribute.data = at + 1
                attribute.length = at[0]
            at = skip_slice(at, end, True)
        if framer.declaring:
            if at == NULL:
                return False
            attribute.prefix = prefix_of(attribute.data, attribute.length)
            if not declares(&attribute):
                return False
    if at == NULL or end - at != data[3]:
        return False
    memory = take_memory(length - 4)
    if memory == NULL:
        return False
    memory.scope = <uint32_t> (at - data - 4)
    memory.names, memory.bindings, memory.in_tag, memory.token = data[0], data[1], data[2], data[3]
    memcpy(memory + 1, data + 4, length - 4)
    framer.memory = memory
    return True
