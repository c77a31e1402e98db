"""One client connection: its states, its two framers, and how it ends.

    AWAITING_PROXY ─► HANDSHAKE (direct TLS) ──────────────┐
         └────────► NEGOTIATING ─ <starttls/> ─► HANDSHAKE ─► ROUTING ─► CONNECTING ─► PREAUTH ─► AUTHENTICATED
                                                                              any ─► CLOSING ─► CLOSED

From CONNECTING on bytes pass unchanged in both directions; the framers only watch (limits, kinds, where a stanza ends).
The steps before that are in opening.py: they happen once per connection and may be ordinary Python.
"""

cimport cython
from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy

from megaphone.dispatch.counters cimport *
from megaphone.dispatch.dispatcher cimport DELIVERED, Owner
from megaphone.dispatch.mailbox cimport Mailbox
from megaphone.edge.limits cimport ClientLimits
from megaphone.edge.relay cimport (
    server_bounds, AUTHENTICATED, AWAITING_PROXY, CLOSED, CLOSING, CONNECTING, HANDSHAKE, NEGOTIATING, PREAUTH, ROUTING,
)
from megaphone.sockets.address cimport AF_INET, AF_INET6, Address, ntohs, socklen_t
from megaphone.sockets.calls cimport getsockname
from megaphone.sockets.poller cimport TICKS_PER_SECOND
from megaphone.sockets.receiver cimport open_socket
from megaphone.sockets.sender cimport Sender
from megaphone.sockets.tls cimport TLS
from megaphone.wire.framer cimport (
    ERROR, FEATURES_ELEMENT, HEADER, MORE, STANZA, Scan, framer_ended, framer_free, framer_rests, framer_start, scan,
)

from megaphone.edge import opening
from megaphone.wire import writer

cdef enum:
    FIRST_FEATURES_BYTES = 16384    # of the server, held until they are complete

cdef enum TlsFailure:
    HANDSHAKE_REFUSED = -1          # sockets.receiver's take_end codes
    RECORD_REFUSED = -2

STATE_NAMES = (
    "negotiating", "negotiating", "negotiating", "negotiating", "connecting", "preauth", "authenticated", "closing", "closed",
)
MAPPED = b"\0" * 10 + b"\xff\xff"      # IPv4 in IPv6 (RFC 4291 section 2.5.5.2)


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
    # so that a successor after a crash goes on where we were
    clients.board.slots[<int> GENERATION] = clients.dispatcher.generation
    connection.enter(AWAITING_PROXY)
    return connection


@cython.no_gc
cdef class ClientConnection(RelayedConnection):
    """One accepted client socket, from accept to close."""

    # --- states ------------------------------------------------------------

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
        framer_free(&self.framer_out)
        framer_start(&self.framer_out)
        self.outbound_lost = False
        self.pending = b""
        self.header_sent = False
        self.negotiation = None
        self.enter(ROUTING)

    # --- client to server ------------------------------------------------------------

    cdef void take_bytes(self, const uint8_t* data, size_t length):
        if self.state == CLOSING or self.end_condition is not None:
            return
        self.bytes_in += length
        self.active_ticks = self.clients.poller.now_ticks
        self.clients.board.slots[<int> BYTES_IN] += length
        try:
            if self.state >= CONNECTING and not self.offering:
                self.relay(data, length)
            elif self.offering:
                self.choose(data, length)
            else:
                self.open_bytes(data, length)
        except Exception as error:  # a mistake of ours must not leave a client without an answer
            self.clients.on_fault(error)
            self.end("internal-server-error", INTERNAL)

    cdef void open_bytes(self, const uint8_t* data, size_t length) except *:
        """The steps before relaying: collect, then let opening.py decide."""
        cdef Scan result
        cdef int event
        cdef bytes pending
        if self.over_preauth():
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
                if self.framer_in.depth == 0 and opening.is_other_encoding(pending + PyBytes_FromStringAndSize(<const char*> data, min(length, <size_t> 1))):
                    self.end("unsupported-encoding", INVALID_XML)
                else:
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

    cdef void choose(self, const uint8_t* data, size_t length) except *:
        """STARTTLS was offered, not required: the client's first element decides who answers it."""
        cdef Scan result
        cdef int event
        cdef bytes pending
        if self.over_preauth():
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

    cdef int deliver(self, const uint8_t* data, size_t length):
        if self.held is not None and self.state < CLOSING:
            return self.hold(data, length)
        return RelayedConnection.deliver(self, data, length)

    cdef int hold(self, const uint8_t* data, size_t length) except? -1:
        """Keeps the server's first bytes until its features are complete, and adds STARTTLS to them."""
        cdef Scan result
        cdef int event = HEADER
        cdef size_t offset = 0
        cdef bytes held = self.held, features
        if self.state == CONNECTING:
            self.enter(PREAUTH)
        while event == HEADER and offset < length:
            self.framer_out.restart_allowed = 1
            event = scan(&self.framer_out, server_bounds(), data + offset, length - offset, True, &result)
            held += PyBytes_FromStringAndSize(<const char*> data + offset, result.offset)
            offset += result.offset
            if event == HEADER:
                self.pass_on(held)
                held = b""
        if event == HEADER or event == MORE and len(held) < FIRST_FEATURES_BYTES:
            self.held = held
            return DELIVERED
        self.held = None
        if event == STANZA:
            self.clients.board.slots[<int> STANZAS_OUT + (result.element if result.element < 4 else 3)] += 1
            if self.offering and result.element == FEATURES_ELEMENT:
                features = held.lstrip()
                held = held[:len(held) - len(features)] + opening.offer_starttls(features)
        elif event == ERROR:
            self.outbound_lost = True
        self.pass_on(held)
        return self.deliver(data + offset, length - offset) if offset < length else DELIVERED

    cdef void pass_on(self, bytes data):
        """Queues bytes of the server's that were held."""
        self.bytes_out += len(data)
        self.clients.board.slots[<int> BYTES_OUT] += len(data)
        self.say(data)

    cdef void take_drained(self):
        cdef Owner owner = self.owner
        if self.state == CLOSING:
            if self.receiver.ended and self.receiver.sender.finished:
                self.close_now()
        elif owner is not None:
            owner.take_room(self)

    # --- the end ------------------------------------------------------------

    cdef void take_end(self, int error):
        cdef Owner owner = self.owner
        if self.state >= CLOSING:
            # a client that only stopped talking still gets our last words
            if self.state == CLOSING and (error != 0 or self.receiver.sender.finished):
                self.close_now()
            return
        if error == HANDSHAKE_REFUSED:
            self.clients.board.slots[<int> TLS_FAILED] += 1
            self.reason = TLS_HANDSHAKE_FAILED
            self.start_closing()
        elif error == RECORD_REFUSED:       # the alert that says so is still to be sent (RFC 8446 section 6.2)
            self.reason = CLIENT_RESET
            self.detach()
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
            self.start_closing()

    cdef void end(self, str condition, int reason):
        """Ends the connection in order: stream error if there is one and it fits, </stream:stream>, close_notify, FIN.

        If the server is in the middle of a stanza the error waits for its end (at most `close_seconds`).
        """
        if self.state >= CLOSING:
            return
        if reason == REMOTE_CONNECTION_FAILED and framer_ended(&self.framer_out):
            condition, reason = "", self.reason         # it said goodbye before it hung up
        elif reason == REMOTE_CONNECTION_FAILED and (self.client_ended or framer_ended(&self.framer_in)):
            condition, reason = "", CLIENT_CLOSED       # it hung up because the client had
        if self.end_condition is None:
            self.reason = reason
        if condition and not self.inject(condition) and self.owner is not None and self.end_condition is None:
            if not self.outbound_lost and not self.opaque and reason != REMOTE_CONNECTION_FAILED:
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
            header = opening.own_header(self)
            # after white space or a declaration of the server's there can be no declaration of ours
            text = (header.partition(b"?>")[2] if self.bytes_out else header) + text
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

    cdef void take_tick(self, uint32_t now_ticks):
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
            elif owner is not None:
                owner.take_tick(self, now_ticks)    # it may still be connecting
            return
        if self.receiver.sender.stalled_ticks and now_ticks - self.receiver.sender.stalled_ticks > limits.slow_ticks:
            self.reason = SLOW_CONSUMER
            self.close_now()
        elif self.state < AUTHENTICATED and not self.opaque and now_ticks - self.opened_ticks > limits.preauth_ticks:
            self.end("connection-timeout", PREAUTH_TIMEOUT)
        elif now_ticks - self.active_ticks > limits.idle_ticks:
            self.end("connection-timeout", IDLE_TIMEOUT)
        elif owner is not None:
            owner.take_tick(self, now_ticks)

    # --- for opening.py, the worker and operators -----------------------------------------------------------------------

    def attach(self, Owner owner):
        """Gives the connection its session owner; from now on its bytes are relayed."""
        self.owner = owner
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
        cdef Sender sender = self.receiver.sender
        self.offering = False
        self.held = None
        self.detach()
        self.say(data)
        # all that has been said leaves as it is, before anything that TLS says
        sender.sealed = sender.mailbox
        sender.mailbox = Mailbox(NULL, NULL, 0)
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
        """The domain the client wants, once it is known to be one of ours, or None."""
        return self.domain

    @domain_name.setter
    def domain_name(self, str domain):
        self.domain = domain

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
