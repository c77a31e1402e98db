"""The streams of a link's session: their credit, their turns, their ends.

A stream whose data is not taken (others wait, the ring is full, too much is unsent) is *held*: it gets its turn, one frame
at a time, round after round. One without credit is not even in that ring: GET_DATA puts it there. A SHUTDOWN or GET_DATA
for which there is no room is *owed*, and goes before all data. The end of a stream:

     OPENED ── close_stream ──► ENDED_BY_US ── the peer's SHUTDOWN ──► (free)
        └───── the peer's SHUTDOWN: ours at once ────────────────────► (free)    without room for it: ENDED_BY_PEER
"""

from cpython.bytes cimport PyBytes_AS_STRING
from cpython.ref cimport Py_DECREF, Py_INCREF, PyObject
from libc.stdlib cimport free, realloc

from megaphone.wire.link cimport (
    CONNECTION_LOST, DATA_LIMIT_BYTES, EDGE, FRAME_LIMIT_BYTES, GET_DATA_BYTES, HEADER_BYTES, OPEN, PUT_DATA, SEND_DATA,
    put_get_data, put_header,
)
from megaphone.wire.link_output cimport DATA_BOUND_BYTES, STREAMS_BOUND_BYTES
from megaphone.wire.link_ring cimport ring_free, ring_put
from megaphone.wire.link_streams cimport (
    ENDED_BY_PEER, ENDED_BY_US, HELD, NOWHERE, OPENED, OWING, list_append, list_remove, table_add, table_bytes,
    table_free, table_next, table_remove,
)

from megaphone.wire.link_messages import cut_text


cdef class LinkExchange(LinkOutput):
    """What both roles do with streams, beside taking the peer's frames (LinkInput)."""

    def __cinit__(self):
        self.backlog_limit_bytes = 262144
        self.next_id = 1

    def __dealloc__(self):
        cdef uint32_t place = 0
        cdef Stream* stream
        while True:
            stream = table_next(&self.table, &place)
            if stream == NULL:
                break
            if stream.owner != NULL:
                Py_DECREF(<object> stream.owner)
        table_free(&self.table)
        free(self.free_ids)

    cpdef uint32_t stream_count(self):
        """Streams in the table: also those whose end is not complete."""
        return self.table.count

    cpdef uint64_t memory_bytes(self):
        """Bytes of memory that ring and table have now."""
        return self.ring.capacity + table_bytes(&self.table)

    # --- opening ---

    cdef bint can_open(self) noexcept:
        return (
            self.role == EDGE and self.welcomed and not self.draining and not self.drained
            and self.table.count < self.streams_limit and self.has_room(FRAME_LIMIT_BYTES, DATA_BOUND_BYTES)
        )

    cdef Stream* open_stream(self, bytes facts, object owner):
        """Says OPEN with `facts`, an encoded Open; NULL if can_open() is false or there is no memory."""
        cdef uint8_t header[HEADER_BYTES]
        cdef Stream* stream
        cdef uint32_t id
        if not self.can_open():
            return NULL
        if self.free_id_count:
            id = self.free_ids[self.free_id_count - 1]
        else:
            id = self.next_id
            if not self.keep_places(id):
                return NULL
        stream = self.add(id)
        if stream == NULL:
            return NULL
        if self.free_id_count:
            self.free_id_count -= 1
        else:
            self.next_id += 1
        self.set_owner(stream, owner)
        put_header(header, OPEN, len(facts), id)
        ring_put(&self.ring, header, HEADER_BYTES)
        self.say(<const uint8_t*> PyBytes_AS_STRING(facts), len(facts))
        return stream

    cdef bint keep_places(self, uint32_t ids) noexcept:
        """Makes sure that every id can be noted as free, so that ending a stream needs no memory."""
        cdef uint32_t* free_ids
        if ids & (ids - 1):
            return True
        free_ids = <uint32_t*> realloc(self.free_ids, 2 * <size_t> ids * sizeof(uint32_t))
        if free_ids == NULL:
            return False
        self.free_ids = free_ids
        return True

    cdef Stream* add(self, uint32_t id) noexcept:
        cdef Stream* stream = table_add(&self.table, id)
        if stream != NULL:
            stream.credit = self.peer_window_bytes
            stream.granted = self.window_bytes
        return stream

    cdef void set_owner(self, Stream* stream, object owner):
        """The stream's owner from now on; the session holds a reference to it."""
        cdef PyObject* before = stream.owner
        Py_INCREF(owner)
        stream.owner = <PyObject*> owner
        if before != NULL:
            Py_DECREF(<object> before)

    # --- sending ---

    cdef size_t can_send(self, Stream* stream) noexcept:
        if stream.credit == 0 or not self.welcomed or stream.state != OPENED:
            return 0
        if stream != self.served and (self.held.first != NULL or self.owing.first != NULL):
            return 0
        if self.ring.end - self.ring.sent >= self.backlog_limit_bytes:
            return 0
        if not self.has_room(FRAME_LIMIT_BYTES, DATA_BOUND_BYTES):
            return 0
        return DATA_LIMIT_BYTES if stream.credit > DATA_LIMIT_BYTES else stream.credit

    cdef size_t put_data(self, Stream* stream, const uint8_t* data, size_t length):
        """Sends what may be sent now; returns how much. on_room tells when the rest may be offered."""
        cdef uint8_t header[HEADER_BYTES]
        cdef size_t taken = 0, part
        while taken < length:
            part = self.can_send(stream)
            if part == 0:
                break
            if part > length - taken:
                part = length - taken
            put_header(header, PUT_DATA if self.role == EDGE else SEND_DATA, part, stream.id)
            ring_put(&self.ring, header, HEADER_BYTES)
            self.say(data + taken, part)
            stream.sent += part
            stream.credit -= part
            taken += part
            if stream == self.served:
                self.served = NULL      # one frame a turn while others wait
        if taken == length:
            stream.wants = False
            if stream.queue == HELD:
                list_remove(&self.held, stream)
        elif stream.state == OPENED:
            self.hold(stream)
        return taken

    cdef void hold(self, Stream* stream) noexcept:
        """Its owner has more to send: it gets a turn, or waits for credit first."""
        stream.wants = True
        if stream.credit == 0:
            self.starved_times += 1
        elif stream.queue == NOWHERE:
            self.held_times += 1
            list_append(&self.held, stream, HELD)

    cdef void serve(self):
        """Writes what is owed, then gives turns to those that are held, as long as there is room."""
        cdef Stream* stream
        if self.serving:
            return
        self.serving = True
        try:
            while self.owing.first != NULL and self.pay(self.owing.first):
                pass
            while self.held.first != NULL and self.owing.first == NULL:
                stream = self.held.first
                self.served = stream
                if self.can_send(stream) == 0:
                    break
                list_remove(&self.held, stream)
                stream.wants = False
                self.on_room(stream)        # the stream may be gone afterwards
        finally:
            self.served = NULL
            self.serving = False

    cdef bint pay(self, Stream* stream):
        """Writes the SHUTDOWN or GET_DATA that the stream owes; False if there still is no room."""
        if stream.state == OPENED:
            if not self.has_room(GET_DATA_BYTES, STREAMS_BOUND_BYTES):
                return False
            list_remove(&self.owing, stream)
            self.grant(stream)
            if stream.wants:
                self.hold(stream)
            return True
        if not self.say_shutdown(stream.id, stream.sent, stream.reason, b""):
            return False
        list_remove(&self.owing, stream)
        if stream.state == ENDED_BY_PEER:
            self.release(stream)
        return True

    # --- receiving ---

    cdef void took(self, Stream* stream, size_t length):
        """The owner has passed on `length` more bytes; new credit goes out when half a window is free."""
        stream.untaken -= length if length < stream.untaken else stream.untaken
        if stream.state == OPENED and stream.queue != OWING and self.grantable(stream) >= self.window_bytes // 2:
            if self.has_room(GET_DATA_BYTES, STREAMS_BOUND_BYTES):
                self.grant(stream)
            else:
                self.owe(stream)

    cdef uint64_t grantable(self, Stream* stream) noexcept:
        """How far the limit can be moved: to a window above what has been taken."""
        return stream.received - stream.untaken + self.window_bytes - stream.granted

    cdef void grant(self, Stream* stream):
        cdef uint8_t frame[GET_DATA_BYTES]
        stream.granted += self.grantable(stream)
        self.say(frame, put_get_data(frame, stream.id, stream.granted))

    cdef void owe(self, Stream* stream) noexcept:
        if stream.queue == HELD:
            list_remove(&self.held, stream)
        if stream.queue == NOWHERE:
            list_append(&self.owing, stream, OWING)

    # --- ending ---

    cdef void close_stream(self, Stream* stream, int reason, str text):
        """Ends a stream from our side. What was offered and not taken by put_data is lost; the owner is let go."""
        if stream.state != OPENED:
            return
        if stream.queue == HELD:
            list_remove(&self.held, stream)
        elif stream.queue == OWING:
            list_remove(&self.owing, stream)
        stream.state = ENDED_BY_US
        stream.wants = False
        if not self.welcomed:
            self.disown(stream)         # the session is ending, and with it all its streams
            return
        if self.owing.first != NULL or not self.say_shutdown(stream.id, stream.sent, reason, cut_text(text)):
            stream.reason = reason
            self.owe(stream)
        self.disown(stream)

    cdef void disown(self, Stream* stream):
        cdef PyObject* owner = stream.owner
        stream.owner = NULL
        if owner != NULL:
            Py_DECREF(<object> owner)

    cdef void release(self, Stream* stream) noexcept:
        """Both sides have ended it: its id is free."""
        if self.role == EDGE:
            self.free_ids[self.free_id_count] = stream.id
            self.free_id_count += 1
        table_remove(&self.table, stream)

    cdef void end_streams(self, str text):
        """The session is gone, and with it every stream; `welcomed` is false already."""
        cdef uint32_t place = 0, incarnation
        cdef Stream* stream
        self.incarnation += 1
        incarnation = self.incarnation
        while True:
            stream = table_next(&self.table, &place)
            if stream == NULL:
                break
            if stream.state == OPENED:
                stream.state = ENDED_BY_US
                self.on_shutdown(stream, CONNECTION_LOST, text)
                if self.incarnation != incarnation:
                    return              # its owner has ended the session: the rest is done
            self.disown(stream)
        table_free(&self.table)
        self.held.first = self.held.last = self.owing.first = self.owing.last = self.served = NULL

    cdef void begin_anew(self, str text):
        """Ends what there was; both counts are 0, all ids are free."""
        self.welcomed = self.draining = False
        self.end_streams(text)
        ring_free(&self.ring)
        self.received_bytes = self.acknowledged_bytes = 0
        self.next_id = 1
        self.free_id_count = 0

    # --- events ---

    cdef void on_room(self, Stream* stream):
        pass

    cdef void on_shutdown(self, Stream* stream, int reason, str text):
        pass
