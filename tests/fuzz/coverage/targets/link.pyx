"""Fuzz target: the link's frame codec, beside the protocol's table read plainly, and what the writer makes of its frames.

    | bits 5-7: cuts, bit 0: sender | cuts, 2 bytes each | frames ... |

The bytes are read whole, in pieces and byte by byte; each reading has to find the frames that lie there and to refuse the
first header that the table does not allow, not earlier and not later. Written again, each frame is the bytes it was.
"""

from dataclasses import replace

from cpython.pycapsule cimport PyCapsule_New
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcmp, memcpy

from megaphone.wire.link cimport (
    ACK, CHALLENGE, DRAIN, EDGE, FAULT, FRAME, GET_DATA, HEADER_BYTES, HELLO, MORE, OPEN, PING, PONG, PUT_DATA, SEND_DATA,
    SERVER, SHUTDOWN, WELCOME,
    Frame, FrameReader, frame_fault_text, frame_reader_free, frame_reader_reset, frame_reader_start, get32, get64,
    next_frame, put_ack, put_frame, put_get_data, put_shutdown, put_stamped,
)

from megaphone.errors import LinkError
from megaphone.wire.link_messages import Challenge, Hello, Shutdown, Welcome
from megaphone.wire.link_open import Open

cdef enum:
    STREAM_LIMIT = 65536
    CUTS_LIMIT = 7

cdef uint8_t WRITTEN[STREAM_LIMIT + HEADER_BYTES]
cdef size_t SINGLE[STREAM_LIMIT]
for index in range(STREAM_LIMIT):
    SINGLE[index] = index
cdef bytes SECRET = bytes(16)


cdef bint is_right(uint8_t sender, uint8_t type, uint32_t length, uint32_t id) noexcept:
    """Table "Frames" of docs/reference/link-protocol.md."""
    if type == CHALLENGE:
        return length == 38 and sender == SERVER and id == 0
    if type == HELLO:
        return 90 <= length <= 345 and sender == EDGE and id == 0
    if type == WELCOME:
        return length == 60 and sender == SERVER and id == 0
    if type == PING or type == PONG:
        return length == 16 and id == 0
    if type == ACK:
        return length == 8 and id == 0
    if type == DRAIN:
        return length == 0 and id == 0
    if type == OPEN:
        return 40 <= length <= 4096 and sender == EDGE and id != 0
    if type == PUT_DATA:
        return 1 <= length <= 16384 and sender == EDGE and id != 0
    if type == SEND_DATA:
        return 1 <= length <= 16384 and sender == SERVER and id != 0
    if type == GET_DATA:
        return length == 8 and id != 0
    return type == SHUTDOWN and 9 <= length <= 264


cdef size_t frame_at(uint8_t sender, const uint8_t* data, size_t length) noexcept:
    """Bytes of the frame that begins `data`: 0 if it is not whole, above `length` if it is not allowed."""
    cdef size_t payload
    if length < HEADER_BYTES:
        return 0
    payload = data[1] << 16 | data[2] << 8 | data[3]
    if not is_right(sender, data[0], <uint32_t> payload, get32(data + 4)):
        return length + 1
    return HEADER_BYTES + payload if HEADER_BYTES + payload <= length else 0


cdef int read(
    FrameReader* reader, const uint8_t* data, size_t length, const size_t* cuts, size_t count,
) except -1:
    """Reads what lies between the cuts, which ascend, each piece in memory of its own; AssertionError if that is wrong."""
    cdef size_t at = 0, end, index = 0
    cdef size_t done = 0            # bytes of whole frames
    cdef int outcome = MORE
    cdef uint8_t* piece = NULL
    while outcome != FAULT and index <= count:
        end = cuts[index] if index < count else length
        index += 1
        piece = NULL
        if end > at:
            piece = <uint8_t*> malloc(end - at)
            if piece == NULL:
                raise MemoryError
            memcpy(piece, data + at, end - at)
        try:
            outcome = read_piece(reader, piece, end - at, data, length, &done)
        finally:
            free(piece)
        at = end
        if outcome == MORE and reader.split_bytes != at - done:
            raise AssertionError(f"keeps {reader.split_bytes} bytes of {at - done}")
    return 0


cdef int read_piece(
    FrameReader* reader, const uint8_t* piece, size_t size, const uint8_t* data, size_t length, size_t* done,
) except -1:
    """Reads one piece to its end or to a fault; returns the last Step."""
    cdef const uint8_t* at = piece
    cdef Frame frame
    cdef int step
    cdef size_t expected
    while True:
        step = next_frame(reader, &at, piece + size, &frame)
        if at > piece + size:
            raise AssertionError("beyond the piece")
        expected = frame_at(reader.sender, data + done[0], length - done[0])
        if step == FRAME:
            if expected == 0 or expected > length - done[0] or expected != HEADER_BYTES + frame.length:
                raise AssertionError(f"a frame of {frame.length} bytes at {done[0]}")
            compare_frame(&frame, data + done[0])
            done[0] += expected
        elif step == FAULT:
            if expected <= length - done[0] or reader.refused != get64(data + done[0]):
                raise AssertionError(f"refuses what is right at {done[0]}: {frame_fault_text(reader)}")
            if len(frame_fault_text(reader).encode()) > 255:
                raise AssertionError("a text that is too long")
            if next_frame(reader, &at, piece + size, &frame) != FAULT:
                raise AssertionError("what was refused does not stay refused")
            return step
        else:
            if at != piece + size:
                raise AssertionError(f"stopped for nothing behind {done[0]}")
            return step


cdef int compare_frame(const Frame* frame, const uint8_t* begin) except -1:
    """Writes the frame in every way there is for it: each gives the bytes that it was read from."""
    cdef size_t length = HEADER_BYTES + frame.length, written
    cdef const uint8_t* payload = frame.payload
    written = put_frame(WRITTEN, frame.type, frame.id, payload, frame.length)
    if written != length or memcmp(WRITTEN, begin, length) != 0:
        raise AssertionError(f"written again: {WRITTEN[:written]!r} instead of {begin[:length]!r}")
    WRITTEN[length - 1] ^= 1
    if frame.type == PING or frame.type == PONG:
        written = put_stamped(WRITTEN, frame.type, get64(payload), get64(payload + 8))
    elif frame.type == ACK:
        written = put_ack(WRITTEN, get64(payload))
    elif frame.type == GET_DATA:
        written = put_get_data(WRITTEN, frame.id, get64(payload))
    elif frame.type == SHUTDOWN:
        written = put_shutdown(WRITTEN, frame.id, get64(payload), payload[8], payload + 9, frame.length - 9)
    else:
        return 0
    if written != length or memcmp(WRITTEN, begin, length) != 0:
        raise AssertionError(f"written as what it is: {WRITTEN[:written]!r} instead of {begin[:length]!r}")
    return 0


cdef int compare_messages(uint8_t sender, const uint8_t* data, size_t length) except -1:
    """Decodes the payloads that have classes; what they are encoded to decodes to the same."""
    cdef size_t bytes_of = frame_at(sender, data, length)
    while 0 < bytes_of <= length:
        payload = data[HEADER_BYTES:bytes_of]
        try:
            if data[0] == CHALLENGE:
                value = Challenge.decode(payload)
                again = Challenge.decode(value.encode())
            elif data[0] == HELLO:
                value = replace(Hello.decode(payload), proof=b"")
                if "\ufffd" in value.name:
                    value = replace(value, name="")     # another length, or none that a name may have
                again = replace(Hello.decode(value.encode(SECRET, b"")), proof=b"", features=value.features)
            elif data[0] == WELCOME:
                value = Welcome.decode(payload)
                again = Welcome.decode(value.encode(SECRET, b"", b""))
            elif data[0] == OPEN:
                value = Open.decode(payload)
                again = Open.decode(value.encode())
            elif data[0] == SHUTDOWN:
                value = Shutdown.decode(payload)
                if "\ufffd" in value.text:
                    value = replace(value, text="")
                again = Shutdown.decode(value.encode())
            else:
                value = again = None
            if value != again:
                raise AssertionError(f"{value} is encoded as {again}")
        except LinkError:
            pass
        data += bytes_of
        length -= bytes_of
        bytes_of = frame_at(sender, data, length)
    return 0


cdef int check(const uint8_t* data, size_t size, bint thorough) except -1:
    """Reads one input in every way, if `thorough` the payloads too; AssertionError if something is wrong."""
    cdef FrameReader reader
    cdef size_t cuts[CUTS_LIMIT]
    cdef size_t count, length, i, j, cut
    cdef const uint8_t* stream
    cdef uint8_t sender
    if size == 0:
        return 0
    sender = EDGE if data[0] & 1 else SERVER
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
    frame_reader_start(&reader, sender)
    try:
        read(&reader, stream, length, cuts, 0)
        frame_reader_reset(&reader)
        read(&reader, stream, length, cuts, count)
        frame_reader_reset(&reader)
        read(&reader, stream, length, SINGLE, length)
    finally:
        frame_reader_free(&reader)
    if thorough:
        compare_messages(sender, stream, length)
    return 0


include "entry.pxi"
