"""A WebSocket (RFC 6455) that carries text messages of anything but XMPP: frames in, whole messages out, and back.

    client ─► frames unmasked in the read buffer ─► take_text(whole message)
    client ◄─ mailbox ◄─ frame header, the text ◄─ send_text

The reader of frames is that of the XMPP WebSocket (wire/websocket.pyx). A message is copied once, into the object that
its subscriber gets; one that a read has split waits until its end, and what may wait is bounded by `message_bytes`.
"""

from cpython.bytes cimport PyBytes_FromStringAndSize

from megaphone.dispatch.counters cimport (
    CLIENT_CLOSED, HTTP_REFUSED, IDLE_TIMEOUT, INTERNAL, INVALID_XML, POLICY_VIOLATION, SERVER_CLOSED, SLOW_CONSUMER,
)
from megaphone.dispatch.dispatcher cimport Connection, DELIVERED, FULL
from megaphone.edge.websocket cimport FRAMES_REFUSED, PINGS_IN, PINGS_OUT, code_of
from megaphone.sockets.poller cimport TICKS_PER_SECOND
from megaphone.wire.websocket cimport (
    CLOSE, DATA, MESSAGE_TOO_BIG, MORE, NO_STATUS, PING, PING_FRAME, PONG_FRAME, TEXT_FRAME, TOO_MANY_FRAMES, is_close_code, read_frame,
    reader_free, reader_start,
)
from megaphone.wire.websocket cimport ERROR as FRAME_ERROR
from megaphone.wire.websocket_writer cimport write_close, write_control, write_header

cdef enum:
    FRAMES_LIMIT = 1024         # that one message may come in
    CONTROLS_LIMIT = 128        # pings and pongs between two ticks, about a second
    SILENT_PINGS = 2            # of `websocket.ping_seconds`, after which nobody is there
    MANDATORY_EXTENSION = 1010  # only a client says so (RFC 6455 section 7.4.1)


cdef class MessageSocket(Owner):
    """As `exchange.MessageConnection` says."""

    def __cinit__(self):
        reader_start(&self.reader)

    def __dealloc__(self):
        reader_free(&self.reader)

    def __init__(self, ClientConnection connection not None, subscriber, uint32_t message_bytes):
        self.connection = connection
        self.subscriber = subscriber
        self.limits.message_bytes = message_bytes
        self.limits.frames = FRAMES_LIMIT
        self.limits.text_only = True
        self.heard_ticks = self.pinged_ticks = connection.clients.poller.now_ticks
        connection.owner = self
        connection.clients.dispatcher.get_data(connection.id)

    # --- exchange.MessageConnection ------------------------------------------------------------

    @property
    def client_address(self):
        """16 bytes (IPv4 mapped into IPv6); zeros once it has ended."""
        return bytes(16) if self.connection is None else self.connection.client_address

    def send_text(self, bytes text not None):
        """Queues one message; False if the connection has ended, or ends now because the last ones were not taken."""
        cdef uint8_t header[10]
        cdef ClientConnection connection = self.connection
        if connection is None or self.said_close or self.overrun:
            return False
        if self.full:
            self.overrun = True     # whoever sends need not be ready for `closed`: the next tick ends it
            connection.clients.dispatcher.wake(connection)
            return False
        connection.deliver(header, write_header(header, TEXT_FRAME, len(text)))
        if text and connection.deliver(<const uint8_t*> (<const char*> text), len(text)) == FULL:
            self.full = True
        return True

    def close(self, int code, str reason=""):
        """Says close and ends the connection in order; `closed` comes before this returns. ValueError for a code that is never sent."""
        if not is_close_code(code) or code == MANDATORY_EXTENSION:
            raise ValueError(f"{code} is no code to close with")
        if self.connection is not None:
            self.say_close(code, reason.encode())
            self.connection.end("", SERVER_CLOSED)

    # --- from the client ------------------------------------------------------------

    cdef void take_data(self, Connection connection, const uint8_t* data, size_t length):
        cdef Frame frame
        cdef size_t offset = 0
        cdef int event
        cdef ClientConnection mine = self.connection
        cdef uint8_t* buffer = <uint8_t*> data      # the poller's own
        self.heard_ticks = mine.clients.poller.now_ticks
        try:
            while offset < length and self.connection is not None:
                event = read_frame(&self.reader, &self.limits, buffer + offset, length - offset, &frame)
                offset += frame.offset
                if event == MORE:
                    break
                if event == DATA:
                    if not self.take_slice(&frame):
                        return
                elif event == PING:
                    self.take_ping(&frame)
                elif event == CLOSE:
                    self.say_close(NO_STATUS if frame.code == MANDATORY_EXTENSION else frame.code, b"")
                    mine.end("", CLIENT_CLOSED)
                    return
                elif event == FRAME_ERROR:
                    mine.clients.board.slots[<int> FRAMES_REFUSED] += 1
                    self.say_close(frame.code, b"")
                    mine.end("", POLICY_VIOLATION if frame.error == MESSAGE_TOO_BIG or frame.error == TOO_MANY_FRAMES else INVALID_XML)
                    return
                if self.reader.controls > CONTROLS_LIMIT:
                    self.say_close(1008, b"too many pings")
                    mine.end("", POLICY_VIOLATION)
                    return
        except Exception as error:
            self.fail(error)
            return
        if self.connection is not None:
            mine.clients.dispatcher.get_data(mine.id)

    cdef bint take_slice(self, Frame* frame) except -1:
        """A slice of a message; False if the connection is over after it."""
        cdef bytes text
        if frame.final:
            self.connection.stanza_tokens -= TICKS_PER_SECOND
        if frame.final and self.text is None:
            text = PyBytes_FromStringAndSize(<const char*> frame.payload, frame.length)
        else:
            if self.text is None:
                self.text = bytearray()
            self.text += <bytes> frame.payload[:frame.length]
            if not frame.final:
                return True
            text = bytes(self.text)
            self.text = None
        self.subscriber.take_text(text)
        return self.connection is not None

    cdef void take_ping(self, Frame* frame):
        cdef uint8_t answer[127]
        self.connection.clients.board.slots[<int> PINGS_IN] += 1
        self.connection.stanza_tokens -= TICKS_PER_SECOND
        if not self.full:
            self.connection.deliver(answer, write_control(answer, PONG_FRAME, frame.payload, frame.length))

    # --- of the edge ------------------------------------------------------------

    cdef void take_room(self, Connection connection):
        self.full = False

    cdef void take_client_end(self, Connection connection, bint said_goodbye):
        self.connection.end("", CLIENT_CLOSED)

    cdef void take_tick(self, Connection connection, uint32_t now_ticks):
        """Pings a client that has been silent, and ends one that has not answered."""
        cdef uint8_t said[127]
        cdef ClientConnection mine = self.connection
        cdef uint32_t ping_ticks = mine.clients.websocket.ping_ticks
        self.reader.controls = 0
        if self.overrun:
            mine.end("", SLOW_CONSUMER)
        elif now_ticks - self.heard_ticks > SILENT_PINGS * ping_ticks:
            mine.end("", IDLE_TIMEOUT)
        elif now_ticks - self.heard_ticks > ping_ticks and now_ticks - self.pinged_ticks > ping_ticks and not self.full:
            self.pinged_ticks = now_ticks
            mine.clients.board.slots[<int> PINGS_OUT] += 1
            mine.deliver(said, write_control(said, PING_FRAME, NULL, 0))

    cdef void take_shutdown(self, Connection connection, int reason):
        cdef ClientConnection mine = self.connection
        if mine is None:
            return
        self.say_close(code_of(reason), b"")
        self.connection = None
        subscriber, self.subscriber = self.subscriber, None
        try:
            subscriber.closed()
        except Exception as error:
            mine.clients.on_fault(error)

    cpdef leave(self, Connection connection):
        self.connection = None
        self.subscriber = None

    cdef void say_close(self, int code, bytes reason):
        """A close frame, once (RFC 6455 section 5.5.1); TCP's end follows."""
        cdef uint8_t said[127]
        if not self.said_close:
            self.said_close = True
            self.connection.deliver(said, write_close(said, code, <const uint8_t*> (<const char*> reason), len(reason)))

    cdef void fail(self, error):
        """A mistake of ours, or of whoever takes the messages."""
        cdef ClientConnection mine = self.connection
        if mine is not None:
            mine.clients.on_fault(error)
            self.say_close(1011, b"")
            mine.end("", INTERNAL)
