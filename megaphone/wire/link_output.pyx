"""What one end of a link says: frames written once into the retained ring, and who may still find room there.

What the ring takes is bounded three times, so that the smaller words always find room after data has stopped:

     0              data up to here, 3 MiB          streams' words, 4 MiB - 8 KiB      the link's own      4 MiB
     |=======================================|----------------------------------|-----------------------|
     SEND_DATA, PUT_DATA, OPEN                GET_DATA, SHUTDOWN                  ACK, PING, PONG, DRAIN, the last SHUTDOWN
"""

from cpython.bytes cimport PyBytes_AS_STRING

from megaphone.wire.link cimport (
    ACK, DRAIN, DRAIN_BYTES, PROTOCOL_ERROR, RESOURCE_CONSTRAINT, SHUTDOWN_LEAST_BYTES, SHUTDOWN_LIMIT_BYTES,
    STAMPED_BYTES, frame_name, put_ack, put_header, put_shutdown, put_stamped,
)
from megaphone.wire.link_ring cimport RING_LIMIT_BYTES, ring_acknowledge, ring_free, ring_kept, ring_put, ring_reserve

cdef enum:
    LINKS_BOUND_BYTES = RING_LIMIT_BYTES - SHUTDOWN_LIMIT_BYTES     # so that the last word always finds room
    ACK_DUE_BYTES = 65536


cdef class LinkOutput:
    """The writing half of a session."""

    def __dealloc__(self):
        ring_free(&self.ring)

    cdef bint has_room(self, size_t length, size_t bound) noexcept:
        """Whether a frame of `length` bytes may be written now; if so, the ring has memory for it."""
        return ring_kept(&self.ring) + length <= bound and ring_reserve(&self.ring, length)

    cdef void say(self, const uint8_t* frame, size_t length):
        ring_put(&self.ring, frame, length)
        self.frames_out += 1
        self.on_output()

    cdef void say_of_link(self, const uint8_t* frame, size_t length):
        """A frame of the link itself. A peer that acknowledges nothing while it makes us answer must go."""
        if self.has_room(length, LINKS_BOUND_BYTES):
            self.say(frame, length)
        else:
            self.fail(RESOURCE_CONSTRAINT, f"{ring_kept(&self.ring)} bytes are kept and none of them is acknowledged")

    cdef bint say_shutdown(self, uint32_t id, uint64_t sent, int reason, bytes text):
        """False if there is no room."""
        cdef uint8_t frame[SHUTDOWN_LIMIT_BYTES]
        cdef size_t length = SHUTDOWN_LEAST_BYTES + len(text)
        if not self.has_room(length, STREAMS_BOUND_BYTES if id else RING_LIMIT_BYTES):
            return False
        put_shutdown(frame, id, sent, reason, <const uint8_t*> PyBytes_AS_STRING(text), len(text))
        self.say(frame, length)
        return True

    cpdef uint64_t kept_bytes(self):
        """Bytes said and not acknowledged; at most 4 MiB."""
        return ring_kept(&self.ring)

    cpdef uint64_t unsent_bytes(self):
        """Bytes said that the socket has not taken."""
        return self.ring.end - self.ring.sent

    cdef bint acknowledge(self, int type, uint64_t received):
        """Lets go of what the peer has received; False if it cannot have received so much."""
        if ring_acknowledge(&self.ring, received):
            return True
        self.fail(PROTOCOL_ERROR, f"{frame_name(type)} acknowledges {received} bytes; {self.ring.sent} were sent")
        return False

    cdef void say_received(self, int type, uint64_t stamp):
        """PING, PONG or ACK: tells the peer, too, what has arrived."""
        cdef uint8_t frame[STAMPED_BYTES]
        self.acknowledged_bytes = self.received_bytes
        if type == ACK:
            self.say_of_link(frame, put_ack(frame, self.received_bytes))
        else:
            self.say_of_link(frame, put_stamped(frame, type, stamp, self.received_bytes))

    cdef bint ack_due(self) noexcept:
        return self.received_bytes - self.acknowledged_bytes >= ACK_DUE_BYTES

    cdef void drain(self):
        """Says DRAIN: an edge will open no more streams here, a server wants no more."""
        cdef uint8_t frame[DRAIN_BYTES]
        if self.welcomed and not self.drained:
            self.drained = True
            put_header(frame, DRAIN, 0, 0)
            self.say_of_link(frame, DRAIN_BYTES)

    # --- events ---

    cdef void fail(self, int reason, str text):
        pass

    cdef void on_output(self):
        pass
