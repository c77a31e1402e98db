"""Writes a server's WebSocket frames into the caller's buffer: headers of messages, pings, pongs and closes.

    | FIN opcode | length7 | extended length, 0, 2 or 8 bytes | payload     (RFC 6455 section 5.2)
"""

from libc.string cimport memcpy

from megaphone.wire.websocket cimport CLOSE_FRAME, CONTROL_PAYLOAD_BYTES, NO_STATUS, PING_FRAME, PONG_FRAME, TEXT_FRAME, is_close_code

cdef enum:
    FIN = 0x80
    CLIENTS_ONLY = 1010     # mandatory extension: only a client can miss one (RFC 6455 section 7.4.1)


cdef size_t write_header(uint8_t* into, uint8_t opcode, uint64_t length) noexcept nogil:
    """The header of a whole message of `length` bytes, 0..2**63-1, whose payload follows; returns its own length, 2, 4 or 10."""
    cdef int i
    into[0] = FIN | opcode
    if length < 126:
        into[1] = <uint8_t> length
        return 2
    if length < 65536:
        into[1] = 126
        into[2] = <uint8_t> (length >> 8)
        into[3] = <uint8_t> length
        return 4
    into[1] = 127
    for i in range(8):
        into[2 + i] = <uint8_t> (length >> (56 - 8 * i))
    return 10


cdef size_t write_control(uint8_t* into, uint8_t opcode, const uint8_t* payload, size_t length) noexcept nogil:
    """A ping or a pong; returns its length. Payload above 125 bytes is cut off."""
    if length > CONTROL_PAYLOAD_BYTES:
        length = CONTROL_PAYLOAD_BYTES
    write_header(into, opcode, length)
    if length:
        memcpy(into + 2, payload, length)
    return 2 + length


cdef size_t write_close(uint8_t* into, uint16_t code, const uint8_t* reason, size_t length) noexcept nogil:
    """A close frame; returns its length. NO_STATUS is written as no code, without a reason.

    A reason above 123 bytes is cut off between two characters.
    """
    if code == NO_STATUS:
        return write_header(into, CLOSE_FRAME, 0)
    if length > CONTROL_PAYLOAD_BYTES - 2:
        length = CONTROL_PAYLOAD_BYTES - 2
        while length and reason[length] & 0xC0 == 0x80:
            length -= 1
    write_header(into, CLOSE_FRAME, 2 + length)
    into[2] = <uint8_t> (code >> 8)
    into[3] = <uint8_t> code
    if length:
        memcpy(into + 4, reason, length)
    return 4 + length


cdef bytes control(uint8_t opcode, const uint8_t[::1] payload):
    cdef uint8_t into[CONTROL_FRAME_BYTES]
    if payload.shape[0] > CONTROL_PAYLOAD_BYTES:
        raise ValueError("the payload of a control frame has at most 125 bytes")
    return into[:write_control(into, opcode, &payload[0] if payload.shape[0] else NULL, payload.shape[0])]


def text_header(length):
    """The header of a text message of `length` bytes; ValueError unless it is from 0 to 2**63-1 (RFC 6455 section 5.2)."""
    cdef uint8_t into[HEADER_LIMIT_BYTES]
    if not 0 <= length < 1 << 63:
        raise ValueError("the length of a message is from 0 to 2**63-1")
    return into[:write_header(into, TEXT_FRAME, length)]


def ping(const uint8_t[::1] payload=b""):
    """A ping; ValueError for more than 125 bytes of payload (RFC 6455 section 5.5.2)."""
    return control(PING_FRAME, payload)


def pong(const uint8_t[::1] payload=b""):
    """A pong, the answer to a ping of the same payload; ValueError for more than 125 bytes (RFC 6455 section 5.5.3)."""
    return control(PONG_FRAME, payload)


def close(int code=NO_STATUS, str reason=""):
    """A close frame (RFC 6455 section 5.5.1); a reason above 123 bytes is cut off between two characters.

    Without a code it is empty, which is the answer to an empty one. ValueError for a code that a server may not send
    (section 7.4), and for a reason without one.
    """
    cdef uint8_t into[CONTROL_FRAME_BYTES]
    cdef bytes text = reason.encode()
    if code == NO_STATUS and text:
        raise ValueError("a reason needs a status code")
    if code != NO_STATUS and (code < 0 or code == CLIENTS_ONLY or not is_close_code(code)):
        raise ValueError(f"a server may not close with status code {code}")
    return into[:write_close(into, code, <const uint8_t*> <const char*> text, len(text))]
