"""A listening socket: accepts a bounded number in a turn and hands each to whoever made it.

The socket belongs to the supervisor; this is one process's use of it.
"""

from libc.errno cimport ECONNABORTED, EINTR, errno
from libc.stdint cimport uint32_t
from posix.unistd cimport close

from megaphone.sockets.address cimport AF_UNIX, socklen_t
from megaphone.sockets.calls cimport SOCK_CLOEXEC, SOCK_NONBLOCK, accept4, send_at_once
from megaphone.sockets.poller cimport EPOLLIN


cdef class ListeningSocket(Pollable):
    """One listening socket; a subclass takes what is accepted. `close` leaves the supervisor's socket open."""

    cdef void listen_on(self, Poller poller, int fd, int accepts_per_turn):
        self.poller = poller
        self.fd = fd
        self.set_aside = -1
        self.accepts_per_turn = accepts_per_turn

    def open(self):
        """Starts accepting; OSError if the socket cannot be watched."""
        if not self.poller.watch(self, EPOLLIN):
            raise OSError(errno, "epoll_ctl")

    def pause(self):
        """Stops accepting; those who come wait in the backlog."""
        if self.fd >= 0:
            self.poller.forget(self)
            self.set_aside = self.fd
            self.fd = -1

    def resume(self):
        """Accepts again after `pause`; OSError if the socket cannot be watched."""
        if self.set_aside >= 0:
            self.fd = self.set_aside
            self.set_aside = -1
            self.open()

    def close(self):
        """Stops accepting and closes this process's descriptor."""
        if self.set_aside >= 0:
            close(self.set_aside)
            self.set_aside = -1
        if self.fd >= 0:
            self.poller.forget(self)
            close(self.fd)
            self.fd = -1

    def retry(self):
        """Accepts again after a shortage of descriptors (called by the worker's sweep)."""
        if self.fd >= 0:
            self.poller.run_again(self)

    cdef void on_events(self, uint32_t events):
        self.accept_some()

    cdef void on_turn(self):
        self.accept_some()

    cdef void accept_some(self):
        cdef Address address
        cdef socklen_t length
        cdef int fd, i
        for i in range(self.accepts_per_turn):
            length = sizeof(address)
            fd = accept4(self.fd, &address.any, &length, SOCK_NONBLOCK | SOCK_CLOEXEC)
            if fd < 0:
                if errno == EINTR or errno == ECONNABORTED:
                    continue
                # EAGAIN: nobody waits. Out of descriptors or memory: clients wait in the backlog; the worker's
                # sweep calls `retry`, since edge-triggered epoll will not repeat itself
                return
            if address.any.sa_family != AF_UNIX:
                send_at_once(fd)
            self.take(fd, &address)
        self.poller.run_again(self)

    cdef void take(self, int fd, Address* address):
        pass
