# The mesh of a node's workers, compiled interface.
from libc.stdint cimport uint8_t, uint32_t, uint64_t

from megaphone.dispatch.dispatcher cimport Sink
from megaphone.sockets.poller cimport Poller
from megaphone.sockets.receiver cimport Receiver

cdef enum:
    FRAME_HEAD_BYTES = 5            # length of what follows the length: 4 bytes; kind: 1 byte
    FRAME_LIMIT_BYTES = 4194304

cdef class FrameTaker:
    # Whoever takes the frames of all peers, in the order in which each peer sent them.
    cdef void take_frame(self, int peer, int kind, const uint8_t* data, size_t length)
    cdef void take_batch_end(self, int peer)                # what one read brought has been taken
    cpdef void peer_lost(self, int peer)                    # its process is gone; all its frames have been taken
    cpdef void confirmed(self, int peer, uint64_t serial)   # what it was to keep is safe, up to the frame with this serial
    cpdef uint64_t taken_by(self, int peer, bytes instance)  # what it has taken for good of our instance's frames

cdef class FrameSink(Sink):
    # Puts frames together that reads have split.
    cdef LocalBus bus
    cdef int peer                       # -1 for an incoming socket before its HELLO
    cdef Receiver receiver
    cdef bytearray held
    cdef bint broken
    cdef void fail(self)
    cdef void close(self)
    cdef void put(self, int kind, const uint8_t* first, size_t first_length, const uint8_t* second, size_t second_length)
    cdef void take_one(self, int kind, const uint8_t* data, size_t length)
    cdef void batch_ended(self)
    cdef void lost(self)

cdef class Outgoing(FrameSink):
    cdef bint up
    cdef bint mourned                   # it was up and is no more, and the taker has not been told yet
    cdef bytes peer_instance
    cdef uint64_t number                # of the last frame
    cdef uint64_t promised              # serial of the last frame that was to be kept; serials outlive the peer's process
    cdef uint64_t confirmed             # serial of the last of these that the peer has confirmed
    cdef object kept                    # (number, serial, frame) to be said again should the peer die before it confirms
    cdef uint64_t kept_bytes
    cdef object waiting                 # (frame, serial or 0) while the peer is away
    cdef uint64_t waiting_bytes
    cdef void dial(self)
    cdef void forget(self, uint64_t number)
    cdef void greet(self, bytes instance)
    cdef void put_frame(self, bytes frame, uint64_t serial)
    cdef bint say(self, int kind, const uint8_t* first, size_t first_length, const uint8_t* second, size_t second_length, bint keep, bint must)

cdef class Incoming(FrameSink):
    cdef readonly uint64_t number       # of the last frame taken
    cdef readonly bytes instance        # the peer's process; b"" if that is not known

cdef class LocalBus:
    cdef readonly Poller poller
    cdef readonly int index
    cdef readonly int workers
    cdef bytes instance             # of this process; one that takes over from another goes on as that
    cdef object paths
    cdef FrameTaker taker
    cdef list outgoing              # Outgoing of each worker, None for our own
    cdef set incoming
    cdef readonly uint64_t frames_out
    cdef readonly uint64_t frames_in
    cdef readonly uint64_t bytes_out
    cdef readonly uint64_t bytes_in
    cdef readonly uint64_t refused
    cdef uint32_t limit_bytes
    cdef bint send(self, int peer, int kind, const uint8_t* first, size_t first_length, const uint8_t* second, size_t second_length, bint keep, bint must)
    cdef void mourn(self, outgoing)
    cdef void hang_up(self, int peer)
    cdef void cut_off(self, outgoing)
    cdef void succeed(self, int peer, bytes instance)
