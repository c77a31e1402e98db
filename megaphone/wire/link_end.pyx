"""One end of a link for Python: the session core with bytes for pointers and a list of events.

What tests and small tools drive the core with. The data path of edge and hub subclasses LinkSession instead.
"""

from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from posix.uio cimport iovec

from megaphone.wire.link cimport EDGE, SERVER
from megaphone.wire.link_greeting cimport LinkGreeting
from megaphone.wire.link_session cimport REGIONS, LinkSession
from megaphone.wire.link_state cimport can_move, export_session, import_session
from megaphone.wire.link_streams cimport Stream, table_find, table_next

from megaphone.wire.link import LinkReason
from megaphone.wire.link_session import SessionState


cdef class _Session(LinkSession):
    """Tells each event to `tell` as a tuple: its name without "on_", then its arguments, a stream as its id."""

    cdef object tell

    cdef void on_opened(self, Stream* stream, object facts):
        self.tell(("opened", stream.id, facts))

    cdef void on_data(self, Stream* stream, const uint8_t* data, size_t length):
        self.tell(("data", stream.id, PyBytes_FromStringAndSize(<const char*> data, length)))

    cdef void on_room(self, Stream* stream):
        self.tell(("room", stream.id))

    cdef void on_shutdown(self, Stream* stream, int reason, str text):
        self.tell(("shutdown", stream.id, LinkReason(reason), text))

    cdef void on_drain(self):
        self.tell(("drain",))

    cdef void on_welcome(self, bint resumed):
        self.tell(("welcome", resumed))

    cdef void on_refused(self, int reason, str text):
        self.tell(("refused", LinkReason(reason), text))

    cdef void on_disconnect(self):
        self.tell(("disconnect",))

    cdef void on_end(self, int reason, str text):
        self.tell(("end", LinkReason(reason), text))


cdef bytes regions_as_bytes(iovec* regions, int count):
    cdef int i
    return b"".join([PyBytes_FromStringAndSize(<const char*> regions[i].iov_base, regions[i].iov_len) for i in range(count)])


cdef class Greeting:
    """A new socket on the server side, until HELLO is proven. Times are nanoseconds."""

    cdef LinkGreeting greeting

    def __init__(self, bytes secret, bytes nonce, bytes instance, uint64_t now_ns=0):
        self.greeting = LinkGreeting(secret, nonce, instance, now_ns)

    @property
    def hello(self):
        """The proven Hello, or None."""
        return self.greeting.hello

    @property
    def refusal(self):
        """(LinkReason, text), or None."""
        return (LinkReason(self.greeting.reason), self.greeting.text) if self.greeting.refused else None

    def read(self, const uint8_t[::1] data not None):
        """Takes bytes up to the end of HELLO; returns how many."""
        return self.greeting.take_bytes(&data[0], data.shape[0]) if data.shape[0] else 0

    def refuse(self, int reason, str text):
        """Ends the greeting."""
        self.greeting.refuse(reason, text)

    def expired(self, uint64_t now_ns):
        """Whether HELLO has taken too long."""
        return self.greeting.expired(now_ns)

    def unsent(self):
        """The bytes for the socket."""
        cdef iovec regions[1]
        return regions_as_bytes(regions, self.greeting.unsent(regions))

    def wrote(self, size_t length):
        """The socket has taken the first `length` bytes of them."""
        self.greeting.wrote(length)


cdef class LinkEnd:
    """One end of a link. `tell` is called with each event as a tuple; without it they are added to `events`.

    The arguments are those of LinkSession. A stream is named by its id.
    """

    cdef _Session session
    cdef readonly list events

    def __init__(self, int role, bytes secret, bytes session_id, *, tell=None, backlog_limit_bytes=262144, **rest):
        self.events = []
        self.session = _Session(role, secret, session_id, **rest)
        self.session.tell = self.events.append if tell is None else tell
        self.session.backlog_limit_bytes = backlog_limit_bytes

    cdef Stream* find(self, uint32_t id) except NULL:
        cdef Stream* stream = table_find(&self.session.table, id)
        if stream == NULL:
            raise KeyError(id)
        return stream

    def __getattr__(self, str name):
        """The session's own readable attributes: round_trip_ns, epoch, frames_in ..."""
        return getattr(self.session, name)

    @property
    def state(self):
        """The SessionState."""
        return SessionState(self.session.state)

    # --- the socket ---

    def connected(self, bytes nonce not None, uint64_t now_ns):
        """A new socket of the edge stands."""
        self.session.connected(nonce, now_ns)

    def accept(self, Greeting greeting not None, uint64_t now_ns):
        """The server side goes on with a greeting's socket; False if the greeting is refused instead."""
        return self.session.accept(greeting.greeting, now_ns)

    def disconnected(self, uint64_t now_ns):
        """The socket is gone."""
        self.session.disconnected(now_ns)

    def read(self, const uint8_t[::1] data not None, uint64_t now_ns):
        """Takes what was read from the socket."""
        if data.shape[0]:
            self.session.take_bytes(&data[0], data.shape[0], now_ns)

    def unsent(self):
        """The bytes for the socket."""
        cdef iovec regions[REGIONS]
        return regions_as_bytes(regions, self.session.unsent(regions))

    def wrote(self, size_t length):
        """The socket has taken the first `length` bytes of them."""
        self.session.wrote(length)

    def tick(self, uint64_t now_ns):
        """Does what is due."""
        self.session.tick(now_ns)

    # --- streams ---

    def open(self, bytes facts not None, owner=None):
        """Opens a stream with the payload of an Open: its id, or 0 if that may not be."""
        cdef Stream* stream = self.session.open_stream(facts, owner)
        return 0 if stream == NULL else stream.id

    def own(self, uint32_t id, owner):
        """Gives the stream an owner."""
        self.session.set_owner(self.find(id), owner)

    def can_send(self, uint32_t id):
        """How many bytes put_data would take in one frame now."""
        return self.session.can_send(self.find(id))

    def put_data(self, uint32_t id, const uint8_t[::1] data not None):
        """Sends what may be sent; how much that was."""
        return self.session.put_data(self.find(id), &data[0], data.shape[0]) if data.shape[0] else 0

    def took(self, uint32_t id, size_t length):
        """So much of what came was passed on."""
        self.session.took(self.find(id), length)

    def close(self, uint32_t id, int reason=0, str text=""):
        """Ends the stream from our side."""
        self.session.close_stream(self.find(id), reason, text)

    def stream(self, uint32_t id):
        """(StreamState, bytes sent, received, granted, credit, untaken) of a stream, or None."""
        cdef Stream* stream = table_find(&self.session.table, id)
        if stream == NULL:
            return None
        return (stream.state, stream.sent, stream.received, stream.granted, stream.credit, stream.untaken)

    # --- another process ---

    def can_move(self):
        """Whether export() will succeed."""
        return can_move(self.session)

    def export(self):
        """The state of the session, as bytes; ValueError if it cannot be had. Not from within `tell`."""
        return export_session(self.session)

    def go_on_from(self, bytes state not None, uint64_t now_ns):
        """Before anything else: becomes the session whose state this is. ValueError if that cannot be: then forget this end."""
        import_session(self.session, state, now_ns)

    # --- the link ---

    def can_open(self):
        """Whether open() will succeed."""
        return self.session.can_open()

    def drain(self):
        """Says DRAIN."""
        self.session.drain()

    def end(self, int reason=LinkReason.SYSTEM_SHUTDOWN, str text=""):
        """Ends the session and all its streams."""
        self.session.end(reason, text)


# --- for benchmarks ---


cdef class _Taker(LinkSession):
    """Takes all data at once and forgets it."""

    cdef uint64_t bytes_in

    cdef void on_data(self, Stream* stream, const uint8_t* data, size_t length):
        self.bytes_in += length
        self.took(stream, length)


cdef size_t carry(LinkSession source, LinkSession target, uint64_t now_ns):
    """What `source` has to say arrives; how many bytes."""
    cdef iovec regions[REGIONS]
    cdef int i, count = source.unsent(regions)
    cdef size_t length = 0
    for i in range(count):
        target.take_bytes(<const uint8_t*> regions[i].iov_base, regions[i].iov_len, now_ns)
        length += regions[i].iov_len
    source.wrote(length)
    return length


def carry_times(bytes payload not None, int streams, uint64_t turns, bytes facts not None):
    """Two sessions back to back: each turn every stream says `payload` to the server; the frames that arrived."""
    cdef _Taker edge = _Taker(EDGE, bytes(32), bytes(16), window_bytes=1048576)
    cdef _Taker server = _Taker(SERVER, bytes(32), bytes(16), window_bytes=1048576)
    cdef LinkGreeting greeting = LinkGreeting(bytes(32), bytes(16), bytes(16), 0)
    cdef iovec regions[REGIONS]
    cdef const uint8_t* data = payload
    cdef size_t length = len(payload)
    cdef Stream* stream
    cdef uint64_t turn, before
    cdef uint32_t place
    edge.connected(bytes(16), 0)
    greeting.unsent(regions)
    edge.take_bytes(<const uint8_t*> regions[0].iov_base, regions[0].iov_len, 0)
    edge.unsent(regions)
    greeting.take_bytes(<const uint8_t*> regions[0].iov_base, regions[0].iov_len)
    edge.wrote(regions[0].iov_len)
    server.accept(greeting, 0)
    carry(server, edge, 0)
    for _ in range(streams):
        edge.open_stream(facts, None)
    carry(edge, server, 0)
    before = server.frames_in
    for turn in range(turns):
        place = 0
        while True:
            stream = table_next(&edge.table, &place)
            if stream == NULL:
                break
            edge.put_data(stream, data, length)
        carry(edge, server, turn)
        carry(server, edge, turn)
    if server.bytes_in != turns * streams * length:
        raise RuntimeError(f"{server.bytes_in} bytes arrived")
    return server.frames_in - before
