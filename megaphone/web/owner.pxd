# The session owner of an HTTP connection, compiled interface.
from megaphone.dispatch.dispatcher cimport Owner
from megaphone.edge.connection cimport ClientConnection

cdef class WebOwner(Owner):
    cdef readonly ClientConnection connection   # None once it has ended, or is somebody else's
    cdef readonly bint full                     # the mailbox is at its limit: `room` follows

    cdef void fail(self, ClientConnection connection, error)
