# The data path of a WebSocket connection, compiled interface.
from libc.stdint cimport uint8_t, uint32_t
from megaphone.edge.relay cimport RelayedConnection
from megaphone.edge.websocket cimport WebSocket
from megaphone.wire.framer cimport Scan
from megaphone.wire.to_messages cimport Pieces
from megaphone.wire.websocket cimport Frame

cdef class MessagingConnection(RelayedConnection):
    cdef WebSocket websocket                # None: the client speaks plain XMPP over TCP, or nothing yet

    cdef void take_frames(self, uint8_t* data, size_t length) except *
    cdef size_t take_slice(self, uint8_t* data, size_t filled, Frame* frame) except? 0
    cdef void put_text(self, bytes text) except *
    cdef void take_open(self, bytes header) except *
    cdef void take_ping(self, Frame* frame)
    cdef void refuse_frame(self, int error, int code)
    cdef int deliver_messages(self, const uint8_t* data, size_t length)
    cdef int lose_server(self)
    cdef int send_pieces(self, Pieces* pieces)
    cdef void say_close(self)
    cdef void keep_alive(self, uint32_t now_ticks)
    cdef bint inject_messages(self, str condition)
