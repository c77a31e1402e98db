"""The uplink of a worker: which upstream a client's stream goes to, and which is next when that fails.

    open() ─► pool.choose ─► Carrier of that upstream ─► new UplinkStream.begin() ─► ... connected
                  ▲                                                     │
                  └──────── fail_over: another stream takes over ◄──────┘ refused, or not in time

Until an upstream is there the client's bytes wait, so failing over costs nothing but time. Upstreams of a domain may be
of both modes: the stream that takes over is of the kind that the next upstream needs.
"""

cimport cython
from libc.errno cimport ENOBUFS

from megaphone.dispatch.counters cimport *

from megaphone.errors import MoveError

# Upper bounds of the buckets of times (UP_CONNECT_BUCKETS, AD_ANSWER_BUCKETS); the last one has none.
cdef uint64_t BUCKETS[TIME_BUCKETS - 1]
BUCKETS[:] = [1000000, 5000000, 25000000, 100000000, 500000000, 2500000000]
TIME_BUCKETS_SECONDS = tuple(bound / 1e9 for bound in BUCKETS)


cdef int bucket_of(uint64_t elapsed_ns) noexcept nogil:
    """The bucket that counts a time."""
    cdef int bucket = 0
    while bucket < TIME_BUCKETS - 1 and elapsed_ns > BUCKETS[bucket]:
        bucket += 1
    return bucket


cdef class Carrier:
    """How streams get to an upstream."""

    cdef UplinkStream new_stream(self):
        raise NotImplementedError

    def apply(self, limits):
        """Takes the limits (edge.limits.ClientLimits) for streams begun from now on."""
        raise NotImplementedError

    def sweep(self):
        """Does what is due; called 8 times a second."""
        raise NotImplementedError

    def describe_links(self):
        """What an operator sees of each link; none without links."""
        return []

    def drain(self):
        """Says to the upstream, where there is a way, that no more streams will come."""

    def close(self):
        """Ends what outlives the streams."""

    @property
    def lingering_streams(self):
        """How many streams whose client is gone wait for the server's end."""
        return 0


cdef class Uplink:
    """Opens the streams of one worker; `carriers` has one Carrier for each upstream of the pool, which may be shared."""

    def __init__(self, Poller poller, Dispatcher dispatcher, Board board, pool, carriers):
        self.poller = poller
        self.dispatcher = dispatcher
        self.board = board
        self.pool = pool
        self.carriers = list(carriers)
        self.distinct = list(dict.fromkeys(self.carriers))

    def apply(self, limits):
        """Takes the limits (edge.limits.ClientLimits) of a reloaded configuration."""
        for carrier in self.distinct:
            carrier.apply(limits)

    def sweep(self):
        """Does what is due on the way to each upstream."""
        for carrier in self.distinct:
            carrier.sweep()

    def describe_links(self):
        """What an operator sees of the links to each upstream."""
        return [row for carrier in self.distinct for row in carrier.describe_links()]

    def drain(self):
        """No more streams will be opened."""
        for carrier in self.distinct:
            carrier.drain()

    def close(self):
        """Ends everything; the worker goes."""
        for carrier in self.distinct:
            carrier.close()

    @property
    def lingering_streams(self):
        """How many streams whose client is gone wait for their server's end."""
        return sum(carrier.lingering_streams for carrier in self.distinct)

    def open(self, Connection connection, str domain):
        """The owner of a connection, on its way to an upstream of `domain`, or a stream-error condition."""
        return self.start(connection.id, domain, 0)

    cdef object start(self, uint64_t connection_id, str domain, uint64_t tried):
        """A stream to the best upstream not tried yet, or a stream-error condition."""
        cdef UplinkStream stream
        cdef int failure
        cdef bint full = False
        while True:
            choice = self.pool.choose(domain, tried)
            if isinstance(choice, str):
                return "resource-constraint" if full else choice
            stream = (<Carrier> self.carriers[choice.index]).new_stream()
            stream.uplink = self
            stream.upstream = choice
            stream.domain = domain
            stream.connection_id = connection_id
            stream.tried = tried
            stream.counted = True
            choice.open += 1
            stream.block()[<int> UP_OPEN] += 1
            failure = stream.begin()
            if failure == 0:
                return stream
            full = full or failure == ENOBUFS
            stream.block()[<int> UP_CONNECT_FAILURES] += 1
            tried |= <uint64_t> 1 << <int> choice.index
            stream.close()

    def restore_stream(self, Connection connection not None, str name, str domain, tried):
        """A stream to the upstream of this name, counted but not begun, for what another process has exported; MoveError if there is none.

        `tried` are names of upstreams that have failed this client already.
        """
        cdef UplinkStream stream
        choice = next((upstream for upstream in self.pool.upstreams if upstream.name == name), None)
        if choice is None:
            raise MoveError(f"there is no upstream {name}")
        stream = (<Carrier> self.carriers[choice.index]).new_stream()
        stream.uplink = self
        stream.upstream = choice
        stream.domain = domain
        stream.connection_id = connection.id
        stream.tried = self.tried_of(tried)
        stream.counted = True
        choice.open += 1
        stream.block()[<int> UP_OPEN] += 1
        return stream

    cdef uint64_t tried_of(self, object names):
        cdef uint64_t tried = 0
        for upstream in self.pool.upstreams:
            if upstream.name in names:
                tried |= <uint64_t> 1 << <int> upstream.index
        return tried

    cdef void fail_over(self, UplinkStream failed):
        """The stream's upstream cannot be reached: another stream takes over, or the client is told."""
        cdef Connection connection = self.dispatcher.find(failed.connection_id)
        cdef UplinkStream successor
        cdef Mailbox waiting = Mailbox(NULL, NULL, 0)
        failed.block()[<int> UP_CONNECT_FAILURES] += 1
        if connection is None or failed.detached:
            failed.close()
            return
        failed.let_go()
        found = self.start(failed.connection_id, failed.domain, failed.tried | <uint64_t> 1 << <int> failed.upstream.index)
        if isinstance(found, str):
            failed.upstream = None
            failed.give_up(found, RESOURCE_CONSTRAINT if found == "resource-constraint" else REMOTE_CONNECTION_FAILED)
            return
        successor = found
        failed.give_waiting(&waiting)
        failed.detached = True
        failed.close()
        connection.owner = successor
        successor.client_ended = failed.client_ended
        successor.take_waiting(&waiting)


@cython.no_gc
cdef class UplinkStream(Owner):
    """One client's stream to one upstream."""

    cpdef str upstream_name(self):
        return None if self.upstream is None else self.upstream.name

    def tried_names(self):
        """The upstreams that have failed this client, by name, as their places are another configuration's."""
        return [upstream.name for upstream in self.uplink.pool.upstreams if self.tried >> <int> upstream.index & 1]

    cdef uint64_t* block(self):
        return self.uplink.board.slots + <int> UPSTREAM_BLOCKS + <int> self.upstream.index * <int> UPSTREAM_BLOCK

    cdef void let_go(self):
        """It is no longer one of the upstream's connections."""
        if self.counted:
            self.counted = False
            self.upstream.open -= 1
            self.block()[<int> UP_OPEN] -= 1

    cdef void note_connected(self, uint64_t began_ns):
        cdef uint64_t* block = self.block()
        cdef uint64_t elapsed
        self.uplink.poller.look_at_clock()
        elapsed = self.uplink.poller.now_ns - began_ns
        block[<int> UP_CONNECTS] += 1
        block[<int> UP_CONNECT_NS] += elapsed
        block[<int> UP_CONNECT_BUCKETS + bucket_of(elapsed)] += 1

    cdef void give_up(self, str condition, int reason):
        """Nothing more will come from the server: the client is told, and this stream ends."""
        self.detached = True
        # whatever the server's last bytes were, they are already with the client's sender
        self.uplink.dispatcher.shutdown(self.connection_id, condition, reason)
        self.close()

    cdef int begin(self):
        raise NotImplementedError

    cdef void give_waiting(self, Mailbox* waiting):
        raise NotImplementedError

    cdef void take_waiting(self, Mailbox* waiting):
        raise NotImplementedError

    cdef void close(self):
        raise NotImplementedError
