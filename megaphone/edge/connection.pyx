"""One client connection, from accept until its bytes are relayed: PROXY header, TLS, STARTTLS, the stream header.

    AWAITING_PROXY ─► HANDSHAKE (direct TLS) ──────────────┐
         └────────► NEGOTIATING ─ <starttls/> ─► HANDSHAKE ─► ROUTING ─► CONNECTING ─► PREAUTH ─► AUTHENTICATED
                                                                              any ─► CLOSING ─► CLOSED

Here are the steps before CONNECTING; what they decide is in opening.py, which may be ordinary Python, as it happens
once per connection. From CONNECTING on bytes pass unchanged in both directions and the framers only watch (relay.pyx),
except that STARTTLS may be offered beside what the server offers (offer.pyx). How a connection ends is in closing.pyx.
"""

cimport cython
from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport uint8_t, uint16_t, uint64_t
from libc.string cimport memcpy

from megaphone.dispatch.counters cimport *
from megaphone.dispatch.dispatcher cimport Owner
from megaphone.edge.limits cimport ClientLimits
from megaphone.edge.moving cimport MovableConnection
from megaphone.edge.offer cimport behind_white_space
from megaphone.edge.websocket cimport (
    HTTP_OPEN, SPEAKS_BOSH, SPEAKS_HTTP, SPEAKS_WEBSOCKET, SPEAKS_XMPP, UNHEARD, WEBSOCKETS_OPEN, WEBSOCKETS_OPENED, WebSocket,
)
from megaphone.edge.relay cimport AWAITING_PROXY, CLOSED, CLOSING, CONNECTING, HANDSHAKE, NEGOTIATING, PREAUTH, ROUTING, server_bounds
from megaphone.sockets.address cimport Address, read_address, socklen_t
from megaphone.sockets.calls cimport getsockname
from megaphone.sockets.poller cimport TICKS_PER_SECOND
from megaphone.sockets.receiver cimport open_socket
from megaphone.sockets.tls cimport TLS
from megaphone.wire.framer cimport ERROR, HEADER, MORE, STANZA, Scan, framer_free, framer_rests, framer_start, scan

import os

from megaphone.edge import opening, upgrade
from megaphone.edge.moving import decode_client
from megaphone.errors import MoveError
from megaphone.sockets.client_address import address_text
from megaphone.sockets.receiver import socket_bytes

cdef enum:
    TLS_RECORD = 0x16           # the first byte of a handshake (RFC 8446 section 5.1)

cdef bytes OPEN_STREAM = b"<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' version='1.0'>"

STATE_NAMES = (
    "negotiating", "negotiating", "negotiating", "negotiating", "connecting", "preauth", "authenticated", "closing", "closed",
)


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


def adopt_connection(Clients clients, ListenerFacts listener, int fd, bytes address, int port, str domain, bytes tls=b""):
    """Takes over an authenticated connection of another process (`ClientConnection.surrender`), which begins its stream anew.

    `tls` is the state of its TLS, if it has any. None if there is no room for it (the socket is closed then); ValueError, too,
    for a state that is none.
    """
    cdef TLS session = None
    cdef ClientConnection connection
    cdef Scan opened
    if tls:
        try:
            session = TLS.restore(tls)
        except ValueError:
            os.close(fd)
            raise
    connection = accept_connection(clients, listener, fd, <const uint8_t*> (<const char*> address), port)
    if connection is not None:
        clients.board.slots[<int> ADOPTED] += 1
        clients.board.slots[<int> ACCEPTED] -= 1
        clients.admission.count(connection)
        connection.domain = domain
        if session is not None:
            connection.receiver.start_tls(session)
        connection.mark_authenticated()
        connection.sniffed = b""        # its JID is in what the session owner says first
        # which is <success/>, in the stream that the other process has opened; so far the framer has seen nothing of it
        scan(&connection.framer_out, server_bounds(), <const uint8_t*> (<const char*> OPEN_STREAM), len(OPEN_STREAM), True, &opened)
    return connection


def adopt_stream(Clients clients, ListenerFacts listener, int fd, bytes address, int port, bint secured):
    """Takes over one end of a socket pair, on which the stream of a client comes whose bytes arrive in HTTP requests (BOSH).

    `address` is the client's (16 bytes), `secured` whether it has TLS. None, and the socket is closed, if there is no room for
    it; a client that is over a limit is told so in its stream and ended.
    """
    cdef ClientConnection connection
    connection = accept_connection(clients, listener, fd, <const uint8_t*> (<const char*> address), port)
    if connection is not None:
        connection.speech = SPEAKS_BOSH
        connection.secured = secured
        refusal = clients.admission.admit(connection, address)
        connection.enter(ROUTING)
        if refusal is not None:
            connection.end("policy-violation", refusal)
    return connection


def restore_connection(Clients clients, uint64_t id, bytes data not None, list descriptors not None):
    """A connection that another process has exported (`Moved` of kind "client"), asleep until its `activate`.

    The descriptors are ours; MoveError, and they are closed, if it cannot be used.
    """
    cdef ClientConnection connection = ClientConnection.__new__(ClientConnection)
    cdef int fd
    framer_start(&connection.framer_in)
    framer_start(&connection.framer_out)
    connection.state = CLOSED
    try:
        (fd,) = descriptors
        record = decode_client(data)
        connection.listener = clients.listener_at(record.listen)
    except Exception as error:
        for descriptor in descriptors:
            os.close(descriptor)
        raise MoveError(f"not the record of a connection: {error}") from None
    connection.clients = clients
    connection.id = id
    try:
        connection.restore_from(record, fd)
    except (OverflowError, ValueError) as error:    # numbers that no connection has
        os.close(fd)
        raise MoveError(f"not the record of a connection: {error}") from None
    return connection


@cython.no_gc
cdef class ClientConnection(MovableConnection):
    """One accepted client socket, from accept to close."""

    # --- states ------------------------------------------------------------

    cdef void begin(self):
        """The connection's address is known and admitted: start TLS or the stream."""
        if self.listener.tls == "direct":
            self.enter(HANDSHAKE)
            self.receiver.start_tls(TLS(self.listener.certificates))
        elif self.listener.tls == "starttls" or self.listener.tls == "both":
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
        slots[<int> TLS_OPENSSL_RECORDS if tls.records == NULL else <int> TLS_OWN_RECORDS] += 1
        framer_free(&self.framer_in)
        framer_start(&self.framer_in)
        framer_free(&self.framer_out)
        framer_start(&self.framer_out)
        self.outbound_lost = False
        self.pending = b""
        self.header_sent = False
        self.session = None
        self.speech = UNHEARD
        self.enter(ROUTING)

    # --- client to server ------------------------------------------------------------

    cdef void take_bytes(self, const uint8_t* data, size_t length):
        if self.state == CLOSING or self.end_condition is not None:
            return
        self.bytes_in += length
        self.active_ticks = self.clients.poller.now_ticks
        self.clients.board.slots[<int> BYTES_IN] += length
        try:
            if self.websocket is not None:
                self.take_frames(<uint8_t*> data, length)   # the poller's own buffer
            elif self.state >= CONNECTING and not self.offering:
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
        if self.state == AWAITING_PROXY:
            if not self.over_preauth():
                self.pending += PyBytes_FromStringAndSize(<const char*> data, length)
                opening.take_proxy_header(self)
            return
        if self.speech == UNHEARD and (self.listener.http or self.listener.tls == "both") and not self.tell_apart(data, length):
            return
        # a request may bring its body along: what the head may have is upgrade.py's to say
        if not (self.speech == SPEAKS_HTTP and self.listener.web is not None) and self.over_preauth():
            return
        if self.speech == SPEAKS_HTTP:
            self.pending += PyBytes_FromStringAndSize(<const char*> data, length)
            upgrade.take_request(self)
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
                    # The embedded service has answered already.
                    if length and self.state < CLOSING and self.end_condition is None:
                        self.relay(data, length)
                return
            if event == HEADER:
                opening.negotiate_header(self, pending)
                if self.offering:
                    self.clients.dispatcher.put_data(self, <const uint8_t*> (<const char*> pending), len(pending))
                    if length and self.state < CLOSING and self.end_condition is None:
                        self.choose(data, length)
                    return
            elif event == STANZA:
                opening.negotiate_element(self, pending, behind_white_space(data, length))
            else:
                opening.negotiate_end(self)

    cdef bint tell_apart(self, const uint8_t* data, size_t length) except -1:
        """TLS, HTTP or XMPP, by the first byte; False if it has been dealt with."""
        cdef bytes agreed = self.receiver.tls.alpn if self.receiver.tls is not None else b""
        if data[0] == TLS_RECORD and self.listener.tls == "both" and self.receiver.tls is None:
            self.bytes_in -= length
            self.clients.board.slots[<int> BYTES_IN] -= length
            self.enter(HANDSHAKE)
            self.receiver.start_tls(TLS(self.listener.certificates))
            self.receiver.decrypt(data, length)
            return False
        # what ALPN has agreed on is binding: no protocol can be smuggled into another one (RFC 7301)
        if self.listener.http and agreed != b"xmpp-client" and (agreed or c'A' <= data[0] <= c'Z'):
            self.speech = SPEAKS_HTTP
            return True
        self.speech = SPEAKS_XMPP
        if self.awaits_admission:
            self.awaits_admission = False
            return opening.admit(self, self.client_address)
        return True

    # --- for opening.py, the worker and operators -----------------------------------------------------------------------

    def own(self, Owner owner):
        """Gives an authenticated connection its session owner, who hears what comes next."""
        self.owner = owner
        self.clients.dispatcher.get_data(self.id)

    def own_quietly(self, Owner owner):
        """As `own`; nothing is read until that owner asks for it."""
        self.owner = owner

    def attach(self, Owner owner):
        """Gives the connection its session owner; from now on its bytes are relayed."""
        self.owner = owner
        framer_free(&self.framer_out)
        framer_start(&self.framer_out)
        self.enter(CONNECTING)
        self.clients.dispatcher.get_data(self.id)

    def say(self, bytes data):
        """Queues bytes of the edge's own."""
        self.receiver.sender.write(<const uint8_t*> (<const char*> data), len(data))

    def proceed(self, bytes data):
        """Sends `data` (the <proceed/>) in clear and starts TLS; a server that answered the stream in clear is let go."""
        self.withdraw_offer()
        self.detach()
        self.say(data)
        self.receiver.sender.seal_plain()
        self.in_starttls = True
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

    def tls_state(self):
        """What `surrender` gives away beside the socket: the state of its TLS, b"" without TLS; None if it cannot go anywhere."""
        if self.receiver.sender.pending_bytes() or self.websocket is not None or self.speech == SPEAKS_BOSH:
            return None         # the client has not taken all that was said to it, or the socket says too little of it
        return b"" if self.receiver.tls is None else self.receiver.tls.export_state()

    def open_websocket(self, bytes answer):
        """Sends `answer` (101 Switching Protocols); from now on this connection speaks WebSocket."""
        self.say(answer)
        self.speech = SPEAKS_WEBSOCKET
        self.websocket = WebSocket.__new__(WebSocket)
        self.pending = b""
        self.clients.board.slots[<int> WEBSOCKETS_OPEN] += 1
        self.clients.board.slots[<int> WEBSOCKETS_OPENED] += 1
        self.enter(ROUTING)

    def open_web(self, Owner owner, bytes rest not None):
        """From now on this connection is the web's: `owner` gets `rest`, which came with the head, and all that comes."""
        self.pending = b""
        self.opaque = True
        self.owner = owner
        self.clients.board.slots[<int> HTTP_OPEN] += 1
        self.enter(PREAUTH)
        self.clients.dispatcher.put_data(self, <const uint8_t*> (<const char*> rest), len(rest))

    def leave_web(self, bytes head not None):
        """The web's connection has got the request of an XMPP WebSocket: it begins anew with that."""
        self.owner = None
        self.opaque = False
        self.clients.board.slots[<int> HTTP_OPEN] -= 1
        # the limits before authentication count from here
        self.bytes_in = len(head)
        self.opened_ticks = self.clients.poller.now_ticks
        self.enter(ROUTING)
        self.receiver.resume()
        self.pending = head
        upgrade.take_request(self)

    def forwarded(self, bytes address, bint secured=False):
        """A proxy has said who its client is (16 bytes), and whether it has TLS; its port is not known."""
        self.awaits_admission = False
        self.secured = secured
        if address != self.client_address:
            memcpy(self.address, <const char*> address, 16)
            self.port = 0

    def surrender(self):
        """Gives the socket to another process: a descriptor of it; this connection is over, and nobody hears of it.

        For a connection whose stream is about to begin anew, and whose `tls_state` goes along.
        """
        cdef int fd = os.dup(self.receiver.fd)
        self.owner = None
        self.clients.board.slots[<int> SURRENDERED] += 1
        self.enter(CLOSED)
        if self.admitted:
            self.clients.admission.released(self)
        self.receiver.close()
        self.clients.dispatcher.release(self)
        return fd

    def resume_stream(self, bytes received not None):
        """An adopted connection goes on with what its former process had read and not taken."""
        if received:
            self.take_bytes(<const uint8_t*> (<const char*> received), len(received))

    def finish(self, str condition, int reason):
        """Ends the connection with a stream error ("" for none)."""
        self.end(condition, reason)

    @property
    def client_address(self):
        """16 bytes: IPv6, or IPv4 mapped into it (RFC 4291 section 2.5.5.2)."""
        return PyBytes_FromStringAndSize(<const char*> self.address, 16)

    def local_endpoint(self):
        """(address, port) that the client connected to; ("0.0.0.0", 0) once the socket is closed."""
        cdef Address address
        cdef socklen_t length = sizeof(address)
        cdef uint8_t mapped[16]
        cdef uint16_t port
        if getsockname(self.receiver.fd, &address.any, &length) != 0:
            address.any.sa_family = 0
        port = read_address(&address, mapped)
        return address_text(PyBytes_FromStringAndSize(<const char*> mapped, 16)), port

    @property
    def is_http(self):
        """Whether it has begun with an HTTP request that is not answered yet."""
        return self.speech == SPEAKS_HTTP

    @property
    def is_websocket(self):
        """Whether it speaks WebSocket."""
        return self.websocket is not None

    @property
    def in_tls(self):
        """Whether nobody else reads along: TLS with us, or with a trusted proxy that says so."""
        return self.receiver.tls is not None or self.secured != 0

    @property
    def transport(self):
        """What the client speaks below XMPP, for people."""
        if self.websocket is not None:
            return "websocket"
        return "http" if self.speech == SPEAKS_HTTP else "bosh" if self.speech == SPEAKS_BOSH else "tcp"

    @property
    def said_starttls(self):
        """Whether TLS was begun with STARTTLS."""
        return self.in_starttls or self.listener.tls == "starttls"

    @property
    def awaits_address(self):
        """Whether it comes from a proxy, which has to say who its client is."""
        return self.awaits_admission != 0

    @property
    def tls(self):
        """The TLS session, or None."""
        return self.receiver.tls

    @property
    def closing(self):
        """Whether the end has begun."""
        return self.state >= CLOSING

    def describe(self):
        """What an operator sees of this connection (docs/reference/command-line.md, `connections`)."""
        cdef TLS tls = self.receiver.tls
        return {
            "id": f"{self.id:016x}",
            "worker": self.clients.dispatcher.worker,
            "state": STATE_NAMES[self.state],
            "transport": self.transport,
            "address": address_text(self.client_address),
            "port": self.port,
            "jid": self.jid,
            "domain": self.domain,
            "tls": tls.version if tls is not None and tls.established else None,
            "upstream": self.upstream if self.owner is None else self.owner.upstream_name(),
            "age_seconds": round((self.clients.poller.now_ticks - self.opened_ticks) / TICKS_PER_SECOND, 3),
            "bytes_in": self.bytes_in,
            "bytes_out": self.bytes_out,
        }


def connection_bytes():
    """The bytes of the objects that one idle plain connection keeps on the edge's side."""
    return ClientConnection.__basicsize__ + socket_bytes()
