"""Reads a client's WebSocket frames (RFC 6455, server side), without holding any message.

Theory of operation. The caller reads into a buffer and asks for the next event until all bytes are consumed. The payload is
unmasked where it lies; events are slices of it, as long as the read allows. What is kept between reads is in `FrameReader`.

    HEAD        LENGTH        EXTENDED       KEY       PAYLOAD
    FIN RSV op  MASK length7  0, 2, 8 bytes  4 bytes   `left` bytes ──► HEAD, or CLOSED after a close frame

Text is checked to be UTF-8 as it comes (section 8.1). The bytes before a wrong one are passed on, as DATA of their own: what
the caller has got does not depend on where reads split. Control frames come whole: one that a read splits is put together in
a `Held`, which goes back for others to use at its end (reading is for one thread).

Stricter than the RFC asks: status codes that nobody has registered are refused. No extension is ever agreed on, so the
reserved bits are zero.
"""

from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset

cdef extern from "unmask.h":
    void unmask(uint8_t* data, size_t length, const uint8_t* key) noexcept nogil
    void turn_key(uint8_t* key, size_t taken) noexcept nogil

cdef extern from "utf8.h":
    size_t utf8_length(const uint8_t* data, size_t length, uint8_t* state) noexcept nogil

CLOSE_CODES = {
    RESERVED_BITS: 1002,
    UNKNOWN_OPCODE: 1002,
    NOT_MASKED: 1002,
    LENGTH_NOT_MINIMAL: 1002,
    LENGTH_TOP_BIT: 1002,
    CONTROL_FRAGMENTED: 1002,
    CONTROL_TOO_LONG: 1002,
    NOTHING_TO_CONTINUE: 1002,
    MESSAGE_UNDER_WAY: 1002,
    CLOSE_TOO_SHORT: 1002,
    INVALID_CLOSE_CODE: 1002,
    INVALID_UTF8: 1007,
    BINARY_REFUSED: 1003,
    MESSAGE_TOO_BIG: 1009,
    TOO_MANY_FRAMES: 1008,
    NO_MEMORY: 1011,
}

cdef enum State:
    HEAD        # the first byte of a frame
    LENGTH      # the second one
    EXTENDED    # `due` bytes of the length
    KEY         # `due` bytes of the masking key
    PAYLOAD
    CLOSED      # after a close frame
    REFUSED     # after an error

cdef enum:
    FIN = 0x80
    RESERVED = 0x70
    OPCODE = 0x0F
    CONTROL = 0x08      # the bit of an opcode that tells control frames
    MASK = 0x80
    SPARE_LIMIT = 64    # Helds kept for the next one, 9 kB

cdef uint16_t CODE_OF[NO_MEMORY + 1]
cdef Held* SPARE = NULL
cdef int spares = 0
cdef uint8_t WHOLE[CONTROL_PAYLOAD_BYTES]   # a control payload that was held, for the caller until its next call


cdef void fill_codes():
    for error, code in CLOSE_CODES.items():
        CODE_OF[<int> error] = code

fill_codes()


cdef void reader_start(FrameReader* reader) noexcept nogil:
    """A reader before the first byte after the opening handshake."""
    memset(reader, 0, sizeof(FrameReader))


cdef void reader_free(FrameReader* reader) noexcept nogil:
    global SPARE, spares
    if reader.held == NULL:
        return
    if spares < SPARE_LIMIT:
        reader.held.next = SPARE
        SPARE = reader.held
        spares += 1
    else:
        free(reader.held)
    reader.held = NULL


cdef bint reader_rests(FrameReader* reader) noexcept nogil:
    """True between messages, and before any byte of a control frame."""
    return reader.state == HEAD and reader.message == 0


cdef bint hold(FrameReader* reader) noexcept nogil:
    """Gives the reader room for a control payload; False if there is none."""
    global SPARE, spares
    if SPARE != NULL:
        reader.held = SPARE
        SPARE = SPARE.next
        spares -= 1
    else:
        reader.held = <Held*> malloc(sizeof(Held))
        if reader.held == NULL:
            return False
    reader.held.length = 0
    return True


cdef bint is_close_code(unsigned int code) noexcept nogil:
    """True for the status codes that a close frame may carry: RFC 6455 section 7.4 and what IANA has registered since."""
    return 1000 <= code <= 1003 or 1007 <= code <= 1014 or 3000 <= code <= 4999

include "websocket_header.pxi"
include "websocket_payload.pxi"


cdef int read_frame(FrameReader* reader, const Limits* limits, uint8_t* data, size_t length, Frame* frame) noexcept nogil:
    """Reads `data` up to the next event, which it returns, and fills `frame`; the bytes from `offset` on are for the next call.

    Having refused something it refuses everything that comes after it, for the same reason. Changes of the limits hold
    from the next frame on.
    """
    cdef uint8_t error
    cdef size_t part
    cdef int event
    memset(frame, 0, sizeof(Frame))
    if reader.state == REFUSED:
        return refuse(reader, reader.due, 0, frame)
    if reader.state == CLOSED:
        frame.offset = length   # section 1.4: whatever follows a close frame is dropped
        return MORE
    while frame.offset < length:
        error = read_header(reader, limits, data, length, &frame.offset)
        if error != NO_ERROR:
            return refuse(reader, error, frame.offset, frame)
        if reader.state != PAYLOAD:
            break
        part = length - frame.offset
        if part > reader.left:
            part = reader.left
        if part == 0 and reader.left:
            break
        if reader.head & CONTROL:
            event = read_control(reader, data + frame.offset, part, frame)
        else:
            event = read_data(reader, data + frame.offset, part, frame)
        if event != MORE:
            return event
    return MORE


cdef class MessageReader:
    """The reader for Python: what one client sends.

    `message_bytes` (1..2**32-1) bounds a message, `frames` (1..65534) the frames it may come in, unless it is ANY_FRAMES;
    `text_only` refuses binary ones. ValueError for others.
    """

    cdef FrameReader reader
    cdef Limits limits

    def __cinit__(self, uint32_t message_bytes=262144, uint16_t frames=1024, bint text_only=True):
        reader_start(&self.reader)
        if message_bytes == 0 or frames == 0:
            raise ValueError("message_bytes from 1 to 2**32-1, frames from 1 to 65535 (any number)")
        self.limits.message_bytes = message_bytes
        self.limits.frames = frames
        self.limits.text_only = text_only

    def __dealloc__(self):
        reader_free(&self.reader)

    @property
    def rests(self):
        """True between messages."""
        return reader_rests(&self.reader)

    @property
    def holds(self):
        """True while part of a control frame is kept."""
        return self.reader.held != NULL

    def take_controls(self):
        """Pings and pongs since this was last asked; 255 stands for more, too."""
        controls = self.reader.controls
        self.reader.controls = 0
        return controls

    def read(self, uint8_t[::1] data):
        """Reads, and unmasks in place, up to the next event: (Event, bytes consumed, payload, detail).

        The detail is (Opcode, first, final) for DATA, the status code for CLOSE, the Error for ERROR, None for others.
        """
        cdef Frame frame
        cdef int event = read_frame(&self.reader, &self.limits, &data[0] if data.shape[0] else NULL, data.shape[0], &frame)
        payload = frame.payload[:frame.length] if frame.length else b""
        detail = None
        if event == DATA:
            detail = Opcode(frame.opcode), frame.first != 0, frame.final != 0
        elif event == CLOSE:
            detail = frame.code
        elif event == ERROR:
            detail = Error(frame.error)
        return Event(event), frame.offset, payload, detail

    def read_times(self, const uint8_t[::1] data, int times):
        """Reads the same frames `times` times, as a receiver would, without a Python call between: messages that ended.

        Each time they are copied to a read buffer of their own first, being unmasked there. MemoryError without one.
        """
        cdef Frame frame
        cdef size_t length = data.shape[0], offset
        cdef uint8_t* buffer
        cdef int i
        cdef unsigned long messages = 0
        if length == 0:
            return 0
        buffer = <uint8_t*> malloc(length)
        if buffer == NULL:
            raise MemoryError
        for i in range(times):
            memcpy(buffer, &data[0], length)
            offset = 0
            while offset < length:
                if read_frame(&self.reader, &self.limits, buffer + offset, length - offset, &frame) == ERROR:
                    break
                offset += frame.offset
                messages += frame.final
        free(buffer)
        return messages

STATE_BYTES = sizeof(FrameReader)
