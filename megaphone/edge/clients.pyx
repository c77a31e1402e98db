"""What all client connections of a worker share, and the sweep that ends what has taken too long.

There is no timer per connection: every connection is looked at about once a second, a part of the registry at a time.
"""

from libc.stdint cimport uint32_t

from megaphone.dispatch.counters cimport MAILBOX_BYTES, POLLER_EVENTS, POLLER_TURNS
from megaphone.dispatch.dispatcher cimport Connection


cdef class Clients:
    """Everything the connections of one worker share; the worker wires it up."""

    def __init__(self, Poller poller, Dispatcher dispatcher, Board board, ClientLimits limits):
        self.poller = poller
        self.dispatcher = dispatcher
        self.board = board
        self.limits = limits
        self.domains = frozenset()
        self.throttled = []
        # these counters go on where the process before this one left them
        poller.turns = board.slots[<int> POLLER_TURNS]
        poller.events = board.slots[<int> POLLER_EVENTS]

    def sweep(self, uint32_t parts):
        """Looks at one of `parts` equal parts of the registry; also lets throttled connections go on."""
        cdef uint32_t i, count
        cdef Connection connection
        cdef list throttled = self.throttled
        self.poller.look_at_clock()
        if throttled:
            self.throttled = [connection for connection in throttled if not connection.unthrottle()]
        count = (self.dispatcher.capacity + parts - 1) // parts
        for i in range(count):
            if self.swept >= self.dispatcher.capacity:
                self.swept = 0
                break
            if self.dispatcher.slots[self.swept] != NULL:
                connection = <Connection> self.dispatcher.slots[self.swept]
                connection.take_tick(self.poller.now_ticks)
            self.swept += 1
        self.board.slots[<int> MAILBOX_BYTES] = self.poller.chunks.queued_bytes
        self.board.slots[<int> POLLER_TURNS] = self.poller.turns
        self.board.slots[<int> POLLER_EVENTS] = self.poller.events
