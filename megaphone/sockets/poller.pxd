# The poller's compiled interface: what it watches, and what it lends to everybody on this worker.
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from cpython.ref cimport PyObject
from megaphone.dispatch.counters cimport Board
from megaphone.dispatch.mailbox cimport ChunkPool

cdef extern from "sys/epoll.h":
    cdef enum:
        EPOLLIN
        EPOLLOUT
        EPOLLERR
        EPOLLHUP
        EPOLLRDHUP

cdef enum:
    READ_BYTES = 65536      # one shared read buffer: at most this much is taken from a socket at once
    TICKS_PER_SECOND = 16

cdef class Pollable:
    cdef int fd
    cdef bint queued                        # in the poller's list of those to run again
    cdef void on_events(self, uint32_t events)
    cdef void on_turn(self)                 # asked for with Poller.run_again

cdef class Flushable:
    cdef bint dirty                         # in the poller's list of those to flush
    cdef void flush(self)

cdef struct Pile:
    PyObject** items
    uint32_t length
    uint32_t capacity

cdef class Poller:
    cdef readonly int fd
    cdef uint8_t* received                  # READ_BYTES, as read from a socket
    cdef uint8_t* plain                     # READ_BYTES, after TLS
    cdef readonly ChunkPool chunks
    cdef readonly uint64_t now_ns           # CLOCK_MONOTONIC at the start of this turn
    cdef readonly uint32_t now_ticks        # the same in 1/16 s
    cdef readonly uint64_t turns
    cdef readonly uint64_t events
    cdef Pile again
    cdef Pile dirty
    cdef Pile removed
    cdef object wake                        # called when a turn is needed that no event will cause
    cdef public object on_fault             # (exception) -> None: a mistake of ours, to be logged
    cdef bint awake                         # a turn is running, or has been asked for
    cdef public bint frozen                 # nothing happens in a turn

    cdef void look_at_clock(self) noexcept
    cdef bint watch(self, Pollable pollable, uint32_t events)
    cdef void forget(self, Pollable pollable)
    cdef void run_again(self, Pollable pollable)
    cdef void flush_later(self, Flushable flushable)
    cdef void want_turn(self)
    cdef void fault(self, error)
    cdef void give_back(self) noexcept
    cdef void go_on_from(self, Board board) noexcept
    cdef void put_on_board(self, Board board) noexcept
