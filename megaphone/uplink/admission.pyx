"""Admission: how many streams may be on their way to a server that has not answered them, and who waits for a turn.

A stream is *opening* from its OPEN until the server's first bytes. At most `opening_limit` are, so a server that lags
gets new streams no faster than it answers them. All others wait: clients that return (with a TLS ticket, or with
<resume/> among their first bytes) go before those that come anew, and each in the order they came.
"""

from collections import OrderedDict, deque

from megaphone.dispatch.counters cimport *
from megaphone.sockets.poller cimport TICKS_PER_SECOND
from megaphone.uplink.uplink cimport bucket_of

cdef enum:
    WAITING_LIMIT = 65536       # streams of one upstream


cdef class Admission(Carrier):
    """The part of a LinkCarrier that its streams know. `opening_limit` is at least 1."""

    def __init__(self, Poller poller, Board board, int upstream, uint32_t opening_limit, limits):
        self.poller = poller
        self.board = board
        self.block = Board.admission_slot(upstream, 0)
        self.returning = OrderedDict()
        self.others = OrderedDict()
        self.opening_limit = opening_limit
        self.left = deque()
        self.lingering = deque()
        self.unattached_ns = poller.now_ns
        self.apply(limits)

    def apply(self, limits):
        self.connect_ns = limits.connect_ticks * (<uint64_t> 1000000000 // TICKS_PER_SECOND)
        self.slow_ns = limits.slow_ticks * (<uint64_t> 1000000000 // TICKS_PER_SECOND)
        self.linger_ticks = limits.close_ticks

    cdef uint64_t* slots(self) noexcept:
        return self.board.slots + self.block

    cdef bint place(self, stream):
        return False

    cdef void admit(self):
        pass

    cdef bint given_up(self, uint64_t began_ns) noexcept:
        """Whether a stream that has waited since `began_ns` has waited long enough for any link to come."""
        cdef uint64_t since = began_ns if began_ns > self.unattached_ns else self.unattached_ns
        return not self.attached and self.poller.now_ns - since >= self.connect_ns

    cdef bint has_turn(self) noexcept:
        """Whether one more stream may be opened."""
        return self.opening < self.opening_limit

    cdef bint add(self, stream, bint returning):
        """Lets a stream wait; False if too many do."""
        if len(self.returning) + len(self.others) >= WAITING_LIMIT:
            self.slots()[<int> AD_REFUSED] += 1
            return False
        self.slots()[<int> AD_WAITED] += 1
        self.slots()[<int> AD_WAITING] += 1
        self.slots()[<int> AD_RETURNING] += returning
        (self.returning if returning else self.others)[stream] = None
        return True

    cdef void prefer(self, stream):
        """It has turned out to be one that returns."""
        if stream in self.others:
            del self.others[stream]
            self.returning[stream] = None
            self.slots()[<int> AD_RETURNING] += 1

    cdef void remove(self, stream):
        """It waits no longer."""
        for queue in (self.returning, self.others):
            if stream in queue:
                del queue[stream]
                self.slots()[<int> AD_WAITING] -= 1

    cdef object next(self):
        """The stream whose turn it is, or None; it stays until `remove`."""
        for queue in (self.returning, self.others):
            if queue:
                return next(iter(queue))
        return None

    def waiting(self):
        """All streams that wait, as a list."""
        return [*self.returning, *self.others]

    cdef void opened(self) noexcept:
        self.opening += 1
        self.slots()[<int> AD_OPENING] = self.opening

    cdef void ended(self) noexcept:
        """An opening stream has ended without an answer."""
        self.opening -= 1
        self.slots()[<int> AD_OPENING] = self.opening

    cdef void answered(self, uint64_t elapsed_ns) noexcept:
        """An opening stream's first bytes have come."""
        self.ended()
        self.slots()[<int> AD_ANSWER_NS] += elapsed_ns
        self.slots()[<int> AD_ANSWER_BUCKETS + bucket_of(elapsed_ns)] += 1
