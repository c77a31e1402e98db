"""A socket with its receiver and sender as a record, so that another process can go on with a copy of its descriptor.

Between two turns of the poller neither half is in the middle of anything: what was read has been taken, and what was
written waits in the mailbox. What epoll knows (readable, writable, hung up) it tells the other process, which is new to
it, at once; only that the reader has already heard of the end has to be said.

Times are CLOCK_MONOTONIC in milliseconds, whatever a tick is.
"""

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from posix.unistd cimport close

from megaphone.dispatch.fingerprint cimport mixed
from megaphone.dispatch.mailbox cimport mailbox_bytes
from megaphone.sockets.poller cimport TICKS_PER_SECOND
from megaphone.sockets.receiver cimport open_socket
from megaphone.sockets.sender cimport Sender

from megaphone.errors import MoveError
from megaphone.sockets.socket_record import SocketRecord
from megaphone.sockets.tls import TLS as TLSSession

cdef enum:          # of a record; never given another meaning
    CONNECTING = 1
    FULL = 2        # the mailbox was at its limit, and who writes waits for room
    FINISHING = 4   # after the last byte: close_notify, FIN
    FINISHED = 8    # which has been sent
    PAUSED = 16     # who reads wants no more for now
    ENDED = 32      # and knows that nothing more will come


cdef uint64_t milliseconds_of(uint32_t ticks) noexcept nogil:
    return <uint64_t> ticks * 1000 // TICKS_PER_SECOND


cdef uint32_t ticks_from(uint64_t milliseconds) noexcept nogil:
    """The inverse of `milliseconds_of`, which rounds down."""
    return <uint32_t> ((milliseconds * TICKS_PER_SECOND + 999) // 1000)


def milliseconds(uint32_t ticks):
    """CLOCK_MONOTONIC in milliseconds at this tick of the poller's clock."""
    return milliseconds_of(ticks)


def ticks(uint64_t milliseconds):
    """The tick of the poller's clock at this time; exact for what `milliseconds` has said."""
    return ticks_from(milliseconds)


cdef uint32_t flags_of(Receiver receiver) noexcept:
    cdef Sender sender = receiver.sender
    return ((CONNECTING if sender.connecting else 0) | (FULL if sender.full else 0) | (FINISHING if sender.finishing else 0)
            | (FINISHED if sender.finished else 0) | (PAUSED if receiver.paused else 0) | (ENDED if receiver.ended else 0))


cdef uint64_t socket_fingerprint(Receiver receiver) noexcept:
    """Another one whenever the record would be; of plaintext whoever counts what is written must count for itself."""
    cdef Sender sender = receiver.sender
    cdef uint64_t print = mixed(flags_of(receiver), <uint64_t> receiver.fd << 32 | sender.stalled_ticks)
    print = mixed(print, <uint64_t> sender.mailbox.size << 32 | sender.sealed.size)
    return print if receiver.tls is None else mixed(print, receiver.tls.changes())


cdef object export_socket(Receiver receiver):
    """The SocketRecord of a socket whose descriptor goes along; None if its TLS cannot move."""
    cdef Sender sender = receiver.sender
    cdef bytes tls = b""
    if receiver.tls is not None:
        tls = receiver.tls.export_state()
        if tls is None:
            return None
    return SocketRecord(mailbox_bytes(&sender.mailbox), mailbox_bytes(&sender.sealed), tls, milliseconds_of(sender.stalled_ticks), flags_of(receiver))


cdef Receiver restore_socket(object record, int fd, Poller poller, Sink sink, uint32_t mailbox_limit, bint watched=True):
    """A socket as in the record, asleep until `activate_socket`; MoveError, and `fd` is closed, if that cannot be.

    The poller watches it already, which costs a system call; it does not turn before all are awake (worker/process.py).
    Only one that is not `watched` waits for who restores it: a Unix socket that is not connected yet.
    """
    cdef Receiver receiver
    cdef Sender sender
    cdef bytes waiting = record.waiting, sealed = record.sealed
    cdef uint32_t flags = record.flags, stalled_ticks = ticks_from(record.stalled_ms)
    tls = None
    if record.tls:
        try:
            tls = TLSSession.restore(record.tls)
        except ValueError as error:
            close(fd)
            raise MoveError(str(error)) from None
    receiver = open_socket(fd, poller, sink, mailbox_limit, flags & CONNECTING != 0, False)
    sender = receiver.sender
    receiver.tls = sender.tls = tls
    receiver.paused = flags & PAUSED != 0
    receiver.ended = flags & ENDED != 0
    sender.full = flags & FULL != 0
    sender.finishing = flags & FINISHING != 0
    sender.finished = flags & FINISHED != 0
    sender.stalled_ticks = stalled_ticks
    if not (poller.chunks.put(&sender.mailbox, <const uint8_t*> (<const char*> waiting), len(waiting))
            and poller.chunks.put(&sender.sealed, <const uint8_t*> (<const char*> sealed), len(sealed))):
        receiver.close()
        raise MoveError("no memory for what waits")
    if watched and not receiver.watch():
        receiver.close()
        raise MoveError("a socket that cannot be watched")
    return receiver


cdef bint activate_socket(Receiver receiver):
    """Sends what waits in a restored socket; False if it is closed."""
    if receiver.fd < 0:
        return False
    if receiver.sender.pending_bytes() or receiver.sender.finishing and not receiver.sender.finished:
        receiver.poller.flush_later(receiver.sender)
    return True
