"""The server side's greeting: says CHALLENGE on a new socket and waits for the HELLO that proves who it is.

    CHALLENGE said ── HELLO, proven ──► `hello`: the session takes over
                   └─ anything else ──► `refused`: SHUTDOWN with the reason, then the socket is closed
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize

from megaphone.wire.link cimport (
    CHALLENGE, EDGE, FAULT, HELLO, LinkReason, MORE, SHUTDOWN, Frame, frame_fault_text, frame_name, frame_reader_free,
    frame_reader_start, next_frame,
)

from megaphone.errors import LinkError
from megaphone.wire.link import encode_frame
from megaphone.wire.link_messages import Challenge, Hello, Shutdown, check_secret, edge_is_proven

cdef enum:
    HELLO_SECONDS = 10


cdef class LinkGreeting:
    """A new socket on the server side. `nonce` and `instance` have 16 bytes, the secret 16 to 1,024."""

    def __cinit__(self, bytes secret not None, bytes nonce not None, bytes instance not None, uint64_t now_ns):
        frame_reader_start(&self.reader, EDGE)
        self.secret = check_secret(secret)
        self.deadline_ns = now_ns + HELLO_SECONDS * <uint64_t> 1000000000
        self.challenge_payload = Challenge(nonce, instance).encode()
        self.output = encode_frame(CHALLENGE, 0, self.challenge_payload)

    def __dealloc__(self):
        frame_reader_free(&self.reader)

    cdef size_t take_bytes(self, const uint8_t* data, size_t length):
        """Reads up to the end of HELLO and returns how many bytes that took; afterwards look at `hello` and `refused`."""
        cdef Frame frame
        cdef const uint8_t* at = data
        cdef int step
        if self.refused or self.hello is not None:
            return 0
        step = next_frame(&self.reader, &at, data + length, &frame)
        if step == MORE:
            return length
        if step == FAULT:
            self.refuse(LinkReason.PROTOCOL_ERROR, frame_fault_text(&self.reader))
        elif frame.type != HELLO:
            self.refuse(LinkReason.PROTOCOL_ERROR, f"{frame_name(frame.type)} came before HELLO")
        else:
            self.take_hello(PyBytes_FromStringAndSize(<const char*> frame.payload, frame.length))
        return at - data

    cdef void take_hello(self, bytes payload):
        try:
            hello = Hello.decode(payload)
        except LinkError as error:
            self.refuse(error.reason, str(error))
            return
        if not edge_is_proven(self.secret, self.challenge_payload, payload):
            self.refuse(LinkReason.NOT_AUTHORIZED, "HELLO has a wrong proof")
            return
        self.hello_payload = payload
        self.hello = hello

    cdef void refuse(self, int reason, str text):
        """Ends the greeting with SHUTDOWN, also after HELLO (a stale epoch, too many links)."""
        self.refused = True
        self.hello = None
        self.reason = reason
        self.text = text
        self.output = (self.output or b"") + encode_frame(SHUTDOWN, 0, Shutdown(0, reason, text).encode())

    cdef bint expired(self, uint64_t now_ns) noexcept:
        return now_ns >= self.deadline_ns

    cdef int unsent(self, iovec* regions) noexcept:
        if not self.output:
            return 0
        regions[0].iov_base = PyBytes_AS_STRING(self.output)
        regions[0].iov_len = len(self.output)
        return 1

    cdef void wrote(self, size_t length):
        self.output = self.output[length:]
