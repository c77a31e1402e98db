"""The mesh: every worker has one socket to each other worker for what it has to say, and one for what it hears.

    worker 0 ── frames ──► worker 1        dialled by 0; 1 says HELLO first and CONFIRM later, nothing else
    worker 1 ── frames ──► worker 0        dialled by 1

    frame     ┌────────────┬──────┬─────────────┐      HELLO   0   16 bytes: this process's instance; from the dialler also
              │ length, 4  │ kind │ payload     │              its index, 2 bytes, and the number of its first frame, 8 bytes
              │ big-endian │ 1    │             │      CONFIRM 1   8 bytes: the number of the last frame dealt with
              └────────────┴──────┴─────────────┘      2 ...      whatever the taker understands

Frames are numbered by counting. Of one pair they arrive in order, each once, as long as both processes live. A peer's
listening socket is the supervisor's and outlives the peer, so that whoever dials in between waits for the successor.
What is said to a peer that is away waits, up to a limit, and goes to its successor. What its predecessor may have taken
along unconfirmed is said again if it was to be kept (`keep`), unless the taker knows that the predecessor has taken it
for good (`taken_by`); all else of it is lost, as with any process that dies.

A peer is lost when its process has died or has said what no frame is: then both sockets are closed, what it had said
until then has been taken, and nothing of its successor has.

What waits for a peer is bounded: beyond `limit_bytes` frames are refused, but those that say what has happened (`must`)
are not; a peer that leaves HARD_LIMITS times as much lying is cut off, which is one way to be lost.
"""

import os
import socket
from collections import deque

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.string cimport memcpy

from megaphone.dispatch.dispatcher cimport FULL
from megaphone.sockets.address cimport Address
from megaphone.sockets.listening cimport ListeningSocket
from megaphone.sockets.receiver cimport open_socket

cdef extern from "sys/socket.h" nogil:
    int SHUT_RDWR
    int shutdown(int fd, int how)

cdef enum:
    HELLO = 0
    CONFIRM = 1
    INSTANCE_BYTES = 16
    ACCEPTS_PER_TURN = 64
    NEVER_FULL = 0xFFFFFFFF
    HARD_LIMITS = 4


cdef class FrameTaker:
    """Whoever takes the frames of all peers."""

    cdef void take_frame(self, int peer, int kind, const uint8_t* data, size_t length):
        pass

    cdef void take_batch_end(self, int peer):
        pass

    cpdef void peer_lost(self, int peer):
        """The peer's process is gone."""

    cpdef void confirmed(self, int peer, uint64_t serial):
        """What the peer was told to keep is safe, up to the frame with this serial."""

    cpdef uint64_t taken_by(self, int peer, bytes instance):
        """The number up to which frames of this process of ours are safe, by what the peer has left; 0 if not known."""
        return 0


cdef inline uint32_t read_uint32(const uint8_t* data) noexcept nogil:
    return <uint32_t> data[0] << 24 | <uint32_t> data[1] << 16 | <uint32_t> data[2] << 8 | data[3]


cdef inline uint64_t read_uint64(const uint8_t* data) noexcept nogil:
    return <uint64_t> read_uint32(data) << 32 | read_uint32(data + 4)


cdef inline void put_head(uint8_t* head, size_t length, int kind) noexcept nogil:
    cdef uint32_t after = <uint32_t> length + 1
    head[0] = after >> 24
    head[1] = after >> 16 & 0xFF
    head[2] = after >> 8 & 0xFF
    head[3] = after & 0xFF
    head[4] = <uint8_t> kind


cdef class FrameSink(Sink):
    """Puts frames together that reads have split."""

    cdef void take_bytes(self, const uint8_t* data, size_t length):
        cdef size_t used = 0, missing
        cdef const uint8_t* held
        self.bus.bytes_in += length
        while self.held and used < length and not self.broken:
            # a frame that was split: first its head, then as much as that says
            if len(self.held) < FRAME_HEAD_BYTES:
                missing = FRAME_HEAD_BYTES - len(self.held)
            else:
                held = <const uint8_t*> <const char*> self.held
                missing = 4 + read_uint32(held) - len(self.held)
            missing = min(missing, length - used)
            self.held += PyBytes_FromStringAndSize(<const char*> data + used, missing)
            used += missing
            if len(self.held) >= FRAME_HEAD_BYTES:
                split = self.held
                held = <const uint8_t*> <const char*> split
                if read_uint32(held) > FRAME_LIMIT_BYTES or read_uint32(held) == 0:
                    self.fail()
                elif <size_t> len(split) == 4 + read_uint32(held):
                    self.held = bytearray()
                    self.take_one(held[4], held + FRAME_HEAD_BYTES, read_uint32(held) - 1)
        while length - used >= FRAME_HEAD_BYTES and not self.broken:
            missing = read_uint32(data + used)
            if missing > FRAME_LIMIT_BYTES or missing == 0:
                self.fail()
                break
            if length - used < 4 + missing:
                break
            self.take_one(data[used + 4], data + used + FRAME_HEAD_BYTES, missing - 1)
            used += 4 + missing
        if self.broken:
            return
        if used < length:
            self.held += PyBytes_FromStringAndSize(<const char*> data + used, length - used)
        self.batch_ended()

    cdef void fail(self):
        """The peer has said what no frame is; nothing of it can be understood any more."""
        self.broken = True
        self.lost()
        self.bus.hang_up(self.peer)

    cdef void take_end(self, int error):
        if not self.broken:
            self.broken = True
            self.lost()

    cdef void close(self):
        self.broken = True
        if self.receiver is not None:
            self.receiver.close()
            self.receiver = None

    cdef void put(self, int kind, const uint8_t* first, size_t first_length, const uint8_t* second, size_t second_length):
        cdef uint8_t head[FRAME_HEAD_BYTES]
        put_head(head, first_length + second_length, kind)
        self.receiver.sender.write(head, FRAME_HEAD_BYTES)
        self.receiver.sender.write(first, first_length)
        self.receiver.sender.write(second, second_length)

    cdef void take_one(self, int kind, const uint8_t* data, size_t length):
        pass

    cdef void batch_ended(self):
        pass

    cdef void lost(self):
        pass


cdef class Outgoing(FrameSink):
    """Our socket to one peer: what we say, and what has become of it."""

    def __cinit__(self, LocalBus bus, int peer):
        self.bus = bus
        self.peer = peer
        self.held = bytearray()
        self.kept = deque()
        self.waiting = deque()

    cdef void dial(self):
        """Connects; the peer, or its successor, says HELLO when it gets to it."""
        cdef object connected = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            connected.connect(self.bus.paths[self.peer])
        except OSError:
            connected.close()
            return
        self.broken = False
        self.held = bytearray()
        self.receiver = open_socket(connected.detach(), self.bus.poller, self, NEVER_FULL, False)

    cdef void take_one(self, int kind, const uint8_t* data, size_t length):
        if kind == HELLO and length == INSTANCE_BYTES and not self.up:
            self.greet(PyBytes_FromStringAndSize(<const char*> data, length))
        elif kind == CONFIRM and length == 8 and self.up:
            self.forget(read_uint64(data))
            self.bus.taker.confirmed(self.peer, self.confirmed)
        else:
            self.fail()

    cdef void forget(self, uint64_t number):
        """Frames up to this number are safe."""
        cdef bytes frame
        while self.kept and self.kept[0][0] <= number:
            _, self.confirmed, frame = self.kept.popleft()
            self.kept_bytes -= len(frame)

    cdef void greet(self, bytes instance):
        cdef bytes hello
        cdef object again
        cdef uint64_t confirmed = self.confirmed
        if self.kept:
            # its predecessor may have died between the commit and the word of it
            self.forget(self.bus.taker.taken_by(self.peer, self.bus.instance))
        again = self.kept
        self.peer_instance = instance
        self.up = True
        hello = self.bus.instance + self.bus.index.to_bytes(2, "big") + (self.number + 1).to_bytes(8, "big")
        self.put(HELLO, <const uint8_t*> <const char*> hello, len(hello), NULL, 0)
        # what the peer's predecessor has not confirmed is said again, under new numbers
        self.kept = deque()
        self.kept_bytes = 0
        for _, serial, frame in again:
            self.put_frame(frame, serial)
        waiting, self.waiting = self.waiting, deque()
        self.waiting_bytes = 0
        for frame, serial in waiting:
            self.put_frame(frame, serial)
        if self.confirmed != confirmed:
            self.bus.taker.confirmed(self.peer, self.confirmed)

    cdef void put_frame(self, bytes frame, uint64_t serial):
        self.number += 1
        self.bus.frames_out += 1
        self.bus.bytes_out += len(frame)
        self.receiver.sender.write(<const uint8_t*> <const char*> frame, len(frame))
        if serial:
            self.kept.append((self.number, serial, frame))
            self.kept_bytes += len(frame)

    cdef bint say(self, int kind, const uint8_t* first, size_t first_length, const uint8_t* second, size_t second_length, bint keep, bint must):
        """False if there is no room for it, or it is too long for a frame."""
        cdef bytes frame
        cdef char* at
        cdef uint64_t pending = self.receiver.sender.pending_bytes() if self.up else self.waiting_bytes
        if keep:
            pending = max(pending, self.kept_bytes)
        if first_length + second_length >= FRAME_LIMIT_BYTES or (pending > self.bus.limit_bytes and not must):
            self.bus.refused += 1
            return False
        if pending > HARD_LIMITS * <uint64_t> self.bus.limit_bytes:
            self.bus.refused += 1
            if self.up:
                self.bus.cut_off(self)
            return False
        if self.up and not keep:
            self.put(kind, first, first_length, second, second_length)
            self.number += 1
            self.bus.frames_out += 1
            self.bus.bytes_out += FRAME_HEAD_BYTES + first_length + second_length
            return True
        frame = PyBytes_FromStringAndSize(NULL, FRAME_HEAD_BYTES + first_length + second_length)
        at = PyBytes_AS_STRING(frame)
        put_head(<uint8_t*> at, first_length + second_length, kind)
        if first_length:
            memcpy(at + FRAME_HEAD_BYTES, first, first_length)
        if second_length:
            memcpy(at + FRAME_HEAD_BYTES + first_length, second, second_length)
        self.promised += keep
        if self.up:
            self.put_frame(frame, self.promised if keep else 0)
        else:
            self.waiting.append((frame, self.promised if keep else 0))
            self.waiting_bytes += len(frame)
        return True

    cdef void lost(self):
        self.close()
        self.mourned = self.mourned or self.up
        self.up = False
        self.bus.mourn(self)


cdef class Incoming(FrameSink):
    """A peer's socket to us; what it brought is confirmed here, so that nobody else's frames are."""

    def __cinit__(self, LocalBus bus):
        self.bus = bus
        self.peer = -1
        self.held = bytearray()
        self.instance = b""

    cdef void take_one(self, int kind, const uint8_t* data, size_t length):
        cdef int peer
        if self.peer >= 0:
            self.number += 1
            self.bus.frames_in += 1
            try:
                self.bus.taker.take_frame(self.peer, kind, data, length)
            except Exception as error:      # one frame's trouble must not cost the others
                self.bus.poller.fault(error)
            return
        if kind != HELLO or length != INSTANCE_BYTES + 10:
            self.fail()
            return
        peer = data[INSTANCE_BYTES] << 8 | data[INSTANCE_BYTES + 1]
        if not 0 <= peer < self.bus.workers or peer == self.bus.index:
            self.fail()
            return
        self.instance = PyBytes_FromStringAndSize(<const char*> data, INSTANCE_BYTES)
        self.bus.succeed(peer, self.instance)
        self.peer = peer
        self.number = read_uint64(data + INSTANCE_BYTES + 2) - 1

    cdef void batch_ended(self):
        if self.peer >= 0:
            self.bus.taker.take_batch_end(self.peer)

    cdef void lost(self):
        self.close()
        self.bus.incoming.discard(self)
        if self.peer >= 0:
            self.bus.mourn(<Outgoing> self.bus.outgoing[self.peer])

    def confirm(self, uint64_t number):
        """Tells the peer that what its frames up to this one asked for is done and durable."""
        cdef uint8_t encoded[8]
        cdef int i
        for i in range(8):
            encoded[i] = number >> (56 - 8 * i) & 0xFF
        if self.receiver is not None:
            self.put(CONFIRM, encoded, 8, NULL, 0)


cdef class BusListener(ListeningSocket):
    """Where the peers dial in; the socket is the supervisor's."""

    cdef LocalBus bus

    def __init__(self, LocalBus bus, int fd):
        self.listen_on(bus.poller, fd, ACCEPTS_PER_TURN)
        self.bus = bus

    cdef void take(self, int fd, Address* address):
        cdef Incoming incoming = Incoming(self.bus)
        incoming.receiver = open_socket(fd, self.bus.poller, incoming, NEVER_FULL, False)
        if incoming.receiver is None:
            return
        self.bus.incoming.add(incoming)
        incoming.put(HELLO, <const uint8_t*> <const char*> self.bus.instance, INSTANCE_BYTES, NULL, 0)


cdef class LocalBus:
    """The mesh as one worker sees it: `index` of `workers`, `paths` of everybody's listening socket.

    `limit_bytes` bounds what waits for one peer.
    """

    def __init__(self, Poller poller, int index, paths, FrameTaker taker, uint32_t limit_bytes=33554432):
        self.poller = poller
        self.index = index
        self.paths = list(paths)
        self.workers = len(self.paths)
        self.taker = taker
        self.limit_bytes = limit_bytes
        self.instance = os.urandom(INSTANCE_BYTES)
        self.incoming = set()
        self.outgoing = [None if peer == index else Outgoing(self, peer) for peer in range(self.workers)]

    def open(self):
        """Dials every peer."""
        self.sweep()

    def sweep(self):
        """Dials those again that are not there; called 8 times a second."""
        cdef Outgoing outgoing
        for outgoing in self.outgoing:
            if outgoing is not None and outgoing.receiver is None and not outgoing.mourned:
                outgoing.dial()

    def close(self):
        """Ends all sockets."""
        cdef Outgoing outgoing
        cdef Incoming incoming
        for outgoing in self.outgoing:
            if outgoing is not None:
                outgoing.close()
                outgoing.up = False
        for incoming in list(self.incoming):
            incoming.close()
        self.incoming.clear()

    def is_up(self, int peer):
        """Whether the peer has greeted us, or is ourselves."""
        return peer == self.index or (<Outgoing> self.outgoing[peer]).up

    cdef bint send(self, int peer, int kind, const uint8_t* first, size_t first_length, const uint8_t* second, size_t second_length, bint keep, bint must):
        """Sends one frame, its payload in two parts; False if too much waits for that peer already."""
        return (<Outgoing> self.outgoing[peer]).say(kind, first, first_length, second, second_length, keep, must)

    def send_frame(self, int peer, int kind, bytes payload not None, *, bint keep=False, bint must=False):
        """As `send`, for Python; `kind` 2 to 255."""
        return self.send(peer, kind, <const uint8_t*> <const char*> payload, len(payload), NULL, 0, keep, must)

    def promised(self, int peer):
        """The serial that `confirmed` must reach for all that was to be kept, and said to this peer so far, to be safe."""
        return (<Outgoing> self.outgoing[peer]).promised

    def has_confirmed(self, int peer):
        """The serial of the last frame to be kept that the peer has confirmed."""
        return (<Outgoing> self.outgoing[peer]).confirmed

    def incoming_from(self, int peer):
        """The socket by which this peer's process speaks; None if it is not there."""
        cdef Incoming incoming
        for incoming in self.incoming:
            if incoming.peer == peer:
                return incoming
        return None

    # --- peers that go ------------------------------------------------------------

    cdef void mourn(self, lost):
        """Tells the taker that a peer is lost, once all that it has said is taken."""
        cdef Outgoing outgoing = lost
        if outgoing.mourned and self.incoming_from(outgoing.peer) is None:
            outgoing.mourned = False
            self.taker.peer_lost(outgoing.peer)

    cdef void hang_up(self, int peer):
        """Ends both sockets of a peer."""
        cdef Incoming incoming
        if peer < 0:
            return
        incoming = self.incoming_from(peer)
        if incoming is not None:
            incoming.lost()
        (<Outgoing> self.outgoing[peer]).lost()

    cdef void cut_off(self, slow):
        """A peer takes so little of what it must know that it is as good as gone; both sockets show their ends soon."""
        cdef Outgoing outgoing = slow
        cdef Incoming incoming = self.incoming_from(outgoing.peer)
        shutdown(outgoing.receiver.fd, SHUT_RDWR)
        if incoming is not None:
            shutdown(incoming.receiver.fd, SHUT_RDWR)

    cdef void succeed(self, int peer, bytes instance):
        """This process of a peer begins to speak: any other before it is gone, though its end may not be read yet."""
        cdef Incoming incoming = self.incoming_from(peer)
        cdef Outgoing outgoing = self.outgoing[peer]
        if incoming is not None:
            incoming.lost()
        if outgoing.up and outgoing.peer_instance != instance:
            outgoing.lost()


cdef class PythonTaker(FrameTaker):
    """Takes frames for Python, for tests: lists of (peer, kind, payload), of lost peers and of (peer, confirmed)."""

    cdef readonly list frames
    cdef readonly list lost
    cdef readonly list confirmations
    cdef public object on_batch

    def __cinit__(self):
        self.frames = []
        self.lost = []
        self.confirmations = []

    cdef void take_frame(self, int peer, int kind, const uint8_t* data, size_t length):
        self.frames.append((peer, kind, PyBytes_FromStringAndSize(<const char*> data, length)))

    cdef void take_batch_end(self, int peer):
        if self.on_batch is not None:
            self.on_batch(peer)

    cpdef void peer_lost(self, int peer):
        self.lost.append(peer)

    cpdef void confirmed(self, int peer, uint64_t serial):
        self.confirmations.append((peer, serial))
