"""The listener: accepts clients, a bounded number per turn, and refuses those that the limits keep out.

The listening socket belongs to the supervisor; this is a worker's use of it.
"""

from libc.errno cimport ECONNABORTED, EINTR, errno
from libc.stdint cimport uint8_t, uint16_t, uint32_t
from posix.unistd cimport close

from megaphone.edge.connection cimport ClientConnection, accept_connection
from megaphone.sockets.address cimport Address, read_address, socklen_t
from megaphone.sockets.calls cimport SOCK_CLOEXEC, SOCK_NONBLOCK, accept4, send_at_once
from megaphone.sockets.poller cimport EPOLLIN

from megaphone.edge import opening
from megaphone.edge.address import in_networks, network_matcher

cdef enum:
    ACCEPTS_PER_TURN = 64


cdef class Listener(Pollable):
    """One listening socket of this worker. `close` stops accepting; the socket itself stays open in the supervisor."""

    def __init__(self, Clients clients, ListenerFacts facts, int fd):
        self.clients = clients
        self.facts = facts
        self.fd = fd
        self.proxy_ranges = network_matcher(facts.proxy_networks)

    def open(self):
        """Starts accepting; OSError if the socket cannot be watched."""
        if not self.clients.poller.watch(self, EPOLLIN):
            raise OSError(errno, "epoll_ctl")

    def close(self):
        """Stops accepting and closes this process's descriptor."""
        if self.fd >= 0:
            self.clients.poller.forget(self)
            close(self.fd)
            self.fd = -1

    cdef void on_events(self, uint32_t events):
        self.accept_some()

    cdef void on_turn(self):
        self.accept_some()

    cdef void accept_some(self):
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
                # EAGAIN: nobody waits. Out of descriptors or memory: clients wait in the backlog; the worker's
                # sweep calls `retry`, since edge-triggered epoll will not repeat itself
                return
            port = read_address(&address, mapped)
            send_at_once(fd)
            self.take(fd, mapped, port)
        self.clients.poller.run_again(self)

    def retry(self):
        """Accepts again after a shortage of descriptors (called by the worker's sweep)."""
        if self.fd >= 0:
            self.clients.poller.run_again(self)

    cdef void take(self, int fd, const uint8_t* address, uint16_t port):
        cdef ClientConnection connection = accept_connection(self.clients, self.facts, fd, address, port)
        cdef bytes packed
        if connection is None:
            return
        packed = connection.client_address
        if in_networks(packed, self.proxy_ranges):
            return      # the PROXY header will say who this is
        if opening.admit(connection, packed):
            connection.begin()
