"""Fuzz target: the reader of WebSocket frames cut in pieces, beside its model, and what the writer makes of what it read.

    | flags | cuts, 2 bytes each, as many as bits 5-7 of the flags say | frames ... |      as in websocket_fuzz.py

A client's bytes are read whole, in pieces and byte by byte; all must tell the same. Messages that end are UTF-8. What was
read is written as a server does, masked as a client must, and read again: it says the same.
"""

from cpython.pycapsule cimport PyCapsule_New
from cpython.unicode cimport PyUnicode_DecodeUTF8
from libc.stdint cimport uint8_t, uint16_t, uint32_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcmp, memcpy

from megaphone.wire.websocket cimport (
    CLOSE, DATA, ERROR, MORE, PING, PING_FRAME, PONG_FRAME, TEXT_FRAME,
    Frame, FrameReader, Limits, read_frame, reader_free, reader_rests, reader_start,
)
from megaphone.wire.websocket_writer cimport CONTROL_FRAME_BYTES, write_close, write_control, write_header

from megaphone.wire.websocket import Error, Event
from tests.unit.wire.websocket_fuzz import fuzz_websocket

cdef enum:
    STREAM_LIMIT = 4096
    HAPPENINGS_LIMIT = STREAM_LIMIT
    STORE_BYTES = 2 * STREAM_LIMIT
    WRITTEN_BYTES = 8 * STREAM_LIMIT
    CUTS_LIMIT = 7

cdef uint32_t MESSAGE_BYTES[4]
cdef uint16_t FRAMES[4]
MESSAGE_BYTES = [262144, 1, 130, 70000]
FRAMES = [1024, 1, 2, 5]

cdef struct Happening:
    int event
    int detail              # a message's opcode, a status code
    size_t offset           # behind its last byte
    size_t begin            # of its payload in the store
    size_t length

cdef struct Reading:
    Happening happenings[HAPPENINGS_LIMIT]
    int count
    uint8_t messages[STORE_BYTES]       # payloads of messages; of control frames
    uint8_t controls[STORE_BYTES]
    size_t message_bytes                # that are there, of all messages
    size_t control_bytes
    size_t begun                        # where the message under way begins
    int error
    int code
    size_t error_offset
    bint rests
    uint8_t counted

cdef Reading WHOLE, OTHER
cdef uint8_t WRITTEN[WRITTEN_BYTES]
cdef size_t SINGLE[STREAM_LIMIT]
for index in range(STREAM_LIMIT):
    SINGLE[index] = index


cdef int read(
    const uint8_t* data, size_t length, const size_t* cuts, size_t count, const Limits* limits, Reading* reading,
) except -1:
    """Reads what lies between the cuts, which ascend, each piece in memory of its own."""
    cdef FrameReader reader
    cdef size_t at = 0, end, index = 0
    cdef int outcome = MORE
    cdef uint8_t* piece
    reading.count = 0
    reading.message_bytes = reading.control_bytes = reading.begun = 0
    reading.error = reading.code = 0
    reading.error_offset = 0
    reader_start(&reader)
    try:
        while outcome != ERROR and index <= count:
            end = cuts[index] if index < count else length
            index += 1
            piece = NULL
            if end > at:
                piece = <uint8_t*> malloc(end - at)
                if piece == NULL:
                    raise MemoryError
                memcpy(piece, data + at, end - at)
            try:
                outcome = read_piece(&reader, piece, end - at, at, limits, reading)
            finally:
                free(piece)
            at = end
        reading.rests = reader_rests(&reader)
        reading.counted = reader.controls
    finally:
        reader_free(&reader)
    return 0


cdef int read_piece(
    FrameReader* reader, uint8_t* piece, size_t size, size_t at, const Limits* limits, Reading* reading,
) except -1:
    """Reads one piece, which begins at `at`, to its end or to an error; returns the last Event."""
    cdef size_t offset = 0
    cdef int event
    cdef Frame frame
    while True:
        event = read_frame(reader, limits, piece + offset, size - offset, &frame)
        if frame.offset > size - offset:
            raise AssertionError(f"beyond the piece: {frame.offset} of {size - offset}")
        offset += frame.offset
        if event == ERROR:
            reading.error, reading.code, reading.error_offset = frame.error, frame.code, at + offset
            if reader.held != NULL:
                raise AssertionError("holds something behind an error")
            if read_frame(reader, limits, piece, size, &frame) != ERROR or frame.error != reading.error or frame.offset:
                raise AssertionError("what was refused does not stay refused")
            return event
        if event == MORE:
            if offset != size:
                raise AssertionError(f"stopped for nothing at {at + offset}")
            return event
        if event == DATA:
            keep_data(&frame, at + offset, limits, reading)
        else:
            if frame.length > 125:
                raise AssertionError(f"a control frame of {frame.length} bytes")
            memcpy(reading.controls + reading.control_bytes, frame.payload, frame.length)
            happened(reading, event, frame.code, at + offset, reading.control_bytes, frame.length)
            reading.control_bytes += frame.length
        if offset == size:
            return event


cdef int keep_data(const Frame* frame, size_t offset, const Limits* limits, Reading* reading) except -1:
    """Adds a slice to its message; `offset` is behind it."""
    cdef size_t length
    if frame.length == 0 and not frame.final:
        raise AssertionError(f"an empty slice at {offset}")
    if frame.first != (reading.message_bytes == reading.begun):
        raise AssertionError(f"the slice to {offset} is wrongly said to be the first or not")
    memcpy(reading.messages + reading.message_bytes, frame.payload, frame.length)
    reading.message_bytes += frame.length
    length = reading.message_bytes - reading.begun
    if length > limits.message_bytes:
        raise AssertionError(f"a message of {length} bytes")
    if frame.final:
        if frame.opcode == TEXT_FRAME:
            PyUnicode_DecodeUTF8(<const char*> reading.messages + reading.begun, length, NULL)
            check_reason(reading.messages + reading.begun, length)
        happened(reading, DATA, frame.opcode, offset, reading.begun, length)
        reading.begun = reading.message_bytes
    return 0


cdef void happened(Reading* reading, int event, int detail, size_t offset, size_t begin, size_t length) noexcept:
    cdef Happening* happening = &reading.happenings[reading.count]
    happening.event = event
    happening.detail = detail
    happening.offset = offset
    happening.begin = begin
    happening.length = length
    reading.count += 1


cdef str told(Reading* reading):
    """For messages: everything that was read."""
    cdef int i
    events = [
        (Event(reading.happenings[i].event).name, reading.happenings[i].detail, reading.happenings[i].offset,
         reading.happenings[i].length) for i in range(reading.count)
    ]
    messages, controls = reading.messages[:reading.message_bytes], reading.controls[:reading.control_bytes]
    return (
        f"{events} {messages} {controls}; {Error(reading.error).name}, {reading.code}, at {reading.error_offset};"
        f" rests {reading.rests}, counted {reading.counted}"
    )


cdef bint same(Reading* one, Reading* other, bint offsets) noexcept:
    """Whether both readings tell the same; the rewritten stream has other offsets, and no error."""
    cdef int i
    cdef Happening* left
    cdef Happening* right
    if one.count != other.count or one.control_bytes != other.control_bytes:
        return False
    for i in range(one.count):
        left, right = &one.happenings[i], &other.happenings[i]
        if (left.event != right.event or left.detail != right.detail or left.length != right.length
                or left.begin != right.begin or offsets and left.offset != right.offset):
            return False
    if memcmp(one.controls, other.controls, one.control_bytes) != 0:
        return False
    if not offsets:
        return other.error == 0 and memcmp(one.messages, other.messages, one.begun) == 0
    return (
        one.message_bytes == other.message_bytes and one.begun == other.begun
        and memcmp(one.messages, other.messages, one.message_bytes) == 0
        and one.error == other.error and one.code == other.code and one.error_offset == other.error_offset
        and one.rests == other.rests and one.counted == other.counted
    )


cdef int check_accepted(const uint8_t* data, size_t end, const Limits* limits) except -1:
    """AssertionError if among the bytes to `end`, which were accepted, is one that RFC 6455 or a limit does not allow."""
    cdef size_t at = 0, payload, more, i
    cdef uint8_t opcode
    cdef bint final, control, under_way = False
    while at < end:
        final, opcode, control = data[at] & 0x80, data[at] & 0x0F, data[at] & 0x08
        if (data[at] & 0x70 or control and (not final or opcode > 10) or opcode > 2 and not control
                or not control and under_way != (opcode == 0) or opcode == 2 and limits.text_only):
            raise AssertionError(f"the frame at {at} should not begin with {data[at]:#x}")
        if at + 1 == end:
            return 0
        payload = data[at + 1] & 0x7F
        if not data[at + 1] & 0x80 or control and payload > 125:
            raise AssertionError(f"the frame at {at} should not go on with {data[at + 1]:#x}")
        more = 0 if payload < 126 else 2 if payload == 126 else 8
        if at + 2 + more > end:
            return 0
        if more:
            payload = 0
            for i in range(more):
                payload = payload << 8 | data[at + 2 + i]
            if payload < (126 if more == 2 else 65536):
                raise AssertionError(f"the length {payload} of the frame at {at} is too long")
        if payload >> 63 or not control and payload > limits.message_bytes or opcode == 8 and payload == 1:
            raise AssertionError(f"the frame at {at} should not have {payload} bytes")
        if not control:
            under_way = not final
        if opcode == 8 or payload >= end - at:
            return 0
        at += 2 + more + 4 + payload
    return 0


cdef size_t masked(uint8_t* frame, size_t header, size_t length, size_t key) noexcept:
    """Makes a server's frame a client's; returns its length now."""
    cdef size_t i
    cdef uint8_t mask[4]
    for i in range(length):
        frame[header + length - 1 - i + 4] = frame[header + length - 1 - i]
    for i in range(4):
        mask[i] = <uint8_t> (key * 37 + i * 101)
        frame[header + i] = mask[i]
    for i in range(length):
        frame[header + 4 + i] ^= mask[i % 4]
    frame[1] |= 0x80
    return header + 4 + length


cdef size_t rewrite(Reading* reading) noexcept:
    """Writes all that was read whole: bytes of WRITTEN."""
    cdef size_t at = 0, header, length
    cdef int i
    cdef Happening* happening
    cdef const uint8_t* payload
    for i in range(reading.count):
        happening = &reading.happenings[i]
        length = happening.length
        payload = (&reading.messages[0] if happening.event == DATA else &reading.controls[0]) + happening.begin
        header = 2
        if happening.event == DATA:
            header = write_header(WRITTEN + at, happening.detail, length)
            memcpy(WRITTEN + at + header, payload, length)
        elif happening.event == CLOSE:
            length = write_close(WRITTEN + at, happening.detail, payload, length) - 2
        else:
            write_control(WRITTEN + at, PING_FRAME if happening.event == PING else PONG_FRAME, payload, length)
        at += masked(WRITTEN + at, header, length, i)
    return at


cdef int check_reason(const uint8_t* text, size_t length) except -1:
    """A text as the reason of a close frame: whole if it fits, else as much of it as is text."""
    cdef uint8_t into[CONTROL_FRAME_BYTES]
    cdef size_t size = write_close(into, 1000, text, length)
    if size > CONTROL_FRAME_BYTES or size < 4 or into[1] != size - 2 or memcmp(into + 4, text, size - 4) != 0:
        raise AssertionError(f"{text[:length]!r} becomes {into[:size]!r}")
    if size - 4 < length and (length <= 123 or size - 4 < 120):
        raise AssertionError(f"{length} bytes are cut to {size - 4}")
    PyUnicode_DecodeUTF8(<const char*> into + 4, size - 4, NULL)
    return 0


cdef int check(const uint8_t* data, size_t size, bint thorough) except -1:
    """Reads one input in every way, if `thorough` with the model too; AssertionError if two of them differ."""
    cdef Limits limits
    cdef size_t cuts[CUTS_LIMIT]
    cdef size_t count, length, i, j, cut
    cdef const uint8_t* stream
    if size == 0:
        return 0
    limits.text_only = data[0] & 1
    limits.message_bytes = MESSAGE_BYTES[data[0] >> 1 & 3]
    limits.frames = FRAMES[data[0] >> 3 & 3]
    count = data[0] >> 5
    if size < 1 + 2 * count:
        return 0
    stream = data + 1 + 2 * count
    length = size - 1 - 2 * count
    if length > STREAM_LIMIT:
        length = STREAM_LIMIT
    for i in range(count):
        # in ascending order
        cut = (data[1 + 2 * i] << 8 | data[2 + 2 * i]) % (length + 1)
        j = i
        while j > 0 and cuts[j - 1] > cut:
            cuts[j] = cuts[j - 1]
            j -= 1
        cuts[j] = cut
    read(stream, length, cuts, 0, &limits, &WHOLE)
    check_accepted(stream, WHOLE.error_offset if WHOLE.error else length, &limits)
    read(stream, length, cuts, count, &limits, &OTHER)
    if not same(&WHOLE, &OTHER, True):
        raise AssertionError(f"in pieces: {told(&OTHER)}\nwhole: {told(&WHOLE)}")
    read(stream, length, SINGLE, length, &limits, &OTHER)
    if not same(&WHOLE, &OTHER, True):
        raise AssertionError(f"byte by byte: {told(&OTHER)}\nwhole: {told(&WHOLE)}")
    read(WRITTEN, rewrite(&WHOLE), cuts, 0, &limits, &OTHER)
    if not same(&WHOLE, &OTHER, False):
        raise AssertionError(f"written and read again: {told(&OTHER)}\nread: {told(&WHOLE)}")
    if thorough:
        fuzz_websocket(data[:size])
    return 0


include "entry.pxi"
