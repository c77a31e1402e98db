"""The mesh of a worker moves to the worker's successor: its sockets, and what is under way on them.

    predecessor   freeze(): no byte is read any more ─► export() ──┬─► thaw(): on as before
                                                                   └─► leave(): closes its ends of the sockets
    successor     restore(), read nothing ─► activate(): numbers go on ─► go_on(): bytes, too

To the peers it is the same process: the same sockets, the same instance, frames numbered on. What a read has split, and
what a socket would not take, moves along; what lies in the kernel waits there. A socket that has not been greeted yet is
dialled anew.
"""

import msgspec

from libc.errno cimport ENOMEM
from posix.unistd cimport close

from megaphone.bus.local cimport FrameSink, Incoming, LocalBus, Outgoing
from megaphone.sockets.moving cimport activate_socket, export_socket, restore_socket

from megaphone.sockets.socket_record import SocketRecord

cdef enum:
    NEVER_FULL = 0xFFFFFFFF


class OutgoingSnapshot(msgspec.Struct, array_like=True, frozen=True):
    """What we say to one peer. `kept`: number, serial, frame; `waiting`: frame, serial. Without a socket it is dialled anew."""

    peer: int
    mourned: bool
    instance: bytes
    number: int
    promised: int
    confirmed: int
    kept: list[tuple[int, int, bytes]]
    waiting: list[tuple[bytes, int]]
    held: bytes
    socket: SocketRecord | None


class IncomingSnapshot(msgspec.Struct, array_like=True, frozen=True):
    """What one socket of a peer brings; `peer` is -1 as long as it has not said whose it is."""

    peer: int
    number: int
    held: bytes
    socket: SocketRecord
    instance: bytes = b""


class BusSnapshot(msgspec.Struct, array_like=True, frozen=True):
    """The mesh as one worker sees it. The descriptors are those of the sockets, outgoing ones first, in this order."""

    instance: bytes
    outgoing: list[OutgoingSnapshot]
    incoming: list[IncomingSnapshot]


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(BusSnapshot)


cdef class MovingBus:
    """The mesh of one worker on its way, at either end."""

    cdef readonly LocalBus bus
    cdef list taken                 # at the successor: sockets that nobody watches yet

    def __init__(self, LocalBus bus):
        self.bus = bus
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
                outgoing.mourned,
                outgoing.peer_instance or b"",
                outgoing.number,
                outgoing.promised,
                outgoing.confirmed,
                list(outgoing.kept),
                list(outgoing.waiting),
                bytes(outgoing.held) if has_socket else b"",
                export_socket(outgoing.receiver) if has_socket else None,
            ))
        for incoming in self.bus.incoming:
            if incoming.receiver is not None:
                descriptors.append(incoming.receiver.fd)
                incomings.append(IncomingSnapshot(
                    incoming.peer,
                    incoming.number,
                    bytes(incoming.held),
                    export_socket(incoming.receiver),
                    incoming.instance,
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
            if sum([each.socket is not None for each in moved.outgoing]) + len(moved.incoming) != len(left):
                raise ValueError("not as many sockets as were told of")
            if sorted(peers) != [peer for peer in range(self.bus.workers) if peer != self.bus.index]:
                raise ValueError("other peers than ours")
            if any([not -1 <= each.peer < self.bus.workers or each.peer == self.bus.index for each in moved.incoming]):
                raise ValueError("a socket of a peer that there is not")
        except (ValueError, msgspec.MsgspecError):
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
            if each.socket is not None:
                self.take_socket(outgoing, left.pop(0), each)
        for each in moved.incoming:
            incoming = Incoming(self.bus)
            incoming.peer = each.peer
            incoming.number = each.number
            incoming.instance = each.instance
            self.bus.incoming.add(incoming)
            self.take_socket(incoming, left.pop(0), each)

    cdef take_socket(self, FrameSink sink, int fd, snapshot):
        sink.held = bytearray(snapshot.held)
        sink.receiver = restore_socket(snapshot.socket, fd, self.bus.poller, sink, NEVER_FULL)
        sink.receiver.paused = False    # the predecessor had it so to stand still
        self.taken.append(sink)

    def go_on(self):
        """Sends and reads from now on."""
        cdef FrameSink sink
        cdef Outgoing outgoing
        taken, self.taken = self.taken, []
        for sink in taken:
            if isinstance(sink, Outgoing):
                outgoing = <Outgoing> sink
                outgoing.up = True
                waiting, outgoing.waiting = outgoing.waiting, type(outgoing.waiting)()
                outgoing.waiting_bytes = 0
                for frame, serial in waiting:
                    outgoing.put_frame(frame, serial)
        for sink in taken:
            if sink.receiver is None or not activate_socket(sink.receiver):
                sink.take_end(ENOMEM)
