"""The data path of a client connection: bytes in, bytes out, watched by two framers and measured against the limits.

Bytes pass unchanged in both directions. The framer of the client's stream enforces the limits; the framer of the
server's stream says where something of our own may be put, and tells the edge when the client is authenticated.
"""

cimport cython
from cpython.bytes cimport PyBytes_FromStringAndSize

from html import unescape

from megaphone.dispatch.counters cimport *
from megaphone.dispatch.dispatcher cimport FULL, GONE
from megaphone.edge.limits cimport ClientLimits
from megaphone.sockets.poller cimport TICKS_PER_SECOND
from megaphone.wire.framer cimport (
    Bounds, ERROR, HEADER, STANZA, STANZA_TOO_BIG, TOO_DEEP, TOO_MANY_ATTRIBUTES, condition_of, framer_free, framer_rests, scan,
)

from megaphone.edge.reasons import reason_of

cdef enum:
    SNIFF_BYTES = 16384         # how far after success the JID is looked for

# The gauge that counts each state.
cdef int GAUGE[9]
GAUGE[:] = [OPEN_NEGOTIATING, OPEN_NEGOTIATING, OPEN_NEGOTIATING, OPEN_NEGOTIATING, OPEN_CONNECTING, OPEN_RELAYING_PREAUTH,
            OPEN_AUTHENTICATED, OPEN_CLOSING, -1]

# The kind of a stanza by the first letter of its name, of which the alphabet's place counts: message, presence, iq.
cdef int KIND_OF_LETTER[32]
for _letter in range(32):
    KIND_OF_LETTER[_letter] = OTHER
KIND_OF_LETTER[<int> c"m" & 0x1F] = MESSAGE
KIND_OF_LETTER[<int> c"p" & 0x1F] = PRESENCE
KIND_OF_LETTER[<int> c"i" & 0x1F] = IQ

# The server is trusted with the size of its stanzas: its framer only watches.
cdef Bounds SERVER_BOUNDS = Bounds(0xFFFFFFFF, 255, 255)

cdef const Bounds* server_bounds() noexcept:
    return &SERVER_BOUNDS


cdef int kind_of(const uint8_t* stanza, size_t length) noexcept:
    """The kind of a whole stanza."""
    return KIND_OF_LETTER[stanza[1] & 0x1F] if length > 1 else <int> OTHER


@cython.no_gc
cdef class RelayedConnection(Connection):
    """The part of a client connection that runs for every read."""

    def __dealloc__(self):
        framer_free(&self.framer_in)
        framer_free(&self.framer_out)

    cdef void enter(self, int state):
        cdef uint64_t* slots = self.clients.board.slots
        if GAUGE[self.state] >= 0:
            slots[GAUGE[self.state]] -= 1
        self.state = state
        if GAUGE[state] >= 0:
            slots[GAUGE[state]] += 1

    # --- client to server --------------------------------------------------

    cdef void relay(self, const uint8_t* data, size_t length):
        cdef Scan result
        cdef size_t offset = 0
        cdef int event
        if self.opaque:
            self.account(NULL, length)
            self.clients.dispatcher.put_data(self, data, length)
            return
        if self.state != AUTHENTICATED:
            self.framer_in.restart_allowed = 1
            if self.over_preauth():
                return
        while offset < length:
            event = scan(&self.framer_in, &self.clients.limits.bounds, data + offset, length - offset, False, &result)
            if event == ERROR:
                # whole stanzas before the bad byte are the client's good right
                if offset or result.boundary > 0:
                    offset += result.boundary if result.boundary > 0 else 0
                    self.account(&result, offset)
                    self.clients.dispatcher.put_data(self, data, offset)
                if self.state < CLOSING:
                    self.refuse(result.error)
                return
            offset += result.offset
            self.account(&result, 0)
            if event == HEADER and self.state != AUTHENTICATED:
                self.framer_in.restart_allowed = 1
        if self.state < CLOSING:
            self.account(NULL, length)
            if self.state < CLOSING:
                self.clients.dispatcher.put_data(self, data, length)

    cdef bint over_preauth(self):
        """Ends the connection if it has used up its bytes before authentication."""
        if self.bytes_in <= self.clients.limits.preauth_bytes:
            return False
        self.clients.board.slots[<int> LIMIT_PREAUTH_BYTES] += 1
        self.end("policy-violation", POLICY_VIOLATION)
        return True

    cdef void account(self, Scan* result, size_t length):
        """Counts stanzas and bytes, and takes them from the connection's allowance."""
        cdef uint64_t* slots = self.clients.board.slots
        cdef int kind
        cdef int64_t stanzas = 0
        if result != NULL:
            for kind in range(4):
                slots[<int> STANZAS_IN + kind] += result.counts[kind]
                stanzas += result.counts[kind]
        self.stanza_tokens -= stanzas * TICKS_PER_SECOND
        self.byte_tokens -= <int64_t> length * TICKS_PER_SECOND
        if (self.stanza_tokens < 0 or self.byte_tokens < 0) and not self.throttled and not self.refill():
            slots[<int> LIMIT_STANZA_RATE if self.stanza_tokens < 0 else <int> LIMIT_BYTE_RATE] += 1
            if self.clients.limits.close_over_rate:
                self.end("policy-violation", POLICY_VIOLATION)
                return
            slots[<int> THROTTLED] += 1
            self.throttled = True
            self.receiver.pause()
            self.clients.throttled.append(self)

    cdef bint refill(self):
        """Adds what the time since the last refill allows; True if the connection may send."""
        cdef ClientLimits limits = self.clients.limits
        cdef int64_t ticks = self.clients.poller.now_ticks - self.refilled_ticks
        self.refilled_ticks = self.clients.poller.now_ticks
        self.stanza_tokens = min(self.stanza_tokens + ticks * limits.stanzas_per_second, limits.stanzas_burst)
        self.byte_tokens = min(self.byte_tokens + ticks * limits.bytes_per_second, limits.bytes_burst)
        return self.stanza_tokens >= 0 and self.byte_tokens >= 0

    cdef bint unthrottle(self):
        """Goes on reading if the rate allows it again; False if not yet."""
        if self.state < CLOSING:
            if not self.refill():
                return False
            self.throttled = False
            if self.credit:
                self.receiver.resume()
        return True

    cdef void pause_reading(self):
        self.receiver.pause()

    cdef void resume_reading(self):
        if not self.throttled:
            self.receiver.resume()

    cdef void refuse(self, int error):
        """The client's XML was refused by the framer."""
        cdef uint64_t* slots = self.clients.board.slots
        cdef str condition = condition_of(error)
        if error == STANZA_TOO_BIG:
            slots[<int> LIMIT_STANZA_BYTES] += 1
        elif error == TOO_DEEP:
            slots[<int> LIMIT_DEPTH] += 1
        elif error == TOO_MANY_ATTRIBUTES:
            slots[<int> LIMIT_ATTRIBUTES] += 1
        self.end(condition, reason_of(condition))

    # --- server to client ------------------------------------------------------------

    cdef int deliver(self, const uint8_t* data, size_t length):
        """The server's bytes: watched, then queued; FULL asks the owner to wait for take_room."""
        cdef Scan result
        cdef size_t offset = 0
        cdef int event, status
        if not begin_delivery(self, data, length):
            return GONE
        while offset < length and not self.opaque and not self.outbound_lost:
            self.framer_out.restart_allowed = 1
            event = scan(&self.framer_out, server_bounds(), data + offset, length - offset, self.end_condition is not None, &result)
            if event == ERROR:
                self.outbound_lost = True
                break
            offset += result.offset
            if note_event(self, event, &result, data, length):
                self.opaque = True
            if event == STANZA and self.end_condition is not None:
                length = offset
        if awaits_jid(self):
            self.look_for_jid(data, length)
        self.bytes_out += length
        self.clients.board.slots[<int> BYTES_OUT] += length
        status = self.receiver.sender.write(data, length)
        if self.end_condition is not None and framer_rests(&self.framer_out):
            self.end(self.end_condition, self.reason)
            return GONE
        if status == FULL:
            self.clients.board.slots[<int> MAILBOX_FULL] += 1
        return status

    cdef bint looks_on(self):
        """Whether the framer of the server's stream has something to find: else it rests between whole stanzas."""
        return self.state != AUTHENTICATED or self.jid is None or self.end_condition is not None or self.opaque or self.outbound_lost

    cdef int deliver_stanza(self, const uint8_t* data, size_t length):
        """A whole stanza of a session owner that knows what it says."""
        cdef int status
        if self.looks_on():
            return self.deliver(data, length)
        self.count_out(length, kind_of(data, length), 1)
        status = self.receiver.sender.write(data, length)
        if status == FULL:
            self.clients.board.slots[<int> MAILBOX_FULL] += 1
        return status

    cdef int deliver_burst(self, const uint8_t* data, size_t length, int kind, uint32_t count):
        """Several such stanzas, which leave at once if nothing else waits."""
        cdef int status
        if self.looks_on():
            return self.deliver(data, length)
        self.count_out(length, kind, count)
        status = self.receiver.sender.write_through(data, length)
        if status == FULL:
            self.clients.board.slots[<int> MAILBOX_FULL] += 1
        return status

    cdef void count_out(self, size_t length, int kind, uint32_t count):
        cdef uint64_t* slots = self.clients.board.slots
        self.active_ticks = self.clients.poller.now_ticks
        slots[<int> STANZAS_OUT + kind] += count
        self.bytes_out += length
        slots[<int> BYTES_OUT] += length

    cdef void mark_authenticated(self):
        self.enter(AUTHENTICATED)
        if self.receiver.tls is not None:
            self.receiver.tls.forget_bindings()
        # SASL restarts the stream once (RFC 6120 section 6.4.6), SASL2 (XEP-0388) does not
        self.framer_in.restart_allowed = 1

    cdef void look_for_jid(self, const uint8_t* data, size_t length):
        """Finds the full JID in the bind result (RFC 6120 section 7.6) or in SASL2's success (XEP-0388 section 2.6)."""
        cdef bytes seen = (self.sniffed or b"") + PyBytes_FromStringAndSize(<const char*> data, min(length, <size_t> SNIFF_BYTES))
        cdef bytes opened
        for opened in (b"<jid>", b"<authorization-identifier>"):
            found = seen.partition(opened)[2].partition(b"</")
            if found[1]:
                self.jid = unescape(found[0][:3071].decode("utf-8", "replace"))
                self.sniffed = None
                return
        self.sniffed = seen if len(seen) < SNIFF_BYTES else None
