# The header of a client's frame, byte by byte: each is refused as soon as it is wrong.


cdef inline uint8_t take_head(FrameReader* reader, const Limits* limits, uint8_t byte) noexcept nogil:
    """The first byte of a frame."""
    cdef uint8_t opcode = byte & OPCODE
    if byte & RESERVED:
        return RESERVED_BITS
    if opcode & CONTROL:
        if opcode > PONG_FRAME:
            return UNKNOWN_OPCODE
        if not byte & FIN:
            return CONTROL_FRAGMENTED
        if opcode == CLOSE_FRAME:
            reader.utf8 = 0     # of the reason: no text will come any more
    elif opcode == CONTINUATION_FRAME:
        if reader.message == 0:
            return NOTHING_TO_CONTINUE
        if reader.frames < limits.frames:
            reader.frames += 1
        elif limits.frames != ANY_FRAMES:
            return TOO_MANY_FRAMES
    else:
        if opcode > BINARY_FRAME:
            return UNKNOWN_OPCODE
        if reader.message:
            return MESSAGE_UNDER_WAY
        if opcode == BINARY_FRAME and limits.text_only:
            return BINARY_REFUSED
        reader.message = opcode
        reader.message_bytes = 0
        reader.frames = 1
    reader.head = byte
    return NO_ERROR


cdef inline uint8_t check_length(FrameReader* reader, const Limits* limits) noexcept nogil:
    """The length is known: before a byte of the payload has come."""
    if reader.head & CONTROL:
        if reader.left == 1 and reader.head & OPCODE == CLOSE_FRAME:
            return CLOSE_TOO_SHORT
    elif reader.left > limits.message_bytes or reader.message_bytes + reader.left > limits.message_bytes:
        return MESSAGE_TOO_BIG
    elif reader.left == 0 and reader.head & FIN and reader.utf8:
        return INVALID_UTF8     # the message ends inside a character
    reader.due = 4
    reader.state = KEY
    return NO_ERROR


cdef inline uint8_t take_length(FrameReader* reader, const Limits* limits, uint8_t byte) noexcept nogil:
    """The second byte of a frame."""
    if not byte & MASK:
        return NOT_MASKED       # section 5.1
    byte &= ~MASK
    if byte > CONTROL_PAYLOAD_BYTES:
        if reader.head & CONTROL:
            return CONTROL_TOO_LONG
        reader.left = 0
        reader.due = 2 if byte == 126 else 8
        # `key` is of no use yet: its first byte says how long the length is
        reader.key[0] = reader.due
        reader.state = EXTENDED
        return NO_ERROR
    reader.left = byte
    return check_length(reader, limits)


cdef inline uint8_t take_extended(FrameReader* reader, const Limits* limits, uint8_t byte) noexcept nogil:
    """One more byte of the extended length, highest first."""
    if reader.due == 8 and byte & 0x80:
        return LENGTH_TOP_BIT
    reader.left = reader.left << 8 | byte
    reader.due -= 1
    if reader.due:
        return NO_ERROR
    if reader.left < (126 if reader.key[0] == 2 else 65536):
        return LENGTH_NOT_MINIMAL
    return check_length(reader, limits)


cdef uint8_t read_header(FrameReader* reader, const Limits* limits, const uint8_t* data, size_t length, size_t* at) noexcept nogil:
    """Reads to the payload, or to the end of `data`, or to the byte that gives the error it returns."""
    cdef size_t i = at[0]
    cdef uint8_t error = NO_ERROR
    while i < length and reader.state != PAYLOAD:
        if reader.state == HEAD:
            error = take_head(reader, limits, data[i])
            if error == NO_ERROR:
                reader.state = LENGTH
        elif reader.state == LENGTH:
            error = take_length(reader, limits, data[i])
        elif reader.state == EXTENDED:
            error = take_extended(reader, limits, data[i])
        else:  # KEY
            reader.key[4 - reader.due] = data[i]
            reader.due -= 1
            if reader.due == 0:
                reader.state = PAYLOAD
        if error != NO_ERROR:
            break
        i += 1
    at[0] = i
    return error
