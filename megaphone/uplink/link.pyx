"""One link: a session that outlives its sockets, and the socket that it has at the moment.

    BROKEN ── time for an attempt ──► CONNECTING ── socket (and TLS) ──► HANDSHAKING ── WELCOME ──► ATTACHED ◄─► DRAINING
       ▲                                  │ refused, too slow                │ refused                    │
       └──────────────────────────────────┴─────────── socket lost ──────────┴────────────────────────────┘

While BROKEN the session keeps its streams for the grace time (the session's own clock); the clients stay connected and
wait. The pause before an attempt is 50 ms, and twice as long after each attempt that failed, up to 5 s, give or take a
quarter so that a node's links do not come back in step. What a session says last leaves with a socket that *parts*: it is
written to the end and read to the end, or for a second, because closing over unread bytes would make the kernel reset it.
"""

import os
import random

from libc.errno cimport EAGAIN, EINPROGRESS, errno
from libc.stdint cimport uint8_t
from posix.unistd cimport close

from megaphone.dispatch.counters cimport *
from megaphone.sockets.address cimport AF_UNIX, sockaddr
from megaphone.sockets.calls cimport SOCK_CLOEXEC, SOCK_NONBLOCK, SOCK_STREAM, connect, send_at_once, socket
from megaphone.sockets.poller cimport TICKS_PER_SECOND
from megaphone.sockets.receiver cimport receive_with
from megaphone.sockets.tls cimport TLS
from megaphone.uplink.link_stream cimport LinkStream
from megaphone.wire.link cimport EDGE
from megaphone.wire.link_session cimport CLOSING

from megaphone.sockets.tls_contexts import last_error
from megaphone.wire.link import LinkReason
from megaphone.wire.link_messages import reason_text

cdef enum:
    FIRST_DELAY_MS = 50
    LONGEST_DELAY_MS = 5000
    STEADY_SECONDS = 10         # attached for so long, a link that breaks is tried again at once

cdef uint64_t SECOND = 1000000000


cdef class Parting(Sink):
    """What becomes of a socket that the session has done with: its last bytes leave, what comes is dropped."""

    cdef void take_end(self, int error):
        self.receiver.close()


cdef class Link(LinkOwner):
    """Link `index` of one worker to an upstream; `carrier` is told when it comes and goes, `name` is for people."""

    def __init__(self, Poller poller, Board board, carrier, upstream, int index, bytes secret, str name, tls):
        self.poller = poller
        self.board = board
        self.block = Board.link_slot(upstream.index, index, 0)
        self.carrier = self.admission = carrier
        self.upstream = upstream
        self.index = index
        self.secret = secret
        self.name = name
        self.tls = tls
        self.delay_ms = FIRST_DELAY_MS
        self.changed_ns = poller.now_ns
        self.enter(BROKEN)

    cdef uint64_t* slots(self) noexcept:
        return self.board.slots + self.block

    cdef bint usable(self) noexcept:
        """Whether a stream may be opened on it."""
        return self.state == ATTACHED and self.session.can_open()

    cdef void enter(self, int state):
        if (state == ATTACHED or state == DRAINING) != (self.state == ATTACHED or self.state == DRAINING):
            self.changed_ns = self.poller.now_ns
        self.state = state
        self.slots()[<int> LI_STATE] = state

    # --- the socket ------------------------------------------------------------

    cdef void connect(self):
        """Begins an attempt."""
        cdef bytes address = self.upstream.packed
        cdef int family = self.upstream.family, fd, error
        cdef LinkSender sender
        if self.session is None:
            self.session = self.new_session(os.urandom(16))
        fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)
        if fd < 0:
            self.lose_socket(os.strerror(errno))
            return
        if family != AF_UNIX:
            send_at_once(fd)
        if connect(fd, <const sockaddr*> (<const char*> address), len(address)) != 0 and errno != EINPROGRESS:
            error = errno       # a Unix socket whose queue is full says EAGAIN: it is tried again as after a failure
            close(fd)
            self.lose_socket(os.strerror(error))
            return
        sender = LinkSender.__new__(LinkSender)
        sender.session = self.session
        self.sender = sender
        self.receiver = receive_with(sender, fd, self.poller, self, True)
        if self.receiver is None:
            self.sender = None
            self.lose_socket("no room in the poller")
            return
        self.due_ns = self.poller.now_ns + self.admission.connect_ns
        self.enter(CONNECTING)

    cdef EdgeSession new_session(self, bytes session_id):
        cdef EdgeSession session = EdgeSession(EDGE, self.secret, session_id, self.name)
        session.link = self
        session.board = self.board
        session.block = self.block
        self.frames_in = self.frames_out = self.bytes_out = 0
        self.ended = False
        return session

    cdef void take_writable(self):
        """The socket stands, or TLS on it does."""
        cdef TLS tls
        if self.tls is not None and self.receiver.tls is None:
            tls = TLS(self.tls)
            self.receiver.start_tls(tls)
            tls.handshake()
            self.sender.seal_output()
            return
        self.enter(HANDSHAKING)
        self.session.connected(os.urandom(16), self.poller.now_ns)

    cdef void take_bytes(self, const uint8_t* data, size_t length):
        cdef EdgeSession session = self.session     # it may end meanwhile
        if self.receiver is None:
            return                                  # it parts: this was read before it knew
        self.slots()[<int> LI_BYTES_IN] += length
        session.take_bytes(data, length, self.poller.now_ns)
        self.admission.admit()

    cdef void take_end(self, int error):
        if error < 0:
            self.lose_socket(f"TLS: {self.receiver.tls.peer_refusal or last_error()}")
        else:
            self.lose_socket(os.strerror(error) if error else "the server closed the socket")

    cdef void lose_socket(self, str text):
        """The socket is gone, or never was: the next attempt comes later. `text` for people, None if they know."""
        cdef Receiver receiver = self.receiver
        cdef EdgeSession session = self.session
        if self.state == ATTACHED or self.state == DRAINING:
            if self.poller.now_ns - self.attached_ns >= STEADY_SECONDS * SECOND:
                self.delay_ms = FIRST_DELAY_MS
        self.receiver = None
        self.sender = None
        if receiver is not None:
            receiver.close()
        if self.state == CLOSED:
            return
        self.slots()[<int> LI_BREAKS] += 1
        self.due_ns = self.poller.now_ns + <uint64_t> (self.delay_ms * random.uniform(0.75, 1.25) * 1e6)
        self.delay_ms = min(2 * self.delay_ms, <uint32_t> LONGEST_DELAY_MS)
        self.enter(BROKEN)
        session.disconnected(self.poller.now_ns)
        if self.ended:
            self.forget_session()
        self.carrier.links_changed()
        if text is not None:
            self.report(text)

    # --- what the session says ------------------------------------------------

    cdef void session_has_output(self):
        if self.sender is not None:
            self.poller.flush_later(self.sender)

    cdef void session_attached(self, bint resumed):
        self.slots()[<int> LI_REATTACHES if resumed else <int> LI_ATTACHES] += 1
        self.attached_ns = self.poller.now_ns
        self.enter(DRAINING if self.session.draining else ATTACHED)
        self.report("")
        self.carrier.links_changed()

    cdef void session_refused(self, int reason, str text):
        self.slots()[<int> LI_REFUSED] += 1
        self.delay_ms = max(self.delay_ms, <uint32_t> 1000)     # somebody has to do something about it first
        self.report(f"{reason_text(reason)}: {text}")

    cdef void session_drains(self):
        self.enter(DRAINING)
        self.carrier.links_changed()

    cdef void session_disconnects(self):
        """The session has done with this socket: its last words leave, and it parts."""
        cdef Receiver receiver = self.receiver
        cdef Parting parting
        if receiver is None:
            return
        self.sender.session = None
        self.sender.finish()
        parting = Parting.__new__(Parting)
        parting.receiver = receiver
        parting.deadline_ticks = self.poller.now_ticks + TICKS_PER_SECOND
        receiver.sink = self.sender.sink = parting
        self.carrier.parting.append(parting)
        self.receiver = None
        self.lose_socket(None)

    cdef void session_ended(self, int reason, str text):
        """A new session begins with the next socket."""
        self.ended = True
        self.report(f"{reason_text(reason)}: {text}")
        if self.receiver is None:
            self.forget_session()
        elif self.session.state != CLOSING:
            self.lose_socket(None)      # it had not got so far as to belong to the session

    cdef void forget_session(self):
        self.count()
        self.session.link = None
        self.session = None

    cdef void session_lost(self, LinkStream stream):
        self.carrier.lose(stream)

    # --- time ------------------------------------------------------------

    cdef void sweep(self, bint tick):
        """Some times a second; `tick`: about once a second."""
        cdef EdgeSession session = self.session
        cdef uint64_t now_ns = self.poller.now_ns
        cdef int before = self.state
        if before == BROKEN and now_ns >= self.due_ns:
            self.connect()
            return
        if before == CONNECTING and now_ns >= self.due_ns:
            self.lose_socket("no connection in time")
            return
        if before == DRAINING and session.live == 0:
            session.end(LinkReason.SYSTEM_SHUTDOWN, "drained")
            return
        if session is None:
            return
        if tick:
            session.tick(now_ns)
            if self.state == BROKEN and before != BROKEN:
                self.report("no WELCOME in time" if before == HANDSHAKING else "the server was silent for too long")
        if self.session is not None:
            self.count()

    cdef void count(self):
        """Puts what the session has counted on the board."""
        cdef EdgeSession session = self.session
        cdef uint64_t* slots = self.slots()
        slots[<int> LI_FRAMES_IN] += session.frames_in - self.frames_in
        slots[<int> LI_FRAMES_OUT] += session.frames_out - self.frames_out
        if session.ring.written > self.bytes_out:
            slots[<int> LI_BYTES_OUT] += session.ring.written - self.bytes_out
        slots[<int> LI_STREAMS] = session.table.count
        slots[<int> LI_ROUND_TRIP_NS] = session.round_trip_ns
        slots[<int> LI_KEPT_BYTES] = session.kept_bytes()
        slots[<int> LI_UNSENT_BYTES] = session.unsent_bytes()
        self.frames_in = session.frames_in
        self.frames_out = session.frames_out
        self.bytes_out = session.ring.written

    cdef void report(self, str text):
        """Tells the carrier what the trouble is, once; "": it works."""
        if text != self.trouble and self.state != CLOSED:
            self.trouble = text
            self.carrier.report(self, text)

    def describe(self):
        """What an operator sees of this link (docs/reference/command-line.md, `links`)."""
        cdef EdgeSession session = self.session
        cdef uint64_t* slots = self.slots()
        if session is not None:
            self.count()
        return {
            "upstream": self.upstream.name,
            "peer": None,
            "name": self.name,
            "state": LinkState(self.state).name.lower(),
            "since_seconds": round((self.poller.now_ns - self.changed_ns) / 1e9, 3),
            "streams": 0 if session is None else session.table.count,
            "frames_in": slots[<int> LI_FRAMES_IN],
            "frames_out": slots[<int> LI_FRAMES_OUT],
            "bytes_in": slots[<int> LI_BYTES_IN],
            "bytes_out": slots[<int> LI_BYTES_OUT],
            "round_trip_seconds": None if session is None else session.round_trip_ns / 1e9 or None,
            "kept_bytes": 0 if session is None else session.kept_bytes(),
            "unsent_bytes": 0 if session is None else session.unsent_bytes(),
            "reattached": slots[<int> LI_REATTACHES],
            "trouble": self.trouble or None,
        }

    # --- the end ------------------------------------------------------------

    cdef void end(self, int reason, str text):
        """Ends the link for good, with a SHUTDOWN if there is somebody to hear it."""
        cdef LinkSender sender = self.sender
        cdef EdgeSession session = self.session
        if self.state == CLOSED:
            return
        self.enter(CLOSED)
        if session is not None:
            session.end(reason, text)
        if sender is not None:
            sender.flush()
