"""How a client connection moves to another process: as a record, with a descriptor of its socket.

    predecessor                                         successor
    export(): ClientRecord, descriptor ───────────────► restore_connection(): asleep
    fingerprint() differs: export() again ────────────► another one in its place
    leave(): forgets the socket, without a word         activate(): same ConnectionID; the poller watches the socket

What the edge itself is in the middle of does not move: TLS handshakes, the edge's own part of a stream, and what is
closing. That takes moments, and whoever hands over waits for it (worker/predecessor.py).
"""

cimport cython
from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport uint8_t, uint64_t
from libc.string cimport memcpy
from posix.unistd cimport close

from megaphone.dispatch.counters cimport CLOSED_BY_REASON, SYSTEM_SHUTDOWN
from megaphone.dispatch.fingerprint cimport mixed
from megaphone.edge.clients cimport Clients
from megaphone.edge.relay cimport AUTHENTICATED, CLOSED, CLOSING, HANDSHAKE, NEGOTIATING
from megaphone.edge.websocket cimport HTTP_OPEN, SPEAKS_BOSH, SPEAKS_HTTP, SPEAKS_WEBSOCKET, SPEAKS_XMPP, WEBSOCKETS_OPEN, restore_websocket
from megaphone.sockets.poller cimport TICKS_PER_SECOND
from megaphone.sockets.moving cimport (
    activate_socket, export_socket, milliseconds_of, restore_socket, socket_fingerprint, ticks_from,
)
from megaphone.wire.framer cimport framer_export, framer_import

import msgspec

from megaphone.dispatch.moving import Moved
from megaphone.edge.client_record import ClientRecord, WebSocketRecord
from megaphone.errors import MoveError

cdef enum:          # of a record; never given another meaning
    OPAQUE = 1          # compressed or encrypted by the server
    OUTBOUND_LOST = 2   # the server's stream could not be framed
    THROTTLED = 4       # over its rate, and not read
    CREDIT = 8          # the owner has asked for data that has not come yet
    ADMITTED = 16       # counted in the address sketch, which stays as it is
    HEADER_SENT = 32    # the edge has answered this stream's header itself
    CLIENT_ENDED = 64   # the client's last byte has come
    IN_STARTTLS = 128   # TLS was begun with STARTTLS
    HEARD = 256         # it speaks XMPP, not HTTP
    SECURED = 512       # a trusted proxy says that the client has TLS

cdef enum:
    ALLOWANCE_PARTS = 10000     # of a stanza or byte, in a record

cdef object encode = msgspec.msgpack.Encoder().encode
cdef object decode = msgspec.msgpack.Decoder(ClientRecord).decode


@cython.no_gc
cdef class MovableConnection(ClosableConnection):
    """The part of a client connection that moves it to another process."""

    cdef bint movable(self):
        return not (self.speech == SPEAKS_HTTP or self.speech == SPEAKS_BOSH or self.awaits_admission or self.state >= CLOSING or self.state == HANDSHAKE or self.offering or self.state == NEGOTIATING and self.session is not None)

    cdef int flags(self) noexcept:
        return ((OPAQUE if self.opaque else 0) | (OUTBOUND_LOST if self.outbound_lost else 0) | (THROTTLED if self.throttled else 0)
                | (CREDIT if self.credit else 0) | (ADMITTED if self.admitted else 0) | (HEADER_SENT if self.header_sent else 0)
                | (CLIENT_ENDED if self.client_ended else 0)
                | (IN_STARTTLS if self.in_starttls else 0) | (HEARD if self.speech == SPEAKS_XMPP else 0)
                | (SECURED if self.secured else 0))

    cdef uint64_t fingerprint(self):
        cdef uint64_t print = mixed(self.state, self.flags())
        # every byte that changes the framers, the allowance or the TLS is counted here
        print = mixed(mixed(print, self.bytes_in), self.bytes_out)
        print = mixed(print, len(self.pending) | (<uint64_t> (self.end_condition is not None) << 32) | (<uint64_t> self.movable() << 33))
        if self.held is not None:
            print = mixed(print, 1 + len(self.held))
        return mixed(print, socket_fingerprint(self.receiver))

    cpdef object export(self):
        """This connection without its owner, or None: see above."""
        if not self.movable():
            return None
        socket = export_socket(self.receiver)
        if socket is None:
            return None
        websocket = None
        if self.websocket is not None:
            state = self.websocket.export()
            if state is None:
                return None
            websocket = WebSocketRecord(*state)
        record = ClientRecord(
            self.state, PyBytes_FromStringAndSize(<const char*> self.address, 16), self.port, self.listener.place, self.domain, self.jid,
            self.flags(), socket, framer_export(&self.framer_in), framer_export(&self.framer_out), self.bytes_in, self.bytes_out,
            self.stanza_tokens * (ALLOWANCE_PARTS // TICKS_PER_SECOND), self.byte_tokens * (ALLOWANCE_PARTS // TICKS_PER_SECOND),
            milliseconds_of(self.refilled_ticks), milliseconds_of(self.active_ticks), milliseconds_of(self.opened_ticks),
            self.pending, self.held, self.sniffed, self.end_condition, self.reason, milliseconds_of(self.deadline_ticks), self.upstream,
            websocket,
        )
        return Moved("client", encode(record), (self.receiver.fd,))

    cdef int restore_from(self, object record, int fd) except -1:
        """Becomes what the record says; MoveError, and `fd` is closed, if that cannot be. OverflowError: `fd` is open."""
        cdef bytes address = record.address, framer_in = record.framer_in, framer_out = record.framer_out
        cdef int flags = record.flags
        if not (0 <= record.state <= AUTHENTICATED and len(address) == 16
                and framer_import(&self.framer_in, <const uint8_t*> (<const char*> framer_in), len(framer_in))
                and framer_import(&self.framer_out, <const uint8_t*> (<const char*> framer_out), len(framer_out))):
            close(fd)
            raise MoveError("a connection in a state that is not known here")
        memcpy(self.address, <const char*> address, 16)
        self.port = record.port
        self.domain, self.jid, self.upstream = record.domain, record.jid, record.upstream
        self.pending, self.held, self.sniffed, self.end_condition = record.pending, record.held, record.sniffed, record.end_condition
        self.opaque = flags & OPAQUE != 0
        self.outbound_lost = flags & OUTBOUND_LOST != 0
        self.throttled = flags & THROTTLED != 0
        self.credit = flags & CREDIT != 0
        self.admitted = flags & ADMITTED != 0
        self.header_sent = flags & HEADER_SENT != 0
        self.client_ended = flags & CLIENT_ENDED != 0
        self.in_starttls = flags & IN_STARTTLS != 0
        self.secured = flags & SECURED != 0
        if flags & HEARD or self.pending:
            self.speech = SPEAKS_XMPP
        if record.websocket is not None:
            try:
                self.websocket = restore_websocket(record.websocket)
            except (OverflowError, ValueError) as error:
                close(fd)
                raise MoveError(f"a WebSocket that is none: {error}") from None
            self.speech = SPEAKS_WEBSOCKET
        self.bytes_in, self.bytes_out, self.reason = record.bytes_in, record.bytes_out, record.reason
        self.stanza_tokens = record.stanza_allowance // (ALLOWANCE_PARTS // TICKS_PER_SECOND)
        self.byte_tokens = record.byte_allowance // (ALLOWANCE_PARTS // TICKS_PER_SECOND)
        self.refilled_ticks = ticks_from(record.refilled_ms)
        self.active_ticks = ticks_from(record.active_ms)
        self.opened_ticks = ticks_from(record.opened_ms)
        self.deadline_ticks = ticks_from(record.deadline_ms)
        self.receiver = restore_socket(record.socket, fd, self.clients.poller, self, self.clients.limits.mailbox_bytes)
        self.enter(record.state)
        if self.websocket is not None:
            self.clients.board.slots[<int> WEBSOCKETS_OPEN] += 1
        return 0

    cpdef activate(self):
        """The same connection as before, in this process."""
        cdef Clients clients = self.clients
        if not clients.dispatcher.register_again(self):
            raise MoveError(f"connection {self.id:016x} is there already")
        if self.throttled:
            clients.throttled.append(self)
        if not activate_socket(self.receiver):
            raise MoveError(f"connection {self.id:016x} cannot be watched")

    cpdef leave(self):
        """Has moved, or is not needed: neither client nor server hears of it, nor the sketch."""
        if self.state != CLOSED:
            self.owner = None
            if self.websocket is not None:
                self.clients.board.slots[<int> WEBSOCKETS_OPEN] -= 1
            elif self.speech == SPEAKS_HTTP and self.opaque:
                self.clients.board.slots[<int> HTTP_OPEN] -= 1
            self.enter(CLOSED)
            self.receiver.close()
            self.clients.dispatcher.release(self)

    cpdef object write_off(self):
        """(Reason, whether the sketch counted it): as if it had ended already, which is what comes next."""
        cdef int reason = self.reason if self.state >= CLOSING else SYSTEM_SHUTDOWN
        cdef bint admitted = self.admitted
        self.clients.board.slots[<int> CLOSED_BY_REASON + reason] += 1
        if admitted:
            self.admitted = False
            self.clients.admission.released(self)
        return reason, admitted

    cpdef take_back(self, object written_off):
        cdef int reason
        reason, admitted = written_off
        self.clients.board.slots[<int> CLOSED_BY_REASON + reason] -= 1
        if admitted:
            self.clients.admission.count(self)


def decode_client(bytes data):
    """The ClientRecord in `data`; MoveError if it is none."""
    try:
        return decode(data)
    except msgspec.MsgspecError as error:
        raise MoveError(f"not the record of a connection: {error}") from None
