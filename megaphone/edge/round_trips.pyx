"""The round trips of a worker's clients, asked of the kernel: of one connection, or of some spread over all of them."""

from libc.stdint cimport uint32_t, uint64_t

from megaphone.dispatch.dispatcher cimport Dispatcher
from megaphone.edge.relay cimport RelayedConnection
from megaphone.sockets.round_trip cimport round_trip_us


def round_trip_seconds(connection):
    """The smoothed round trip of a client's socket in seconds; None if it has none yet, or is no client's socket."""
    cdef uint32_t found
    if not isinstance(connection, RelayedConnection) or (<RelayedConnection> connection).receiver is None:
        return None
    found = round_trip_us((<RelayedConnection> connection).receiver.fd)
    return found / 1e6 if found else None


def sample_round_trips(Dispatcher dispatcher not None, uint32_t limit, uint64_t turn):
    """Round trips in microseconds of at most `limit` connections: every so many-th of the table.

    Which of them they are follows from `turn`: as many turns as there are `limit`s of connections look at each once,
    as long as the same ones stay.
    """
    cdef list found = []
    cdef uint32_t left = dispatcher.open_connections
    cdef uint32_t step = (left + limit - 1) // limit if limit else 0
    cdef uint32_t slot, wait, measured
    cdef RelayedConnection connection
    if not step:
        return found
    wait = turn % step
    for slot in range(dispatcher.capacity):
        if not left:
            break
        if dispatcher.slots[slot] == NULL:
            continue
        left -= 1
        if wait:
            wait -= 1
            continue
        wait = step - 1
        if isinstance(<object> dispatcher.slots[slot], RelayedConnection):
            connection = <RelayedConnection> dispatcher.slots[slot]
            measured = round_trip_us(connection.receiver.fd) if connection.receiver is not None else 0
            if measured:
                found.append(measured)
    return found
