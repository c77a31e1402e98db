"""Which client connections of a worker have carried the most bytes: one look at each, when an operator asks."""

from cpython.ref cimport PyObject
from libc.stdint cimport uint32_t, uint64_t

from megaphone.dispatch.dispatcher cimport Dispatcher
from megaphone.edge.relay cimport RelayedConnection

cdef enum:
    MOST = 100


def busiest(Dispatcher dispatcher not None, int limit):
    """The connections that have carried the most bytes in and out, most first, at most `limit` of them (1..100)."""
    cdef PyObject* found[MOST]
    cdef uint64_t carried[MOST]     # by each, most first
    cdef uint64_t amount
    cdef int count = 0, place
    cdef int wanted = max(1, min(limit, <int> MOST))
    cdef uint32_t slot
    cdef RelayedConnection connection
    for slot in range(dispatcher.capacity):
        if dispatcher.slots[slot] == NULL or not isinstance(<object> dispatcher.slots[slot], RelayedConnection):
            continue
        connection = <RelayedConnection> dispatcher.slots[slot]
        amount = connection.bytes_in + connection.bytes_out
        if count == wanted and amount <= carried[count - 1]:
            continue
        if count < wanted:
            count += 1
        place = count - 1
        while place > 0 and carried[place - 1] < amount:
            carried[place] = carried[place - 1]
            found[place] = found[place - 1]
            place -= 1
        carried[place] = amount
        found[place] = dispatcher.slots[slot]
    return [<object> found[place] for place in range(count)]
