"""One client's stream into the embedded service: the owner of its connection.

    put_data ─► cut ─┬─ plain <message/> ─► pass_on: stamp `from`, send_data, or a frame to another worker   (no Python)
                     └─ all else ─► Host.take_header, take_element, take_stream_end                        (Python)
    Host ─► write ─► (XEP-0198 queue) ─► send_data

The edge has framed every byte that arrives here, so it is well-formed; what is cut here is the same stream once more, to
get at whole stanzas. What the host does may end this stream or others: they hear of it at the end of the turn, so that
nothing is pulled away from under somebody's feet.
"""

cimport cython
from cpython.ref cimport PyObject
from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdlib cimport free, realloc
from libc.string cimport memcmp, memcpy

from megaphone.bus.homes cimport home_of_bytes
from megaphone.dispatch.counters cimport *
from megaphone.dispatch.dispatcher cimport DELIVERED, FULL, GONE
from megaphone.dispatch.fingerprint cimport mixed
from megaphone.sockets.poller cimport TICKS_PER_SECOND
from megaphone.wire.framer cimport ERROR, HEADER, MESSAGE_ELEMENT, MORE, STANZA, STREAM_END, condition_of
from megaphone.wire.stanza_reader cimport Cut, next_stanza, stanza_reader_free, stanza_reader_start
from megaphone.wire.start_tag cimport Attribute, Slice, Tag, is_name, is_text, next_attribute, open_tag

from megaphone.wire.stamp import prefix_declarations
from megaphone.wire.writer import escape

cdef enum:
    BURST_STANZAS = 64
    PLAIN_JID_BYTES = 512
    OVERFLOW_BYTES = 8388608    # what a client may leave lying beyond a full mailbox: a burst, such as a large room's presence
    SILENCE_TICKS = 300 * TICKS_PER_SECOND      # after which a client is asked for a sign of life ...
    REST_TICKS = 7 * TICKS_PER_SECOND           # between two looks at a session that is silent
    ANSWER_TICKS = 60 * TICKS_PER_SECOND        # ... and how long it may take for that


cdef class Streams(Flushable):
    """What all streams of one worker share. `stanza_bytes`, `depth` and `attributes` are those of the edge's limits."""

    def __init__(self, Poller poller, Dispatcher dispatcher, Board board, host):
        self.poller = poller
        self.dispatcher = dispatcher
        self.board = board
        self.host = host
        self.plain_targets = {}
        self.domain = b""
        self.turn_ends = []
        self.burst = []
        self.bounds = Bounds(0xFFFFFFFF, 255, 255)      # the edge has measured what comes here

    def __dealloc__(self):
        free(self.scratch)

    cdef uint8_t* room(self, size_t length) except NULL:
        """At least `length` bytes to put a stanza together in, until the next call."""
        cdef uint8_t* larger
        if length > self.scratch_bytes:
            larger = <uint8_t*> realloc(self.scratch, length + 4096)
            if larger == NULL:
                raise MemoryError
            self.scratch = larger
            self.scratch_bytes = length + 4096
        return self.scratch

    cdef bint send_home(self, bytes to, const uint8_t* stanza, size_t length) except? False:
        """Sends a plain message to the home of `to`; False if that is here, or takes no more."""
        cdef bytes head
        home = self.home_of_plain(to)
        if home < 0:
            home = self.home_of(to)
        if home == self.bus.index:
            return False
        head = b"\x02%b%b" % (len(to).to_bytes(2, "big"), to)      # frames.py: ROUTE, PLAIN
        return self.bus.send(home, 2, <const uint8_t*> <const char*> head, len(head), stanza, length, False, False)

    cpdef int home_of_plain(self, bytes to):
        """The home of a user of our domain, if nothing of the JID needs preparation (RFC 7622); -1: ask `home_of`."""
        cdef const uint8_t* text = <const uint8_t*> <const char*> to
        cdef Py_ssize_t at = 0, bare, length = len(to), domain = len(self.domain)
        if length > PLAIN_JID_BYTES:
            return -1
        while at < length and (c'a' <= text[at] <= c'z' or c'0' <= text[at] <= c'9' or c'-' <= text[at] <= c'.' or text[at] == c'_'):
            at += 1
        bare = at + 1 + domain
        if at == 0 or bare > length or text[at] != c'@' or memcmp(text + at + 1, <const char*> self.domain, domain) != 0:
            return -1
        if bare < length and (text[bare] != c'/' or bare + 1 == length):
            return -1
        for at in range(bare + 1, length):
            if not c'!' <= text[at] <= c'~':
                return -1
        return home_of_bytes(text, bare, self.bus.workers)

    cdef void at_turn_end(self, EmbeddedStream stream):
        if not stream.awaits_end:
            stream.awaits_end = True
            self.turn_ends.append(stream)
            self.poller.flush_later(self)

    cdef void flush(self):
        cdef list ended
        cdef EmbeddedStream stream
        self.send_burst()
        ended = self.turn_ends
        self.turn_ends = []
        for stream in ended:
            stream.awaits_end = False
        self.host.end_turn(ended)

    def open(self, Connection connection, login):
        """The owner of a connection whose stream is about to begin; `login` answers until there is a session."""
        cdef EmbeddedStream stream = EmbeddedStream.__new__(EmbeddedStream)
        stanza_reader_start(&stream.reader)
        stream.streams = self
        stream.connection_id = connection.id
        stream.heard_ticks = self.poller.now_ticks
        stream.login = login
        stream.expects_header = True
        return stream

    def fan_out(self, sessions, bytes stanza, str from_):
        """Sends one stanza from `from_` to many sessions of this worker, each with its own `to`; returns to how many.

        `sessions` is a list, or a dict of which they are the values. It leaves at the end of the turn, together with what the same `sessions` object gets until then, or as soon as
        anything else is said to anybody: order is kept. `settle` must be called before `sessions` changes.
        """
        cdef int kind = MESSAGE if stanza.startswith(b"<message") else PRESENCE if stanza.startswith(b"<presence") else IQ
        if self.crowd is not sessions or self.burst_kind != kind or len(self.burst) >= BURST_STANZAS:
            self.send_burst()
            self.crowd = sessions
            self.burst_kind = kind
        self.burst.append((Rendered(stanza), escape(from_)))
        self.poller.flush_later(self)
        return len(sessions)

    def settle(self):
        """Sends what waits for the end of the turn."""
        self.send_burst()

    def end_turn(self):
        """Does at once what waits for the end of the turn; whether that was anything."""
        cdef bint anything = self.crowd is not None or len(self.turn_ends) > 0
        self.flush()
        return anything

    cdef void send_burst(self):
        """Puts the stanzas of a burst together for each session, and sends them."""
        cdef object crowd = self.crowd
        cdef list burst = self.burst
        cdef Rendered rendered
        cdef bytes sender
        cdef Slice to_slice, from_slice
        cdef EmbeddedStream stream
        cdef uint8_t* at
        cdef size_t length, used
        if crowd is None:
            return
        self.crowd = None
        self.burst = []
        to_slice.raw = from_slice.raw = False
        for session in crowd.values() if type(crowd) is dict else crowd:
            stream = session.stream
            if not stream.connection_id and not stream.has_resumption:
                continue
            to_slice.data = <const uint8_t*> <const char*> stream.to_value
            to_slice.length = <uint32_t> len(stream.to_value)
            used = 0
            for rendered, sender in burst:
                from_slice.data = <const uint8_t*> <const char*> sender
                from_slice.length = <uint32_t> len(sender)
                length = rendered.length(&to_slice, &from_slice, NULL)
                at = self.room(used + length) + used
                rendered.write_into(at, &to_slice, &from_slice, NULL)
                if stream.has_resumption:
                    stream.write(at, length)    # each is counted by itself
                else:
                    used += length
            if used:
                stream.put_burst(self.scratch, used, self.burst_kind, <uint32_t> len(burst))


@cython.no_gc
cdef class EmbeddedStream(Owner):
    """One client's stream; `Streams.open` makes it."""

    def __dealloc__(self):
        stanza_reader_free(&self.reader)

    cpdef str upstream_name(self):
        return None

    # --- from the client ------------------------------------------------------------

    cdef void take_data(self, Connection connection, const uint8_t* data, size_t length):
        self.heard_ticks = self.streams.poller.now_ticks
        self.asked = False
        if self.waiting:
            self.held = (self.held or b"") + PyBytes_FromStringAndSize(<const char*> data, length)
            return
        self.cut(data, length)
        if self.connection_id and not self.waiting:
            self.streams.dispatcher.get_data(self.connection_id)

    cdef void cut(self, const uint8_t* data, size_t length):
        """Takes the stanzas out of one read, as far as they are complete."""
        cdef Cut cut
        cdef int event
        cdef object host = self.streams.host
        cut.data = data
        cut.length = length
        cut.offset = 0
        while self.connection_id:
            if self.expects_header:
                self.reader.framer.restart_allowed = 1
            event = next_stanza(&self.reader, &self.streams.bounds, &cut)
            if event == MORE:
                return
            if event == STANZA:
                if cut.element == MESSAGE_ELEMENT and self.session is not None and self.pass_on(cut.stanza, cut.stanza_bytes):
                    continue
                if self.session is not None and cut.element < 3:
                    host.take_stanza(self, cut.element, self.stamp(cut.stanza, cut.stanza_bytes))
                else:
                    host.take_element(self, PyBytes_FromStringAndSize(<const char*> cut.stanza, cut.stanza_bytes))
            elif event == HEADER:
                self.expects_header = False
                host.take_header(self, PyBytes_FromStringAndSize(<const char*> cut.stanza, cut.stanza_bytes))
            elif event == STREAM_END:
                host.take_stream_end(self)
                return
            else:
                self.streams.dispatcher.shutdown(self.connection_id, condition_of(cut.error), INVALID_XML)
                return
            if self.waiting:
                if cut.offset < length:
                    self.held = PyBytes_FromStringAndSize(<const char*> data + cut.offset, length - cut.offset)
                return

    cdef bytes stamp(self, const uint8_t* stanza, size_t length):
        """The client's stanza with `from` as it is known to be, and what its header declared."""
        cdef bytes declared
        cdef Tag tag
        cdef Attribute attribute
        cdef const uint8_t* kept
        cdef uint8_t* at
        cdef uint8_t* begin
        declared = b"" if self.declarations is None else self.missing_declarations(PyBytes_FromStringAndSize(<const char*> stanza, length))
        begin = at = self.streams.room(length + len(self.from_attribute) + len(declared))
        open_tag(&tag, stanza, stanza + length)
        memcpy(at, stanza, tag.at - stanza)
        at += tag.at - stanza
        memcpy(at, <const char*> declared, len(declared))
        at += len(declared)
        memcpy(at, <const char*> self.from_attribute, len(self.from_attribute))
        at += len(self.from_attribute)
        kept = tag.at
        while next_attribute(&tag, &attribute):
            if is_name(&attribute.name, "from", 4):
                memcpy(at, kept, attribute.begin - kept)
                at += attribute.begin - kept
                kept = tag.at
        memcpy(at, kept, stanza + length - kept)
        at += stanza + length - kept
        return PyBytes_FromStringAndSize(<const char*> begin, at - begin)

    cdef bint pass_on(self, const uint8_t* stanza, size_t length):
        """Delivers a plain message to a session of this worker; False if it needs a closer look."""
        cdef Tag tag
        cdef Attribute attribute
        cdef const uint8_t* kept
        cdef uint8_t* at
        cdef uint8_t* begin
        cdef Slice to
        cdef bytes key
        cdef object target
        if self.has_resumption or self.declarations is not None or not self.session.plain_sender:
            return False
        to.data = NULL
        if self.streams.crowd is not None:
            self.streams.send_burst()   # which needs the room, too
        begin = at = self.streams.room(length + len(self.from_attribute))
        open_tag(&tag, stanza, stanza + length)
        if tag.name.prefix:
            return False
        memcpy(at, stanza, tag.at - stanza)
        at += tag.at - stanza
        memcpy(at, <const char*> self.from_attribute, len(self.from_attribute))
        at += len(self.from_attribute)
        kept = tag.at
        while next_attribute(&tag, &attribute):
            if is_name(&attribute.name, "to", 2):
                to = attribute.value
            elif is_name(&attribute.name, "from", 4):
                memcpy(at, kept, attribute.begin - kept)
                at += attribute.begin - kept
                kept = tag.at
            elif is_name(&attribute.name, "type", 4) and not (
                is_text(&attribute.value, "chat", 4) or is_text(&attribute.value, "normal", 6) or is_text(&attribute.value, "headline", 8)
            ):
                return False
            elif is_name(&attribute.name, "xmlns", 5) and not is_text(&attribute.value, "jabber:client", 13):
                return False        # not what its name says
        if to.data == NULL or to.raw:
            return False
        key = PyBytes_FromStringAndSize(<const char*> to.data, to.length)
        target = self.streams.plain_targets.get(key)
        if target is None and self.streams.bus is None:
            return False
        memcpy(at, kept, stanza + length - kept)
        at += stanza + length - kept
        if target is None:
            return self.streams.send_home(key, begin, at - begin)
        (<EmbeddedStream?> target.stream).write(begin, at - begin)
        return True

    # --- to the client ------------------------------------------------------------

    cdef int write(self, const uint8_t* data, size_t length):
        """One whole stanza; kept until the client has acknowledged it, if it does that at all."""
        if self.streams.crowd is not None:
            self.streams.send_burst()
        if self.has_resumption:
            self.streams.host.queue(self, PyBytes_FromStringAndSize(<const char*> data, length))
            return DELIVERED
        return self.put(data, length, True)

    cdef int put(self, const uint8_t* data, size_t length, bint stanza):
        """Bytes for the client's socket: one whole stanza, or anything."""
        cdef int status
        if self.streams.crowd is not None:
            self.streams.send_burst()
        if not self.connection_id:
            return GONE
        if stanza:
            status = self.streams.dispatcher.send_stanza(self.connection_id, data, length)
        else:
            status = self.streams.dispatcher.send_data(self.connection_id, data, length)
        return self.note(status, length)

    cdef int put_burst(self, const uint8_t* data, size_t length, int kind, uint32_t count):
        """Several whole stanzas."""
        return self.note(self.streams.dispatcher.send_burst(self.connection_id, data, length, kind, count), length)

    cdef int note(self, int status, size_t length):
        """Counts what a full mailbox gets on top."""
        if status == FULL:
            if self.over_bytes <= OVERFLOW_BYTES < self.over_bytes + length:
                self.streams.host.take_overflow(self)
            self.over_bytes = min(self.over_bytes + length, <size_t> 0x7FFFFFFF)
        return status

    def deliver(self, bytes stanza not None):
        """Sends one whole stanza."""
        self.write(<const uint8_t*> <const char*> stanza, len(stanza))

    def say(self, bytes data not None):
        """Sends bytes that no acknowledgement counts: header, features, SASL, XEP-0198's own elements."""
        self.put(<const uint8_t*> <const char*> data, len(data), False)

    # --- what the host decides ------------------------------------------------------------

    def bound(self, session, str jid):
        """From here on this is the stream of `session`, whose full JID is `jid`."""
        self.session = session
        self.login = None
        self.to_value = escape(jid)
        self.from_attribute = b" from='%b'" % self.to_value

    def declare(self, prefixes):
        """Lets these (prefix, namespace name), which the client's header declares, stand in each of its stanzas too."""
        self.declarations = tuple((b" xmlns:%b=" % prefix.encode(), escape(name)) for prefix, name in prefixes)

    cdef bytes missing_declarations(self, bytes stanza):
        """Those that the stanza does not declare itself."""
        cdef list own = [each.strip().partition(b"=")[0].rstrip() for each in prefix_declarations(stanza)]
        return b"".join([b"%b'%b'" % (begun, name) for begun, name in self.declarations if begun[1:len(begun) - 1] not in own])

    def expect_header(self):
        """The client begins its stream anew (RFC 6120 section 6.4.6)."""
        self.expects_header = True

    def wait(self):
        """Takes no more of what the client says until `go_on`."""
        self.waiting = True

    def go_on(self):
        """Takes what has come meanwhile, and what comes."""
        cdef bytes held = self.held
        if not self.waiting:
            return
        self.waiting = False
        self.held = None
        if held:
            self.cut(<const uint8_t*> <const char*> held, len(held))
        if self.connection_id and not self.waiting:
            self.streams.dispatcher.get_data(self.connection_id)

    def take_held(self):
        """What has come and was not taken, for whoever takes over the connection."""
        cdef bytes held = self.held
        self.held = None
        return held or b""

    def resumable(self, resumption):
        """Keeps what is sent from now on until it is acknowledged; None ends that."""
        self.resumption = resumption
        self.has_resumption = resumption is not None

    def end(self, str condition, int reason):
        """Ends the connection with a stream error ("" for none)."""
        if self.connection_id:
            self.streams.dispatcher.shutdown(self.connection_id, condition, reason)

    def lose(self, int reason):
        """The connection has not come along from the process before this one."""
        if self.connection_id:
            self.former_id = self.connection_id
            self.connection_id = 0
            self.streams.host.take_gone(self, reason)

    def let_go(self):
        """The connection is no longer this stream's."""
        self.connection_id = 0

    def at_turn_end(self):
        """Tells the host of this stream at the end of the turn."""
        self.streams.at_turn_end(self)

    def ask_sign_of_life(self, bytes question not None):
        """Asks the client whether it is there."""
        self.asked = True
        self.say(question)

    # --- the end ------------------------------------------------------------

    cdef void take_client_end(self, Connection connection, bint said_goodbye):
        if self.connection_id:
            self.streams.host.take_client_end(self, said_goodbye)

    cdef void take_shutdown(self, Connection connection, int reason):
        if self.connection_id:
            self.former_id = self.connection_id
            self.connection_id = 0
            self.streams.host.take_gone(self, reason)

    cdef void take_room(self, Connection connection):
        self.over_bytes = 0

    # --- another process goes on ------------------------------------------------------------

    cdef uint64_t fingerprint(self):
        cdef uint64_t print = mixed(<uint64_t> self.heard_ticks << 32 | self.over_bytes, <uint64_t> self.reader.framer.stanza_bytes << 8 | self.reader.framer.state)
        print = mixed(print, self.asked | self.waiting << 1 | self.expects_header << 2 | (self.held is not None) << 3)
        print = mixed(print, <uint64_t> <PyObject*> self.session)
        if self.login is not None:
            print = mixed(print, self.login.changes)
        return print

    cpdef object export(self, Connection connection):
        return self.streams.host.export(self)

    cpdef activate(self, Connection connection):
        self.streams.host.activate(self, connection)

    cdef void take_tick(self, Connection connection, uint32_t now_ticks):
        """About once a second: is the client still there?"""
        cdef uint32_t silent = now_ticks - self.heard_ticks
        if self.session is None:
            return
        if self.asked and silent > SILENCE_TICKS + ANSWER_TICKS:
            self.end("connection-timeout", IDLE_TIMEOUT)
        elif not self.asked and silent > SILENCE_TICKS:
            self.streams.host.ping(self)
        else:
            self.streams.dispatcher.rest(connection, now_ticks + REST_TICKS)


def stream_bytes():
    """The bytes of the object that one idle stream keeps."""
    return EmbeddedStream.__basicsize__
