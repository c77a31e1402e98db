# A link's socket on the hub's side, compiled interface.
from libc.stdint cimport uint8_t, uint32_t
from megaphone.dispatch.dispatcher cimport Sink
from megaphone.hub.shared cimport Hub
from megaphone.sockets.receiver cimport Receiver
from megaphone.wire.link_greeting cimport LinkGreeting
from megaphone.wire.link_session cimport LinkSession

cpdef enum SocketState:
    GREETING = 0        # TLS handshake if any, CHALLENGE, HELLO
    CARRYING = 1        # a session's, which is told of every byte
    RETIRING = 2        # our last words are on their way; what still comes is dropped
    SHUT = 3

cdef class CarriedLink(LinkSession):
    # A session that may have a socket.
    cdef LinkSocket socket                  # or None

cdef class LinkSocket(Sink):
    cdef readonly Hub hub
    cdef Receiver receiver
    cdef LinkGreeting greeting              # while GREETING
    cdef CarriedLink link                   # while CARRYING
    cdef uint32_t deadline_ticks            # of RETIRING
    cdef readonly uint8_t state             # SocketState
    cdef readonly str peer                  # its address, for people

    cdef void admit(self)
    cdef void read_greeting(self, const uint8_t* data, size_t length)
    cdef void say_greeting(self)
    cdef void carry(self, CarriedLink link)
    cdef void let_go(self)
    cdef void retire(self)
    cdef void shut(self)
    cdef void tick(self)

cdef LinkSocket open_link_socket(Hub hub, int fd, str peer)
