"""The poller: one edge-triggered epoll per worker, run by the event loop as a single reader.

Theory of operation. uvloop watches one descriptor of ours: the epoll that holds all client and upstream sockets. When
anything is ready it calls `turn()`, which takes a batch of events, lets receivers read into one shared buffer, and
then flushes every sender that was written to: the writes of a turn leave in one system call per socket. A socket is
registered once, edge-triggered for both directions, and never changed again: pausing a receiver costs nothing.

    uvloop ─ readable ─► turn(): events ─► on_events() …   again ─► on_turn() …   dirty ─► flush() …

Why not a uvloop transport per socket: docs/explanation/decisions/0001-own-poller.md.
"""

from cpython.ref cimport Py_DECREF, Py_INCREF
from libc.errno cimport EINTR, errno
from libc.stdlib cimport free, malloc, realloc
from posix.time cimport CLOCK_MONOTONIC, clock_gettime, timespec
from posix.unistd cimport close

from megaphone.dispatch.counters cimport MAILBOX_BYTES, MAILBOX_MEMORY_BYTES, POLLER_EVENTS, POLLER_TURNS
from megaphone.dispatch.mailbox cimport CHUNK_BYTES
from megaphone.wire.tls_contexts cimport forget_idle_contexts

cdef extern from "sys/epoll.h":
    cdef enum:
        EPOLL_CLOEXEC
        EPOLL_CTL_ADD
        EPOLL_CTL_DEL
        EPOLLET
    ctypedef union epoll_data_t:
        void* ptr
    cdef struct epoll_event:
        uint32_t events
        epoll_data_t data
    int epoll_create1(int)
    int epoll_ctl(int, int, int, epoll_event*)
    int epoll_wait(int, epoll_event*, int, int)

cdef enum:
    BATCH = 256                 # events taken per turn: what one turn may hold up the loop with

cdef epoll_event batch[BATCH]


def ticks_of(double seconds):
    """A length of time in the poller's clock ticks of 1/16 s, at least one."""
    return max(1, int(seconds * TICKS_PER_SECOND))


cdef class Pollable:
    """Something with a descriptor that the poller watches."""

    cdef void on_events(self, uint32_t events):
        pass

    cdef void on_turn(self):
        pass


cdef class Flushable:
    """Something that collects bytes during a turn and sends them at its end."""

    cdef void flush(self):
        pass


cdef void pile_add(Pile* pile, object item):
    cdef PyObject** items
    if pile.length == pile.capacity:
        items = <PyObject**> realloc(pile.items, (pile.capacity * 2 + 256) * sizeof(PyObject*))
        if items == NULL:
            raise MemoryError
        pile.items = items
        pile.capacity = pile.capacity * 2 + 256
    Py_INCREF(item)
    pile.items[pile.length] = <PyObject*> item
    pile.length += 1


cdef class Poller:
    """The sockets of one worker. `wake` is called (without arguments) when `turn` should be called soon."""

    def __cinit__(self, wake=None):
        self.fd = epoll_create1(EPOLL_CLOEXEC)
        self.received = <uint8_t*> malloc(READ_BYTES)
        self.plain = <uint8_t*> malloc(READ_BYTES)
        if self.fd < 0 or self.received == NULL or self.plain == NULL:
            raise MemoryError("no epoll or no buffers")
        self.chunks = ChunkPool()
        self.wake = wake
        self.look_at_clock()

    def __dealloc__(self):
        if self.fd >= 0:
            close(self.fd)
        free(self.received)
        free(self.plain)
        free(self.again.items)
        free(self.dirty.items)
        free(self.removed.items)

    cdef void look_at_clock(self) noexcept:
        cdef timespec now
        clock_gettime(CLOCK_MONOTONIC, &now)
        self.now_ns = <uint64_t> now.tv_sec * 1000000000u + now.tv_nsec
        self.now_ticks = <uint32_t> (self.now_ns // (1000000000u // TICKS_PER_SECOND))

    cdef bint watch(self, Pollable pollable, uint32_t events):
        """Registers the descriptor; the poller holds the object until `forget`."""
        cdef epoll_event event
        event.events = events | EPOLLET
        event.data.ptr = <void*> pollable
        if epoll_ctl(self.fd, EPOLL_CTL_ADD, pollable.fd, &event) != 0:
            return False
        Py_INCREF(pollable)
        return True

    cdef void forget(self, Pollable pollable):
        """Takes the descriptor out, before it is closed; the object lives on to the end of the turn, as events may point at it."""
        cdef epoll_event event
        if epoll_ctl(self.fd, EPOLL_CTL_DEL, pollable.fd, &event) == 0:
            pile_add(&self.removed, pollable)
            Py_DECREF(pollable)
            self.want_turn()

    cdef void run_again(self, Pollable pollable):
        """Calls `on_turn` in the next turn."""
        if not pollable.queued:
            pollable.queued = True
            pile_add(&self.again, pollable)
            self.want_turn()

    cdef void flush_later(self, Flushable flushable):
        """Calls `flush` at the end of this turn."""
        if not flushable.dirty:
            flushable.dirty = True
            pile_add(&self.dirty, flushable)
            self.want_turn()

    cdef void want_turn(self):
        if not self.awake and self.wake is not None:
            self.awake = True
            self.wake()

    cdef void fault(self, error):
        """One socket's trouble must not cost the others their events: edge-triggered epoll reports each but once."""
        if self.on_fault is not None:
            self.on_fault(error)

    cdef void give_back(self) noexcept:
        """Gives back the memory that nobody has needed for some seconds (the sweep calls this)."""
        self.chunks.give_back(self.now_ticks)
        forget_idle_contexts(self.now_ticks)

    cdef void go_on_from(self, Board board) noexcept:
        """Counts on from where the process before this one left its counters."""
        self.turns = board.slots[<int> POLLER_TURNS]
        self.events = board.slots[<int> POLLER_EVENTS]

    cdef void put_on_board(self, Board board) noexcept:
        """Shows what it has counted, what waits in the mailboxes, and what memory they keep."""
        board.slots[<int> MAILBOX_BYTES] = self.chunks.queued_bytes
        board.slots[<int> MAILBOX_MEMORY_BYTES] = <uint64_t> (self.chunks.made - self.chunks.bare) * CHUNK_BYTES
        board.slots[<int> POLLER_TURNS] = self.turns
        board.slots[<int> POLLER_EVENTS] = self.events

    def turn(self):
        """One round: events, those to run again, flushes. Never blocks."""
        cdef int count, i
        cdef uint32_t j, length
        cdef Pollable pollable
        cdef Flushable flushable
        if self.frozen:
            self.awake = False      # what is asked for now waits for the first turn after it
            return
        self.awake = True
        self.look_at_clock()
        count = epoll_wait(self.fd, batch, BATCH, 0)
        if count < 0 and errno != EINTR:
            raise OSError(errno, "epoll_wait")
        self.turns += 1
        # those that asked in earlier turns; what they ask for now waits for the next turn
        length = self.again.length
        for j in range(length):
            pollable = <Pollable> self.again.items[j]
            pollable.queued = False
            if pollable.fd >= 0:
                try:
                    pollable.on_turn()
                except Exception as error:
                    self.fault(error)
        for j in range(length):
            Py_DECREF(<object> self.again.items[j])
        self.again.length -= length
        for j in range(self.again.length):
            self.again.items[j] = self.again.items[j + length]
        for i in range(count):
            self.events += 1
            pollable = <Pollable> batch[i].data.ptr
            if pollable.fd >= 0:
                try:
                    pollable.on_events(batch[i].events)
                except Exception as error:
                    self.fault(error)
        # a flush may make others dirty (a full mailbox that has room again), so go on until none is
        j = 0
        while j < self.dirty.length:
            flushable = <Flushable> self.dirty.items[j]
            flushable.dirty = False
            try:
                flushable.flush()
            except Exception as error:
                self.fault(error)
            j += 1
        for i in range(<int> j):
            Py_DECREF(<object> self.dirty.items[i])
        self.dirty.length = 0
        pollable = None
        flushable = None
        while self.removed.length:
            self.removed.length -= 1
            Py_DECREF(<object> self.removed.items[self.removed.length])
        self.awake = False
        if self.again.length:
            self.want_turn()
