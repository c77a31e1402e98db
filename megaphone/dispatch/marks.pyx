"""What a predecessor has said of each of its connections, so that it says again only what has changed.

A round looks at every slot of the registry once: `next` gives out connections of which nothing has been said yet, or
something else. The caller says it and calls `note`; what it cannot say, it may `forget`.
"""

from cpython.ref cimport PyObject
from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport calloc, free

from megaphone.dispatch.dispatcher cimport Connection, Dispatcher
from megaphone.dispatch.fingerprint cimport mixed

cdef enum:
    LOOKED_AT_ONCE = 65536      # slots of one `next`: some hundred microseconds if they are empty


cdef uint64_t print_of(Connection connection):
    cdef uint64_t print = connection.fingerprint()
    if connection.owner is not None:
        print = mixed(mixed(print, <uint64_t> <size_t> <PyObject*> connection.owner), connection.owner.fingerprint())
    return print


cdef class Marks:
    """What has been said of each connection of a dispatcher."""

    cdef Dispatcher dispatcher
    cdef uint64_t* ids              # of each slot: the connection that something has been said of, or 0
    cdef uint64_t* prints
    cdef uint32_t cursor
    cdef uint32_t gone_cursor
    cdef readonly uint32_t said     # connections that something has been said of, those that are gone included

    def __cinit__(self, Dispatcher dispatcher not None):
        self.dispatcher = dispatcher
        self.ids = <uint64_t*> calloc(dispatcher.capacity, sizeof(uint64_t))
        self.prints = <uint64_t*> calloc(dispatcher.capacity, sizeof(uint64_t))
        if self.ids == NULL or self.prints == NULL:
            raise MemoryError

    def __dealloc__(self):
        free(self.ids)
        free(self.prints)

    def restart(self):
        """Begins another round."""
        self.cursor = self.gone_cursor = 0

    @property
    def at_end(self):
        """Whether this round has looked at everything."""
        return self.cursor == self.dispatcher.capacity

    def next(self, uint32_t most):
        """The next connections of this round to speak of, at most so many; none does not mean that it is at its end."""
        cdef uint32_t until = self.dispatcher.capacity
        cdef Connection connection
        cdef list found = []
        if until - self.cursor > LOOKED_AT_ONCE:
            until = self.cursor + LOOKED_AT_ONCE
        while self.cursor < until and len(found) < most:
            if self.dispatcher.slots[self.cursor] != NULL:
                connection = <Connection> self.dispatcher.slots[self.cursor]
                if self.ids[self.cursor] != connection.id or self.prints[self.cursor] != print_of(connection):
                    found.append(connection)
            self.cursor += 1
        return found

    def note(self, Connection connection not None):
        """All about this connection has been said, as it is now; the id of another one that has been in its slot, or 0."""
        cdef uint32_t slot = self.dispatcher.slot_of(connection.id)
        cdef uint64_t before = 0 if self.ids[slot] == connection.id else self.ids[slot]
        self.said += self.ids[slot] == 0
        self.ids[slot] = connection.id
        self.prints[slot] = print_of(connection)
        return before

    def forget(self, Connection connection not None):
        """What has been said of this connection counts no more; whether there was anything."""
        cdef uint32_t slot = self.dispatcher.slot_of(connection.id)
        if self.ids[slot] != connection.id:
            return False
        self.ids[slot] = 0
        self.said -= 1
        return True

    def is_said(self, Connection connection not None):
        """Whether something has been said of this connection, lately or long ago."""
        return self.ids[self.dispatcher.slot_of(connection.id)] == connection.id

    def unsaid(self):
        """Every connection of which nothing has been said."""
        cdef uint32_t slot
        return [<object> self.dispatcher.slots[slot] for slot in range(self.dispatcher.capacity)
                if self.dispatcher.slots[slot] != NULL and self.ids[slot] != (<Connection> self.dispatcher.slots[slot]).id]

    def gone(self, uint32_t most):
        """Ids of connections that something has been said of and that have ended since, at most so many; those are forgotten."""
        cdef list found = []
        cdef uint64_t id
        while self.gone_cursor < self.dispatcher.capacity and len(found) < most:
            id = self.ids[self.gone_cursor]
            if id and self.dispatcher.find(id) is None:
                found.append(id)
                self.ids[self.gone_cursor] = 0
                self.said -= 1
            self.gone_cursor += 1
        return found
