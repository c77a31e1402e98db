"""The mesh of a worker moves to the worker's successor: its sockets, and what is under way on them.

    predecessor   freeze(): no byte is read any more ─► export() ──┬─► thaw(): on as before
                                                                   └─► leave(): closes its ends of the sockets
    successor     restore(), read nothing ─► activate(): numbers go on ─► go_on(): bytes, too

To the peers it is the same process: the same sockets, the same instance, frames numbered on. What a read has split, and
what a socket would not take, moves along; what lies in the kernel waits there. A socket that has not been greeted yet is
dialled anew.
"""

import msgspec

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdint cimport uint8_t, uint32_t
from libc.string cimport memcpy
from posix.unistd cimport close

from megaphone.bus.local cimport FrameSink, Incoming, LocalBus, Outgoing
from megaphone.dispatch.mailbox cimport Chunk, Mailbox
from megaphone.sockets.receiver cimport Receiver, open_socket

cdef enum:
    NEVER_FULL = 0xFFFFFFFF


class OutgoingSnapshot(msgspec.Struct, array_like=True, frozen=True):
    """What we say to one peer. `kept`: number, serial, frame; `waiting`: frame, serial. `held`, `unsent`: of the socket."""

    peer: int
    has_socket: bool
    mourned: bool
    instance: bytes
    number: int
    promised: int
    confirmed: int
    kept: list[tuple[int, int, bytes]]
    waiting: list[tuple[bytes, int]]
    held: bytes
    unsent: bytes


class IncomingSnapshot(msgspec.Struct, array_like=True, frozen=True):
    """What one socket of a peer brings; `peer` is -1 as long as it has not said whose it is."""

    peer: int
    number: int
    held: bytes
    unsent: bytes


class BusSnapshot(msgspec.Struct, array_like=True, frozen=True):
    """The mesh as one worker sees it. The descriptors are those of the sockets, outgoing ones first, in this order."""

    instance: bytes
    outgoing: list[OutgoingSnapshot]
    incoming: list[IncomingSnapshot]


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(BusSnapshot)


cdef bytes bytes_of(Mailbox* mailbox):
    """What is in a mailbox, which keeps it."""
    cdef bytes found = PyBytes_FromStringAndSize(NULL, mailbox.size)
    cdef char* at = PyBytes_AS_STRING(found)
    cdef Chunk* chunk = mailbox.head
    while chunk != NULL:
        memcpy(at, chunk.data + chunk.begin, chunk.end - chunk.begin)
        at += chunk.end - chunk.begin
        chunk = chunk.next
    return found


cdef class MovingBus:
    """The mesh of one worker on its way, at either end."""

    cdef readonly LocalBus bus
    cdef list unsent                # at the successor: (FrameSink, bytes) that its socket is to be given
    cdef list taken                 # and the sockets that are to be watched

    def __init__(self, LocalBus bus):
        self.bus = bus
        self.unsent = []
        self.taken = []

    # --- the predecessor ------------------------------------------------------------

    cdef list sockets(self):
        cdef Outgoing outgoing
        cdef list found = [outgoing for outgoing in self.bus.outgoing if outgoing is not None]
        return [each for each in found + list(self.bus.incoming) if (<FrameSink> each).receiver is not None]

    def freeze(self):
        """Reads nothing from now on; sends what the sockets take."""
        cdef FrameSink sink
        for sink in self.sockets():
            sink.receiver.pause()
            sink.receiver.sender.flush()

    def thaw(self):
        """Goes on."""
        cdef FrameSink sink
        for sink in self.sockets():
            sink.receiver.resume()
            self.bus.poller.flush_later(sink.receiver.sender)

    def export(self):
        """Returns (bytes, descriptors), which stay ours; nothing changes by it."""
        cdef Outgoing outgoing
        cdef Incoming incoming
        cdef list descriptors = []
        cdef list outgoings = []
        cdef list incomings = []
        cdef bint has_socket
        for outgoing in self.bus.outgoing:
            if outgoing is None:
                continue
            has_socket = outgoing.up and outgoing.receiver is not None
            if has_socket:
                descriptors.append(outgoing.receiver.fd)
            outgoings.append(OutgoingSnapshot(
                outgoing.peer,
                has_socket,
                outgoing.mourned,
                outgoing.peer_instance or b"",
                outgoing.number,
                outgoing.promised,
                outgoing.confirmed,
                list(outgoing.kept),
                list(outgoing.waiting),
                bytes(outgoing.held) if has_socket else b"",
                bytes_of(&outgoing.receiver.sender.mailbox) if has_socket else b"",
            ))
        for incoming in self.bus.incoming:
            if incoming.receiver is not None:
                descriptors.append(incoming.receiver.fd)
                incomings.append(IncomingSnapshot(
                    incoming.peer, incoming.number, bytes(incoming.held), bytes_of(&incoming.receiver.sender.mailbox)
                ))
        return _encoder.encode(BusSnapshot(self.bus.instance, outgoings, incomings)), descriptors

    def leave(self):
        """Closes our ends; the peers do not notice."""
        self.bus.close()

    # --- the successor ------------------------------------------------------------

    def restore(self, data, descriptors):
        """Takes what `export` has returned elsewhere; the descriptors are ours. ValueError, and they are closed, if it cannot be."""
        cdef Outgoing outgoing
        cdef Incoming incoming
        cdef list left = list(descriptors)
        try:
            moved = _decoder.decode(data)
            peers = [each.peer for each in moved.outgoing]
            if sum(each.has_socket for each in moved.outgoing) + len(moved.incoming) != len(left):
                raise ValueError("not as many sockets as were told of")
            if sorted(peers) != [peer for peer in range(self.bus.workers) if peer != self.bus.index]:
                raise ValueError("other peers than ours")
            if any(not -1 <= each.peer < self.bus.workers or each.peer == self.bus.index for each in moved.incoming):
                raise ValueError("a socket of a peer that there is not")
        except ValueError:
            for fd in left:
                close(fd)
            raise
        self.bus.instance = moved.instance
        for each in moved.outgoing:
            outgoing = self.bus.outgoing[each.peer]
            outgoing.mourned = each.mourned
            outgoing.peer_instance = each.instance or None
            outgoing.number = each.number
            outgoing.promised = each.promised
            outgoing.confirmed = each.confirmed
            outgoing.kept.extend(each.kept)
            outgoing.kept_bytes = sum([len(frame) for _, _, frame in each.kept])
            # what was said here already comes behind it
            outgoing.waiting.extendleft(reversed(each.waiting))
            outgoing.waiting_bytes += sum([len(frame) for frame, _ in each.waiting])
            if each.has_socket:
                self.take_socket(outgoing, left.pop(0), each)
        for each in moved.incoming:
            incoming = Incoming(self.bus)
            incoming.peer = each.peer
            incoming.number = each.number
            self.bus.incoming.add(incoming)
            self.take_socket(incoming, left.pop(0), each)

    cdef take_socket(self, FrameSink sink, int fd, snapshot):
        sink.broken = False
        sink.held = bytearray(snapshot.held)
        sink.receiver = open_socket(fd, self.bus.poller, sink, NEVER_FULL, False, False)
        self.taken.append(sink)
        self.unsent.append(snapshot.unsent)

    def go_on(self):
        """Sends and reads from now on."""
        cdef FrameSink sink
        cdef Outgoing outgoing
        cdef Receiver receiver
        cdef bytes unsent
        for sink, unsent in zip(self.taken, self.unsent):
            receiver = sink.receiver
            receiver.sender.write(<const uint8_t*> <const char*> unsent, len(unsent))
            if isinstance(sink, Outgoing):
                outgoing = <Outgoing> sink
                outgoing.up = True
                waiting, outgoing.waiting = outgoing.waiting, type(outgoing.waiting)()
                outgoing.waiting_bytes = 0
                for frame, serial in waiting:
                    outgoing.put_frame(frame, serial)
        for sink in self.taken:
            # the sender may have been full in the other process: the first event says when it is not
            if not sink.receiver.watch():
                sink.take_end(1)
        self.taken = []
        self.unsent = []
