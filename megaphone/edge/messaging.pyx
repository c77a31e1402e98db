"""The data path of a WebSocket connection (RFC 6455, RFC 7395): frames in, the stream's bytes to its owner, and back.

    client ─► frames unmasked in the read buffer ─► messages, each one element ─► moved together ─► put_data, once per read
    client ◄─ mailbox ◄─ frame header, declarations, the stanza as it came ◄─ framer ◄─ deliver

The owner of the session sees an XML stream as from any other client, and the same framers, limits and counters look at
it. Payloads are moved to the front of the read buffer, so that what one read has brought is passed on in one piece.
"""

cimport cython
from libc.stdint cimport uint16_t
from libc.string cimport memmove

from megaphone.dispatch.counters cimport *
from megaphone.dispatch.dispatcher cimport DELIVERED, FULL, GONE
from megaphone.edge.relay cimport (
    AUTHENTICATED, CLOSING, CONNECTING, ROUTING, awaits_jid, begin_delivery, kind_of, note_event, server_bounds,
)
from megaphone.edge.websocket cimport FRAMES_REFUSED, PINGS_IN, PINGS_OUT, code_of
from megaphone.sockets.poller cimport TICKS_PER_SECOND
from megaphone.wire.framer cimport (
    ERROR, STANZA, framer_ended, framer_rests, scan,
)
from megaphone.wire.from_messages cimport CLOSED as STREAM_CLOSED, OPENED, PASS, REFUSED, TEXT
from megaphone.wire.websocket cimport (
    CLOSE, DATA, INVALID_UTF8, MESSAGE_TOO_BIG, MORE, NO_MEMORY, NO_STATUS, PING, PING_FRAME, PONG_FRAME, TOO_MANY_FRAMES, Frame, Limits,
    read_frame,
)
from megaphone.wire.websocket cimport ERROR as FRAME_ERROR
from megaphone.wire.websocket_writer cimport write_close, write_control

from megaphone.edge import opening
from megaphone.edge.reasons import reason_of

cdef enum:
    FRAMES_LIMIT = 1024         # that one message may come in

# Status codes that a server may give back to a client that has said them (RFC 6455 section 7.4.1).
cdef enum:
    MANDATORY_EXTENSION = 1010


@cython.no_gc
cdef class MessagingConnection(RelayedConnection):
    """The part of a client connection that speaks WebSocket; without `websocket` it is a `RelayedConnection`."""

    # --- client to server ------------------------------------------------------------

    cdef void take_frames(self, uint8_t* data, size_t length) except *:
        """What one read has brought."""
        cdef Frame frame
        cdef Limits limits
        cdef size_t offset = 0
        cdef size_t filled = 0      # bytes at the front of `data` that the owner is to get
        cdef int event
        if self.state < AUTHENTICATED and self.over_preauth():
            return
        limits.message_bytes = self.clients.limits.bounds.stanza_bytes
        limits.frames = FRAMES_LIMIT
        limits.text_only = True
        while offset < length and self.state < CLOSING and self.end_condition is None:
            event = read_frame(&self.websocket.reader, &limits, data + offset, length - offset, &frame)
            offset += frame.offset
            if event == MORE:
                break
            if event == DATA:
                filled = self.take_slice(data, filled, &frame)
            elif event == PING:
                self.take_ping(&frame)
            elif event == CLOSE or event == FRAME_ERROR:
                if filled:
                    self.clients.dispatcher.put_data(self, data, filled)
                    filled = 0
                if event == FRAME_ERROR:
                    self.refuse_frame(frame.error, frame.code)
                    return
                self.websocket.close_code = NO_STATUS if frame.code == MANDATORY_EXTENSION else frame.code
                self.take_end(0)
                return
        if self.state < CLOSING:
            self.account(NULL, length)
        if filled and self.state < CLOSING:
            self.clients.dispatcher.put_data(self, data, filled)

    cdef size_t take_slice(self, uint8_t* data, size_t filled, Frame* frame) except? 0:
        """A slice of a message; how much of `data` is filled now. A stanza that is refused takes nothing of the earlier ones along."""
        cdef Scan result
        cdef int taken
        if self.state >= CONNECTING and self.state < AUTHENTICATED:
            self.framer_in.restart_allowed = 1
        taken = self.websocket.from_messages.take(
            &self.framer_in, &self.clients.limits.bounds, frame.payload, frame.length, frame.final, &result)
        if taken == PASS:
            memmove(data + filled, frame.payload, frame.length)
            self.account(&result, 0)
            return filled + frame.length
        if taken < OPENED and taken != TEXT:
            return filled
        if filled:
            self.clients.dispatcher.put_data(self, data, filled)
        if self.state >= CLOSING:
            return 0
        if taken == REFUSED:
            if self.websocket.from_messages.error:
                self.refuse(self.websocket.from_messages.error)
            else:
                self.end(self.websocket.from_messages.condition, reason_of(self.websocket.from_messages.condition))
        elif taken == OPENED:
            self.take_open(self.websocket.from_messages.text)
        else:
            self.account(&result, 0)
            self.put_text(self.websocket.from_messages.text)
        self.websocket.from_messages.text = None
        return 0

    cdef void put_text(self, bytes text) except *:
        if self.state < CLOSING:
            self.clients.dispatcher.put_data(self, <const uint8_t*> (<const char*> text), len(text))

    cdef void take_open(self, bytes header) except *:
        """The client opens a stream, or opens it anew after SASL (RFC 7395 section 3.7)."""
        if self.state == ROUTING:
            opening.route(self, header)
            if self.state < CONNECTING:
                return
        self.put_text(header)

    cdef void take_ping(self, Frame* frame):
        """Answers, unless the client does not read its answers; a ping costs as much as a stanza."""
        cdef uint8_t answer[127]
        self.clients.board.slots[<int> PINGS_IN] += 1
        self.stanza_tokens -= TICKS_PER_SECOND
        if not self.receiver.sender.full:
            self.receiver.sender.write(answer, write_control(answer, PONG_FRAME, frame.payload, frame.length))

    cdef void refuse_frame(self, int error, int code):
        """The client broke RFC 6455: a stream error says so to people, the status code to its library."""
        cdef uint64_t* slots = self.clients.board.slots
        cdef str condition = "bad-format"
        slots[<int> FRAMES_REFUSED] += 1
        self.websocket.close_code = <uint16_t> code
        if error == MESSAGE_TOO_BIG or error == TOO_MANY_FRAMES:
            slots[<int> LIMIT_STANZA_BYTES] += 1
            condition = "policy-violation"
        elif error == INVALID_UTF8:
            condition = "not-well-formed"
        elif error == NO_MEMORY:
            condition = "resource-constraint"
        self.end(condition, reason_of(condition))

    # --- server to client ------------------------------------------------------------

    cdef int deliver(self, const uint8_t* data, size_t length):
        if self.websocket is None:
            return RelayedConnection.deliver(self, data, length)
        return self.deliver_messages(data, length)

    cdef int deliver_stanza(self, const uint8_t* data, size_t length):
        cdef Pieces pieces
        if self.websocket is None:
            return RelayedConnection.deliver_stanza(self, data, length)
        if self.looks_on() or self.websocket.to_messages.under_way:
            return self.deliver_messages(data, length)
        try:
            if not self.websocket.to_messages.put(STANZA, data, length, &pieces):
                return DELIVERED
        except ValueError:
            return self.lose_server()
        self.count_out(length, kind_of(data, length), 1)
        return self.send_pieces(&pieces)

    cdef int deliver_burst(self, const uint8_t* data, size_t length, int kind, uint32_t count):
        if self.websocket is None:
            return RelayedConnection.deliver_burst(self, data, length, kind, count)
        return self.deliver_messages(data, length)

    cdef int deliver_messages(self, const uint8_t* data, size_t length):
        """As `RelayedConnection.deliver`, message by message: nothing passes that the framer does not understand."""
        cdef Scan result
        cdef Pieces pieces
        cdef size_t offset = 0
        cdef int event, status = DELIVERED
        if not begin_delivery(self, data, length):
            return GONE
        self.bytes_out += length
        self.clients.board.slots[<int> BYTES_OUT] += length
        while offset < length and not self.outbound_lost:
            self.framer_out.restart_allowed = 1
            event = scan(&self.framer_out, server_bounds(), data + offset, length - offset, True, &result)
            if event == ERROR:
                return self.lose_server()
            if note_event(self, event, &result, data, length):
                self.end("unsupported-feature", POLICY_VIOLATION)   # RFC 7395 section 3.5: no TLS and no compression in here
                return GONE
            try:
                if self.websocket.to_messages.put(event, data + offset, result.offset, &pieces):
                    status = self.send_pieces(&pieces)
            except ValueError:
                return self.lose_server()
            offset += result.offset
            if self.end_condition is not None and framer_rests(&self.framer_out):
                self.end(self.end_condition, self.reason)
                return GONE
        if awaits_jid(self):
            self.look_for_jid(data, length)
        return status

    cdef int lose_server(self):
        """What the server says is no stream of a client: there is no message to put it in."""
        self.outbound_lost = True
        self.end("remote-connection-failed", REMOTE_CONNECTION_FAILED)
        return GONE

    cdef int send_pieces(self, Pieces* pieces):
        """Queues one frame."""
        cdef int status
        self.receiver.sender.write(pieces.lead, pieces.lead_length)
        self.receiver.sender.write(pieces.name, pieces.name_length)
        self.receiver.sender.write(pieces.declared, pieces.declared_length)
        status = self.receiver.sender.write(pieces.rest, pieces.rest_length)
        self.websocket.to_messages.text = None      # a million idle connections keep no bytes
        if status == FULL or self.receiver.sender.full:
            self.clients.board.slots[<int> MAILBOX_FULL] += 1
            return FULL
        return DELIVERED

    # --- of the edge's own ------------------------------------------------------------

    cdef bint inject_messages(self, str condition):
        """Puts a stream error and <close/> into the client's messages; False inside a message."""
        cdef bytes said
        if self.websocket.to_messages.under_way or framer_ended(&self.framer_out) or self.websocket.said_close:
            return False
        if self.framer_out.depth > 0 and not framer_rests(&self.framer_out) and not self.outbound_lost:
            return False
        # what the server has said of a header was not passed on yet
        said = opening.last_messages(self, condition, self.framer_out.depth == 0)
        self.receiver.sender.write(<const uint8_t*> (<const char*> said), len(said))
        return True

    cdef void say_close(self):
        """The WebSocket's own end, once (RFC 6455 section 5.5.1); TCP's follows."""
        cdef uint8_t said[127]
        if not self.websocket.said_close:
            self.websocket.said_close = True
            self.receiver.sender.write(said, write_close(said, self.websocket.close_code or code_of(self.reason), NULL, 0))

    cdef void keep_alive(self, uint32_t now_ticks):
        """Pings a client that has been silent: its pong is a sign of life, and keeps what lies between from forgetting."""
        cdef uint8_t said[127]
        cdef uint32_t ping_ticks = self.clients.websocket.ping_ticks
        if now_ticks - self.active_ticks > ping_ticks and now_ticks - self.websocket.pinged_ticks > ping_ticks:
            self.websocket.pinged_ticks = now_ticks
            self.clients.board.slots[<int> PINGS_OUT] += 1
            self.receiver.sender.write(said, write_control(said, PING_FRAME, NULL, 0))
