"""The four messages between two workers: for connections with TLS, which cannot move to the home of their user.

    worker 2: ClientConnection ─► RelayedOwner ── PUT, CLIENT_END, TOOK, GONE ──► RemoteConnection ─► session: worker 0
                                               ◄── GET, SEND, SHUTDOWN ─────────

    OPEN 8         MessagePack: connection, account, anonymous, address, port, what the client has said already
    PUT 9          connection, 8 bytes; bytes                    put_data
    GET 10         connection                                    get_data: the credit for one more PUT
    SEND 11        connection; bytes                             send_data
    TOOK 12        connection; bytes taken, 4 bytes              so many of these are no longer waiting for the client
    CLIENT_END 13  connection; 1 if it has said goodbye          it will say nothing more
    SHUTDOWN 14    connection; reason, 1 byte; condition         shutdown
    GONE 15        connection; reason, 1 byte                    the connection has ended

A connection is named by its id in the worker that holds the socket. Towards the client at most WINDOW_BYTES are under
way before the session is told that the mailbox is full.
"""

cimport cython
from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy

import os

import msgspec

from megaphone.bus.local cimport LocalBus
from megaphone.dispatch.counters cimport *
from megaphone.dispatch.dispatcher cimport DELIVERED, FULL, GONE, Connection, Dispatcher, Owner
from megaphone.dispatch.fingerprint cimport mixed
from megaphone.sockets.poller cimport TICKS_PER_SECOND

from megaphone.dispatch.moving import Moved
from megaphone.errors import MoveError

cdef enum:
    OPEN = 8
    PUT = 9
    GET = 10
    SEND = 11
    TOOK = 12
    CLIENT_END = 13
    SHUTDOWN = 14
    LOST = 15           # GONE on the wire; the dispatcher has a GONE of its own
    WINDOW_BYTES = 262144
    TOOK_BYTES = 32768  # said in one TOOK at least, unless the client's mailbox was full


cdef close_all(list descriptors):
    """None is expected."""
    for fd in descriptors:
        os.close(fd)


cdef inline void write_uint64(uint8_t* at, uint64_t number) noexcept nogil:
    cdef int i
    for i in range(8):
        at[i] = number >> (56 - 8 * i) & 0xFF


cdef inline uint64_t read_uint64(const uint8_t* data) noexcept nogil:
    cdef uint64_t number = 0
    cdef int i
    for i in range(8):
        number = number << 8 | data[i]
    return number


cdef class Relay:
    """The relayed connections of one worker, at both ends.

    `attach(connection, account, anonymous)` returns the owner of a connection whose socket is elsewhere.
    """

    cdef readonly LocalBus bus
    cdef readonly Dispatcher dispatcher
    cdef readonly Board board
    cdef object attach
    cdef dict remote                    # (peer, connection there) -> RemoteConnection
    cdef dict relayed                   # connection here -> RelayedOwner

    def __init__(self, LocalBus bus, Dispatcher dispatcher, Board board, attach):
        self.bus = bus
        self.dispatcher = dispatcher
        self.board = board
        self.attach = attach
        self.remote = {}
        self.relayed = {}

    cdef bint say(self, int peer, int kind, uint64_t connection, const uint8_t* data, size_t length):
        cdef uint8_t id[8]
        write_uint64(id, connection)
        # bytes may be refused, and end the connection; all else is short, and both ends rely on it
        return self.bus.send(peer, kind, id, 8, data, length, False, kind != PUT and kind != SEND)

    def open(self, connection, int home, account, bint anonymous, bytes received):
        """Lets the worker `home` own a connection of this one; `received` is what its client has said already."""
        cdef RelayedOwner owner = RelayedOwner.__new__(RelayedOwner)
        cdef bytes record = msgspec.msgpack.encode(
            (connection.id, account, anonymous, connection.client_address, connection.port, received)
        )
        owner.relay = self
        owner.peer = home
        owner.connection_id = connection.id
        self.relayed[connection.id] = owner
        self.board.slots[<int> RELAYED_OPEN] += 1
        connection.own_quietly(owner)
        if not self.bus.send_frame(home, OPEN, record):
            self.dispatcher.shutdown(connection.id, "resource-constraint", RESOURCE_CONSTRAINT)

    def take_frame(self, int peer, int kind, bytes payload not None):
        """Takes a frame of another worker."""
        cdef const uint8_t* data = <const uint8_t*> <const char*> payload
        cdef size_t length = len(payload)
        cdef uint64_t id
        cdef RemoteConnection remote
        cdef RelayedOwner owner
        if kind == OPEN:
            self.take_open(peer, payload)
            return
        if length < 8:
            return
        id = read_uint64(data)
        data += 8
        length -= 8
        if kind == GET or kind == SEND or kind == SHUTDOWN:
            owner = self.relayed.get(id)
            if owner is not None and owner.peer == peer:
                owner.take_frame(kind, data, length)
            return
        remote = self.remote.get((peer, id))
        if remote is not None:
            remote.take_frame(kind, data, length)
        elif kind == PUT:
            self.say(peer, SHUTDOWN, id, <const uint8_t*> b"\x15internal-server-error", 22)

    cdef take_open(self, int peer, bytes payload):
        cdef RemoteConnection remote = RemoteConnection.__new__(RemoteConnection)
        cdef bytes said
        id, account, anonymous, address, port, received = msgspec.msgpack.decode(payload)
        remote.relay = self
        remote.peer = peer
        remote.remote_id = id
        said = received
        if not self.dispatcher.register(remote):
            self.board.slots[<int> LIMIT_WORKER_CONNECTIONS] += 1
            self.say(peer, SHUTDOWN, id, <const uint8_t*> b"\x0cresource-constraint", 20)
            return
        self.remote[peer, id] = remote
        self.board.slots[<int> RELAYED_OPEN] += 1
        remote.owner = self.attach(remote, tuple(account), anonymous)
        if said:
            self.dispatcher.put_data(remote, <const uint8_t*> <const char*> said, len(said))
        else:
            self.dispatcher.get_data(remote.id)

    # --- another process goes on ------------------------------------------------------------

    def under_way(self):
        """What is relayed: (peer, id, whether the socket is here) by the id in the worker that holds the socket."""
        return [(key[0], key[1], False) for key in self.remote] + [
            ((<RelayedOwner> owner).peer, id, True) for id, owner in self.relayed.items()
        ]

    def restore_owner(self, Connection connection, bytes data not None, list descriptors not None):
        """The owner of a connection whose session is in another worker, of the process before this one."""
        cdef RelayedOwner owner = RelayedOwner.__new__(RelayedOwner)
        close_all(descriptors)
        try:
            owner.peer, owner.untold, owner.full = msgspec.msgpack.decode(data)[:3]
        except (ValueError, TypeError, OverflowError, msgspec.MsgspecError) as error:
            raise MoveError(f"not the record of a relayed connection: {error}") from None
        if not 0 <= owner.peer < self.bus.workers or owner.peer == self.bus.index:
            raise MoveError("a connection that is relayed to a worker that there is not")
        owner.relay = self
        owner.connection_id = connection.id
        owner.forgotten = True      # until it is activated
        return owner

    def restore_remote(self, uint64_t id, bytes data not None, list descriptors not None):
        """A connection whose socket is in another worker, of the process before this one."""
        cdef RemoteConnection remote = RemoteConnection.__new__(RemoteConnection)
        close_all(descriptors)
        try:
            remote.peer, remote.remote_id, remote.under_way, remote.full, remote.broken_off, remote.credit = (
                msgspec.msgpack.decode(data)[:6]
            )
        except (ValueError, TypeError, OverflowError, msgspec.MsgspecError) as error:
            raise MoveError(f"not the record of a remote connection: {error}") from None
        if not 0 <= remote.peer < self.bus.workers or remote.peer == self.bus.index:
            raise MoveError("a connection of a worker that there is not")
        remote.relay = self
        remote.id = id
        return remote

    def lose(self, under_way):
        """Of what was relayed by the process before this one, ends what has not come along; its peers are told.

        A client whose connection could not move is cut off, and its session waits for it.
        """
        cdef uint8_t reason = CLIENT_RESET
        cdef bytes said = bytes([SYSTEM_SHUTDOWN]) + b"system-shutdown"
        for peer, id, is_here in under_way:
            if is_here and id not in self.relayed:
                self.say(peer, LOST, id, &reason, 1)
            elif not is_here and (peer, id) not in self.remote:
                self.say(peer, SHUTDOWN, id, <const uint8_t*> <const char*> said, len(said))

    def leave(self):
        """Another process goes on with all of this: whatever ends here, nobody is told."""
        cdef RelayedOwner owner
        cdef RemoteConnection remote
        for owner in list(self.relayed.values()):
            owner.forget()
        for remote in list(self.remote.values()):
            remote.leave()

    def peer_lost(self, int peer):
        """A worker is gone: its clients with it, and the sessions of ours that lived there."""
        cdef RemoteConnection remote
        cdef RelayedOwner owner
        for key in [key for key in self.remote if key[0] == peer]:
            remote = self.remote[key]
            remote.lose(CLIENT_RESET)
        for owner in [owner for owner in self.relayed.values() if (<RelayedOwner> owner).peer == peer]:
            owner.forget()
            self.dispatcher.shutdown(owner.connection_id, "remote-connection-failed", REMOTE_CONNECTION_FAILED)


@cython.no_gc
cdef class RelayedOwner(Owner):
    """The owner of a connection here whose session is in another worker."""

    cdef Relay relay
    cdef int peer
    cdef uint64_t connection_id
    cdef uint32_t untold                # bytes the client's mailbox has taken, and the session does not know yet
    cdef bint full
    cdef bint forgotten

    cpdef str upstream_name(self):
        return None

    cdef void take_data(self, Connection connection, const uint8_t* data, size_t length):
        if not self.relay.say(self.peer, PUT, self.connection_id, data, length):
            self.relay.dispatcher.shutdown(self.connection_id, "resource-constraint", RESOURCE_CONSTRAINT)

    cdef void take_room(self, Connection connection):
        self.full = False
        self.tell()

    cdef void tell(self):
        cdef uint8_t taken[4]
        cdef int i
        for i in range(4):
            taken[i] = self.untold >> (24 - 8 * i) & 0xFF
        self.untold = 0
        self.relay.say(self.peer, TOOK, self.connection_id, taken, 4)

    cdef void take_client_end(self, Connection connection, bint said_goodbye):
        cdef uint8_t said = said_goodbye
        self.relay.say(self.peer, CLIENT_END, self.connection_id, &said, 1)

    cdef void take_shutdown(self, Connection connection, int reason):
        cdef uint8_t said = <uint8_t> reason
        if not self.forgotten:
            self.forget()
            self.relay.say(self.peer, LOST, self.connection_id, &said, 1)

    cdef uint64_t fingerprint(self):
        return mixed(<uint64_t> self.untold << 1 | self.full, self.forgotten)

    cpdef object export(self, Connection connection):
        """Who has the session, and what it has not been told."""
        if self.forgotten:
            return None
        return Moved("relayed", msgspec.msgpack.encode((self.peer, self.untold, self.full)))

    cpdef activate(self, Connection connection):
        self.forgotten = False
        self.relay.relayed[self.connection_id] = self
        self.relay.board.slots[<int> RELAYED_OPEN] += 1

    cpdef leave(self, Connection connection):
        self.forget()

    cdef void forget(self):
        if not self.forgotten:
            self.forgotten = True
            self.relay.relayed.pop(self.connection_id, None)
            self.relay.board.slots[<int> RELAYED_OPEN] -= 1

    cdef void take_frame(self, int kind, const uint8_t* data, size_t length):
        cdef Dispatcher dispatcher = self.relay.dispatcher
        cdef int status
        if kind == GET:
            dispatcher.get_data(self.connection_id)
        elif kind == SEND:
            status = dispatcher.send_data(self.connection_id, data, length)
            self.untold += <uint32_t> length
            if status == FULL:
                self.full = True
            elif status == DELIVERED and not self.full and self.untold >= TOOK_BYTES:
                self.tell()
        elif length:
            self.forget()
            dispatcher.shutdown(self.connection_id, PyBytes_FromStringAndSize(<const char*> data + 1, length - 1).decode(), data[0])


@cython.no_gc
cdef class RemoteConnection(Connection):
    """A connection whose socket is in another worker."""

    cdef Relay relay
    cdef int peer
    cdef uint64_t remote_id
    cdef uint32_t under_way             # bytes on their way to the client's mailbox, or in it beyond its limit
    cdef bint full
    cdef bint released
    cdef bint broken_off                # the client has left without a goodbye

    cdef void pause_reading(self):
        pass                            # without a GET nothing more comes

    cdef void resume_reading(self):
        self.relay.say(self.peer, GET, self.remote_id, NULL, 0)

    cdef int deliver(self, const uint8_t* data, size_t length):
        if self.released:
            return GONE
        if not self.relay.say(self.peer, SEND, self.remote_id, data, length):
            self.end("resource-constraint", RESOURCE_CONSTRAINT)
            return GONE
        self.under_way += <uint32_t> length
        if self.under_way > WINDOW_BYTES:
            self.full = True
            return FULL
        return DELIVERED

    cdef void end(self, str condition, int reason):
        cdef bytes said
        if self.released:
            return
        said = bytes([reason]) + condition.encode()
        self.relay.say(self.peer, SHUTDOWN, self.remote_id, <const uint8_t*> <const char*> said, len(said))
        self.lose(reason)

    cdef void lose(self, int reason):
        """The connection is over."""
        cdef Owner owner = self.owner
        if self.released:
            return
        self.released = True
        self.relay.remote.pop((self.peer, self.remote_id), None)
        self.relay.board.slots[<int> RELAYED_OPEN] -= 1
        if owner is not None:
            self.owner = None
            owner.take_shutdown(self, CLIENT_RESET if reason == CLIENT_CLOSED and self.broken_off else reason)
        self.relay.dispatcher.release(self)

    cdef void take_frame(self, int kind, const uint8_t* data, size_t length):
        cdef Owner owner = self.owner
        cdef uint32_t taken
        if kind == PUT:
            self.relay.dispatcher.put_data(self, data, length)
        elif kind == TOOK and length == 4:
            taken = <uint32_t> data[0] << 24 | <uint32_t> data[1] << 16 | <uint32_t> data[2] << 8 | data[3]
            self.under_way -= min(taken, self.under_way)
            if self.full and self.under_way <= WINDOW_BYTES // 2 and owner is not None:
                self.full = False
                owner.take_room(self)
        elif kind == CLIENT_END and length == 1 and owner is not None:
            self.broken_off = not data[0]
            owner.take_client_end(self, data[0])
        elif kind == LOST and length == 1:
            self.lose(data[0])

    cdef void take_tick(self, uint32_t now_ticks):
        cdef Owner owner = self.owner
        if owner is not None:
            owner.take_tick(self, now_ticks)

    cdef uint64_t fingerprint(self):
        return mixed(self.under_way, self.full | self.broken_off << 1 | self.credit << 2 | self.released << 3)

    cpdef object export(self):
        """Where the socket is, and what is on its way there."""
        if self.released:
            return None
        return Moved("remote", msgspec.msgpack.encode(
            (self.peer, self.remote_id, self.under_way, self.full, self.broken_off, self.credit)
        ))

    cpdef activate(self):
        if not self.relay.dispatcher.register_again(self):
            raise MoveError(f"connection {self.id:016x} is there already")
        self.relay.remote[self.peer, self.remote_id] = self
        self.relay.board.slots[<int> RELAYED_OPEN] += 1

    cpdef leave(self):
        if not self.released:
            self.released = True
            self.owner = None
            if self.relay.remote.pop((self.peer, self.remote_id), None) is not None:
                self.relay.board.slots[<int> RELAYED_OPEN] -= 1
            self.relay.dispatcher.release(self)

    def finish(self, str condition, int reason):
        """Ends the connection with a stream error ("" for none)."""
        self.end(condition, reason)

    @property
    def closing(self):
        """Whether the end has begun."""
        return self.released

    def describe(self):
        """None: an operator sees it where its socket is."""
        return None
