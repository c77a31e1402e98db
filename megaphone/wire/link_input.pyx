"""What the peer says on a link that stands: each frame checked against streams and credit, then told to the owner.

What may not be said ends the session; the text names the frame, the stream and the numbers.
"""

from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport uint32_t

from megaphone.wire.link cimport (
    ACK, CLOSED, CREDIT_OVERSTEPPED, DRAIN, GET_DATA, HEADER_BYTES, OPEN, PING, PONG, PROTOCOL_ERROR, PUT_DATA,
    REASONS_OF_LINK, RESOURCE_CONSTRAINT, SEND_DATA, SHUTDOWN, frame_name, get64,
)
from megaphone.wire.link_streams cimport (
    ENDED_BY_PEER, ENDED_BY_US, HELD, NOWHERE, OPENED, OWING, list_remove, table_find,
)

from megaphone.errors import LinkError
from megaphone.wire.link_open import Open


cdef class LinkInput(LinkExchange):
    """The reading half of a session."""

    cdef void take_frame(self, Frame* frame):
        """Takes one frame that may follow WELCOME."""
        cdef Stream* stream
        self.received_bytes += HEADER_BYTES + frame.length
        if frame.type == PUT_DATA or frame.type == SEND_DATA:
            stream = table_find(&self.table, frame.id)
            if stream == NULL or stream.state == ENDED_BY_PEER:
                self.fail_at(frame, "which is not open")
            elif stream.received + frame.length > stream.granted:
                self.fail(CREDIT_OVERSTEPPED, f"{frame_name(frame.type)} for stream {frame.id}: "
                          f"{stream.received + frame.length} bytes are above the limit of {stream.granted}")
            else:
                stream.received += frame.length
                if stream.state == OPENED:
                    stream.untaken += frame.length
                    self.on_data(stream, frame.payload, frame.length)
        elif frame.type == GET_DATA:
            self.take_credit(frame)
        elif frame.type == SHUTDOWN:
            self.take_shutdown(frame)
        elif frame.type == OPEN:
            self.take_open(frame)
        elif frame.type == ACK:
            self.acknowledge(ACK, get64(frame.payload))
        elif frame.type == DRAIN:
            self.draining = True
            self.on_drain()
        elif frame.type == PING:
            if self.acknowledge(PING, get64(frame.payload + 8)):
                self.say_received(PONG, get64(frame.payload))
        elif frame.type == PONG:
            if self.acknowledge(PONG, get64(frame.payload + 8)):
                self.take_stamp(get64(frame.payload))
        else:
            self.fail(PROTOCOL_ERROR, f"{frame_name(frame.type)} came after WELCOME")

    cdef void fail_at(self, Frame* frame, str what):
        self.fail(PROTOCOL_ERROR, f"{frame_name(frame.type)} for stream {frame.id}, {what}")

    cdef void take_credit(self, Frame* frame):
        cdef Stream* stream = table_find(&self.table, frame.id)
        cdef uint64_t limit = get64(frame.payload)
        if stream == NULL or stream.state == ENDED_BY_PEER:
            self.fail_at(frame, "which is not open")
        elif limit < stream.sent + stream.credit:
            self.fail_at(frame, f"moves its limit of {stream.sent + stream.credit} back to {limit}")
        elif limit - stream.sent > self.peer_window_bytes:
            self.fail_at(frame, f"has a limit of {limit}, more than a window above the {stream.sent} bytes sent")
        else:
            stream.credit = limit - stream.sent
            if stream.wants and stream.queue == NOWHERE and stream.credit:
                self.hold(stream)

    cdef void take_open(self, Frame* frame):
        cdef Stream* stream
        if table_find(&self.table, frame.id) != NULL:
            self.fail_at(frame, "which is open")
            return
        if self.table.count >= self.streams_limit:
            self.fail_at(frame, f"but {self.table.count} streams are open, which is the most")
            return
        try:
            facts = Open.decode(PyBytes_FromStringAndSize(<const char*> frame.payload, frame.length))
        except LinkError as error:
            self.fail(error.reason, str(error))
            return
        stream = self.add(frame.id)
        if stream == NULL:
            self.fail(RESOURCE_CONSTRAINT, f"no memory for stream {frame.id}")
            return
        self.on_opened(stream, facts)

    cdef void take_shutdown(self, Frame* frame):
        """The peer's SHUTDOWN for a stream; that for the link is the session's business."""
        cdef Stream* stream = table_find(&self.table, frame.id)
        cdef uint64_t sent = get64(frame.payload)
        cdef int reason = frame.payload[8]
        cdef uint32_t incarnation = self.incarnation
        cdef bint owed
        cdef str text
        if stream == NULL or stream.state == ENDED_BY_PEER:
            self.fail_at(frame, "which is not open")
            return
        if reason >= REASONS_OF_LINK:
            self.fail_at(frame, f"has reason {reason}, which is for the link only")
            return
        if sent != stream.received:
            self.fail_at(frame, f"says that {sent} bytes were sent; {stream.received} have arrived")
            return
        try:
            text = (<const char*> frame.payload)[9:frame.length].decode("utf-8")
        except UnicodeDecodeError:
            self.fail_at(frame, "has a text that is not UTF-8")
            return
        if stream.state == ENDED_BY_US:
            if stream.queue == OWING:
                stream.state = ENDED_BY_PEER
            else:
                self.release(stream)
            return
        if stream.queue == HELD:
            list_remove(&self.held, stream)
        elif stream.queue == OWING:
            list_remove(&self.owing, stream)
        stream.wants = False
        # ours at once; until on_shutdown returns the id stays taken
        stream.state = ENDED_BY_PEER
        stream.reason = CLOSED
        owed = self.owing.first != NULL or not self.say_shutdown(stream.id, stream.sent, CLOSED, b"")
        if owed:
            self.owe(stream)
        self.on_shutdown(stream, reason, text)
        if self.incarnation != incarnation:
            return                      # its owner has ended the session, and the table with it
        self.disown(stream)
        if not owed:
            self.release(stream)

    cdef void settle(self):
        """After a read: ACK if one is due, then turns for those that have waited."""
        if self.ack_due():
            self.say_received(ACK, 0)
        if self.held.first != NULL or self.owing.first != NULL:
            self.serve()

    # --- events ---

    cdef void on_opened(self, Stream* stream, object facts):
        pass

    cdef void on_data(self, Stream* stream, const uint8_t* data, size_t length):
        pass

    cdef void on_drain(self):
        pass

    cdef void take_stamp(self, uint64_t stamp):
        pass
