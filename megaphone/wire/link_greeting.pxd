# Outline of the server side's greeting: one new socket until HELLO has proved who it is.
from libc.stdint cimport uint8_t, uint64_t
from posix.uio cimport iovec
from megaphone.wire.link cimport FrameReader

# `LinkGreeting(secret, nonce, instance, now_ns)`: 16 random bytes each for nonce (new for every socket) and instance.
cdef class LinkGreeting:
    cdef readonly object hello              # link_messages.Hello once it has come and is proven, else None
    cdef readonly bytes challenge_payload
    cdef readonly bytes hello_payload
    cdef readonly bint refused              # flush what is unsent, then close the socket
    cdef readonly int reason                # LinkReason of the refusal
    cdef readonly str text
    cdef bytes secret
    cdef bytes output                       # not written yet
    cdef uint64_t deadline_ns
    cdef FrameReader reader

    cdef size_t take_bytes(self, const uint8_t* data, size_t length)    # bytes used; those after HELLO are the session's
    cdef void take_hello(self, bytes payload)
    cdef void refuse(self, int reason, str text)
    cdef bint expired(self, uint64_t now_ns) noexcept                   # close the socket: no HELLO for 10 s
    cdef int unsent(self, iovec* regions) noexcept                      # 0 or 1 region to send
    cdef void wrote(self, size_t length)
