"""A link's socket on the hub's side: greets, then carries a session's bytes.

    accepted ──► GREETING ── HELLO proven ──► CARRYING ── replaced, silent, session over ──► RETIRING ──► SHUT
                    └── refused, too late, hung up ────────────────────────────────────────────┴────────────▲

A socket that is closed over unread bytes would make the kernel send a reset, and the edge might not see why: so it is
shut down for writing, read on, and dropped later.
"""

from libc.stdint cimport uint8_t
from posix.uio cimport iovec

from megaphone.dispatch.counters cimport *
from megaphone.sockets.link_sender cimport LinkSender
from megaphone.sockets.receiver cimport TLS_HANDSHAKE_REFUSED, receive_with
from megaphone.sockets.tls cimport TLS
from megaphone.wire.link cimport INTERNAL_ERROR
from megaphone.wire.link_session cimport CLOSING, REGIONS

from os import strerror, urandom

from megaphone.wire.link_messages import reason_text

cdef enum:
    STRANGERS = 64                  # sockets without a session; at this bound the oldest is closed


cdef LinkSocket open_link_socket(Hub hub, int fd, str peer):
    """Takes over an accepted, non-blocking socket and greets; None if it cannot be watched (it is closed then)."""
    cdef LinkSocket socket = LinkSocket.__new__(LinkSocket)
    cdef LinkSender sender = LinkSender.__new__(LinkSender)
    socket.hub = hub
    socket.peer = peer
    socket.greeting = LinkGreeting(hub.settings.secret, urandom(16), hub.instance, hub.poller.now_ns)
    socket.receiver = receive_with(sender, fd, hub.poller, socket, False)
    if socket.receiver is None:
        return None
    if hub.certificates is not None:
        socket.receiver.start_tls(TLS(hub.certificates))
    socket.admit()
    socket.say_greeting()
    return socket


cdef class CarriedLink(LinkSession):
    """A session and the socket that carries it at the moment, if any."""

    cdef void on_output(self):
        cdef LinkSocket socket = self.socket
        if socket is not None and socket.receiver is not None:
            socket.hub.poller.flush_later(socket.receiver.sender)

    cdef void on_disconnect(self):
        cdef LinkSocket socket = self.socket
        if socket is not None:
            # if it waits on for another one; one that comes in place of this one puts it right at once
            self.trouble = "the edge was silent for too long"
            socket.retire()


cdef class LinkSocket(Sink):
    """One accepted socket of an edge."""

    cdef void take_bytes(self, const uint8_t* data, size_t length):
        cdef CarriedLink link = self.link
        self.hub.board.slots[<int> HUB_LINK_BYTES_IN] += length
        try:
            if self.state == CARRYING:
                link.take_bytes(data, length, self.hub.poller.now_ns)
            elif self.state == GREETING:
                self.read_greeting(data, length)
        except Exception as error:      # a mistake of ours must not leave a link half alive
            self.hub.poller.fault(error)
            if link is not None:
                link.end(INTERNAL_ERROR, "internal error")
            else:
                self.retire()

    cdef void admit(self):
        """Strangers must not be able to keep edges out, so that the oldest of them makes room."""
        cdef LinkSocket oldest
        if len(self.hub.strangers) >= STRANGERS:
            oldest = next(iter(self.hub.strangers))
            oldest.shut()
        self.hub.sockets.add(self)
        self.hub.strangers[self] = None

    cdef void read_greeting(self, const uint8_t* data, size_t length):
        cdef LinkGreeting greeting = self.greeting
        cdef CarriedLink link
        cdef size_t used = greeting.take_bytes(data, length)
        if greeting.hello is not None:
            self.hub.welcome(self, greeting)
        if greeting.refused:
            self.hub.board.slots[<int> HUB_REFUSED] += 1
            self.hub.on_link("link refused", peer=self.peer, reason=reason_text(greeting.reason), text=greeting.text)
            self.say_greeting()
            self.retire()
        link = self.link
        if link is not None:
            link.take_bytes(data + used, length - used, self.hub.poller.now_ns)

    cdef void carry(self, CarriedLink link):
        """From here on the session's bytes; it has taken over the greeting."""
        del self.hub.strangers[self]
        self.greeting = None
        self.state = CARRYING
        self.link = link
        link.socket = self
        link.changed_ns = self.hub.poller.now_ns
        link.trouble = None
        (<LinkSender> self.receiver.sender).session = link
        self.hub.poller.flush_later(self.receiver.sender)

    cdef void say_greeting(self):
        """Queues CHALLENGE, or the SHUTDOWN of a refusal."""
        cdef iovec regions[REGIONS]
        if self.greeting.unsent(regions):
            self.receiver.sender.write(<const uint8_t*> regions[0].iov_base, regions[0].iov_len)
            self.greeting.wrote(regions[0].iov_len)

    # --- the end ---

    cdef void take_writable(self):
        """The TLS handshake is done, with a client certificate if the hub asks for one."""
        self.hub.board.slots[<int> TLS_1_3_OK if self.receiver.tls.version == "TLSv1.3" else <int> TLS_1_2_OK] += 1
        self.hub.board.slots[<int> TLS_OPENSSL_RECORDS] += 1

    cdef void take_end(self, int error):
        cdef CarriedLink link = self.link
        if error == TLS_HANDSHAKE_REFUSED:
            self.hub.board.slots[<int> TLS_FAILED] += 1
        if error > 0:
            self.shut()
        elif self.state == GREETING or (self.state == CARRYING and link.state != CLOSING):
            self.retire()
        elif self.state == RETIRING and self.receiver.sender.finished:
            self.shut()
        # else our last words are still to leave, though the edge has stopped talking
        if link is not None and self.link is None:
            self.hub.board.slots[<int> HUB_BROKEN] += 1
            link.trouble = strerror(error) if error > 0 else "the edge closed the socket"
            link.disconnected(self.hub.poller.now_ns)
            self.hub.on_link("link broken", peer=self.peer, link=link.name, streams=link.stream_count())

    cdef void take_drained(self):
        if self.state == RETIRING and self.receiver.ended and self.receiver.sender.finished:
            self.shut()

    cdef void let_go(self):
        if self.link is not None:
            self.link.socket = None
            self.link.changed_ns = self.hub.poller.now_ns
            self.link = None
            (<LinkSender> self.receiver.sender).session = None
        self.greeting = None

    cdef void retire(self):
        """After what is sealed: close_notify, FIN. Then it waits for the edge to hang up, or for its deadline."""
        if self.state >= RETIRING:
            return
        if self.state == CARRYING:
            self.admit()
        self.let_go()
        self.state = RETIRING
        self.deadline_ticks = self.hub.poller.now_ticks + self.hub.close_ticks
        self.receiver.sender.finish()

    cdef void shut(self):
        if self.state == SHUT:
            return
        self.let_go()
        self.state = SHUT
        self.hub.sockets.discard(self)
        self.hub.strangers.pop(self, None)
        self.receiver.close()

    cdef void tick(self):
        """About once a second: has something taken too long?"""
        if self.state == CARRYING:
            self.link.tick(self.hub.poller.now_ns)
        elif self.state == GREETING:
            if self.greeting.expired(self.hub.poller.now_ns):
                self.hub.board.slots[<int> HUB_REFUSED] += 1
                self.hub.on_link("link refused", peer=self.peer, reason="connection-timeout", text="no HELLO in time")
                self.retire()
        elif self.hub.poller.now_ticks >= self.deadline_ticks:
            self.shut()
