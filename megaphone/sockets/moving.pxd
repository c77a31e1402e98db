# A socket with its receiver and sender, as a record for another process; compiled interface.
from libc.stdint cimport uint32_t, uint64_t
from megaphone.dispatch.dispatcher cimport Sink
from megaphone.sockets.poller cimport Poller
from megaphone.sockets.receiver cimport Receiver

cdef uint64_t milliseconds_of(uint32_t ticks) noexcept nogil
cdef uint32_t ticks_from(uint64_t milliseconds) noexcept nogil
cdef uint64_t socket_fingerprint(Receiver receiver) noexcept
cdef object export_socket(Receiver receiver)
cdef Receiver restore_socket(object record, int fd, Poller poller, Sink sink, uint32_t mailbox_limit, bint watched=*)
cdef bint activate_socket(Receiver receiver)
