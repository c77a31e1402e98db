# The payload of a client's frame: unmasked where it lies, checked, and passed on as far as it has come.


cdef inline int refuse(FrameReader* reader, uint8_t error, size_t offset, Frame* frame) noexcept nogil:
    reader_free(reader)
    reader.state = REFUSED
    reader.due = error
    frame.offset = offset
    frame.error = error
    frame.code = CODE_OF[error]
    return ERROR


cdef int read_data(FrameReader* reader, uint8_t* data, size_t part, Frame* frame) noexcept nogil:
    """The next `part` payload bytes of a data frame; MORE if there is nothing to report."""
    cdef size_t good = part
    cdef uint8_t before = reader.utf8
    unmask(data, part, reader.key)
    if reader.message == TEXT_FRAME:
        good = utf8_length(data, part, &reader.utf8)
        if good == part and part and reader.utf8 and part == reader.left and reader.head & FIN:
            # the message ends inside a character, which its last byte is to blame for
            good = part - 1
            reader.utf8 = before
            utf8_length(data, good, &reader.utf8)
        if good < part:
            if good == 0:
                return refuse(reader, INVALID_UTF8, frame.offset, frame)
            # what stands before the wrong byte goes first; it and the rest are put back as they came
            turn_key(reader.key, good)
            unmask(data + good, part - good, reader.key)
            part = good
        elif part < reader.left:
            turn_key(reader.key, part)
    elif part < reader.left:
        turn_key(reader.key, part)
    frame.first = reader.message_bytes == 0
    frame.opcode = reader.message
    frame.payload = data
    frame.length = part
    frame.offset += part
    reader.message_bytes += <uint32_t> part
    reader.left -= part
    if reader.left == 0:
        reader.state = HEAD
        if reader.head & FIN:
            frame.final = 1
            reader.message = 0
    return DATA if part or frame.final else MORE


cdef int read_control(FrameReader* reader, uint8_t* data, size_t part, Frame* frame) noexcept nogil:
    """The next `part` payload bytes of a control frame; MORE if they are not the last ones."""
    cdef size_t seen = reader.held.length if reader.held != NULL else 0
    cdef size_t total = seen + part, reason, good
    cdef bint whole = part == reader.left
    cdef uint8_t opcode = reader.head & OPCODE
    unmask(data, part, reader.key)
    if reader.held == NULL and not whole and not hold(reader):
        return refuse(reader, NO_MEMORY, frame.offset, frame)
    frame.payload = data
    if reader.held != NULL:
        memcpy(reader.held.payload + seen, data, part)
        reader.held.length = <uint8_t> total
        frame.payload = reader.held.payload
    if opcode == CLOSE_FRAME:
        frame.code = NO_STATUS
        if total >= 2:
            frame.code = <uint16_t> (frame.payload[0] << 8 | frame.payload[1])
            if not is_close_code(frame.code):
                return refuse(reader, INVALID_CLOSE_CODE, frame.offset + 1 - seen, frame)
            reason = seen if seen > 2 else 2
            good = utf8_length(frame.payload + reason, total - reason, &reader.utf8)
            if good < total - reason:
                return refuse(reader, INVALID_UTF8, frame.offset + reason + good - seen, frame)
            if whole and reader.utf8:
                return refuse(reader, INVALID_UTF8, frame.offset + part - 1, frame)
    frame.offset += part
    reader.left -= part
    if not whole:
        turn_key(reader.key, part)
        return MORE
    frame.length = total
    if reader.held != NULL:
        memcpy(WHOLE, reader.held.payload, total)
        frame.payload = WHOLE
        reader_free(reader)
    if opcode == CLOSE_FRAME:
        if total:
            frame.payload += 2
            frame.length -= 2
        reader.state = CLOSED
        return CLOSE
    reader.state = HEAD
    if reader.controls < 255:
        reader.controls += 1
    return PING if opcode == PING_FRAME else PONG
