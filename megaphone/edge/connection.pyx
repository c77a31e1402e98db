"""One client connection: its states, its two framers, and how it ends.

    AWAITING_PROXY ─► HANDSHAKE (direct TLS) ──────────────┐
         └────────► NEGOTIATING ─ <starttls/> ─► HANDSHAKE ─► ROUTING ─► CONNECTING ─► PREAUTH ─► AUTHENTICATED
                                                                              any ─► CLOSING ─► CLOSED

From CONNECTING on bytes pass unchanged in both directions; the framers only watch (limits, kinds, where a stanza ends).
The steps before that are in opening.py: they happen once per connection and may be ordinary Python.
"""

cimport cython
from libc.string cimport memcpy
from cpython.bytes cimport PyBytes_FromStringAndSize

from megaphone.dispatch.counters cimport *
from megaphone.dispatch.dispatcher cimport DELIVERED, FULL, GONE, Owner
from megaphone.sockets.poller cimport TICKS_PER_SECOND
from megaphone.sockets.receiver cimport open_socket
from megaphone.sockets.address cimport AF_INET, AF_INET6, Address, getsockname, ntohs, socklen_t
from megaphone.sockets.tls cimport TLS
from megaphone.wire.framer cimport (
    Bounds, COMPRESSED_ELEMENT, ERROR, HEADER, MORE, PROCEED_ELEMENT, STANZA, STREAM_END, SUCCESS_ELEMENT,
    RESTRICTED, STANZA_TOO_BIG, TOO_DEEP, TOO_MANY_ATTRIBUTES,
    condition_of, framer_ended, framer_free, framer_rests, framer_start, scan,
)

from megaphone.edge import opening
from megaphone.wire import writer

cdef enum:
    SNIFF_BYTES = 16384         # how far after success the JID is looked for
    UNLIMITED = 0xFFFFFFFF

cdef Bounds SERVER_BOUNDS
SERVER_BOUNDS.stanza_bytes = UNLIMITED
SERVER_BOUNDS.depth = 255
SERVER_BOUNDS.attributes = 255

# The gauge that counts each state.
cdef int GAUGE[9]
GAUGE[:] = [OPEN_NEGOTIATING, OPEN_NEGOTIATING, OPEN_NEGOTIATING, OPEN_NEGOTIATING, OPEN_CONNECTING, OPEN_RELAYING_PREAUTH,
            OPEN_AUTHENTICATED, OPEN_CLOSING, -1]

MAPPED = b"\0" * 10 + b"\xff\xff"      # IPv4 in IPv6 (RFC 4291 section 2.5.5.2)

STATE_NAMES = ("negotiating", "negotiating", "negotiating", "negotiating", "connecting", "preauth", "authenticated", "closing", "closed")


cdef class Clients:
    """Everything the connections of one worker share; the worker wires it up."""

    def __init__(self, Poller poller, Dispatcher dispatcher, Board board, Sketch sketch, ClientLimits limits):
        self.poller = poller
        self.dispatcher = dispatcher
        self.board = board
        self.sketch = sketch
        self.limits = limits
        self.domains = frozenset()
        self.throttled = []

    def sweep(self, uint32_t parts):
        """Looks at one of `parts` equal parts of the registry for what has taken too long; also ends throttling."""
        cdef uint32_t i, count
        cdef ClientConnection connection
        cdef list throttled = self.throttled
        self.poller.look_at_clock()
        if throttled:
            self.throttled = []
            for connection in throttled:
                if connection.state >= CLOSING:
                    continue
                if connection.refill():
                    connection.throttled = False
                    if connection.credit:
                        connection.receiver.resume()
                else:
                    self.throttled.append(connection)
        count = (self.dispatcher.capacity + parts - 1) // parts
        for i in range(count):
            if self.swept >= self.dispatcher.capacity:
                self.swept = 0
                break
            if self.dispatcher.slots[self.swept] != NULL:
                connection = <ClientConnection> self.dispatcher.slots[self.swept]
                connection.sweep(self.poller.now_ticks)
            self.swept += 1
        self.board.slots[<int> MAILBOX_BYTES] = self.poller.chunks.queued_bytes
        self.board.slots[<int> GENERATION] = self.dispatcher.generation
        self.board.slots[<int> POLLER_TURNS] = self.poller.turns
        self.board.slots[<int> POLLER_EVENTS] = self.poller.events


cdef ClientConnection accept_connection(Clients clients, ListenerFacts listener, int fd, const uint8_t* address, uint16_t port):
    """Takes over an accepted, non-blocking socket; None if there is no room for it (the socket is closed then)."""
    cdef ClientConnection connection = ClientConnection.__new__(ClientConnection)
    cdef ClientLimits limits = clients.limits
    framer_start(&connection.framer_in)
    framer_start(&connection.framer_out)
    connection.clients = clients
    connection.listener = listener
    connection.pending = b""
    memcpy(connection.address, address, 16)
    connection.port = port
    connection.opened_ticks = connection.active_ticks = connection.refilled_ticks = clients.poller.now_ticks
    connection.stanza_tokens = limits.stanzas_burst
    connection.byte_tokens = limits.bytes_burst
    connection.state = CLOSED
    connection.receiver = open_socket(fd, clients.poller, connection, limits.mailbox_bytes, False)
    if connection.receiver is None:
        return None
    if not clients.dispatcher.register(connection):
        clients.board.slots[<int> LIMIT_WORKER_CONNECTIONS] += 1
        clients.board.slots[<int> CLOSED_BY_REASON + <int> RESOURCE_CONSTRAINT] += 1
        connection.receiver.close()
        return None
    clients.board.slots[<int> ACCEPTED] += 1
    connection.state = AWAITING_PROXY
    clients.board.slots[GAUGE[<int> AWAITING_PROXY]] += 1
    return connection


@cython.no_gc
cdef class ClientConnection(Connection):
    """One accepted client socket, from accept to close."""

    def __dealloc__(self):
        framer_free(&self.framer_in)
        framer_free(&self.framer_out)

    # --- states ------------------------------------------------------------

    cdef void enter(self, int state):
        cdef uint64_t* slots = self.clients.board.slots
        if GAUGE[self.state] >= 0:
            slots[GAUGE[self.state]] -= 1
        self.state = state
        if GAUGE[state] >= 0:
            slots[GAUGE[state]] += 1

    cdef void begin(self):
        """The connection's address is known and admitted: start TLS or the stream."""
        if self.listener.tls == "direct":
            self.enter(HANDSHAKE)
            self.receiver.start_tls(TLS(self.listener.certificates))
        elif self.listener.tls == "starttls":
            self.enter(NEGOTIATING)
        else:
            self.enter(ROUTING)

    cdef void take_writable(self):
        """The TLS handshake is done (RFC 6120 section 5.4.3.3: the client starts a new stream)."""
        cdef TLS tls = self.receiver.tls
        cdef uint64_t* slots = self.clients.board.slots
        slots[<int> TLS_1_3_OK if tls.version == "TLSv1.3" else <int> TLS_1_2_OK] += 1
        if tls.resumed:
            slots[<int> TLS_RESUMED] += 1
        framer_free(&self.framer_in)
        framer_start(&self.framer_in)
        self.pending = b""
        self.header_sent = False
        self.negotiation = None
        self.enter(ROUTING)

    # --- client to server ------------------------------------------------------------

    cdef void take_bytes(self, const uint8_t* data, size_t length):
        if self.state == CLOSING:
            return
        self.bytes_in += length
        self.active_ticks = self.clients.poller.now_ticks
        self.clients.board.slots[<int> BYTES_IN] += length
        if self.state >= CONNECTING:
            self.relay(data, length)
        else:
            self.open_bytes(data, length)

    cdef void open_bytes(self, const uint8_t* data, size_t length):
        """The steps before relaying: collect, then let opening.py decide."""
        cdef Scan result
        cdef int event
        cdef bytes pending
        if self.bytes_in > self.clients.limits.preauth_bytes:
            self.clients.board.slots[<int> LIMIT_PREAUTH_BYTES] += 1
            self.end("policy-violation", POLICY_VIOLATION)
            return
        if self.state == AWAITING_PROXY:
            self.pending += PyBytes_FromStringAndSize(<const char*> data, length)
            opening.take_proxy_header(self)
            return
        while self.state == NEGOTIATING or self.state == ROUTING:
            event = scan(&self.framer_in, &self.clients.limits.bounds, data, length, True, &result)
            pending = self.pending + PyBytes_FromStringAndSize(<const char*> data, result.offset)
            data += result.offset
            length -= result.offset
            if event == ERROR:
                self.refuse(result.error)
                return
            if event == MORE:
                # white space between stanzas need not be kept
                self.pending = b"" if framer_rests(&self.framer_in) else pending
                return
            self.pending = b""
            if event == HEADER and self.state == ROUTING:
                opening.route(self, pending)
                if self.state == CONNECTING:
                    self.clients.dispatcher.put_data(self, <const uint8_t*> (<const char*> pending), len(pending))
                    if length and self.state == CONNECTING:
                        self.relay(data, length)
                return
            if event == HEADER:
                opening.negotiate_header(self, pending)
                if self.offering:
                    self.clients.dispatcher.put_data(self, <const uint8_t*> (<const char*> pending), len(pending))
                    if length and self.state == CONNECTING:
                        self.choose(data, length)
                    return
            elif event == STANZA:
                opening.negotiate_element(self, pending, length)
            else:
                opening.negotiate_end(self)

    cdef void relay(self, const uint8_t* data, size_t length):
        cdef Scan result
        cdef size_t offset = 0
        cdef int event
        if self.offering:
            self.choose(data, length)
            return
        if self.opaque:
            self.account(NULL, length)
            self.clients.dispatcher.put_data(self, data, length)
            return
        if self.state != AUTHENTICATED:
            self.framer_in.restart_allowed = 1
            if self.bytes_in > self.clients.limits.preauth_bytes:
                self.clients.board.slots[<int> LIMIT_PREAUTH_BYTES] += 1
                self.end("policy-violation", POLICY_VIOLATION)
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

    cdef void choose(self, const uint8_t* data, size_t length):
        """STARTTLS was offered, not required: the client's first element decides who answers it."""
        cdef Scan result
        cdef int event
        cdef bytes pending
        if self.bytes_in > self.clients.limits.preauth_bytes:
            self.clients.board.slots[<int> LIMIT_PREAUTH_BYTES] += 1
            self.end("policy-violation", POLICY_VIOLATION)
            return
        event = scan(&self.framer_in, &self.clients.limits.bounds, data, length, True, &result)
        self.pending += PyBytes_FromStringAndSize(<const char*> data, result.offset)
        if event == MORE:
            return
        if event == ERROR:
            self.refuse(result.error)
            return
        pending = self.pending
        self.pending = b""
        if event == STANZA:
            opening.negotiate_element(self, pending, length - result.offset)
            if self.state != CONNECTING and self.state != PREAUTH:
                return
        self.offering = False
        self.account(&result, 0)
        self.clients.dispatcher.put_data(self, <const uint8_t*> (<const char*> pending), len(pending))
        if length > result.offset and self.state < CLOSING:
            self.relay(data + result.offset, length - result.offset)

    cdef int hold(self, const uint8_t* data, size_t length):
        """Keeps the server's first bytes until its features are complete, and adds STARTTLS to them."""
        cdef Scan result
        cdef int event = HEADER
        cdef size_t offset = 0
        cdef bytes held = self.held
        while event == HEADER and offset < length:
            self.framer_out.restart_allowed = 1
            event = scan(&self.framer_out, &SERVER_BOUNDS, data + offset, length - offset, True, &result)
            held += PyBytes_FromStringAndSize(<const char*> data + offset, result.offset)
            offset += result.offset
            if event == HEADER:
                self.say(held)
                held = b""
        if event == HEADER or event == MORE and len(held) < SNIFF_BYTES:
            self.held = held
            return DELIVERED
        self.held = None
        self.say(opening.offer_starttls(held) if event == STANZA and self.offering else held)
        if event == ERROR:
            self.outbound_lost = True
        return self.deliver(data + offset, length - offset) if offset < length else DELIVERED

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

    cdef void pause_reading(self):
        self.receiver.pause()

    cdef void resume_reading(self):
        if not self.throttled:
            self.receiver.resume()

    # --- server to client ------------------------------------------------------------

    cdef int deliver(self, const uint8_t* data, size_t length):
        """The server's bytes: watched, then queued; FULL asks the owner to wait for take_room."""
        cdef Scan result
        cdef size_t offset = 0
        cdef int event, kind
        cdef uint64_t* slots = self.clients.board.slots
        if self.state >= CLOSING:
            return GONE
        if self.state == CONNECTING:
            self.enter(PREAUTH)
        self.active_ticks = self.clients.poller.now_ticks
        if self.held is not None:
            return self.hold(data, length)
        if self.state == AUTHENTICATED and self.jid is None and self.sniffed is not None:
            self.look_for_jid(data, length)
        while offset < length and not self.opaque and not self.outbound_lost:
            self.framer_out.restart_allowed = 1
            event = scan(&self.framer_out, &SERVER_BOUNDS, data + offset, length - offset, self.end_condition is not None, &result)
            if event == ERROR:
                self.outbound_lost = True
                break
            offset += result.offset
            for kind in range(4):
                slots[<int> STANZAS_OUT + kind] += result.counts[kind]
            if event == STANZA:
                if result.element == SUCCESS_ELEMENT and self.state == PREAUTH:
                    self.mark_authenticated()
                    self.look_for_jid(data, length)
                elif result.element == COMPRESSED_ELEMENT or result.element == PROCEED_ELEMENT:
                    self.opaque = True
                if self.end_condition is not None:
                    length = offset
        self.bytes_out += length
        slots[<int> BYTES_OUT] += length
        kind = self.receiver.sender.write(data, length)
        if self.end_condition is not None and framer_rests(&self.framer_out):
            self.end(self.end_condition, self.reason)
            return GONE
        if kind == FULL:
            slots[<int> MAILBOX_FULL] += 1
        return kind

    cdef void mark_authenticated(self):
        self.enter(AUTHENTICATED)
        self.sniffed = b""
        # SASL restarts the stream once (RFC 6120 section 6.4.6), SASL2 (XEP-0388) does not
        self.framer_in.restart_allowed = 1

    cdef void look_for_jid(self, const uint8_t* data, size_t length):
        """Finds the full JID in the bind result (RFC 6120 section 7.6) or in SASL2's success (XEP-0388 section 2.6)."""
        cdef bytes seen = self.sniffed + PyBytes_FromStringAndSize(<const char*> data, min(length, <size_t> SNIFF_BYTES))
        cdef bytes opened
        for opened in (b"<jid>", b"<authorization-identifier>"):
            found = seen.partition(opened)[2].partition(b"</")
            if found[1]:
                self.jid = found[0][:3071].decode("utf-8", "replace")
                self.sniffed = None
                return
        self.sniffed = seen if len(seen) < SNIFF_BYTES else None

    cdef void take_drained(self):
        cdef Owner owner = self.owner
        if self.state == CLOSING:
            if self.receiver.ended:
                self.close_now()
        elif owner is not None:
            owner.take_room(self)

    # --- the end ------------------------------------------------------------

    cdef void take_end(self, int error):
        cdef Owner owner = self.owner
        if self.state >= CLOSING:
            if self.state == CLOSING:
                self.close_now()
            return
        if error == -1:
            self.clients.board.slots[<int> TLS_FAILED] += 1
            self.reason = TLS_HANDSHAKE_FAILED
            self.start_closing()
        elif error != 0:
            self.reason = CLIENT_RESET
            self.detach()
            self.close_now()
        elif owner is not None:
            # the client has said all it wanted; the server may still have something to say
            self.client_ended = True
            self.deadline_ticks = self.clients.poller.now_ticks + self.clients.limits.close_ticks
            owner.take_client_end(self)
        else:
            self.reason = CLIENT_CLOSED
            self.close_now()

    cdef void refuse(self, int error):
        """The client's XML was refused by the framer."""
        cdef uint64_t* slots = self.clients.board.slots
        cdef int reason = NOT_WELL_FORMED
        if error == RESTRICTED:
            reason = RESTRICTED_XML
        elif error == STANZA_TOO_BIG:
            slots[<int> LIMIT_STANZA_BYTES] += 1
            reason = POLICY_VIOLATION
        elif error == TOO_DEEP:
            slots[<int> LIMIT_DEPTH] += 1
            reason = POLICY_VIOLATION
        elif error == TOO_MANY_ATTRIBUTES:
            slots[<int> LIMIT_ATTRIBUTES] += 1
            reason = POLICY_VIOLATION
        self.end(condition_of(error), reason)

    cdef void end(self, str condition, int reason):
        """Ends the connection in order: stream error if there is one and it fits, </stream:stream>, close_notify, FIN.

        If the server is in the middle of a stanza the error waits for its end (at most `close_seconds`).
        """
        if self.state >= CLOSING:
            return
        if reason == REMOTE_CONNECTION_FAILED and framer_ended(&self.framer_out):
            condition, reason = "", SERVER_CLOSED       # it said goodbye before it hung up
        if reason == REMOTE_CONNECTION_FAILED and (self.client_ended or framer_ended(&self.framer_in)):
            condition, reason = "", CLIENT_CLOSED       # it hung up because the client had
        self.reason = reason
        if condition:
            if not self.inject(condition):
                if self.owner is not None and not self.outbound_lost and not self.opaque and self.end_condition is None and reason == SYSTEM_SHUTDOWN:
                    self.end_condition = condition
                    self.deadline_ticks = self.clients.poller.now_ticks + self.clients.limits.close_ticks
                    return
        self.detach()
        self.start_closing()

    cdef bint inject(self, str condition):
        """Puts a stream error into the client's stream; False where it would not be well-formed."""
        cdef bytes text
        if self.state < NEGOTIATING or self.opaque or self.outbound_lost or framer_ended(&self.framer_out):
            return False
        text = writer.stream_error(condition) + writer.STREAM_END
        if not self.header_sent and self.framer_out.depth == 0:
            if self.framer_out.stanza_bytes:
                return False        # in the middle of the server's header
            text = opening.own_header(self) + text
        elif not self.header_sent and not framer_rests(&self.framer_out):
            return False
        self.receiver.sender.write(<const uint8_t*> (<const char*> text), len(text))
        return True

    cdef void detach(self):
        """Lets go of the session owner."""
        cdef Owner owner = self.owner
        if owner is not None:
            self.owner = None
            self.upstream = owner.upstream_name()
            owner.take_shutdown(self)

    cdef void start_closing(self):
        self.enter(CLOSING)
        self.deadline_ticks = self.clients.poller.now_ticks + self.clients.limits.close_ticks
        self.pending = b""
        self.receiver.sender.finish()
        # whatever still comes is read and dropped: closing over unread bytes would turn our last words into a reset
        self.receiver.resume()

    cdef void close_now(self):
        cdef Clients clients = self.clients
        if self.state == CLOSED:
            return
        self.detach()
        self.enter(CLOSED)
        clients.board.slots[<int> CLOSED_BY_REASON + self.reason] += 1
        if clients.on_closed is not None:
            clients.on_closed(self, self.reason)
        if self.admitted:
            clients.admission.released(self)
        self.receiver.close()
        clients.dispatcher.release(self)

    cdef void sweep(self, uint32_t now_ticks):
        """About once a second: has something taken too long?"""
        cdef ClientLimits limits = self.clients.limits
        cdef Owner owner = self.owner
        if self.state == CLOSING:
            if now_ticks >= self.deadline_ticks:
                self.close_now()
            return
        if self.end_condition is not None or self.client_ended:
            if now_ticks >= self.deadline_ticks:
                self.detach()
                if self.client_ended:
                    self.reason = CLIENT_CLOSED
                self.start_closing()
            return
        if self.receiver.sender.stalled_ticks and now_ticks - self.receiver.sender.stalled_ticks > limits.slow_ticks:
            self.reason = SLOW_CONSUMER
            self.close_now()
        elif self.state < AUTHENTICATED and now_ticks - self.opened_ticks > limits.preauth_ticks:
            self.end("connection-timeout", PREAUTH_TIMEOUT)
        elif now_ticks - self.active_ticks > limits.idle_ticks:
            self.end("connection-timeout", IDLE_TIMEOUT)
        elif owner is not None:
            owner.take_tick(self, now_ticks)

    # --- for opening.py, the worker and operators -----------------------------------------------------------------------

    def attach(self, Owner owner, str domain):
        """Gives the connection its session owner; from now on its bytes are relayed."""
        self.owner = owner
        self.domain = domain
        framer_free(&self.framer_out)
        framer_start(&self.framer_out)
        self.enter(CONNECTING)
        self.clients.dispatcher.get_data(self.id)

    def offer_starttls(self):
        """The server answers this stream; STARTTLS is added to its features, and the client chooses."""
        self.offering = True
        self.held = b""

    def say(self, bytes data):
        """Queues bytes of the edge's own."""
        self.receiver.sender.write(<const uint8_t*> (<const char*> data), len(data))

    def note_header_sent(self):
        """The edge has answered the client's header itself."""
        self.header_sent = True

    def proceed(self, bytes data):
        """Sends `data` (the <proceed/>) in clear and starts TLS; a server that answered the stream in clear is let go."""
        self.offering = False
        self.held = None
        self.detach()
        self.clients.poller.chunks.put(&self.receiver.sender.sealed, <const uint8_t*> (<const char*> data), len(data))
        self.clients.poller.flush_later(self.receiver.sender)
        self.enter(HANDSHAKE)
        self.receiver.start_tls(TLS(self.listener.certificates))

    def proxied(self, bytes address, int port, bytes rest):
        """The PROXY header gave the client's address (16 bytes); goes on with the bytes after it."""
        cdef const uint8_t* data = <const uint8_t*> (<const char*> rest)
        memcpy(self.address, <const char*> address, 16)
        self.port = port
        self.pending = b""
        self.begin()
        if rest:
            if self.receiver.tls is not None:
                self.receiver.decrypt(data, len(rest))
            else:
                self.open_bytes(data, len(rest))

    def finish(self, str condition, int reason):
        """Ends the connection with a stream error ("" for none)."""
        self.end(condition, reason)

    def admit(self):
        """Marks the connection as counted in the address sketch."""
        self.admitted = True

    @property
    def collected(self):
        """The bytes that wait for a decision."""
        return self.pending

    @property
    def client_address(self):
        """16 bytes: IPv6, or IPv4 mapped into it (RFC 4291 section 2.5.5.2)."""
        return PyBytes_FromStringAndSize(<const char*> self.address, 16)

    @property
    def client_port(self):
        """The client's port, 0..65535."""
        return self.port

    @property
    def domain_name(self):
        """The domain the connection is relayed for, or None."""
        return self.domain

    def local_endpoint(self):
        """(address, port) that the client connected to."""
        cdef Address address
        cdef socklen_t length = sizeof(address)
        if getsockname(self.receiver.fd, &address.any, &length) == 0:
            if address.any.sa_family == AF_INET:
                return opening.address_text(MAPPED + PyBytes_FromStringAndSize(<const char*> &address.v4.sin_addr, 4)), ntohs(address.v4.sin_port)
            if address.any.sa_family == AF_INET6:
                return opening.address_text(PyBytes_FromStringAndSize(<const char*> address.v6.sin6_addr.s6_addr, 16)), ntohs(address.v6.sin6_port)
        return "0.0.0.0", 0

    @property
    def tls(self):
        """The TLS session, or None."""
        return self.receiver.tls

    @property
    def session(self):
        """The negotiation under way; opening.py keeps it here."""
        return self.negotiation

    @session.setter
    def session(self, value):
        self.negotiation = value

    @property
    def closing(self):
        """Whether the end has begun."""
        return self.state >= CLOSING

    def describe(self):
        """What an operator sees of this connection (docs/reference/command-line.md, `connections`)."""
        return opening.describe(
            self, STATE_NAMES[self.state], self.domain, self.jid,
            self.upstream if self.owner is None else self.owner.upstream_name(),
            (self.clients.poller.now_ticks - self.opened_ticks) / TICKS_PER_SECOND, self.bytes_in, self.bytes_out,
        )


def connection_bytes():
    """The bytes of the objects that one idle plain connection keeps on the edge's side."""
    from megaphone.sockets.receiver import Receiver
    from megaphone.sockets.sender import Sender
    return ClientConnection.__basicsize__ + Receiver.__basicsize__ + Sender.__basicsize__
