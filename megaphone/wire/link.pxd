# Outline of the link frame codec: reading frames from any split of the bytes, writing them into a caller's buffer.
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy

cdef extern from "<endian.h>" nogil:
    uint32_t be32toh(uint32_t) noexcept
    uint64_t be64toh(uint64_t) noexcept
    uint64_t htobe64(uint64_t) noexcept

cpdef enum FrameType:
    CHALLENGE = 0x01
    HELLO = 0x02
    WELCOME = 0x03
    PING = 0x04
    PONG = 0x05
    ACK = 0x06
    DRAIN = 0x07
    OPEN = 0x10
    PUT_DATA = 0x11
    SEND_DATA = 0x12
    GET_DATA = 0x13
    SHUTDOWN = 0x14

# Why a stream, or the link, ends; from PROTOCOL_ERROR on only the link.
cpdef enum LinkReason:
    CLOSED = 0
    CONNECTION_LOST = 1
    CONNECTION_TIMEOUT = 2
    POLICY_VIOLATION = 3
    SLOW_CONSUMER = 4
    RESOURCE_CONSTRAINT = 5
    SYSTEM_SHUTDOWN = 6
    INTERNAL_ERROR = 7
    REMOTE_CONNECTION_FAILED = 8
    PROTOCOL_ERROR = 16
    CREDIT_OVERSTEPPED = 17
    UNSUPPORTED_VERSION = 18
    NOT_AUTHORIZED = 19
    STALE_EPOCH = 20
    LINK_TIMEOUT = 21
    TOO_MANY_LINKS = 22

# Who says a frame; also the role of an end of a link.
cpdef enum Side:
    EDGE = 1
    SERVER = 2

# What `next_frame` returns.
cpdef enum Step:
    MORE = 0            # no whole frame is left; an incomplete one has been kept
    FRAME = 1           # one frame
    FAULT = 2           # the header of a frame is not allowed: `frame_fault_text` says which and why

cdef enum:
    HEADER_BYTES = 8
    DATA_LIMIT_BYTES = 16384        # of payload in PUT_DATA and SEND_DATA
    FRAME_LIMIT_BYTES = 16392
    STAMPED_BYTES = 24              # PING and PONG
    ACK_BYTES = 16
    DRAIN_BYTES = 8
    GET_DATA_BYTES = 16
    SHUTDOWN_LEAST_BYTES = 17
    SHUTDOWN_LIMIT_BYTES = 272
    TEXT_LIMIT_BYTES = 255
    REASONS_OF_LINK = 16            # reasons from here on are for id 0 only

cdef struct Frame:
    const uint8_t* payload          # in what was read, or in the reader's own buffer: valid until the next `next_frame`
    uint32_t length                 # of the payload
    uint32_t id
    uint8_t type

# What is kept of one direction of a link between two reads; all zero but `sender` at the beginning.
cdef struct FrameReader:
    uint8_t* split                  # FRAME_LIMIT_BYTES once a read has ended inside a frame
    uint64_t refused                # the header that was a fault
    uint32_t split_bytes            # that are there of the frame under way
    uint8_t sender                  # Side that says what is read here
    uint8_t fault

cdef void frame_reader_start(FrameReader* reader, int sender) noexcept nogil
cdef void frame_reader_reset(FrameReader* reader) noexcept nogil
cdef void frame_reader_free(FrameReader* reader) noexcept nogil

# Takes the next frame of *at..end and moves *at behind it (at MORE: to the end). Only header and length are checked.
cdef int next_frame(FrameReader* reader, const uint8_t** at, const uint8_t* end, Frame* frame) noexcept nogil
cdef str frame_fault_text(FrameReader* reader)
cdef str frame_name(int type)


# --- numbers in network byte order ---

cdef inline uint32_t get32(const uint8_t* at) noexcept nogil:
    cdef uint32_t value
    memcpy(&value, at, 4)
    return be32toh(value)

cdef inline uint64_t get64(const uint8_t* at) noexcept nogil:
    cdef uint64_t value
    memcpy(&value, at, 8)
    return be64toh(value)

cdef inline void put64(uint8_t* to, uint64_t value) noexcept nogil:
    value = htobe64(value)
    memcpy(to, &value, 8)


# --- writing: each returns the bytes of the frame; the caller has made room for them ---

cdef inline void put_header(uint8_t* to, int type, uint32_t length, uint32_t id) noexcept nogil:
    put64(to, <uint64_t> type << 56 | <uint64_t> length << 32 | id)

cdef inline size_t put_frame(uint8_t* to, int type, uint32_t id, const uint8_t* payload, uint32_t length) noexcept nogil:
    put_header(to, type, length, id)
    memcpy(to + HEADER_BYTES, payload, length)
    return HEADER_BYTES + length

cdef inline size_t put_stamped(uint8_t* to, int type, uint64_t stamp, uint64_t received) noexcept nogil:
    # PING or PONG
    put_header(to, type, 16, 0)
    put64(to + 8, stamp)
    put64(to + 16, received)
    return STAMPED_BYTES

cdef inline size_t put_ack(uint8_t* to, uint64_t received) noexcept nogil:
    put_header(to, ACK, 8, 0)
    put64(to + 8, received)
    return ACK_BYTES

cdef inline size_t put_get_data(uint8_t* to, uint32_t id, uint64_t limit) noexcept nogil:
    put_header(to, GET_DATA, 8, id)
    put64(to + 8, limit)
    return GET_DATA_BYTES

cdef inline size_t put_shutdown(
    uint8_t* to, uint32_t id, uint64_t sent, uint8_t reason, const uint8_t* text, uint32_t text_bytes
) noexcept nogil:
    # `text` of at most TEXT_LIMIT_BYTES
    put_header(to, SHUTDOWN, 9 + text_bytes, id)
    put64(to + 8, sent)
    to[16] = reason
    memcpy(to + SHUTDOWN_LEAST_BYTES, text, text_bytes)
    return SHUTDOWN_LEAST_BYTES + text_bytes
