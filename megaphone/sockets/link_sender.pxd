# The sender of a link's socket, compiled interface.
from megaphone.sockets.sender cimport Sender
from megaphone.wire.link_session cimport LinkSession

cdef class LinkSender(Sender):
    cdef LinkSession session    # None once the socket is no longer the session's: what is sealed still leaves

    cdef ssize_t send_session(self)
    cdef ssize_t encrypt_session(self)
