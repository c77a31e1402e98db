"""The owner of a connection that speaks HTTP, as far as it is compiled: the edge's calls as methods of Python."""

from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport uint8_t, uint32_t

from megaphone.dispatch.counters cimport CLIENT_CLOSED, INTERNAL
from megaphone.dispatch.dispatcher cimport Connection, FULL
from megaphone.sockets.poller cimport TICKS_PER_SECOND

from megaphone.dispatch.counters import Reason


cdef class WebOwner(Owner):
    """What `web.connection` is built on; none of the methods to override may raise, but if one does the connection ends."""

    def __init__(self, ClientConnection connection not None):
        self.connection = connection

    # --- for the subclass ------------------------------------------------------------

    def read_on(self):
        """Asks for what comes next; without it nothing more is read."""
        if self.connection is not None:
            self.connection.clients.dispatcher.get_data(self.connection.id)

    def write(self, const uint8_t[::1] data):
        """Queues a copy for the client; False: the mailbox is full now, and `room` is called when it has room."""
        cdef ClientConnection connection = self.connection
        if connection is not None and data.shape[0] and connection.deliver(&data[0], data.shape[0]) == FULL:
            self.full = True
        return not self.full

    def count_request(self):
        """Takes one from what the client may say in a second (`limits.stanzas_per_second`)."""
        if self.connection is not None:
            self.connection.stanza_tokens -= TICKS_PER_SECOND

    def finish(self, int reason):
        """Ends the connection in order: what was written, close_notify, FIN."""
        if self.connection is not None:
            self.connection.end("", reason)

    def let_go(self):
        """The connection is somebody else's from now on, or nobody's; returns it."""
        connection = self.connection
        self.connection = None
        return connection

    @property
    def now_ticks(self):
        """The worker's clock, in 1/16 s; 0 once there is no connection."""
        return 0 if self.connection is None else self.connection.clients.poller.now_ticks

    # --- to be overridden ------------------------------------------------------------

    def received(self, bytes data):
        """These bytes came."""

    def room(self):
        """What was full is not any more."""

    def client_ended(self):
        """The client says nothing more (FIN)."""
        self.finish(CLIENT_CLOSED)

    def ended(self, reason):
        """The connection ends, for this `Reason`; its last words can be written here. Called once, as the last of all."""

    def tick(self):
        """About a second has passed."""

    # --- the edge's calls ------------------------------------------------------------

    cdef void fail(self, ClientConnection connection, error):
        connection.clients.on_fault(error)
        connection.end("internal-server-error", INTERNAL)

    cdef void take_data(self, Connection connection, const uint8_t* data, size_t length):
        try:
            self.received(PyBytes_FromStringAndSize(<const char*> data, length))
        except Exception as error:
            self.fail(connection, error)

    cdef void take_room(self, Connection connection):
        self.full = False
        try:
            self.room()
        except Exception as error:
            self.fail(connection, error)

    cdef void take_client_end(self, Connection connection, bint said_goodbye):
        try:
            self.client_ended()
        except Exception as error:
            self.fail(connection, error)

    cdef void take_tick(self, Connection connection, uint32_t now_ticks):
        try:
            self.tick()
        except Exception as error:
            self.fail(connection, error)

    cdef void take_shutdown(self, Connection connection, int reason):
        cdef ClientConnection ending = self.connection
        if ending is None:
            return
        try:
            self.ended(Reason(reason))
        except Exception as error:
            ending.clients.on_fault(error)
        self.connection = None

    cpdef leave(self, Connection connection):
        self.connection = None
