"""STARTTLS offered beside what the server offers: the server answers the stream in clear, and the client chooses.

Where STARTTLS is optional, a client must see the server's own features too (stream/negotiation.py says why). So the
stream is passed on, `<starttls/>` is added to the server's first features, and the client's first element decides: if
it is <starttls/>, the edge lets go of that server's stream and starts TLS; anything else is the server's, from then on.
"""

cimport cython
from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport uint8_t

from megaphone.dispatch.counters cimport *
from megaphone.dispatch.dispatcher cimport DELIVERED
from megaphone.edge.relay cimport CLOSING, CONNECTING, PREAUTH, server_bounds
from megaphone.wire.framer cimport ERROR, FEATURES_ELEMENT, HEADER, MORE, STANZA, Scan, scan

from megaphone.edge import opening
from megaphone.wire import writer

cdef enum:
    FIRST_FEATURES_BYTES = 16384    # of the server, held until they are complete


cdef size_t behind_white_space(const uint8_t* data, size_t length) noexcept nogil:
    """How many bytes there are from the first on that is no white space.

    RFC 6120 section 5.3.3 forbids white space behind <starttls/>. Some clients end every element with a line break all
    the same, go-xmpp among them; it says nothing, so that nobody can smuggle anything in it.
    """
    while length and (data[0] == c' ' or data[0] == c'\n' or data[0] == c'\r' or data[0] == c'\t'):
        data += 1
        length -= 1
    return length


@cython.no_gc
cdef class OfferingConnection(MessagingConnection):
    """The part of a client connection that lets the client choose between STARTTLS and the server."""

    def offer_starttls(self):
        """The server answers this stream; STARTTLS is added to its features, and the client chooses."""
        self.offering = True
        self.held = b""

    cdef void withdraw_offer(self):
        """The client has chosen TLS."""
        self.offering = False
        self.held = None

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
            opening.negotiate_element(self, pending, behind_white_space(data + result.offset, length - result.offset))
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
        return MessagingConnection.deliver(self, data, length)

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
                held = held[:len(held) - len(features)] + writer.offer_starttls(features)
        elif event == ERROR:
            self.outbound_lost = True
        self.pass_on(held)
        return self.deliver(data + offset, length - offset) if offset < length else DELIVERED

    cdef void pass_on(self, bytes data):
        """Queues bytes of the server's that were held."""
        self.bytes_out += len(data)
        self.clients.board.slots[<int> BYTES_OUT] += len(data)
        self.receiver.sender.write(<const uint8_t*> (<const char*> data), len(data))
