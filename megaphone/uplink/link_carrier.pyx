"""The link carrier: one worker's links to one upstream, which stream goes on which, and the end of those that are lost.

A new stream goes on the usable link with the fewest streams. The upstream is healthy while a link is attached: links
are their own health check. The clients of a lost session are told one after the other, some each turn.
"""

from collections import deque

from libc.stdint cimport uint32_t, uint64_t

from megaphone.dispatch.counters cimport *
from megaphone.dispatch.dispatcher cimport Connection, Dispatcher
from megaphone.sockets.poller cimport Pollable, Poller
from megaphone.uplink.admission cimport Admission
from megaphone.uplink.link cimport ATTACHED, Link, Parting
from megaphone.uplink.link_stream cimport LinkStream, OVER
from megaphone.uplink.uplink cimport UplinkStream

from megaphone.wire.link import LinkReason

cdef enum:
    LOST_PER_TURN = 64
    SWEEPS_PER_TICK = 8


cdef class Lost(Pollable):
    """Streams whose session is lost: some of their clients are told each turn."""

    def __init__(self, Poller poller):
        self.poller = poller
        self.streams = deque()
        self.fd = 0                 # it has no descriptor, but turns

    cdef void on_turn(self):
        cdef LinkStream stream
        for _ in range(min(len(self.streams), LOST_PER_TURN)):
            stream = self.streams.popleft()
            try:
                stream.tell_client()
            except Exception as error:
                self.poller.fault(error)
        if self.streams:
            self.poller.run_again(self)


cdef class LinkCarrier(Admission):
    """`links` links to `upstream` (uplink.pool.Upstream), at most `opening_limit` streams opening.

    `facts` (connection) returns the payload of OPEN, `is_returning` (connection) whether the client was here before.
    `report` (upstream, link, text) is told what the trouble with a link is, "" for none; `changed` (upstream, text)
    when the upstream has come ("") or gone. `tls` is a sockets.tls.ClientContext or None.
    """

    def __init__(
        self, Poller poller, Dispatcher dispatcher, Board board, pool, upstream, limits, *, bytes secret, str name="",
        int links=2, uint32_t opening_limit=64, facts, is_returning, report=None, changed=None, tls=None,
    ):
        Admission.__init__(self, poller, board, upstream.index, opening_limit, limits)
        self.dispatcher = dispatcher
        self.pool = pool
        self.upstream = upstream
        self.facts = facts
        self.is_returning = is_returning
        self.on_report = report
        self.on_changed = changed
        self.parting = deque()
        self.lost = Lost(poller)
        self.secret = secret
        self.name = name
        self.tls = tls
        self.links = []
        for _ in range(links):
            self.add_link()

    cdef void add_link(self):
        cdef int index = len(self.links)
        self.links.append(
            Link(self.poller, self.board, self, self.upstream, index, self.secret, f"{self.name}/{index}", self.tls)
        )

    # --- placing streams ------------------------------------------------------------

    cdef UplinkStream new_stream(self):
        cdef LinkStream stream = LinkStream.__new__(LinkStream)
        stream.admission = self
        return stream

    cdef Link best(self):
        """The usable link with the fewest streams, or None."""
        cdef Link link, found = None
        for link in self.links:
            if link.usable() and (found is None or link.session.table.count < found.session.table.count):
                found = link
        return found

    cdef bint has_turn(self) noexcept:
        """Whether one more may be opened: streams that ended unanswered count until the server has let go of them."""
        cdef Link link
        cdef uint32_t unanswered = 0
        for link in self.links:
            if link.session is not None:
                unanswered += link.session.unanswered()
        return self.opening + unanswered < self.opening_limit

    cdef bint place(self, object new):
        cdef LinkStream stream = new
        cdef Connection connection = self.dispatcher.find(stream.connection_id)
        stream.returning = connection is not None and self.is_returning(connection)
        return self.slots()[<int> AD_WAITING] == 0 and self.has_turn() and self.open(stream)

    cdef bint open(self, LinkStream stream):
        """Opens a stream on the best link; False if there is none."""
        cdef Link link = self.best()
        cdef Connection connection = self.dispatcher.find(stream.connection_id)
        if link is None or connection is None:
            return False
        return stream.open_on(link.session, self.facts(connection))

    cdef void admit(self):
        """Opens the streams whose turn it is."""
        cdef LinkStream stream
        cdef uint64_t began_ns
        while self.slots()[<int> AD_WAITING] and self.has_turn():
            stream = self.next()
            began_ns = stream.began_ns
            try:
                if not self.open(stream):
                    return
            except Exception as error:  # a mistake of ours must not keep those behind it waiting
                self.poller.fault(error)
                self.dispatcher.shutdown(stream.connection_id, "internal-server-error", INTERNAL)
                continue
            self.remove(stream)
            self.slots()[<int> AD_WAITED_NS] += self.poller.now_ns - began_ns

    def lose(self, LinkStream stream):
        """The stream's session is lost."""
        self.lost.streams.append(stream)
        self.poller.run_again(self.lost)

    # --- links ------------------------------------------------------------

    def links_changed(self):
        """A link has come, gone or begun to drain."""
        cdef Link link
        cdef bint attached = any([link.state == ATTACHED for link in self.links])
        if attached == self.attached:
            return
        self.attached = attached
        self.unattached_ns = self.poller.now_ns
        self.mark(bool(attached))
        if attached:
            self.admit()

    cdef void mark(self, object healthy):
        self.pool.mark(self.upstream, healthy=healthy)
        if healthy is not self.said:
            self.said = healthy
            if self.on_changed is not None:
                self.on_changed(self.upstream, "" if healthy else "no link is attached")

    def report(self, Link link, str text):
        """What is the matter with a link, "" if nothing is."""
        if self.on_report is not None:
            self.on_report(self.upstream, link.index, text)
        if text and not self.attached and self.said is None:
            self.mark(False)

    def sweep(self):
        """Does what is due: attempts, PINGs, deadlines, those that wait."""
        cdef Link link
        cdef LinkStream stream
        cdef Parting parting
        if self.asleep:
            return
        self.sweeps += 1
        for link in self.links:
            link.sweep(self.sweeps % SWEEPS_PER_TICK == 0)
        self.admit()
        while self.left:
            stream = self.left[0]
            if stream.state != OVER and not stream.detached:
                if self.poller.now_ticks < stream.deadline_ticks:
                    break
                self.dispatcher.shutdown(stream.connection_id, "", CLIENT_CLOSED)
            self.left.popleft()
        while self.lingering:
            stream = self.lingering[0]
            if stream.state != OVER:
                if self.poller.now_ticks < stream.deadline_ticks:
                    break
                stream.end(stream.last_reason)
            self.lingering.popleft()
        while self.parting:
            parting = self.parting[0]
            if parting.receiver.fd >= 0:
                if self.poller.now_ticks < parting.deadline_ticks:
                    break
                parting.receiver.close()
            self.parting.popleft()

    def describe_links(self):
        """What an operator sees of each link, and how many streams of this worker wait for one of them."""
        cdef Link link
        whole = {"worker": self.dispatcher.worker, "waiting": self.slots()[<int> AD_WAITING]}
        return [whole | link.describe() for link in self.links]

    def drain(self):
        """Says that no more streams will come."""
        cdef Link link
        for link in self.links:
            if link.session is not None:
                link.session.drain()

    def close(self):
        """Ends all links."""
        cdef Link link
        for link in self.links:
            link.end(LinkReason.SYSTEM_SHUTDOWN, "the worker ends")
