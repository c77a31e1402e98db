"""The dispatcher: the registry of connections and the four messages between the edge and whoever owns a session.

    put_data(connection, data)          the receiver: these bytes arrived on this connection
    get_data(connection_id)             the session owner: I am ready for more (one credit; RFC 6120 knows none, TCP does)
    send_data(connection_id, data)      anybody: deliver these bytes to this connection
    shutdown(connection_id, condition)  anybody: end this connection with this stream error ("" for none)

A ConnectionID has 64 bits and is unique over the life of the node:

    63        54 53                              22 21                    0
    ┌───────────┬──────────────────────────────────┬───────────────────────┐
    │ worker    │ generation (per worker, counts   │ slot in this worker's │
    │ 0..1023   │ connections, survives a crash)   │ registry, 0..4194303  │
    └───────────┴──────────────────────────────────┴───────────────────────┘

so that finding a connection is an array index and one comparison, and an id of a connection that is gone finds nothing.
"""

from cpython.ref cimport Py_INCREF, Py_DECREF
from libc.stdlib cimport calloc, free, malloc

cdef enum:
    SLOT_BITS = 22
    GENERATION_BITS = 32


cdef class Sink:
    """Whoever takes what a socket's receiver reads."""

    cdef void take_bytes(self, const uint8_t* data, size_t length):
        pass

    cdef void take_end(self, int error):
        pass

    cdef void take_drained(self):
        pass

    cdef void take_writable(self):
        pass


cdef class Connection(Sink):
    """One accepted client connection, as the dispatcher sees it."""

    cdef void pause_reading(self):
        pass

    cdef void resume_reading(self):
        pass

    cdef int deliver(self, const uint8_t* data, size_t length):
        return GONE

    cdef int deliver_stanza(self, const uint8_t* data, size_t length):
        return self.deliver(data, length)

    cdef int deliver_burst(self, const uint8_t* data, size_t length, int kind, uint32_t count):
        return self.deliver(data, length)

    cdef void end(self, str condition, int reason):
        pass

    cdef void take_tick(self, uint32_t now_ticks):
        pass

    cdef bint unthrottle(self):
        return True

    cdef uint64_t fingerprint(self):
        return 0

    cpdef object export(self):
        """What this is now (`moving.Moved`), without its owner; None: it cannot move, now or ever."""
        return None

    cpdef activate(self):
        """A restored connection begins: in the registry under its id (`Dispatcher.register_again`), watched by the poller."""

    cpdef leave(self):
        """Forgets descriptors and registry without a word to anybody."""

    cpdef object write_off(self):
        """Counts the end of a connection that cannot move, before the board and the sketch are the successor's."""

    cpdef take_back(self, object written_off):
        """Takes back what `write_off` has counted and returned."""


cdef class Owner(Sink):
    """The session owner behind a connection."""

    cdef void take_data(self, Connection connection, const uint8_t* data, size_t length):
        pass

    cdef void take_room(self, Connection connection):
        pass

    cdef void take_client_end(self, Connection connection, bint said_goodbye):
        pass

    cdef void take_shutdown(self, Connection connection, int reason):
        pass

    cdef void take_tick(self, Connection connection, uint32_t now_ticks):
        pass

    cpdef str upstream_name(self):
        """The upstream behind this owner, or None."""
        return None

    cdef uint64_t fingerprint(self):
        return 0

    cpdef object export(self, Connection connection):
        """What this is now (`moving.Moved`); None: it cannot move, now or ever."""
        return None

    cpdef activate(self, Connection connection):
        """A restored owner begins; its connection is in the registry."""

    cpdef leave(self, Connection connection):
        """Forgets its descriptors without a word to anybody."""


cdef class Dispatcher:
    """The registry and the four messages of one worker.

    `worker` 0..1023, `capacity` 1..4194303 connections, `generation` the first generation to give out.
    """

    def __cinit__(self, uint32_t worker, uint32_t capacity, uint64_t generation=1):
        if worker > 1023 or not 1 <= capacity < 1 << SLOT_BITS:
            raise ValueError("worker must be 0..1023 and capacity 1..4194303")
        self.worker = worker
        self.capacity = capacity
        self.generation = generation
        self.slots = <PyObject**> calloc(capacity, sizeof(PyObject*))
        self.free_slots = <uint32_t*> malloc(capacity * sizeof(uint32_t))
        self.rests_until = <uint32_t*> calloc(capacity, sizeof(uint32_t))
        if self.slots == NULL or self.free_slots == NULL or self.rests_until == NULL:
            raise MemoryError
        self.find_free_slots()

    def __dealloc__(self):
        cdef uint32_t i
        if self.slots != NULL:
            for i in range(self.capacity):
                if self.slots[i] != NULL:
                    Py_DECREF(<object> self.slots[i])
        free(self.slots)
        free(self.free_slots)
        free(self.rests_until)

    cdef void find_free_slots(self) noexcept:
        cdef uint32_t slot = self.capacity
        self.unsorted = False
        self.free_count = 0
        while slot:
            slot -= 1
            if self.slots[slot] == NULL:
                self.free_slots[self.free_count] = slot
                self.free_count += 1

    cdef uint32_t slot_of(self, uint64_t connection_id) noexcept:
        return connection_id & ((1 << SLOT_BITS) - 1)

    cdef Connection find(self, uint64_t connection_id):
        """The connection with this id, or None."""
        cdef uint32_t slot = connection_id & ((1 << SLOT_BITS) - 1)
        cdef Connection connection
        if slot >= self.capacity or self.slots[slot] == NULL:
            return None
        connection = <Connection> self.slots[slot]
        return connection if connection.id == connection_id else None

    cdef bint register(self, Connection connection):
        """Gives the connection its id and holds it; False if the registry is full."""
        cdef uint32_t slot
        if self.unsorted:
            self.find_free_slots()
        if self.free_count == 0:
            return False
        self.free_count -= 1
        slot = self.free_slots[self.free_count]
        connection.id = (<uint64_t> self.worker << (SLOT_BITS + GENERATION_BITS)
                         | (self.generation & 0xFFFFFFFF) << SLOT_BITS | slot)
        self.generation += 1
        self.open_connections += 1
        Py_INCREF(connection)
        self.slots[slot] = <PyObject*> connection
        self.rests_until[slot] = 0
        return True

    cdef bint register_again(self, Connection connection):
        """Holds a connection under the id that it had in the process before this one; False if that is taken or none of ours."""
        cdef uint32_t slot = connection.id & ((1 << SLOT_BITS) - 1)
        if connection.id >> (SLOT_BITS + GENERATION_BITS) != self.worker or slot >= self.capacity or self.slots[slot] != NULL:
            return False
        self.unsorted = True
        self.open_connections += 1
        Py_INCREF(connection)
        self.slots[slot] = <PyObject*> connection
        self.rests_until[slot] = 0
        return True

    cdef void release(self, Connection connection):
        """Forgets the connection; its id finds nothing from now on."""
        cdef uint32_t slot = connection.id & ((1 << SLOT_BITS) - 1)
        if self.find(connection.id) is not connection:
            return
        self.slots[slot] = NULL
        if not self.unsorted:
            self.free_slots[self.free_count] = slot
            self.free_count += 1
        self.open_connections -= 1
        Py_DECREF(connection)

    cdef void put_data(self, Connection connection, const uint8_t* data, size_t length):
        """Hands bytes to the session owner; without a new credit from it the connection's reading pauses."""
        cdef Owner owner = connection.owner
        if owner is None:
            return
        connection.credit = False
        owner.take_data(connection, data, length)
        if not connection.credit and connection.owner is not None:
            connection.pause_reading()

    cdef void get_data(self, uint64_t connection_id):
        cdef Connection connection = self.find(connection_id)
        if connection is not None and not connection.credit:
            connection.credit = True
            connection.resume_reading()

    cdef int send_data(self, uint64_t connection_id, const uint8_t* data, size_t length):
        cdef Connection connection = self.find(connection_id)
        if connection is None:
            return GONE
        return connection.deliver(data, length)

    cdef int send_stanza(self, uint64_t connection_id, const uint8_t* data, size_t length):
        """As `send_data`, for one whole stanza that the session owner has made or checked: nobody need look at it again."""
        cdef Connection connection = self.find(connection_id)
        if connection is None:
            return GONE
        return connection.deliver_stanza(data, length)

    cdef int send_burst(self, uint64_t connection_id, const uint8_t* data, size_t length, int kind, uint32_t count):
        """As `send_stanza`, for `count` stanzas of one kind that are all there is to say this turn: they need not wait for its end."""
        cdef Connection connection = self.find(connection_id)
        if connection is None:
            return GONE
        return connection.deliver_burst(data, length, kind, count)

    cdef void shutdown(self, uint64_t connection_id, str condition, int reason):
        cdef Connection connection = self.find(connection_id)
        if connection is not None:
            connection.end(condition, reason)

    cdef void rest(self, Connection connection, uint32_t until_ticks):
        """Nothing of this connection is due before then: a million idle ones need not be fetched into the cache each second."""
        self.rests_until[connection.id & ((1 << SLOT_BITS) - 1)] = until_ticks

    cdef void wake(self, Connection connection):
        """Something may be due soon. Harmless for a connection that is gone: it wakes another one early."""
        self.rests_until[connection.id & ((1 << SLOT_BITS) - 1)] = 0

    cdef void look_at_part(self, uint32_t parts, uint32_t now_ticks, uint32_t longest_rest_ticks):
        """Tells one of `parts` equal parts of the connections what time it is; the next call goes on behind it.

        Those that rest are left out, but for no longer than `longest_rest_ticks` (a limit may have become shorter).
        """
        cdef uint32_t i, rest
        cdef Connection connection
        for i in range((self.capacity + parts - 1) // parts):
            if self.looked_at >= self.capacity:
                self.looked_at = 0
                break
            if self.slots[self.looked_at] != NULL:
                rest = self.rests_until[self.looked_at]
                if rest <= now_ticks or rest - now_ticks > longest_rest_ticks:
                    connection = <Connection> self.slots[self.looked_at]
                    connection.take_tick(now_ticks)
            self.looked_at += 1

    def connections(self):
        """Every registered connection, as a list."""
        cdef uint32_t i
        return [<object> self.slots[i] for i in range(self.capacity) if self.slots[i] != NULL]

    def connection(self, uint64_t connection_id):
        """The connection with this id, or None."""
        return self.find(connection_id)
