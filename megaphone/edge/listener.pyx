"""The listener: accepts clients, a bounded number per turn, and refuses those that the limits keep out.

The listening socket belongs to the supervisor; this is a worker's use of it.
"""

from libc.errno cimport ECONNABORTED, EINTR, errno
from libc.stdint cimport uint8_t, uint16_t, uint32_t
from libc.string cimport memcpy, memset
from posix.unistd cimport close

from megaphone.edge.connection cimport ClientConnection
from megaphone.edge.connection cimport accept_connection
from megaphone.sockets.address cimport AF_INET, AF_INET6, Address, ntohs, sockaddr, socklen_t
from megaphone.sockets.poller cimport EPOLLIN

from megaphone.edge.admission import in_networks, network_matcher
from megaphone.edge.opening import refusal_for

cdef extern from "sys/socket.h":
    cdef enum:
        SOCK_NONBLOCK
        SOCK_CLOEXEC
    int accept4(int, sockaddr*, socklen_t*, int)
    int setsockopt(int, int, int, const void*, socklen_t)

cdef extern from "netinet/in.h":
    cdef enum:
        IPPROTO_TCP

cdef extern from "netinet/tcp.h":
    cdef enum:
        TCP_NODELAY

cdef enum:
    ACCEPTS_PER_TURN = 64


cdef class Listener(Pollable):
    """One listening socket of this worker. `close` stops accepting; the socket itself stays open in the supervisor."""

    def __init__(self, Clients clients, ListenerFacts facts, int fd):
        self.clients = clients
        self.facts = facts
        self.fd = fd
        self.proxy_ranges = network_matcher(facts.proxy_networks)
        self.refusal = b""

    def open(self):
        """Starts accepting; OSError if the socket cannot be watched."""
        if not self.clients.poller.watch(self, EPOLLIN):
            raise OSError(errno, "epoll_ctl")
        self.refresh()

    def refresh(self):
        """Prepares the answer to clients over a limit."""
        self.refusal = refusal_for(self.clients, self.facts.tls)

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
        cdef int fd, i, one = 1
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
            port = 0
            memset(mapped, 0, 16)
            if address.any.sa_family == AF_INET6:
                memcpy(mapped, address.v6.sin6_addr.s6_addr, 16)
                port = ntohs(address.v6.sin6_port)
            else:
                mapped[10] = mapped[11] = 0xFF
                if address.any.sa_family == AF_INET:
                    memcpy(mapped + 12, &address.v4.sin_addr, 4)
                    port = ntohs(address.v4.sin_port)
            setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one))
            self.take(fd, mapped, port)
        self.clients.poller.run_again(self)

    def retry(self):
        """Accepts again after a shortage of descriptors (called by the worker's sweep)."""
        if self.fd >= 0:
            self.clients.poller.run_again(self)

    cdef void take(self, int fd, const unsigned char* address, unsigned short port):
        cdef ClientConnection connection = accept_connection(self.clients, self.facts, fd, address, port)
        cdef bytes packed
        if connection is None:
            return
        packed = connection.client_address
        if self.proxy_ranges and in_networks(packed, self.proxy_ranges):
            return      # the PROXY header will say who this is
        refusal = self.clients.admission.admit(connection, packed)
        if refusal is not None:
            if self.refusal:
                connection.say(self.refusal)
            connection.finish("", refusal)
            return
        connection.begin()
