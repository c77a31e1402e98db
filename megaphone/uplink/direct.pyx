"""The direct carrier: one upstream socket per client, opened when the client's stream header has said where to.

Until the connection stands, the client's bytes wait in the upstream sender's mailbox. The PROXY v2 header is put in
front of them once it is known who gets them: header and first bytes leave in one write, because ejabberd blocks its
only acceptor while it waits for the header.
"""

cimport cython
from collections import deque

from libc.errno cimport EADDRINUSE, EADDRNOTAVAIL, EAGAIN, EINPROGRESS, errno
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from posix.unistd cimport close

from megaphone.dispatch.counters cimport *
from megaphone.dispatch.dispatcher cimport Connection, FULL
from megaphone.dispatch.fingerprint cimport mixed
from megaphone.dispatch.mailbox cimport Mailbox
from megaphone.sockets.address cimport AF_UNIX, sockaddr
from megaphone.sockets.calls cimport (
    IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, SOCK_CLOEXEC, SOCK_NONBLOCK, SOCK_STREAM, bind, connect, send_at_once, setsockopt, socket,
)
from megaphone.sockets.moving cimport activate_socket, export_socket, milliseconds_of, restore_socket, socket_fingerprint, ticks_from
from megaphone.sockets.poller cimport Poller
from megaphone.sockets.receiver cimport Receiver, open_socket
from megaphone.uplink.uplink cimport Carrier, Uplink, UplinkStream

import os

import msgspec

from megaphone.dispatch.moving import Moved
from megaphone.errors import MoveError
from megaphone.sockets.receiver import socket_bytes
from megaphone.uplink.direct_record import DirectRecord

cdef object encode = msgspec.msgpack.Encoder().encode
cdef object decode = msgspec.msgpack.Decoder(DirectRecord).decode

cdef enum:
    SOURCES_TRIED = 8           # local addresses tried before an upstream counts as failed


cdef class DirectCarrier(Carrier):
    """Opens an upstream socket for each stream.

    `proxy_header` (connection) returns the PROXY v2 header of a connection. Of `limits` (edge.limits.ClientLimits)
    `connect_ticks` bounds one attempt, `slow_ticks` how long an upstream may not read, `close_ticks` how long it may
    take to finish after us, `mailbox_bytes` what waits for it.
    """

    cdef Poller poller
    cdef object proxy_header
    cdef object lingering                   # streams that wait for the server's end, oldest first
    cdef object postponed                   # (stream, receiver) whose Unix socket had no room in its queue
    cdef uint32_t connect_ticks
    cdef uint32_t slow_ticks
    cdef uint32_t linger_ticks
    cdef uint32_t mailbox_bytes

    def __init__(self, Poller poller, proxy_header, limits):
        self.poller = poller
        self.proxy_header = proxy_header
        self.lingering = deque()
        self.postponed = deque()
        self.apply(limits)

    def apply(self, limits):
        self.connect_ticks = limits.connect_ticks
        self.slow_ticks = limits.slow_ticks
        self.linger_ticks = limits.close_ticks
        self.mailbox_bytes = limits.mailbox_bytes

    cdef UplinkStream new_stream(self):
        cdef DirectStream stream = DirectStream.__new__(DirectStream)
        stream.carrier = self
        return stream

    @property
    def lingering_streams(self):
        """How many wait for the server's end."""
        return len(self.lingering)

    def sweep(self):
        """Cuts the streams whose server has had time enough to finish; tries again where there was no room."""
        cdef DirectStream stream
        for _ in range(len(self.postponed)):
            stream, receiver = self.postponed.popleft()
            stream.connect_again(receiver)
        while self.lingering:
            stream = self.lingering[0]
            if stream.receiver is not None and self.poller.now_ticks < stream.deadline_ticks:
                break
            self.lingering.popleft()
            stream.close()


@cython.no_gc
cdef class DirectStream(UplinkStream):
    """One client's stream on its own upstream socket."""

    cdef DirectCarrier carrier
    cdef Receiver receiver
    cdef uint64_t connect_began_ns
    cdef uint32_t deadline_ticks            # of the connection attempt, then of lingering
    cdef bint postponed                     # restored, and to be connected again

    # --- connecting ------------------------------------------------------------

    cdef int begin(self):
        cdef DirectCarrier carrier = self.carrier
        cdef bytes address = self.upstream.packed, source
        cdef int family = self.upstream.family, fd, one = 1, attempt, error = EADDRNOTAVAIL
        cdef bint postponed
        cdef Receiver receiver
        for attempt in range(SOURCES_TRIED):
            fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)
            if fd < 0:
                return errno
            if family != AF_UNIX:
                send_at_once(fd)
            chosen = self.upstream.source()
            if chosen is not None:
                source = chosen
                # let connect() choose the port: it may then be shared between different destinations
                setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof(one))
                if bind(fd, <const sockaddr*> (<const char*> source), len(source)) != 0:
                    error = errno
                    close(fd)
                    continue
            error = 0 if connect(fd, <const sockaddr*> (<const char*> address), len(address)) == 0 else errno
            # a Unix socket does not wait for room in the server's queue as TCP does
            postponed = family == AF_UNIX and error == EAGAIN
            if error != 0 and error != EINPROGRESS and not postponed:
                close(fd)
                if error == EADDRNOTAVAIL or error == EADDRINUSE:
                    if chosen is None:
                        return error
                    continue        # this source address has no port left
                return error
            carrier.poller.look_at_clock()
            self.connect_began_ns = carrier.poller.now_ns
            self.deadline_ticks = carrier.poller.now_ticks + carrier.connect_ticks
            receiver = open_socket(fd, carrier.poller, self, carrier.mailbox_bytes, True, not postponed)
            if receiver is None:
                return errno
            if postponed:
                carrier.postponed.append((self, receiver))
            self.receiver = receiver
            return 0
        return error

    cdef void connect_again(self, Receiver receiver):
        """Tries a postponed socket once more, unless the stream has ended or gone on to another upstream meanwhile."""
        cdef bytes address
        if self.receiver is not receiver:
            return
        address = self.upstream.packed
        if connect(receiver.fd, <const sockaddr*> (<const char*> address), len(address)) == 0:
            if not receiver.watch():
                self.connect_failed()
        elif errno == EAGAIN:
            self.carrier.postponed.append((self, receiver))
        else:
            self.connect_failed()

    cdef void connect_failed(self):
        self.uplink.fail_over(self)

    cdef void give_waiting(self, Mailbox* waiting):
        waiting[0] = self.receiver.sender.mailbox
        self.receiver.sender.mailbox = Mailbox(NULL, NULL, 0)

    cdef void take_waiting(self, Mailbox* waiting):
        self.receiver.sender.take_over(waiting)
        if self.client_ended:
            self.receiver.sender.finish()
        elif not self.receiver.sender.full:
            self.uplink.dispatcher.get_data(self.connection_id)

    cdef void take_writable(self):
        """Connected."""
        cdef bytes header
        self.note_connected(self.connect_began_ns)
        if self.upstream.proxy_protocol and not self.detached:
            connection = self.uplink.dispatcher.find(self.connection_id)
            if connection is None:
                return
            header = self.carrier.proxy_header(connection)
            if not self.carrier.poller.chunks.put_first(&self.receiver.sender.mailbox, <const uint8_t*> (<const char*> header), len(header)):
                # without the header the server would take our address for the client's
                self.give_up("resource-constraint", RESOURCE_CONSTRAINT)

    # --- relaying ------------------------------------------------------------

    cdef void take_data(self, Connection connection, const uint8_t* data, size_t length):
        if self.receiver.sender.write(data, length) != FULL:
            self.uplink.dispatcher.get_data(self.connection_id)

    cdef void take_drained(self):
        if not self.detached:
            self.uplink.dispatcher.get_data(self.connection_id)

    cdef void take_bytes(self, const uint8_t* data, size_t length):
        cdef int status
        if self.detached:
            return
        try:
            status = self.uplink.dispatcher.send_data(self.connection_id, data, length)
        except Exception as error:  # a mistake of ours must not leave a client without an answer
            self.uplink.poller.fault(error)
            self.uplink.dispatcher.shutdown(self.connection_id, "internal-server-error", INTERNAL)
            return
        if status == FULL and self.receiver is not None:
            self.receiver.pause()

    cdef void take_room(self, Connection connection):
        if self.receiver is not None:
            self.receiver.resume()

    # --- the end ------------------------------------------------------------

    cdef void take_end(self, int error):
        """The server has ended, or could not be reached."""
        if self.detached:
            self.close()
        elif self.receiver.sender.connecting:
            self.connect_failed()
        else:
            self.give_up("remote-connection-failed", REMOTE_CONNECTION_FAILED)

    cdef void take_client_end(self, Connection connection, bint said_goodbye):
        """The client will send no more: neither do we, but the server may still answer."""
        self.client_ended = True
        self.receiver.sender.finish()

    cdef void take_shutdown(self, Connection connection, int reason):
        """The edge ends the connection: the server gets what the client sent, an end, and a moment to take both."""
        cdef DirectCarrier carrier = self.carrier
        if self.detached or self.receiver is None:
            return
        self.detached = True
        if self.receiver.sender.connecting:
            self.close()
            return
        self.receiver.sender.finish()
        self.receiver.resume()
        self.deadline_ticks = carrier.poller.now_ticks + carrier.linger_ticks
        carrier.lingering.append(self)

    cdef void take_tick(self, Connection connection, uint32_t now_ticks):
        if self.receiver is None:
            return
        if self.receiver.sender.connecting:
            if now_ticks >= self.deadline_ticks:
                self.connect_failed()
        elif self.receiver.sender.stalled_ticks and now_ticks - self.receiver.sender.stalled_ticks > self.carrier.slow_ticks:
            self.give_up("remote-connection-failed", REMOTE_CONNECTION_FAILED)

    # --- moving to another process ------------------------------------------------------------

    cdef bint is_postponed(self):
        if self.receiver.sender.connecting:
            for stream, receiver in self.carrier.postponed:
                if receiver is self.receiver:
                    return True
        return False

    cdef uint64_t fingerprint(self):
        # what the client says is counted by its connection
        return 0 if self.receiver is None else mixed(socket_fingerprint(self.receiver), self.client_ended)

    cpdef object export(self, Connection connection):
        """This stream; it can always move."""
        if self.receiver is None or self.detached:
            return None
        record = DirectRecord(
            self.upstream.name, self.domain, self.tried_names(), export_socket(self.receiver), bool(self.client_ended),
            bool(self.is_postponed()), self.connect_began_ns, milliseconds_of(self.deadline_ticks),
        )
        return Moved("direct", encode(record), (self.receiver.fd,))

    cdef int restore_from(self, object record, int fd) except -1:
        self.client_ended = record.client_ended
        self.connect_began_ns = record.connect_began_ns
        self.deadline_ticks = ticks_from(record.deadline_ms)
        self.receiver = restore_socket(record.socket, fd, self.carrier.poller, self, self.carrier.mailbox_bytes, not record.postponed)
        self.postponed = record.postponed
        return 0

    cpdef activate(self, Connection connection):
        if self.postponed:
            self.postponed = False
            self.carrier.postponed.append((self, self.receiver))
        elif not activate_socket(self.receiver):
            raise MoveError(f"the upstream socket of connection {self.connection_id:016x} cannot be watched")

    cpdef leave(self, Connection connection):
        """Has moved, or is not needed; the server hears nothing."""
        self.detached = True
        self.close()

    cdef void close(self):
        self.let_go()
        if self.receiver is not None:
            self.receiver.close()
            self.receiver = None


def restore_stream(Uplink uplink, Connection connection not None, bytes data not None, list descriptors not None):
    """A stream that another process has exported (`Moved` of kind "direct"), asleep until its `activate`.

    The descriptors are ours; MoveError, and they are closed, if it cannot be used.
    """
    cdef DirectStream stream
    cdef int fd
    try:
        (fd,) = descriptors
        record = decode(data)
        restored = uplink.restore_stream(connection, record.upstream, record.domain, record.tried)
        if not isinstance(restored, DirectStream):
            (<UplinkStream> restored).let_go()
            raise MoveError(f"upstream {record.upstream} is reached by links now")
    except Exception as error:
        for descriptor in descriptors:
            os.close(descriptor)
        if isinstance(error, MoveError):
            raise
        raise MoveError(f"not the record of a stream: {error}") from None
    stream = restored
    try:
        stream.restore_from(record, fd)
    except MoveError:
        stream.let_go()
        raise
    except (OverflowError, ValueError) as error:    # numbers that no stream has
        stream.let_go()
        os.close(fd)
        raise MoveError(f"not the record of a stream: {error}") from None
    return stream


def stream_bytes():
    """The bytes of the objects that one idle connection keeps on the uplink's side."""
    return DirectStream.__basicsize__ + socket_bytes()
