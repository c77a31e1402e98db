# A socket's sender, compiled interface.
from libc.stdint cimport uint8_t, uint32_t
from posix.uio cimport iovec
from megaphone.dispatch.dispatcher cimport Sink
from megaphone.dispatch.mailbox cimport Mailbox
from megaphone.sockets.poller cimport Flushable, Poller
from megaphone.sockets.tls cimport TLS

cdef extern from "sys/socket.h":
    cdef enum:
        MSG_NOSIGNAL
    cdef struct msghdr:
        iovec* msg_iov
        size_t msg_iovlen
    ssize_t sendmsg(int, const msghdr*, int)
    ssize_t send(int, const void*, size_t, int)

cdef class Sender(Flushable):
    cdef int fd
    cdef Poller poller
    cdef Sink sink
    cdef TLS tls
    cdef Mailbox mailbox        # as given to write()
    cdef Mailbox sealed         # ciphertext the socket would not take yet: at most one record and a handshake flight
    cdef uint32_t limit         # bytes in the mailbox from which on write() says FULL
    cdef uint32_t stalled_ticks # since when the peer has been too slow; 0 = it is not
    cdef bint connecting
    cdef bint writable
    cdef bint full
    cdef bint finishing         # after the last byte: close_notify, FIN
    cdef bint finished

    cdef int write(self, const uint8_t* data, size_t length)
    cdef int write_through(self, const uint8_t* data, size_t length)
    cdef void seal_output(self)
    cdef void seal_plain(self)
    cdef void take_over(self, Mailbox* waiting)
    cdef void finish(self)
    cdef void close(self)
    cdef uint32_t pending_bytes(self) noexcept
    cdef ssize_t send_chunks(self, Mailbox* mailbox)
    cdef ssize_t send_vectors(self, iovec* regions, int count)
    cdef ssize_t send_output(self)
    cdef ssize_t not_sent(self)
    cdef ssize_t encrypt(self)
