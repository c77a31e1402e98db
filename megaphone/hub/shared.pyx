"""What all links and streams of a hub share."""


cdef class Hub:
    """Everything the links of one hub process share; the worker wires it up. `instance`: 16 random bytes."""

    def __init__(self, Poller poller, Dispatcher dispatcher, Board board, settings, bytes instance, limits):
        self.poller = poller
        self.dispatcher = dispatcher
        self.board = board
        self.settings = settings
        self.instance = instance
        self.links = {}
        self.sockets = set()
        self.strangers = {}
        self.apply(limits)
        poller.go_on_from(board)

    def apply(self, limits):
        """Takes the limits (settings.SocketLimits) from now on."""
        self.limits = limits
        self.close_ticks = limits.close_ticks
        self.slow_ticks = limits.slow_ticks
