"""The listener: takes the clients that connect, and refuses those that the limits keep out."""

from libc.stdint cimport uint8_t, uint16_t

from megaphone.edge.connection cimport ClientConnection, accept_connection
from megaphone.sockets.address cimport read_address

from megaphone.edge import opening
from megaphone.sockets.client_address import in_networks, network_matcher

cdef enum:
    ACCEPTS_PER_TURN = 64


cdef class Listener(ListeningSocket):
    """One listening socket of this worker, for clients."""

    def __init__(self, Clients clients, ListenerFacts facts, int fd):
        self.listen_on(clients.poller, fd, ACCEPTS_PER_TURN)
        self.clients = clients
        self.facts = facts
        self.proxy_ranges = network_matcher(facts.proxy_networks)

    cdef void take(self, int fd, Address* address):
        cdef uint8_t mapped[16]
        cdef uint16_t port = read_address(address, mapped)
        cdef ClientConnection connection = accept_connection(self.clients, self.facts, fd, mapped, port)
        cdef bytes packed
        if connection is None:
            return
        packed = connection.client_address
        if in_networks(packed, self.proxy_ranges):
            return      # the PROXY header will say who this is
        if self.facts.http and in_networks(packed, self.clients.websocket.forwarded_ranges):
            connection.awaits_admission = True
            connection.begin()
            return      # the HTTP request will
        if opening.admit(connection, packed):
            connection.begin()
