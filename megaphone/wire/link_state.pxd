# The state of a link's session in bytes, with which another process goes on.
from libc.stdint cimport uint64_t
from megaphone.wire.link_session cimport LinkSession

cdef enum:
    STATE_VERSION = 1

cdef bint can_move(LinkSession session) noexcept        # there is a session, and the peer keeps it without a socket
cdef bytes export_session(LinkSession session)          # ValueError unless can_move; not from within an event
# Makes a new LinkSession (of the same role and secret) the exported one, without a socket. ValueError if that cannot be:
# then forget it. Its streams have no owner: every one that is OPENED must be given one, or closed, before the next event.
cdef int import_session(LinkSession session, bytes state, uint64_t now_ns) except -1
