# A WebSocket client's messages as the XML stream they stand for, compiled interface.
from libc.stdint cimport uint8_t
from megaphone.wire.framer cimport Bounds, Framer, Scan

# What `take` made of a slice of a message.
cpdef enum Taken:
    PASS = 0        # it goes on as it is
    KEPT = 1        # not yet: it may be <open/> or <close/>
    TEXT = 2        # `text` goes on, for what was kept and this
    OPENED = 3      # `text` goes on: a stream header
    CLOSED = 4      # `text` goes on: the end of the stream
    REFUSED = 5     # for `error`; NO_ERROR: for `condition`

cdef class FromMessages:
    cdef uint8_t phase
    cdef readonly uint8_t error         # Error of framer.pxd
    cdef readonly str condition         # of RFC 6120 section 4.9.3
    cdef readonly bytes text            # until the next call
    cdef bytes kept

    cdef int take(self, Framer* framer, const Bounds* bounds, const uint8_t* data, size_t length, bint final, Scan* result)
    cdef int check(self, Framer* framer, const Bounds* bounds, const uint8_t* data, size_t length, bint final, Scan* result)
    cdef int check_text(self, Framer* framer, const Bounds* bounds, bint final, Scan* result)
    cdef int settle(self, Framer* framer, const Bounds* bounds, Scan* result)
    cdef int refuse(self, str condition)
