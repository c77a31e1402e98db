"""One client's stream on a link: the client's bytes to the session, the session's to the client, credit both ways.

    QUEUED ── open_on ──► OPENING ── the server's first bytes ──► OPEN ──► OVER
       │                     └──────── either side ends it ──────────────────▲
       └── the client is gone, or no link in time (another upstream takes over)

What the session does not take of a client's bytes (no credit, not its turn, the link is broken) waits in `waiting`, and
the client is not read until it has gone: so at most one read waits. What a client does not take of the server's bytes is
not told to the session as taken, so the server's credit for this stream runs out and no other stream notices.
"""

cimport cython
from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.errno cimport ENOBUFS

from megaphone.dispatch.counters cimport *
from megaphone.dispatch.dispatcher cimport Connection, FULL
from megaphone.dispatch.mailbox cimport Chunk
from megaphone.sockets.poller cimport TICKS_PER_SECOND
from megaphone.wire.link cimport (
    CLOSED, CONNECTION_LOST, CONNECTION_TIMEOUT, INTERNAL_ERROR, RESOURCE_CONSTRAINT as LINK_RESOURCE_CONSTRAINT,
    POLICY_VIOLATION as LINK_POLICY_VIOLATION, SLOW_CONSUMER as LINK_SLOW_CONSUMER,
    SYSTEM_SHUTDOWN as LINK_SYSTEM_SHUTDOWN,
)
from megaphone.wire.link_session cimport ATTACHED
from megaphone.wire.link_state cimport can_move

from megaphone.dispatch.moving import Moved

KIND = "link"                   # of an owner that moves

cdef enum:
    LAST_ANSWER_TICKS = TICKS_PER_SECOND // 4

# What the server is told when the edge ends a stream, by the connection's closing reason; the rest is CONNECTION_LOST.
cdef uint8_t REASONS_SAID[REASONS]
cdef int reason_index
for reason_index in range(<int> REASONS):
    REASONS_SAID[reason_index] = CONNECTION_LOST
REASONS_SAID[<int> CLIENT_CLOSED] = REASONS_SAID[<int> SERVER_CLOSED] = CLOSED
REASONS_SAID[<int> NOT_WELL_FORMED] = REASONS_SAID[<int> RESTRICTED_XML] = LINK_POLICY_VIOLATION
REASONS_SAID[<int> INVALID_XML] = REASONS_SAID[<int> POLICY_VIOLATION] = LINK_POLICY_VIOLATION
REASONS_SAID[<int> KICKED] = LINK_POLICY_VIOLATION
REASONS_SAID[<int> SLOW_CONSUMER] = LINK_SLOW_CONSUMER
REASONS_SAID[<int> IDLE_TIMEOUT] = REASONS_SAID[<int> PREAUTH_TIMEOUT] = CONNECTION_TIMEOUT
REASONS_SAID[<int> RESOURCE_CONSTRAINT] = LINK_RESOURCE_CONSTRAINT
REASONS_SAID[<int> SYSTEM_SHUTDOWN] = LINK_SYSTEM_SHUTDOWN
REASONS_SAID[<int> INTERNAL] = INTERNAL_ERROR

# What the client is told when the server ends a stream, and what that is counted as.
ANSWERS = {
    <int> CLOSED: ("", <int> SERVER_CLOSED),
    <int> CONNECTION_TIMEOUT: ("connection-timeout", <int> SERVER_CLOSED),
    <int> LINK_POLICY_VIOLATION: ("policy-violation", <int> SERVER_CLOSED),
    <int> LINK_SLOW_CONSUMER: ("", <int> SLOW_CONSUMER),
    <int> LINK_RESOURCE_CONSTRAINT: ("resource-constraint", <int> RESOURCE_CONSTRAINT),
    <int> LINK_SYSTEM_SHUTDOWN: ("system-shutdown", <int> SERVER_CLOSED),
    <int> INTERNAL_ERROR: ("internal-server-error", <int> REMOTE_CONNECTION_FAILED),
}
LOST = ("remote-connection-failed", <int> REMOTE_CONNECTION_FAILED)


cdef class LinkOwner(Sink):
    """The link that a session belongs to."""

    cdef void session_has_output(self):
        pass

    cdef void session_attached(self, bint resumed):
        pass

    cdef void session_refused(self, int reason, str text):
        pass

    cdef void session_drains(self):
        pass

    cdef void session_disconnects(self):
        pass

    cdef void session_ended(self, int reason, str text):
        pass

    cdef void session_lost(self, LinkStream stream):
        pass


cdef class EdgeSession(LinkSession):
    """A session at the edge: tells its streams and its link what happens."""

    cdef uint64_t* slots(self) noexcept:
        return self.board.slots + self.block

    cdef uint32_t unanswered(self) noexcept:
        """Streams that ended before they were answered and that the server may still be busy with."""
        cdef uint32_t ending = self.table.count - self.live
        if self.abandoned > ending:
            self.abandoned = ending
        return self.abandoned

    cdef void on_data(self, Stream* stream, const uint8_t* data, size_t length):
        cdef LinkStream owner = <LinkStream> stream.owner
        try:
            owner.take_answer(data, length)
        except Exception as error:  # a mistake of ours must cost the other streams nothing
            owner.uplink.poller.fault(error)
            owner.uplink.dispatcher.shutdown(owner.connection_id, "internal-server-error", INTERNAL)

    cdef void on_room(self, Stream* stream):
        cdef LinkStream owner = <LinkStream> stream.owner
        owner.send_waiting()

    cdef void on_shutdown(self, Stream* stream, int reason, str text):
        cdef LinkStream owner = <LinkStream> stream.owner
        owner.forget()
        try:
            if self.welcomed or owner.detached:
                owner.take_server_end(reason)
            else:
                self.link.session_lost(owner)       # with all the others: they are told one after the other
        except Exception as error:
            owner.uplink.poller.fault(error)

    cdef void on_output(self):
        if self.link is not None:
            self.link.session_has_output()

    cdef void on_welcome(self, bint resumed):
        self.link.session_attached(resumed)

    cdef void on_refused(self, int reason, str text):
        self.link.session_refused(reason, text)

    cdef void on_drain(self):
        self.link.session_drains()

    cdef void on_disconnect(self):
        if self.link is not None:
            self.link.session_disconnects()

    cdef void on_end(self, int reason, str text):
        self.link.session_ended(reason, text)


@cython.no_gc
cdef class LinkStream(UplinkStream):
    """One client's stream on a link."""

    # --- on its way to a link ------------------------------------------------

    cdef int begin(self):
        self.uplink.poller.look_at_clock()
        self.began_ns = self.uplink.poller.now_ns
        if self.admission.place(self) or self.admission.add(self, self.returning):
            return 0
        return ENOBUFS

    cdef bint open_on(self, EdgeSession session, bytes facts):
        """Says OPEN on a link that can take it, and then what the client has said meanwhile."""
        cdef Stream* stream = session.open_stream(facts, self)
        if stream == NULL:
            return False
        self.admission.opened()
        self.note_connected(self.began_ns)
        self.began_ns = self.uplink.poller.now_ns
        self.session = session
        self.stream = stream
        self.state = OPENING
        session.live += 1
        self.send_waiting()
        return True

    cdef void give_waiting(self, Mailbox* waiting):
        waiting[0] = self.waiting
        self.waiting = Mailbox(NULL, NULL, 0)

    cdef void take_waiting(self, Mailbox* waiting):
        self.waiting = waiting[0]
        waiting[0] = Mailbox(NULL, NULL, 0)
        if self.state != QUEUED:
            self.send_waiting()

    cdef void take_tick(self, Connection connection, uint32_t now_ticks):
        cdef uint64_t since_ns
        if self.state == QUEUED:
            if self.admission.given_up(self.began_ns):
                self.uplink.fail_over(self)
        elif self.credit_wait_ns and self.session.state == ATTACHED:
            since_ns = max(self.credit_wait_ns, self.session.attached_ns)
            if self.uplink.poller.now_ns - since_ns > self.admission.slow_ns:
                self.uplink.dispatcher.shutdown(self.connection_id, "remote-connection-failed", REMOTE_CONNECTION_FAILED)

    # --- client to server ------------------------------------------------------------

    cdef void take_data(self, Connection connection, const uint8_t* data, size_t length):
        cdef size_t taken = 0
        cdef bytes first
        if self.stream != NULL and self.waiting.size == 0:
            taken = self.session.put_data(self.stream, data, length)
            if taken == length:
                self.uplink.dispatcher.get_data(self.connection_id)
                return
        elif self.state == QUEUED and not self.returning:
            first = PyBytes_FromStringAndSize(<const char*> data, length)
            if b"<resume" in first and b"urn:xmpp:sm:" in first:    # XEP-0198 section 5
                self.returning = True
                self.admission.prefer(self)
        if self.state != OVER:
            self.keep(data + taken, length - taken)

    cdef void keep(self, const uint8_t* data, size_t length):
        """Lets the client's bytes wait, and with them the client."""
        if not self.uplink.poller.chunks.put(&self.waiting, data, length):
            self.uplink.dispatcher.shutdown(self.connection_id, "resource-constraint", RESOURCE_CONSTRAINT)
        elif self.stream != NULL:
            if self.stream.credit == 0:
                self.await_credit()
            else:
                self.session.slots()[<int> LI_TURN_WAITS] += 1

    cdef void await_credit(self):
        if self.credit_wait_ns == 0:
            self.session.slots()[<int> LI_CREDIT_WAITS] += 1
            self.credit_wait_ns = self.uplink.poller.now_ns

    cdef void note_credit(self):
        """Some credit has come: the server is not stalled."""
        if self.credit_wait_ns:
            self.session.slots()[<int> LI_CREDIT_WAIT_NS] += self.uplink.poller.now_ns - self.credit_wait_ns
            self.credit_wait_ns = 0

    cdef void send_waiting(self):
        """Sends as much as the session takes; when all has gone the client may go on."""
        cdef Chunk* chunk
        cdef size_t taken, length
        while self.waiting.size:
            chunk = self.waiting.head
            length = chunk.end - chunk.begin
            taken = self.session.put_data(self.stream, chunk.data + chunk.begin, length)
            self.uplink.poller.chunks.take(&self.waiting, taken)
            if taken:
                self.note_credit()
            if taken < length:
                if self.stream.credit == 0:
                    self.await_credit()
                return
        if self.detached:
            self.end(self.last_reason)
        elif not self.client_ended:
            self.uplink.dispatcher.get_data(self.connection_id)

    cdef void take_client_end(self, Connection connection, bint said_goodbye):
        """The client will send no more, which the link cannot say.

        A server that has read </stream:stream> ends the stream. Otherwise it has a moment to answer what came before.
        """
        self.client_ended = True
        if not said_goodbye:
            self.deadline_ticks = self.uplink.poller.now_ticks + LAST_ANSWER_TICKS
            self.admission.left.append(self)

    # --- server to client ------------------------------------------------------------

    cdef void take_answer(self, const uint8_t* data, size_t length):
        cdef int status
        if self.state == OPENING:
            self.state = OPEN
            self.admission.answered(self.uplink.poller.now_ns - self.began_ns)
        if self.detached:
            self.session.took(self.stream, length)
            return
        status = self.uplink.dispatcher.send_data(self.connection_id, data, length)
        if self.stream == NULL:
            return
        if status == FULL:
            self.untaken += length
        else:
            self.session.took(self.stream, length)

    cdef void take_room(self, Connection connection):
        cdef uint32_t length = self.untaken
        if self.stream != NULL and length:
            self.untaken = 0
            self.session.took(self.stream, length)

    # --- the end ------------------------------------------------------------

    cdef void take_shutdown(self, Connection connection, int reason):
        """The edge ends the connection; what the client has said before still goes to the server if the link takes it."""
        if self.detached:
            return
        self.detached = True
        self.last_reason = REASONS_SAID[reason]
        if self.stream == NULL:
            if self.state == QUEUED:
                self.close()
        elif self.waiting.size and self.last_reason != CONNECTION_LOST:
            self.deadline_ticks = self.uplink.poller.now_ticks + self.admission.linger_ticks
            self.admission.lingering.append(self)
        else:
            self.end(self.last_reason)

    cdef void end(self, int reason):
        """Says SHUTDOWN."""
        cdef EdgeSession session = self.session
        cdef Stream* stream = self.stream
        if stream != NULL:
            if self.state == OPENING:
                session.abandoned += 1
            self.forget()
            session.close_stream(stream, reason, "")
        self.close()

    cdef void forget(self):
        """The session has let go of this stream, or is about to."""
        if self.state == OPENING:
            self.admission.ended()
        self.session.live -= 1
        self.session = None
        self.stream = NULL
        self.state = OVER

    cdef void take_server_end(self, int reason):
        """The server has ended the stream."""
        if self.detached:
            self.close()
        else:
            condition, counted = ANSWERS.get(reason, LOST)
            self.give_up(condition, counted)

    cdef void tell_client(self):
        """The session is lost, and with it this stream."""
        if self.detached:
            self.close()
        else:
            self.give_up("remote-connection-failed", REMOTE_CONNECTION_FAILED)

    cdef void close(self):
        if self.state == QUEUED:
            self.admission.remove(self)
        self.state = OVER
        self.let_go()
        self.uplink.poller.chunks.clear(&self.waiting)

    # --- to another process ------------------------------------------------------------

    cpdef object export(self, Connection connection):
        """Whose stream this is; how far it has got moves with its link, because the two must agree (link_moving.pyx)."""
        return Moved(KIND, self.upstream.name.encode()) if self.moves() else None

    cdef uint64_t fingerprint(self):
        return <uint64_t> <void*> self | self.moves()       # another stream takes over when an upstream fails

    cdef bint moves(self) noexcept:
        return self.state != OVER and not self.detached and (self.session is None or can_move(self.session))

    cpdef leave(self, Connection connection):
        """It lives on in another process: nobody hears of its end here. One that sleeps is looked at when its link wakes."""
        if self.admission.asleep:
            return
        self.detached = True
        self.let_go()
        self.state = OVER
        self.session = None
        self.stream = NULL
        self.credit_wait_ns = 0
        self.uplink.poller.chunks.clear(&self.waiting)


def stream_bytes():
    """The bytes of the objects that one idle connection keeps on the uplink's side, with its place in the session."""
    return LinkStream.__basicsize__ + sizeof(Stream) + 2 * sizeof(void*)
