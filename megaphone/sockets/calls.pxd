# System calls on sockets (POSIX <sys/socket.h>) and the options we set (tcp(7), ip(7)).
from megaphone.sockets.address cimport sockaddr, socklen_t

cdef extern from "sys/socket.h":
    cdef enum:
        SOCK_STREAM
        SOCK_NONBLOCK
        SOCK_CLOEXEC
        SOL_SOCKET
        SO_ERROR
    int socket(int, int, int) nogil
    int bind(int, const sockaddr*, socklen_t) nogil
    int connect(int, const sockaddr*, socklen_t) nogil
    int accept4(int, sockaddr*, socklen_t*, int) nogil
    int getsockname(int, sockaddr*, socklen_t*) nogil
    int getsockopt(int, int, int, void*, socklen_t*) nogil
    int setsockopt(int, int, int, const void*, socklen_t) nogil

cdef extern from "netinet/in.h":
    cdef enum:
        IPPROTO_TCP
        IPPROTO_IP
        IP_BIND_ADDRESS_NO_PORT

cdef extern from "netinet/tcp.h":
    cdef enum:
        TCP_NODELAY

cdef inline void send_at_once(int fd) noexcept nogil:
    """No delay for small segments (Nagle's algorithm): a turn's writes leave together anyway."""
    cdef int one = 1
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one))
