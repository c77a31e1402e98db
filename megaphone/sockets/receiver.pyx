"""The receiver: reads one socket into the worker's shared buffer, undoes TLS, and hands the bytes to a sink.

It is what the poller watches; events for the other direction go to the socket's sender. Reading is edge-triggered:
`readable` stays set until a read came back short, so a paused receiver simply goes on where it stopped.
"""

cimport cython
from libc.errno cimport EAGAIN, EINTR, errno
from posix.unistd cimport close

from megaphone.sockets.address cimport socklen_t
from megaphone.sockets.calls cimport SO_ERROR, SOL_SOCKET, getsockopt
from megaphone.sockets.poller cimport EPOLLERR, EPOLLHUP, EPOLLIN, EPOLLOUT, EPOLLRDHUP, READ_BYTES
from megaphone.sockets.tls cimport DONE, FAILED
from megaphone.wire.tls_records cimport PEER_CLOSED

cdef extern from "sys/socket.h":
    ssize_t recv(int, void*, size_t, int)

cdef enum:
    READS_PER_TURN = 4          # then others have their turn
    SEALED_LIMIT_BYTES = 262144 # more ciphertext than handshake, tickets and a turn's records ever leave unsent


cdef Receiver open_socket(int fd, Poller poller, Sink sink, uint32_t mailbox_limit, bint connecting, bint watched=True):
    """Takes over a non-blocking socket: its receiver, with its sender; None if the poller cannot watch it.

    One that is not `watched` has no events before its `watch` is called.
    """
    cdef Sender sender = Sender.__new__(Sender)
    sender.limit = mailbox_limit
    return receive_with(sender, fd, poller, sink, connecting, watched)


cdef Receiver receive_with(Sender sender, int fd, Poller poller, Sink sink, bint connecting, bint watched=True):
    """As `open_socket`, for a socket with a sender of another kind."""
    cdef Receiver receiver = Receiver.__new__(Receiver)
    receiver.fd = sender.fd = fd
    receiver.poller = sender.poller = poller
    receiver.sink = sender.sink = sink
    receiver.sender = sender
    sender.connecting = connecting
    sender.writable = not connecting
    if watched and not receiver.watch():
        sender.close()
        receiver.fd = -1
        receiver.sink = None
        close(fd)
        return None
    return receiver


@cython.no_gc
cdef class Receiver(Pollable):
    """The receiving half of one socket."""

    cdef bint watch(self):
        return self.poller.watch(self, EPOLLIN | EPOLLOUT | EPOLLRDHUP)

    cdef void on_events(self, uint32_t events):
        cdef Sender sender = self.sender
        if sender.connecting:
            self.on_connected(events)
            return
        if events & EPOLLOUT and not sender.writable:
            sender.writable = True
            if sender.pending_bytes() or sender.finishing:
                self.poller.flush_later(sender)
        if events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR):
            self.readable = True
            if events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR):
                self.hangup = True
            if not self.paused and not self.ended:
                self.read()
            elif events & EPOLLERR and not self.ended:
                # paused, but there is nobody to wait for any more
                self.fail(self.socket_error())

    cdef int socket_error(self) noexcept:
        cdef int error = 0
        cdef socklen_t length = sizeof(error)
        getsockopt(self.fd, SOL_SOCKET, SO_ERROR, &error, &length)
        return error

    cdef void on_connected(self, uint32_t events):
        cdef int error = self.socket_error()
        cdef Sink sink = self.sink
        if error == 0 and not events & EPOLLOUT:
            return
        if error:
            self.fail(error)
            return
        self.sender.connecting = False
        self.sender.writable = True
        self.poller.flush_later(self.sender)
        sink.take_writable()
        if self.fd >= 0 and events & EPOLLIN:
            self.readable = True
            self.poller.run_again(self)

    cdef void on_turn(self):
        if self.readable and not self.paused and not self.ended and not self.sender.connecting:
            self.read()

    cdef void pause(self):
        self.paused = True

    cdef void resume(self):
        """Goes on reading in the next turn (never at once: the caller may stand in the middle of the shared buffer)."""
        if self.paused:
            self.paused = False
            if self.readable and self.fd >= 0:
                self.poller.run_again(self)

    cdef void read(self):
        cdef ssize_t length
        cdef int budget = READS_PER_TURN
        cdef uint8_t* buffer = self.poller.received
        # held here, because the sink may let go of us, and we of it, while it is at work
        cdef Sink sink = self.sink
        while self.readable and not self.paused and not self.ended and self.fd >= 0:
            if budget == 0:
                self.poller.run_again(self)
                return
            budget -= 1
            length = recv(self.fd, buffer, READ_BYTES, 0)
            if length > 0:
                if self.tls is None:
                    sink.take_bytes(buffer, length)
                else:
                    self.decrypt(buffer, length)
                # a short read emptied the socket, and epoll reports what comes later; a FIN already reported it will not repeat
                if length < READ_BYTES and not self.hangup:
                    self.readable = False
            elif length == 0:
                self.readable = False
                self.fail(0)
            elif errno == EAGAIN:
                self.readable = False
            elif errno != EINTR:
                self.readable = False
                self.fail(errno)

    cdef void fail(self, int error):
        """Tells the sink, once, that nothing more will come."""
        cdef Sink sink = self.sink
        if not self.ended:
            self.ended = True
            if sink is not None:
                sink.take_end(error)

    cdef void start_tls(self, TLS tls):
        """From here on the socket speaks TLS; the client says the first word."""
        self.tls = tls
        self.sender.tls = tls

    cdef void decrypt(self, const uint8_t* data, size_t length):
        cdef TLS tls = self.tls     # the sink may close us meanwhile
        cdef Sink sink = self.sink
        cdef Py_ssize_t size
        cdef int state
        cdef uint8_t* plain = self.poller.plain
        tls.feed(data, length)
        if not tls.established:
            state = tls.handshake()
            self.sender.seal_output()
            if state == FAILED:
                self.fail(TLS_HANDSHAKE_REFUSED)
                return
            if state != DONE:
                return
            sink.take_writable()
            if self.fd >= 0:
                self.poller.flush_later(self.sender)
        while self.fd >= 0:
            size = tls.read(plain, READ_BYTES)
            if size > 0:
                sink.take_bytes(plain, size)
            elif size == 0:
                break
            else:
                if self.fd >= 0:
                    self.sender.seal_output()
                self.fail(0 if size == PEER_CLOSED else TLS_RECORD_REFUSED)
                break
        if self.fd >= 0:
            self.sender.seal_output()
            if self.sender.sealed.size > SEALED_LIMIT_BYTES:
                self.fail(TLS_RECORD_REFUSED)    # it makes us answer without end (KeyUpdate) and does not read

    cdef void close(self):
        """Closes the socket at once and forgets the sink (which breaks the cycle between the two)."""
        cdef int fd = self.fd
        if fd >= 0:
            self.poller.forget(self)
            self.fd = -1
            self.ended = True
            self.sender.close()
            self.sink = None
            self.tls = None
            close(fd)


def socket_bytes():
    """The bytes of the objects that one socket keeps when it is idle, without TLS."""
    return Receiver.__basicsize__ + Sender.__basicsize__
