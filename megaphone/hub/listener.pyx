"""The listener for links: greets whoever connects."""

from libc.stdint cimport uint8_t, uint16_t

from cpython.bytes cimport PyBytes_FromStringAndSize

from megaphone.hub.shared cimport Hub
from megaphone.hub.socket cimport open_link_socket
from megaphone.sockets.address cimport AF_UNIX, Address, read_address
from megaphone.sockets.listening cimport ListeningSocket

from megaphone.sockets.client_address import address_text

cdef enum:
    ACCEPTS_PER_TURN = 16


cdef class LinkListener(ListeningSocket):
    """One listening socket of the hub, for links."""

    cdef Hub hub

    def __init__(self, Hub hub, int fd):
        self.listen_on(hub.poller, fd, ACCEPTS_PER_TURN)
        self.hub = hub

    cdef void take(self, int fd, Address* address):
        cdef uint8_t mapped[16]
        cdef uint16_t port
        cdef str peer = "unix"
        if address.any.sa_family != AF_UNIX:
            port = read_address(address, mapped)
            peer = f"{address_text(PyBytes_FromStringAndSize(<const char*> mapped, 16))} port {port}"
        open_link_socket(self.hub, fd, peer)
