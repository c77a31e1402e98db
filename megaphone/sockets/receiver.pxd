# A socket's receiver, compiled interface.
from libc.stdint cimport uint8_t, uint32_t
from megaphone.dispatch.dispatcher cimport Sink
from megaphone.sockets.poller cimport Pollable, Poller
from megaphone.sockets.sender cimport Sender
from megaphone.sockets.tls cimport TLS

cdef enum:                      # what Sink.take_end is told when TLS has failed
    TLS_HANDSHAKE_REFUSED = -1
    TLS_RECORD_REFUSED = -2     # the alert that says so is still to be sent

cdef class Receiver(Pollable):
    cdef Poller poller
    cdef Sender sender
    cdef Sink sink
    cdef TLS tls
    cdef bint readable          # the socket may have more than we have read
    cdef bint paused
    cdef bint ended             # nothing more will come, and the sink knows
    cdef bint hangup            # the peer has sent FIN or RST: read on until it shows

    cdef bint watch(self)
    cdef void pause(self)
    cdef void resume(self)
    cdef void read(self)
    cdef void decrypt(self, const uint8_t* data, size_t length)
    cdef void start_tls(self, TLS tls)
    cdef void close(self)
    cdef int socket_error(self) noexcept
    cdef void on_connected(self, uint32_t events)
    cdef void fail(self, int error)

cdef Receiver open_socket(int fd, Poller poller, Sink sink, uint32_t mailbox_limit, bint connecting, bint watched=*)
cdef Receiver receive_with(Sender sender, int fd, Poller poller, Sink sink, bint connecting, bint watched=*)
