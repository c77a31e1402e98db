"""The listening socket for links: accepts a bounded number of sockets in a turn.

The listening socket belongs to the supervisor; this is the hub's use of it.
"""

from libc.errno cimport ECONNABORTED, EINTR, errno
from libc.stdint cimport uint8_t, uint16_t, uint32_t
from posix.unistd cimport close

from cpython.bytes cimport PyBytes_FromStringAndSize

from megaphone.hub.shared cimport Hub
from megaphone.hub.socket cimport open_link_socket
from megaphone.sockets.address cimport AF_UNIX, Address, read_address, socklen_t
from megaphone.sockets.calls cimport SOCK_CLOEXEC, SOCK_NONBLOCK, accept4, send_at_once
from megaphone.sockets.poller cimport EPOLLIN, Pollable

from megaphone.hub.facts import address_text

cdef enum:
    ACCEPTS_PER_TURN = 16


cdef class LinkListener(Pollable):
    """One listening socket. `close` stops accepting; the socket itself stays open in the supervisor."""

    cdef Hub hub

    def __init__(self, Hub hub, int fd):
        self.hub = hub
        self.fd = fd

    def open(self):
        """Starts accepting; OSError if the socket cannot be watched."""
        if not self.hub.poller.watch(self, EPOLLIN):
            raise OSError(errno, "epoll_ctl")

    def close(self):
        """Stops accepting and closes this process's descriptor."""
        if self.fd >= 0:
            self.hub.poller.forget(self)
            close(self.fd)
            self.fd = -1

    def retry(self):
        """Accepts again after a shortage of descriptors (called by the worker's sweep)."""
        if self.fd >= 0:
            self.hub.poller.run_again(self)

    cdef void on_events(self, uint32_t events):
        self.accept_some()

    cdef void on_turn(self):
        self.accept_some()

    cdef accept_some(self):
        cdef Address address
        cdef socklen_t length
        cdef int fd, i
        cdef uint8_t mapped[16]
        cdef uint16_t port
        for i in range(ACCEPTS_PER_TURN):
            length = sizeof(address)
            fd = accept4(self.fd, &address.any, &length, SOCK_NONBLOCK | SOCK_CLOEXEC)
            if fd < 0:
                if errno == EINTR or errno == ECONNABORTED:
                    continue
                return          # EAGAIN: nobody waits; otherwise out of descriptors or memory, and `retry` goes on
            if address.any.sa_family == AF_UNIX:
                peer = "unix"
            else:
                send_at_once(fd)
                port = read_address(&address, mapped)
                peer = f"{address_text(PyBytes_FromStringAndSize(<const char*> mapped, 16))} port {port}"
            open_link_socket(self.hub, fd, peer)
        self.hub.poller.run_again(self)
