# Socket addresses as C knows them (POSIX <netinet/in.h>), and as the edge keeps those of its clients.
from libc.stdint cimport uint8_t, uint16_t, uint32_t
from libc.string cimport memcpy, memset

cdef extern from "sys/socket.h":
    ctypedef unsigned int socklen_t
    cdef struct sockaddr:
        unsigned short sa_family
    cdef enum:
        AF_INET
        AF_INET6
        AF_UNIX

cdef extern from "netinet/in.h":
    cdef struct in_addr:
        uint32_t s_addr
    cdef struct in6_addr:
        uint8_t s6_addr[16]
    cdef struct sockaddr_in:
        uint16_t sin_port
        in_addr sin_addr
    cdef struct sockaddr_in6:
        uint16_t sin6_port
        in6_addr sin6_addr
    uint16_t ntohs(uint16_t) nogil

cdef union Address:
    sockaddr any
    sockaddr_in v4
    sockaddr_in6 v6
    uint8_t room[128]

cdef inline uint16_t read_address(const Address* address, uint8_t* mapped) noexcept nogil:
    """Writes 16 bytes, IPv6 or IPv4 mapped into it (RFC 4291 section 2.5.5.2), and returns the port.

    Any other family is 0.0.0.0 and port 0.
    """
    if address.any.sa_family == AF_INET6:
        memcpy(mapped, address.v6.sin6_addr.s6_addr, 16)
        return ntohs(address.v6.sin6_port)
    memset(mapped, 0, 16)
    mapped[10] = mapped[11] = 0xFF
    if address.any.sa_family != AF_INET:
        return 0
    memcpy(mapped + 12, &address.v4.sin_addr, 4)
    return ntohs(address.v4.sin_port)
