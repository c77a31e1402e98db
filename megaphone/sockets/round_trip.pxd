# The round trip of a TCP connection, as the kernel measures it anyway (TCP_INFO; RFC 6298's smoothed round-trip time).
from libc.stdint cimport uint32_t

from megaphone.sockets.address cimport socklen_t
from megaphone.sockets.calls cimport IPPROTO_TCP, getsockopt

cdef extern from "netinet/tcp.h":
    enum: TCP_INFO
    cdef struct tcp_info:
        uint32_t tcpi_rtt


cdef inline uint32_t round_trip_us(int fd) noexcept:
    """In microseconds; 0 if nothing has been measured yet, or it is no TCP socket."""
    cdef tcp_info info
    cdef socklen_t length = sizeof(info)
    info.tcpi_rtt = 0
    if fd < 0 or getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &length) < 0:
        return 0
    return info.tcpi_rtt
