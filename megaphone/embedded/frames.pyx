"""What workers say to each other about stanzas, rooms and streams: the payload of a bus frame for each kind.

    ROUTE     flags 1 · to, with its length 2 · stanza                            to the home of `to`
    FAN_OUT   audience 1 · room, 2+ · from, 2+ · except, 2+ · stanza              to a worker with occupants
    OCCUPANT  change 1 · room, 2+ · occupant, 2+                                  likewise: who they are
    LISTED    JSON                                                                to the home of the rooms' domain
    RELAY     see relay.pyx

A plain message (flag PLAIN: the sender's home has nothing to do for it) goes straight to the session that gets it; all
else is the router's.
"""

from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport uint8_t, uint64_t

from megaphone.bus.local cimport FrameTaker, LocalBus
from megaphone.embedded.stream cimport EmbeddedStream, Streams

cpdef enum FrameKind:
    ROUTE = 2
    FAN_OUT = 3
    OCCUPANT = 4
    LISTED = 5
    RELAY = 8           # .. 15

cpdef enum RouteFlag:
    KEEP = 1            # the sender has been, or will be, told that it is safe
    PLAIN = 2           # a message that plain_targets may answer


cdef class HomeFrames(FrameTaker):
    """Takes the frames of the other workers for a router (embedded.router.Router) and its streams."""

    cdef Streams streams
    cdef object router

    def __init__(self, Streams streams, router):
        self.streams = streams
        self.router = router

    cdef void take_frame(self, int peer, int kind, const uint8_t* data, size_t length):
        cdef size_t to_length
        cdef int flags
        cdef bytes to
        if kind != ROUTE:
            self.router.take_frame(peer, kind, PyBytes_FromStringAndSize(<const char*> data, length))
            return
        if length < 3:
            return
        flags = data[0]
        to_length = data[1] << 8 | data[2]
        if length < 3 + to_length:
            return
        to = PyBytes_FromStringAndSize(<const char*> data + 3, to_length)
        data += 3 + to_length
        length -= 3 + to_length
        if flags == PLAIN:
            target = self.streams.plain_targets.get(to)
            if target is not None:
                (<EmbeddedStream?> target.stream).write(data, length)
                return
        self.router.take_route(to, PyBytes_FromStringAndSize(<const char*> data, length), flags)

    cdef void take_batch_end(self, int peer):
        self.router.take_batch_end(peer)

    cpdef void peer_lost(self, int peer):
        self.router.peer_lost(peer)

    cpdef void confirmed(self, int peer, uint64_t serial):
        self.router.confirmed(peer, serial)

    cpdef uint64_t taken_by(self, int peer, bytes instance):
        return self.router.taken_by(peer, instance)


def route_frame(bytes to not None, bytes stanza not None, int flags):
    """The payload of ROUTE."""
    return b"%c%b%b%b" % (flags, len(to).to_bytes(2, "big"), to, stanza)
