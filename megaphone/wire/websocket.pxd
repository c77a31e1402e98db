# The C interface for reading a client's WebSocket frames: one small struct per connection, one function.
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

# What `read_frame` returns.
cpdef enum Event:
    MORE = 0         # all bytes consumed, nothing to stop for
    DATA = 1         # a slice of a message; it has `length` > 0 or is the final one
    PING = 2         # answer with a pong of the same payload
    PONG = 3
    CLOSE = 4        # `code`, and the reason as payload; whatever comes after it is dropped
    ERROR = 5        # refused at `offset`, for `error`; close with `code`

# Why it refuses; CLOSE_CODES in websocket.pyx gives the status code of each (RFC 6455 section 7.4.1).
cpdef enum Error:
    NO_ERROR = 0
    RESERVED_BITS = 1
    UNKNOWN_OPCODE = 2
    NOT_MASKED = 3
    LENGTH_NOT_MINIMAL = 4
    LENGTH_TOP_BIT = 5
    CONTROL_FRAGMENTED = 6
    CONTROL_TOO_LONG = 7
    NOTHING_TO_CONTINUE = 8
    MESSAGE_UNDER_WAY = 9       # a new message before the last one's final frame
    CLOSE_TOO_SHORT = 10        # half a status code
    INVALID_CLOSE_CODE = 11
    INVALID_UTF8 = 12
    BINARY_REFUSED = 13
    MESSAGE_TOO_BIG = 14
    TOO_MANY_FRAMES = 15
    NO_MEMORY = 16

# RFC 6455 section 5.2.
cpdef enum Opcode:
    CONTINUATION_FRAME = 0
    TEXT_FRAME = 1
    BINARY_FRAME = 2
    CLOSE_FRAME = 8
    PING_FRAME = 9
    PONG_FRAME = 10

cpdef enum:
    CONTROL_PAYLOAD_BYTES = 125     # the most a control frame may carry (RFC 6455 section 5.5)
    NO_STATUS = 1005                # a close frame without a status code; never sent
    ANY_FRAMES = 65535              # a limit that is none: whoever keeps what comes is bounded by `message_bytes` alone

cdef struct Limits:
    uint32_t message_bytes  # of one message's payloads
    uint16_t frames         # 1..65534 per message, empty ones included; ANY_FRAMES: as many as come
    uint8_t text_only       # binary messages are refused (RFC 7395 section 3.2)

# The payload of a control frame that a read has split.
cdef struct Held:
    Held* next              # in the list of spare ones
    uint8_t length
    uint8_t payload[125]

# State of one connection: 32 bytes. `held` is NULL but inside the payload of a control frame that a read has split.
cdef struct FrameReader:
    Held* held
    uint64_t left           # payload bytes of this frame still to come; its length while that is being read
    uint32_t message_bytes  # payload bytes of this message so far
    uint8_t key[4]          # of the mask, turned to the next byte
    uint16_t frames         # of this message so far
    uint8_t state
    uint8_t head            # the first byte of this frame: FIN and opcode
    uint8_t message         # opcode of the message under way, 0 if there is none
    uint8_t utf8            # the state inside a character that frames or reads have split (utf8.h)
    uint8_t due             # bytes still to come of the extended length or of the key; the Error once there was one
    uint8_t controls        # pings and pongs since the caller last set this to 0; stops at 255

cdef struct Frame:
    size_t offset           # bytes consumed when `read_frame` returned
    uint8_t* payload        # unmasked; in the caller's buffer, or (split control frames) valid until the next call
    size_t length
    uint16_t code           # CLOSE: the client's status code or NO_STATUS; ERROR: the one to answer with
    uint8_t opcode          # DATA: TEXT_FRAME or BINARY_FRAME
    uint8_t first           # DATA: no slice of this message came before
    uint8_t final           # DATA: the message ends with this slice
    uint8_t error           # Error

cdef void reader_start(FrameReader* reader) noexcept nogil
cdef void reader_free(FrameReader* reader) noexcept nogil
cdef bint reader_rests(FrameReader* reader) noexcept nogil
cdef int read_frame(FrameReader* reader, const Limits* limits, uint8_t* data, size_t length, Frame* frame) noexcept nogil
cdef bint is_close_code(unsigned int code) noexcept nogil
