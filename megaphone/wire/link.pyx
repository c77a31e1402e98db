"""The link frame codec: cuts the bytes of a link into frames and writes frames, without an object per frame.

docs/reference/link-protocol.md describes the frames:

     0        1                    4                            8
     +--------+--------------------+----------------------------+-----------------------
     |  type  |  payload length    |  id (0: the link itself)   |  payload ...
     +--------+--------------------+----------------------------+-----------------------

Reading takes any split of the bytes. A frame that lies whole in what was read is a pointer into it; only one that a
read has cut in two is collected, in a buffer of one frame per link. A header is checked as soon as its eight bytes are
there (type, who says it, length, id), so that nobody is made to wait for a payload that will be refused.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdlib cimport free, malloc
from libc.string cimport memset

from megaphone.errors import LinkError

cdef enum:
    TYPES = 32
    OF_LINK = 1         # id 0
    OF_STREAM = 2       # id above 0
    # faults
    REFUSED = 1
    NO_MEMORY = 2

cdef struct Rule:
    uint32_t least      # bytes of payload
    uint32_t most
    uint8_t senders     # Side bits; 0: there is no such type
    uint8_t ids

cdef Rule RULES[TYPES]

# The table of the protocol: payload bytes, who says it, id.
_TABLE = {
    CHALLENGE: (38, 38, SERVER, OF_LINK),
    HELLO: (90, 345, EDGE, OF_LINK),
    WELCOME: (60, 60, SERVER, OF_LINK),
    PING: (16, 16, EDGE | SERVER, OF_LINK),
    PONG: (16, 16, EDGE | SERVER, OF_LINK),
    ACK: (8, 8, EDGE | SERVER, OF_LINK),
    DRAIN: (0, 0, EDGE | SERVER, OF_LINK),
    OPEN: (40, 4096, EDGE, OF_STREAM),
    PUT_DATA: (1, DATA_LIMIT_BYTES, EDGE, OF_STREAM),
    SEND_DATA: (1, DATA_LIMIT_BYTES, SERVER, OF_STREAM),
    GET_DATA: (8, 8, EDGE | SERVER, OF_STREAM),
    SHUTDOWN: (9, 264, EDGE | SERVER, OF_LINK | OF_STREAM),
}


cdef void fill_rules():
    memset(RULES, 0, sizeof(RULES))
    for type, (least, most, senders, ids) in _TABLE.items():
        RULES[<int> type] = Rule(least, most, senders, ids)

fill_rules()


cdef void frame_reader_start(FrameReader* reader, int sender) noexcept nogil:
    """A reader of what `sender` says, before the first byte."""
    memset(reader, 0, sizeof(FrameReader))
    reader.sender = sender


cdef void frame_reader_reset(FrameReader* reader) noexcept nogil:
    """Forgets an incomplete frame and any fault: a new socket begins."""
    reader.split_bytes = 0
    reader.fault = 0


cdef void frame_reader_free(FrameReader* reader) noexcept nogil:
    free(reader.split)
    reader.split = NULL
    reader.split_bytes = 0


cdef inline bint allowed(uint64_t header, uint8_t sender) noexcept nogil:
    cdef uint32_t length = (header >> 32) & 0xFFFFFF
    cdef uint8_t type = header >> 56
    cdef Rule* rule
    if type >= TYPES:
        return False
    rule = &RULES[type]
    return (
        rule.senders & sender != 0
        and length >= rule.least
        and length <= rule.most
        and rule.ids & (OF_STREAM if <uint32_t> header else OF_LINK) != 0
    )


cdef int refuse(FrameReader* reader, uint64_t header) noexcept nogil:
    reader.fault = REFUSED
    reader.refused = header
    return FAULT


cdef int next_frame(FrameReader* reader, const uint8_t** at, const uint8_t* end, Frame* frame) noexcept nogil:
    """The next frame of the bytes from `at[0]` to `end`: a `Step`. After FAULT every call is FAULT."""
    cdef const uint8_t* begin = at[0]
    cdef size_t left = end - begin
    cdef uint64_t header
    cdef uint32_t length
    if reader.split_bytes or reader.fault:
        return go_on(reader, at, end, frame)
    if left >= HEADER_BYTES:
        header = get64(begin)
        if not allowed(header, reader.sender):
            return refuse(reader, header)
        length = (header >> 32) & 0xFFFFFF
        if left >= HEADER_BYTES + length:
            frame.payload = begin + HEADER_BYTES
            frame.length = length
            frame.id = <uint32_t> header
            frame.type = header >> 56
            at[0] = begin + HEADER_BYTES + length
            return FRAME
    if left == 0:
        return MORE
    return go_on(reader, at, end, frame)


cdef int go_on(FrameReader* reader, const uint8_t** at, const uint8_t* end, Frame* frame) noexcept nogil:
    """Collects the frame that reads have cut: first its header, then the rest."""
    cdef uint64_t header
    cdef uint32_t length
    if reader.fault:
        return FAULT
    if reader.split == NULL:
        reader.split = <uint8_t*> malloc(FRAME_LIMIT_BYTES)
        if reader.split == NULL:
            reader.fault = NO_MEMORY
            return FAULT
    if not collect(reader, at, end, HEADER_BYTES):
        return MORE
    header = get64(reader.split)
    if not allowed(header, reader.sender):
        return refuse(reader, header)
    length = (header >> 32) & 0xFFFFFF
    if not collect(reader, at, end, HEADER_BYTES + length):
        return MORE
    frame.payload = reader.split + HEADER_BYTES
    frame.length = length
    frame.id = <uint32_t> header
    frame.type = header >> 56
    reader.split_bytes = 0
    return FRAME


cdef inline bint collect(FrameReader* reader, const uint8_t** at, const uint8_t* end, size_t wanted) noexcept nogil:
    """Takes bytes until the frame under way has `wanted` of them; whether it has."""
    cdef size_t part
    if reader.split_bytes >= wanted:
        return True
    part = wanted - reader.split_bytes
    if part > <size_t> (end - at[0]):
        part = end - at[0]
    if part == 0:
        return False        # an empty read, perhaps without a buffer, which memcpy must not be given
    memcpy(reader.split + reader.split_bytes, at[0], part)
    reader.split_bytes += part
    at[0] += part
    return reader.split_bytes == wanted


cdef str frame_name(int type):
    """The name of a frame type, or its number."""
    return FrameType(type).name if type in _TABLE else f"frame type {type:#04x}"


cdef str frame_fault_text(FrameReader* reader):
    """Why the reader refused, in words for the peer's log; names the frame. At most 255 bytes."""
    cdef int type = reader.refused >> 56
    cdef uint32_t length = (reader.refused >> 32) & 0xFFFFFF
    cdef uint32_t id = <uint32_t> reader.refused
    if reader.fault == NO_MEMORY:
        return "no memory for a frame"
    return fault_text(type, length, id, reader.sender)


cdef str fault_text(int type, uint32_t length, uint32_t id, int sender):
    if type not in _TABLE:
        return f"{frame_name(type)} is not known"
    least, most, senders, ids = _TABLE[type]
    if not senders & sender:
        return f"{frame_name(type)} came from the {Side(sender).name.lower()}, which never says it"
    if not least <= length <= most:
        allowed_bytes = f"{least}" if least == most else f"{least} to {most}"
        return f"{frame_name(type)} for id {id} has {length} bytes of payload instead of {allowed_bytes}"
    if id:
        return f"{frame_name(type)} has id {id} instead of 0"
    return f"{frame_name(type)} has id 0, which is no stream"


# --- for Python ---


cdef class LinkFrameReader:
    """Cuts what one side of a link says into frames. `sender` is that Side."""

    cdef FrameReader reader

    def __cinit__(self, int sender):
        frame_reader_start(&self.reader, Side(sender))

    def __dealloc__(self):
        frame_reader_free(&self.reader)

    @property
    def split_bytes(self):
        """The bytes that are there of an incomplete frame."""
        return self.reader.split_bytes

    def feed(self, const uint8_t[::1] data not None):
        """The frames that end in `data`, as (FrameType, id, payload).

        Raises LinkError at a header that is not allowed; the frames before it are in the error's `frames`.
        """
        cdef Frame frame
        cdef const uint8_t* at = &data[0] if data.shape[0] else NULL
        cdef const uint8_t* end = at + data.shape[0]
        cdef int step
        frames = []
        while True:
            step = next_frame(&self.reader, &at, end, &frame)
            if step == FRAME:
                frames.append((FrameType(frame.type), frame.id, PyBytes_FromStringAndSize(<const char*> frame.payload, frame.length)))
            elif step == MORE:
                return frames
            else:
                error = LinkError(PROTOCOL_ERROR, frame_fault_text(&self.reader))
                error.frames = tuple(frames)
                raise error

    def read_times(self, const uint8_t[::1] data not None, uint64_t times):
        """Reads `data` again and again, for benchmarks: the frames read; LinkError if one is refused."""
        cdef Frame frame
        cdef const uint8_t* at
        cdef const uint8_t* end = &data[0] + data.shape[0]
        cdef uint64_t count = 0, sum = 0, i
        for i in range(times):
            at = &data[0]
            while next_frame(&self.reader, &at, end, &frame) == FRAME:
                count += 1
                sum += frame.id + frame.payload[0]
        if self.reader.fault or sum == 0:
            raise LinkError(PROTOCOL_ERROR, frame_fault_text(&self.reader))
        return count


def encode_frame(int type, uint32_t id, bytes payload not None):
    """One frame as bytes; LinkError if the protocol's table does not allow its type, length or id."""
    cdef bytes frame
    cdef uint64_t header = <uint64_t> (type & 0xFF) << 56 | <uint64_t> (len(payload) & 0xFFFFFF) << 32 | id
    if not 0 <= type <= 0xFF or len(payload) > 0xFFFFFF or not (allowed(header, EDGE) or allowed(header, SERVER)):
        raise LinkError(PROTOCOL_ERROR, fault_text(type, min(len(payload), 0xFFFFFFFF), id, EDGE | SERVER))
    frame = PyBytes_FromStringAndSize(NULL, HEADER_BYTES + len(payload))
    put_frame(<uint8_t*> PyBytes_AS_STRING(frame), type, id, <const uint8_t*> PyBytes_AS_STRING(payload), len(payload))
    return frame


def write_times(int type, uint32_t streams, bytes payload not None, uint64_t times):
    """Writes a data frame for each of `streams` ids in turn into 64 KiB, for benchmarks: the frames written."""
    cdef uint8_t* buffer = <uint8_t*> malloc(65536 + FRAME_LIMIT_BYTES)
    cdef const uint8_t* data = <const uint8_t*> PyBytes_AS_STRING(payload)
    cdef uint32_t length = len(payload), id = 0
    cdef size_t at = 0
    cdef uint64_t i
    if buffer == NULL:
        raise MemoryError
    if length > DATA_LIMIT_BYTES or streams == 0:
        free(buffer)
        raise ValueError("at most 16384 bytes on at least one stream")
    with nogil:
        for i in range(times):
            id = id + 1 if id < streams else 1
            at += put_frame(buffer + at, type, id, data, length)
            if at >= 65536:
                at = 0
    free(buffer)
    return times
