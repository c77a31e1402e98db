# Outline of one end of a link's session: no I/O, no clock, no randomness. The edge's uplink and the hub subclass it.
#
# LinkSession(role, secret, session_id, name="", window_bytes=65536, streams_limit=10000, grace_seconds=30)
#     session_id: 16 random bytes; name: the edge's; the last two are the server's to say (the edge gets them in WELCOME)
#
# Times are CLOCK_MONOTONIC nanoseconds. Events must not raise: what a read brought after the frame would be lost.
# They may call anything but take_bytes and wrote. How an owner drives it:
#
#   edge                                            server side
#   s.connected(nonce, now)   a socket stands       g = LinkGreeting(secret, nonce, instance, now)
#                                                   n = g.take_bytes(data, length)  until g.hello or g.refused
#                                                   s = the session g.hello.session, or a new one
#                                                   s.accept(g, now)    False: flush g and close
#                                                   s.take_bytes(data + n, length - n, now)
#   then both: flush:  while (n := s.unsent(regions)): write; s.wrote(bytes)        when on_output was called, or EPOLLOUT
#              read:   s.take_bytes(data, length, now)
#              broken: s.disconnected(now)
#              sweep:  s.tick(now)                  about once a second
#              on_disconnect: close the socket;  on_end: forget the session
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from posix.uio cimport iovec
from megaphone.wire.link cimport Frame, FrameReader
from megaphone.wire.link_greeting cimport LinkGreeting
from megaphone.wire.link_input cimport LinkInput
from megaphone.wire.link_streams cimport Stream

# What a session and its socket have come to.
cpdef enum SessionState:
    UNATTACHED = 0          # no socket: never had one, or waits for a new one
    CHALLENGE_AWAITED = 1   # edge: a socket, nothing heard yet
    WELCOME_AWAITED = 2     # edge: HELLO is said
    ATTACHED = 3
    CLOSING = 4             # our SHUTDOWN for id 0 is on its way, then the socket closes
    ENDED = 5               # over for good: make a new LinkSession

cdef enum:
    REGIONS = 3             # what `unsent` fills at most

cdef class LinkSession(LinkInput):
    cdef readonly int state                     # SessionState
    cdef readonly bint over                     # on_end was called
    cdef readonly uint32_t features             # of the WELCOME
    cdef readonly uint32_t epoch
    cdef readonly uint32_t grace_seconds
    cdef readonly uint64_t round_trip_ns        # of the last PONG; 0: none yet on this socket
    cdef readonly uint64_t reattached_times
    cdef public object name                     # the edge's, for people
    cdef readonly bytes session_id
    cdef readonly bytes peer_instance           # edge: the server's instance, once heard
    cdef bytes secret
    cdef bytes nonce
    cdef bytes challenge_payload                # what the proofs cover
    cdef bytes hello_payload
    cdef bytes greeting                         # CHALLENGE .. WELCOME, or a refusal, not written yet
    cdef FrameReader reader
    cdef bint ring_open                         # the socket may be given the ring
    cdef uint32_t sockets                       # changes with the socket
    cdef uint64_t now_ns
    cdef uint64_t attached_ns
    cdef uint64_t heard_ns
    cdef uint64_t ping_due_ns
    cdef uint64_t socket_deadline_ns            # of the greeting, or of CLOSING
    cdef uint64_t grace_deadline_ns

    # --- what the owner calls, beside LinkExchange's and LinkOutput's ---
    cdef void connected(self, bytes nonce, uint64_t now_ns)             # edge; `nonce` 16 random bytes, new each time
    cdef bint accept(self, LinkGreeting greeting, uint64_t now_ns)      # server; before the session's socket is the new one
    cdef void disconnected(self, uint64_t now_ns)                       # the socket is gone; not needed after on_disconnect
    cdef void take_bytes(self, const uint8_t* data, size_t length, uint64_t now_ns)
    cdef int unsent(self, iovec* regions) noexcept                      # 0 .. REGIONS regions to send, in order
    cdef void wrote(self, size_t length)                                # the socket has taken so much of them
    cdef void tick(self, uint64_t now_ns)
    cdef void end(self, int reason, str text)                           # the orderly end: SHUTDOWN for id 0

    # --- events: the owner overrides them, beside those of LinkInput, LinkExchange and LinkOutput ---
    cdef void on_welcome(self, bint resumed)            # attached; not resumed: without any stream
    cdef void on_refused(self, int reason, str text)    # edge: this socket's greeting failed; the session, if any, waits on
    cdef void on_disconnect(self)                       # close the socket now
    cdef void on_end(self, int reason, str text)        # over, for good; all streams have had on_shutdown

    # --- its own ---
    cdef void change_socket(self, int state)
    cdef void drop_socket(self)
    cdef void attach(self, uint64_t now_ns, bint resumed)
    cdef void greet(self, Frame* frame)
    cdef void refuse(self, int reason, str text)
    cdef void answer_challenge(self, bytes payload)
    cdef void take_welcome(self, bytes payload)
    cdef void finish(self, int reason, str text, bint tell)
