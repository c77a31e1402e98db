# A WebSocket of text messages, compiled interface.
from libc.stdint cimport uint8_t, uint16_t, uint32_t
from megaphone.dispatch.dispatcher cimport Owner
from megaphone.edge.connection cimport ClientConnection
from megaphone.wire.websocket cimport Frame, FrameReader, Limits

cdef class MessageSocket(Owner):
    cdef ClientConnection connection        # None once it has ended
    cdef object subscriber                  # exchange.Messages
    cdef FrameReader reader
    cdef Limits limits
    cdef bytearray text                     # of the message under way, if a read has split it
    cdef uint32_t heard_ticks               # when the client's last byte came
    cdef uint32_t pinged_ticks
    cdef uint16_t close_code                # to be said at the end; 0: by the reason of the end
    cdef readonly bint full                          # the mailbox is at its limit
    cdef bint overrun                       # something was to be sent while it was full
    cdef bint said_close

    cdef bint take_slice(self, Frame* frame) except -1
    cdef void take_ping(self, Frame* frame)
    cdef void say_close(self, int code, bytes reason)
    cdef void fail(self, error)
