# One client's stream into the embedded service, compiled interface.
from libc.stdint cimport uint8_t, uint32_t, uint64_t

from megaphone.bus.local cimport LocalBus
from megaphone.dispatch.counters cimport Board
from megaphone.dispatch.dispatcher cimport Connection, Dispatcher, Owner
from megaphone.sockets.poller cimport Flushable, Poller
from megaphone.wire.framer cimport Bounds
from megaphone.wire.rendered cimport Rendered
from megaphone.wire.stanza_reader cimport StanzaReader

cdef class Streams(Flushable):
    # What all streams of one worker share.
    cdef readonly Poller poller
    cdef readonly Dispatcher dispatcher
    cdef readonly Board board
    cdef public dict plain_targets          # bytes of a JID -> Session that gets a plain message for it as it is
    cdef public object home_of              # (JID as a client wrote it) -> the worker that is its home, or our own index
    cdef public LocalBus bus                # None with one worker
    cdef public bytes domain                # of our users
    cdef public object host                 # embedded.host.Host: everything but the hot path
    cdef Bounds bounds
    cdef uint8_t* scratch                   # where a stanza is put together for one recipient
    cdef size_t scratch_bytes
    cdef object crowd                       # the sessions that a burst is for
    cdef list burst                         # what each of them gets, each with its own `to`: (Rendered, escaped `from`)
    cdef int burst_kind                     # Kind of all of these
    cdef list turn_ends                     # streams that have something to say at the end of the turn
    cdef uint8_t* room(self, size_t length) except NULL
    cdef void send_burst(self)
    cdef void at_turn_end(self, EmbeddedStream stream)
    cpdef int home_of_plain(self, bytes to)
    cdef bint send_home(self, bytes to, const uint8_t* stanza, size_t length) except? False

cdef class EmbeddedStream(Owner):
    cdef readonly Streams streams
    cdef readonly uint64_t connection_id    # 0: none (any more)
    cdef StanzaReader reader
    cdef public object login                # service.login's machine until there is a session
    cdef public object session              # service.session.Session, once bound
    cdef public object resumption           # stream.resumption's queue, once enabled
    cdef bytes from_attribute               # what is put into all that the client says: " from='…'"
    cdef bytes to_value                     # the same JID, escaped
    cdef tuple declarations                 # prefixes that the client's header declares; None: only those that all do
    cdef bint expects_header
    cdef bint waiting                       # nothing is read until the host says so
    cdef bint awaits_end                    # in the streams' list of those with something to say
    cdef bint has_resumption
    cdef bytes held                         # what came while waiting
    cdef public list keys                   # what the queue's stanzas are kept under in the store; 0: they are not
    cdef readonly uint64_t former_id        # of the connection that is gone
    cdef uint32_t over_bytes                # queued since the mailbox was full
    cdef uint32_t heard_ticks               # when the client last said anything
    cdef public bint detached               # its session waits for its client to come back
    cdef bint asked                         # it has been asked for a sign of life since

    cdef void cut(self, const uint8_t* data, size_t length)
    cdef bint pass_on(self, const uint8_t* stanza, size_t length)
    cdef bytes missing_declarations(self, bytes stanza)
    cdef bytes stamp(self, const uint8_t* stanza, size_t length)
    cdef int write(self, const uint8_t* data, size_t length)
    cdef int put(self, const uint8_t* data, size_t length, bint stanza)
    cdef int put_burst(self, const uint8_t* data, size_t length, int kind, uint32_t count)
    cdef int note(self, int status, size_t length)
