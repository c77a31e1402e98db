"""What all client connections of a worker share, and the sweep that ends what has taken too long.

There is no timer per connection: every connection is looked at about once a second, a part of the registry at a time,
or every few seconds if its owner says that nothing is due.
"""

from libc.stdint cimport uint32_t

from megaphone.dispatch.dispatcher cimport Connection

cdef enum:
    REST_PART = 8       # of a limit, for which a connection may rest


cdef class Clients:
    """Everything the connections of one worker share; the worker wires it up."""

    def __init__(self, Poller poller, Dispatcher dispatcher, Board board, ClientLimits limits):
        self.poller = poller
        self.dispatcher = dispatcher
        self.board = board
        self.limits = limits
        self.domains = frozenset()
        self.see_other_host = b""
        self.throttled = []
        poller.go_on_from(board)

    def count_on(self):
        """Counts on from what is on the board, which has been another process's."""
        self.poller.go_on_from(self.board)

    def sweep(self, uint32_t parts):
        """Looks at one of `parts` equal parts of the registry; also lets throttled connections go on, and gives memory back."""
        cdef Connection connection
        cdef uint32_t rest
        cdef list throttled = self.throttled
        self.poller.look_at_clock()
        if throttled:
            self.throttled = [connection for connection in throttled if not connection.unthrottle()]
        # what takes a minute may be noticed some seconds late, what takes seconds may not
        rest = min(self.limits.slow_ticks, self.limits.idle_ticks) // REST_PART
        self.dispatcher.look_at_part(parts, self.poller.now_ticks, rest)
        self.poller.give_back()
        self.poller.put_on_board(self.board)
