"""One end of a link's session: greeting, sockets that come and go, liveness; the traffic is LinkInput's.

The edge's states (the server side begins at ATTACHED: its greeting is LinkGreeting's business):

    UNATTACHED ── connected ──► CHALLENGE_AWAITED ── CHALLENGE ──► WELCOME_AWAITED ── WELCOME ──► ATTACHED
        ▲                              │ refused                         │ refused                  │   │ end, or a
        ├── socket lost ◄──────────────┴────────── CLOSING ◄─────────────┘                          │   │ peer's mistake
        ├── socket lost, silence ◄──────────────────────────────────────────────────────────────────┘   ▼
        └── grace time over ──► ENDED ◄───────────────────────────────── words said ──────────────── CLOSING

A session that exists outlives its sockets for the grace time; what it has said is kept in the ring and said again.
docs/reference/link-protocol.md, sections Beginning, Liveness, Re-attaching.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdint cimport UINT64_MAX

from megaphone.wire.link cimport (
    CHALLENGE, EDGE, FAULT, HELLO, LINK_TIMEOUT, LinkReason, MORE, PING, SERVER, SHUTDOWN, WELCOME, frame_fault_text,
    frame_name, frame_reader_free, frame_reader_reset, frame_reader_start, next_frame,
)
from megaphone.wire.link_ring cimport ring_regions, ring_resume, ring_shrink

from megaphone.errors import LinkError
from megaphone.wire.link import Side, encode_frame
from megaphone.wire.link_messages import (
    FEATURES, SESSIONS_GO_ON, WINDOW_BYTES, Challenge, Hello, Shutdown, Welcome, check_secret, cut_text,
    server_is_proven,
)

cdef enum:
    PING_SECONDS = 4            # with a tick a second that is at least every 5 s
    SILENCE_SECONDS = 15
    GREETING_SECONDS = 10
    CLOSING_SECONDS = 5         # for the last words to leave

cdef uint64_t SECOND = 1000000000


cdef class LinkSession(LinkInput):
    """One end of one link. `role` is a Side; window_bytes 4,096 to 1,048,576.

    `session_id` has 16 random bytes, `name` is the edge's; `streams_limit` and `grace_seconds` are the server's to say.
    """

    def __init__(
        self, int role, bytes secret not None, bytes session_id not None, str name="", uint32_t window_bytes=65536,
        uint32_t streams_limit=10000, uint32_t grace_seconds=30,
    ):
        if not WINDOW_BYTES[0] <= window_bytes <= WINDOW_BYTES[1] or len(session_id) != 16:
            raise ValueError("a window has 4,096 to 1,048,576 bytes, a session id 16")
        self.role = Side(role)
        self.secret = check_secret(secret)
        self.session_id = session_id
        self.name = name
        self.window_bytes = window_bytes
        self.streams_limit = streams_limit
        self.grace_seconds = grace_seconds
        self.state = UNATTACHED
        frame_reader_start(&self.reader, SERVER if role == EDGE else EDGE)

    def __dealloc__(self):
        frame_reader_free(&self.reader)

    # --- sockets ---

    cdef void connected(self, bytes nonce, uint64_t now_ns):
        """A new socket of the edge stands; the server says the first word on it."""
        self.now_ns = now_ns
        if self.over or self.state != UNATTACHED:
            return
        self.nonce = nonce
        self.change_socket(CHALLENGE_AWAITED)
        self.socket_deadline_ns = now_ns + GREETING_SECONDS * SECOND

    cdef void change_socket(self, int state):
        """What belongs to a socket is forgotten; what the last one has taken counts for nothing until acknowledged."""
        self.state = state
        self.sockets += 1
        self.greeting = None
        self.ring_open = False
        self.ring.sent = self.ring.acknowledged
        self.round_trip_ns = 0
        frame_reader_reset(&self.reader)

    cdef void disconnected(self, uint64_t now_ns):
        """The socket is gone: the session waits for another one, if there is a session that can."""
        cdef bint was_attached = self.state == ATTACHED
        self.now_ns = now_ns
        if self.state == UNATTACHED or self.state == ENDED:
            return
        self.change_socket(ENDED if self.over else UNATTACHED)
        if was_attached:
            self.grace_deadline_ns = now_ns + self.grace_seconds * SECOND
            if not self.features & <uint32_t> SESSIONS_GO_ON:
                self.finish(LinkReason.CONNECTION_LOST, "the socket broke", False)

    cdef void drop_socket(self):
        self.disconnected(self.now_ns)
        self.on_disconnect()

    cdef void attach(self, uint64_t now_ns, bint resumed):
        self.state = ATTACHED
        self.welcomed = self.ring_open = True
        self.attached_ns = self.heard_ns = now_ns
        self.ping_due_ns = now_ns
        self.grace_deadline_ns = UINT64_MAX
        if self.drained and not resumed:
            self.drained = False
            self.drain()
        self.on_welcome(resumed)
        self.on_output()
        self.serve()        # what the peer has received meanwhile has made room

    # --- bytes ---

    cdef void take_bytes(self, const uint8_t* data, size_t length, uint64_t now_ns):
        """Takes what was read from the socket."""
        cdef const uint8_t* at = data
        cdef const uint8_t* end = data + length
        cdef uint32_t socket = self.sockets
        cdef Frame frame
        cdef int step
        self.now_ns = self.heard_ns = now_ns
        if self.state == UNATTACHED or self.state >= CLOSING:
            return
        while self.sockets == socket and self.state != CLOSING:
            step = next_frame(&self.reader, &at, end, &frame)
            if step == MORE:
                break
            if step == FAULT:
                if self.state == ATTACHED:
                    self.fail(LinkReason.PROTOCOL_ERROR, frame_fault_text(&self.reader))
                else:
                    self.refuse(LinkReason.PROTOCOL_ERROR, frame_fault_text(&self.reader))
                return
            self.frames_in += 1
            if self.state != ATTACHED:
                self.greet(&frame)
            elif frame.type == SHUTDOWN and frame.id == 0:
                self.finish(frame.payload[8], shutdown_text(&frame), False)
            else:
                self.take_frame(&frame)
        if self.state == ATTACHED and self.sockets == socket:
            self.settle()

    cdef void take_stamp(self, uint64_t stamp):
        """A PING said before the socket broke is answered late: its round trip says nothing about this one."""
        if self.attached_ns <= stamp <= self.now_ns:
            self.round_trip_ns = self.now_ns - stamp

    cdef int unsent(self, iovec* regions) noexcept:
        """What the socket should be given next."""
        cdef int count = 0
        if self.greeting:
            regions[0].iov_base = PyBytes_AS_STRING(self.greeting)
            regions[0].iov_len = len(self.greeting)
            count = 1
        if self.ring_open:
            count += ring_regions(&self.ring, regions + count)
        return count

    cdef void wrote(self, size_t length):
        """The socket has taken `length` bytes of what `unsent` gave last."""
        cdef size_t part
        if self.greeting:
            part = len(self.greeting)
            if part > length:
                part = length
            self.greeting = self.greeting[part:]
            length -= part
        if length:
            self.ring.sent += length
            if self.ring.sent > self.ring.written:
                self.ring.written = self.ring.sent
        if self.state == CLOSING:
            if not self.greeting and not (self.ring_open and self.unsent_bytes()):
                self.drop_socket()
        elif self.held.first != NULL or self.owing.first != NULL:
            self.serve()

    # --- greeting ---

    cdef void greet(self, Frame* frame):
        """A frame from the server before WELCOME is complete."""
        cdef bytes payload = PyBytes_FromStringAndSize(<const char*> frame.payload, frame.length)
        try:
            if frame.type == SHUTDOWN and frame.id == 0:
                self.drop_socket()
                self.on_refused(payload[8], shutdown_text(frame))
            elif frame.type == CHALLENGE and self.state == CHALLENGE_AWAITED:
                self.answer_challenge(payload)
            elif frame.type == WELCOME and self.state == WELCOME_AWAITED:
                self.take_welcome(payload)
            else:
                awaited = "CHALLENGE" if self.state == CHALLENGE_AWAITED else "WELCOME"
                raise LinkError(LinkReason.PROTOCOL_ERROR, f"{frame_name(frame.type)} came instead of {awaited}")
        except LinkError as error:
            self.refuse(error.reason, str(error))

    cdef void refuse(self, int reason, str text):
        """The greeting failed: the server is told, and the socket closes. A session from before waits on."""
        self.greeting = (self.greeting or b"") + encode_frame(SHUTDOWN, 0, Shutdown(0, reason, text).encode())
        self.state = CLOSING
        self.socket_deadline_ns = self.now_ns + CLOSING_SECONDS * SECOND
        self.on_refused(reason, text)
        self.on_output()

    cdef void answer_challenge(self, bytes payload):
        self.peer_instance = Challenge.decode(payload).instance
        self.challenge_payload = payload
        self.epoch += 1
        hello = Hello(self.nonce, self.session_id, self.epoch, self.received_bytes, self.window_bytes, self.name)
        self.hello_payload = hello.encode(self.secret, payload)
        self.greeting = encode_frame(HELLO, 0, self.hello_payload)
        self.state = WELCOME_AWAITED
        self.on_output()

    cdef void take_welcome(self, bytes payload):
        if not server_is_proven(self.secret, self.challenge_payload, self.hello_payload, payload):
            raise LinkError(LinkReason.NOT_AUTHORIZED, "WELCOME has a wrong proof")
        welcome = Welcome.decode(payload)
        if welcome.epoch != self.epoch:
            raise LinkError(LinkReason.PROTOCOL_ERROR, f"WELCOME has epoch {welcome.epoch} instead of {self.epoch}")
        if welcome.resumed:
            if not ring_resume(&self.ring, welcome.received):
                raise LinkError(LinkReason.PROTOCOL_ERROR,
                                f"WELCOME goes on behind {welcome.received} bytes; kept are those from "
                                f"{self.ring.acknowledged} to {self.ring.written}")
            if self.welcomed and welcome.window != self.peer_window_bytes:
                raise LinkError(LinkReason.PROTOCOL_ERROR, f"WELCOME changes the window to {welcome.window} bytes")
            self.reattached_times += self.welcomed
        elif welcome.received:
            raise LinkError(LinkReason.PROTOCOL_ERROR, f"WELCOME to a new session has received {welcome.received} bytes")
        elif self.welcomed:
            self.begin_anew("the server does not know the session any more")
            if self.over:
                return
        self.features = welcome.features & <uint32_t> FEATURES
        self.peer_window_bytes = welcome.window
        self.streams_limit = welcome.streams
        self.grace_seconds = welcome.grace_seconds
        self.acknowledged_bytes = self.received_bytes
        self.attach(self.now_ns, welcome.resumed)

    cdef bint accept(self, LinkGreeting greeting, uint64_t now_ns):
        """Server: goes on with the socket of a greeting whose HELLO names this session.

        False if the greeting is refused instead: flush it and close its socket. An older socket is dropped.
        """
        cdef bint resumed
        hello = greeting.hello
        self.now_ns = now_ns
        if self.epoch and hello.epoch <= self.epoch:
            greeting.refuse(LinkReason.STALE_EPOCH, f"HELLO has epoch {hello.epoch}; the session's is {self.epoch}")
            return False
        if self.over:
            greeting.refuse(LinkReason.INTERNAL_ERROR, "the session has ended")
            return False
        if self.welcomed and hello.window != self.peer_window_bytes:
            greeting.refuse(LinkReason.PROTOCOL_ERROR, f"HELLO changes the window to {hello.window} bytes")
            return False
        if self.state == ATTACHED:
            self.drop_socket()
            if self.over:
                greeting.refuse(LinkReason.INTERNAL_ERROR, "the session has ended")
                return False
        resumed = self.welcomed and hello.features & SESSIONS_GO_ON and ring_resume(&self.ring, hello.received)
        if self.welcomed and not resumed:
            self.begin_anew("the edge does not go on with the session")
            if self.over:
                greeting.refuse(LinkReason.INTERNAL_ERROR, "the session has ended")
                return False
        self.change_socket(ATTACHED)
        self.epoch = hello.epoch
        self.features = hello.features & <uint32_t> FEATURES
        self.peer_window_bytes = hello.window
        self.name = hello.name
        self.acknowledged_bytes = self.received_bytes
        self.reattached_times += resumed
        welcome = Welcome(
            hello.epoch, self.received_bytes, self.window_bytes, self.streams_limit, self.grace_seconds, resumed, self.features,
        )
        self.greeting = encode_frame(
            WELCOME, 0, welcome.encode(self.secret, greeting.challenge_payload, greeting.hello_payload)
        )
        self.attach(now_ns, resumed)
        return True

    # --- time ---

    cdef void tick(self, uint64_t now_ns):
        """What is due: PING, the end of a silent socket, the end of the grace time. Call it about once a second."""
        self.now_ns = now_ns
        if self.state == ATTACHED:
            if now_ns >= self.heard_ns + SILENCE_SECONDS * SECOND:
                self.drop_socket()
            elif self.role == EDGE and now_ns >= self.ping_due_ns:
                self.ping_due_ns = now_ns + PING_SECONDS * SECOND
                self.say_received(PING, now_ns)
            ring_shrink(&self.ring)
            return
        if self.state != UNATTACHED and self.state != ENDED and now_ns >= self.socket_deadline_ns:
            self.drop_socket()
        if self.welcomed and now_ns >= self.grace_deadline_ns:
            self.finish(LINK_TIMEOUT, f"no new socket for {self.grace_seconds} s", False)

    # --- the end ---

    cdef void end(self, int reason, str text):
        """Ends the session and all its streams; the peer is told, if there is a socket."""
        self.finish(reason, text, True)

    cdef void fail(self, int reason, str text):
        """The peer has made a mistake: it is told which, and the session is gone."""
        self.finish(reason, text, True)

    cdef void finish(self, int reason, str text, bint tell):
        cdef bint has_socket = self.state != UNATTACHED
        if self.over:
            return
        self.over = True
        self.welcomed = False
        if tell and self.state == ATTACHED:
            self.state = CLOSING
            self.socket_deadline_ns = self.now_ns + CLOSING_SECONDS * SECOND
            self.say_shutdown(0, 0, reason, cut_text(text))
        elif has_socket:
            self.drop_socket()
        else:
            self.change_socket(ENDED)
        self.end_streams(text)
        self.on_end(reason, text)

    # --- events ---

    cdef void on_welcome(self, bint resumed):
        pass

    cdef void on_refused(self, int reason, str text):
        pass

    cdef void on_disconnect(self):
        pass

    cdef void on_end(self, int reason, str text):
        pass


cdef str shutdown_text(Frame* frame):
    """The text of the peer's last words, whatever it is: after them there is nothing to complain about."""
    return (<const char*> frame.payload)[9:frame.length].decode("utf-8", "replace")
