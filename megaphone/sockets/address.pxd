# Socket addresses as C knows them (POSIX <netinet/in.h>).
from libc.stdint cimport uint8_t, uint16_t, uint32_t

cdef extern from "sys/socket.h":
    ctypedef unsigned int socklen_t
    cdef struct sockaddr:
        unsigned short sa_family
    cdef enum:
        AF_INET
        AF_INET6
        AF_UNIX
    int getsockname(int, sockaddr*, socklen_t*)

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
    uint16_t ntohs(uint16_t)

cdef union Address:
    sockaddr any
    sockaddr_in v4
    sockaddr_in6 v6
    uint8_t room[128]
