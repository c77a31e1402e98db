"""How a client connection ends: in order, at once, or because something has taken too long.

    take_end (client) ─┐                                            ┌─► last words, close_notify, FIN: CLOSING ─► CLOSED
    shutdown (server) ─┼─► end(): stream error, when it fits ───────┤              (reads and drops until then)
    take_tick (time) ──┘   into what the server is saying           └─► close_now(): nobody is there to hear them
"""

cimport cython
from libc.stdint cimport uint8_t, uint32_t

from megaphone.dispatch.counters cimport *
from megaphone.dispatch.dispatcher cimport Owner
from megaphone.edge.clients cimport Clients
from megaphone.edge.limits cimport ClientLimits
from megaphone.edge.relay cimport AUTHENTICATED, CLOSED, CLOSING, NEGOTIATING
from megaphone.edge.websocket cimport HTTP_OPEN, SPEAKS_HTTP, WEBSOCKETS_OPEN
from megaphone.sockets.receiver cimport TLS_HANDSHAKE_REFUSED, TLS_RECORD_REFUSED
from megaphone.wire.framer cimport framer_ended, framer_rests

from megaphone.edge import opening, upgrade
from megaphone.wire import writer


@cython.no_gc
cdef class ClosableConnection(OfferingConnection):
    """The part of a client connection that ends it."""

    cdef void take_end(self, int error):
        cdef Owner owner = self.owner
        if self.state >= CLOSING:
            # a client that only stopped talking still gets our last words
            if self.state == CLOSING and (error != 0 or self.receiver.sender.finished):
                self.close_now()
            return
        if error == TLS_HANDSHAKE_REFUSED:
            self.clients.board.slots[<int> TLS_FAILED] += 1
            self.reason = TLS_HANDSHAKE_FAILED
            self.start_closing()
        elif error == TLS_RECORD_REFUSED:       # the alert is still to be sent (RFC 8446 section 6.2)
            self.reason = CLIENT_RESET
            self.detach()
            self.start_closing()
        elif error != 0:
            self.reason = CLIENT_RESET
            self.detach()
            self.close_now()
        elif self.client_ended:
            return      # a WebSocket has ended already; this is TCP's end
        elif owner is not None:
            # the client has said all it wanted; the server may still have something to say
            self.client_ended = True
            self.limit_end()
            owner.take_client_end(self, framer_ended(&self.framer_in))
        else:
            self.reason = CLIENT_CLOSED
            self.start_closing()

    cdef void limit_end(self):
        """From now on there are `close_seconds` for the end."""
        self.deadline_ticks = self.clients.poller.now_ticks + self.clients.limits.close_ticks
        self.clients.dispatcher.wake(self)

    cdef void end(self, str condition, int reason):
        """Ends the connection in order: stream error if there is one and it fits, </stream:stream>, close_notify, FIN.

        If the server is in the middle of a stanza the error waits for its end (at most `close_seconds`).
        """
        if self.state >= CLOSING:
            return
        if reason == REMOTE_CONNECTION_FAILED or reason == SERVER_CLOSED:
            if framer_ended(&self.framer_out):
                condition, reason = "", self.reason         # it said goodbye before it hung up
            elif self.client_ended or framer_ended(&self.framer_in):
                condition, reason = "", CLIENT_CLOSED       # it hung up because the client had
        if self.end_condition is None:
            self.reason = reason
        if condition and not self.inject(condition) and self.owner is not None and self.end_condition is None:
            if not self.outbound_lost and not self.opaque and reason != REMOTE_CONNECTION_FAILED:
                self.end_condition = condition
                self.limit_end()
                return
        self.detach()
        self.start_closing()

    cdef bint inject(self, str condition):
        """Puts a stream error into the client's stream; False where it would not be well-formed."""
        cdef bytes text
        if self.speech == SPEAKS_HTTP:
            if not self.opaque:
                upgrade.refuse_for(self, condition)
            return True     # the web knows by the reason what to say
        if self.websocket is not None:
            return self.inject_messages(condition)
        if self.state < NEGOTIATING or self.opaque or self.outbound_lost or framer_ended(&self.framer_out):
            return False
        text = opening.stream_error(self, condition) + writer.STREAM_END
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
        """Lets go of the session owner, which is told why; a client that left without </stream:stream> has broken off."""
        cdef Owner owner = self.owner
        cdef int reason = self.reason
        if owner is not None:
            self.owner = None
            self.upstream = owner.upstream_name()
            if reason == CLIENT_CLOSED and not framer_ended(&self.framer_in):
                reason = CLIENT_RESET
            owner.take_shutdown(self, reason)

    cdef void start_closing(self):
        self.enter(CLOSING)
        self.pending = b""
        self.limit_end()
        if self.websocket is not None:
            self.say_close()
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
        if self.websocket is not None:
            clients.board.slots[<int> WEBSOCKETS_OPEN] -= 1
        elif self.speech == SPEAKS_HTTP and self.opaque:
            clients.board.slots[<int> HTTP_OPEN] -= 1
        if clients.on_closed is not None:
            clients.on_closed(self, self.reason)
        if self.admitted:
            clients.admission.released(self)
        self.receiver.close()
        clients.dispatcher.release(self)

    cdef void take_drained(self):
        cdef Owner owner = self.owner
        if self.state == CLOSING:
            if self.receiver.ended and self.receiver.sender.finished:
                self.close_now()
        elif owner is not None:
            owner.take_room(self)

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
                if self.client_ended:
                    self.reason = CLIENT_CLOSED
                self.detach()
                self.start_closing()
            elif owner is not None:
                owner.take_tick(self, now_ticks)    # it may still be connecting
                self.clients.dispatcher.wake(self)
            return
        if self.receiver.sender.stalled_ticks and now_ticks - self.receiver.sender.stalled_ticks > limits.slow_ticks:
            self.reason = SLOW_CONSUMER
            self.close_now()
        elif self.state < AUTHENTICATED and not self.opaque and now_ticks - self.opened_ticks > limits.preauth_ticks:
            self.end("connection-timeout", PREAUTH_TIMEOUT)
        elif now_ticks - self.active_ticks > limits.idle_ticks:
            self.end("connection-timeout", IDLE_TIMEOUT)
        else:
            if self.websocket is not None and self.state == AUTHENTICATED:
                self.keep_alive(now_ticks)
            if owner is not None:
                owner.take_tick(self, now_ticks)
