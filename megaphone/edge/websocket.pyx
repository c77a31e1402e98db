"""What a WebSocket connection has beside a TCP one: the state of its frames and messages, some 250 bytes."""

from megaphone.dispatch.counters cimport (
    CLIENT_CLOSED, CLIENT_RESET, IDLE_TIMEOUT, INTERNAL, PREAUTH_TIMEOUT, REMOTE_CONNECTION_FAILED, RESOURCE_CONSTRAINT, SERVER_CLOSED,
    SYSTEM_SHUTDOWN,
)
cimport cython
from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.string cimport memcpy

from megaphone.wire.websocket cimport reader_free, reader_start


cdef enum:
    PAYLOAD = 4         # the last of the states of a reader that has neither ended nor refused anything (wire/websocket.pyx)
    UTF8_STATES = 8     # wire/utf8.h
    PHASES = 4          # the last one of wire/from_messages.pyx


@cython.no_gc
cdef class WebSocket:
    """One of them, from the answer to its upgrade on."""

    def __cinit__(self):
        reader_start(&self.reader)
        self.to_messages = ToMessages.__new__(ToMessages)
        self.from_messages = FromMessages.__new__(FromMessages)

    def __dealloc__(self):
        reader_free(&self.reader)

    cdef tuple export(self):
        """A `WebSocketRecord`'s fields; None in the middle of a control frame, or below a header with names of its own."""
        cdef FrameReader* reader = &self.reader
        if reader.held != NULL or reader.state > PAYLOAD or self.to_messages.declarations is not None or self.said_close:
            return None
        return (
            reader.left, reader.message_bytes, PyBytes_FromStringAndSize(<const char*> reader.key, 4), reader.frames, reader.state,
            reader.head, reader.message, reader.utf8, reader.due, self.to_messages.under_way, self.to_messages.held,
            self.from_messages.phase, self.from_messages.kept,
        )


cdef WebSocket restore_websocket(object record):
    """The WebSocket that another process has exported. ValueError or OverflowError for a state that is none."""
    cdef WebSocket websocket = WebSocket.__new__(WebSocket)
    cdef FrameReader* reader = &websocket.reader
    cdef bytes key = record.key
    if not (len(key) == 4 and record.state <= PAYLOAD and record.utf8 < UTF8_STATES and record.due <= 8 and record.phase <= PHASES):
        raise ValueError("a WebSocket in a state that is not known here")
    reader.left, reader.message_bytes, reader.frames = record.left, record.message_bytes, record.frames
    memcpy(reader.key, <const char*> key, 4)
    reader.state, reader.head, reader.message, reader.utf8, reader.due = record.state, record.head, record.message, record.utf8, record.due
    websocket.to_messages.under_way, websocket.to_messages.held = record.fragment, record.held
    websocket.from_messages.phase, websocket.from_messages.kept = record.phase, record.kept
    return websocket


cdef uint16_t code_of(int reason):
    """The status code for the end of a connection (RFC 6455 section 7.4.1 and IANA's registry)."""
    if reason == SYSTEM_SHUTDOWN:
        return 1001
    if reason in (CLIENT_CLOSED, SERVER_CLOSED, CLIENT_RESET, IDLE_TIMEOUT, PREAUTH_TIMEOUT):
        return 1000
    if reason == INTERNAL:
        return 1011
    if reason == RESOURCE_CONSTRAINT:
        return 1013     # try again later
    if reason == REMOTE_CONNECTION_FAILED:
        return 1014     # bad gateway
    return 1008


def websocket_bytes():
    """The bytes of the objects that an idle connection keeps more than one of TCP."""
    return WebSocket.__basicsize__ + ToMessages.__basicsize__ + FromMessages.__basicsize__
