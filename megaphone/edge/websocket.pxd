# What a WebSocket connection has beside a TCP one, compiled interface.
from libc.stdint cimport uint8_t, uint16_t, uint32_t
from megaphone.wire.from_messages cimport FromMessages
from megaphone.wire.to_messages cimport ToMessages
from megaphone.wire.websocket cimport FrameReader

# What a client speaks, above TLS if there is any.
cdef enum Speech:
    UNHEARD = 0             # nothing has come yet
    SPEAKS_XMPP = 1
    SPEAKS_HTTP = 2         # a request that may become a WebSocket; with an owner it is the web's (megaphone.web)
    SPEAKS_WEBSOCKET = 3
    SPEAKS_BOSH = 4         # XMPP that comes in HTTP requests; the connection itself is the inner end of a socket pair

# As dispatch.websocket_slots.WebSocketSlot.
cdef enum:
    WEBSOCKETS_OPEN = 176
    WEBSOCKETS_OPENED = 177
    WEBSOCKETS_REFUSED = 178
    PINGS_IN = 179
    PINGS_OUT = 180
    FRAMES_REFUSED = 181
    HTTP_OPEN = 182

cdef class WebSocket:
    cdef FrameReader reader
    cdef ToMessages to_messages
    cdef FromMessages from_messages
    cdef uint32_t pinged_ticks      # of the last ping of ours
    cdef uint16_t close_code        # to be said at the end; 0: by the reason of the end
    cdef bint said_close

    cdef tuple export(self)

cdef uint16_t code_of(int reason)
cdef WebSocket restore_websocket(object record)
