"""Reads a WebSocket client's messages as the XML stream they stand for (RFC 7395 section 3.3), without holding any stanza.

    message   <open .../>       <iq xmlns='jabber:client'>...</iq>     <close .../>
    stream    <stream:stream …> <iq xmlns='jabber:client'>...</iq>     </stream:stream>

A stanza goes on as it stands: saying once more what the stream's header declares changes nothing. The framer of that
stream watches it, so a message may come in slices, split anywhere, and each goes on at once. What this module sees to
is that every message is one whole element. Only one that may be `<open/>` or `<close/>` is kept until its end.

A message is a document of its own. An element that declares no namespace is taken to be in jabber:client, as servers
take it; so is the prefix stream.
"""

cimport cython
from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport uint32_t
from libc.string cimport memcmp

from megaphone.wire.framer cimport ERROR, HEADER, NO_ERROR, NOT_WELL_FORMED_XML, STANZA, STREAM_END, condition_of, framer_free, framer_start, scan
from megaphone.wire.start_tag cimport skip_space

from megaphone.wire.framing_element import Framing, read_framing

cdef enum Phase:
    FIRST       # nothing of the message yet
    NAMING      # the element's name is not all there
    KEEPING     # it may be <open/> or <close/>, and ends where the message ends
    INSIDE      # a stanza
    AFTER       # behind it

cdef enum:
    NAME_LIMIT = 256        # bytes: the framer refuses a longer name
    FRAMING_LIMIT = 4096    # bytes of <open/> or <close/>

cdef enum Name:
    INCOMPLETE
    FRAMING
    OTHER


cdef Name name_of(const uint8_t* data, size_t length) noexcept:
    """Which name a message begins with, by its local part; the framer says whether it is one."""
    cdef size_t begin = 1, end = 1
    while end < length and data[end] not in (c' ', c'\t', c'\r', c'\n', c'>', c'/'):
        if data[end] == c':':
            begin = end + 1
        end += 1
    if end == length:
        return INCOMPLETE if length <= NAME_LIMIT else OTHER
    if end - begin == 4 and memcmp(data + begin, <const char*> "open", 4) == 0:
        return FRAMING
    return FRAMING if end - begin == 5 and memcmp(data + begin, <const char*> "close", 5) == 0 else OTHER


@cython.no_gc
cdef class FromMessages:
    """One client's messages. Each slice is taken in order; having refused one, take no more."""

    cdef int take(self, Framer* framer, const Bounds* bounds, const uint8_t* data, size_t length, bint final, Scan* result):
        """The next slice of a message, `final` if it ends with it; returns `Taken`.

        What goes on has passed the framer, whose counts are in `result`; it is allowed one more header before <open/>
        by whoever knows that the stream may begin anew (`Framer.restart_allowed`).
        """
        cdef Name name
        cdef bytes kept
        result.counts[0] = result.counts[1] = result.counts[2] = result.counts[3] = 0
        self.text = None
        if self.phase == FIRST:
            if length == 0 or data[0] != c'<':
                return self.refuse("bad-format")    # section 3.3.3
            name = name_of(data, length)
            if name == OTHER:
                self.phase = INSIDE
                return self.check(framer, bounds, data, length, final, result)
            self.phase = NAMING if name == INCOMPLETE else KEEPING
            self.kept = b""
        elif self.phase >= INSIDE:
            return self.check(framer, bounds, data, length, final, result)
        kept = self.kept + PyBytes_FromStringAndSize(<const char*> data, length)
        self.kept = kept
        if self.phase == NAMING:
            name = name_of(<const uint8_t*> <const char*> kept, len(kept))
            if name == OTHER or final and name == INCOMPLETE:
                self.phase = INSIDE
                self.text, self.kept = kept, None
                return self.check_text(framer, bounds, final, result)
            if name == FRAMING:
                self.phase = KEEPING
        if self.phase == KEEPING:
            if len(kept) > FRAMING_LIMIT:
                return self.refuse("policy-violation")
            if final:
                return self.settle(framer, bounds, result)
        return KEPT

    cdef int settle(self, Framer* framer, const Bounds* bounds, Scan* result):
        """All of what may be <open/> or <close/> is there."""
        cdef int event
        cdef bytes text
        try:
            framing, text = read_framing(self.kept)
        except ValueError as error:
            return self.refuse(str(error.args[0]))
        self.text, self.kept = text, None
        if framing == Framing.ELEMENT:
            self.phase = INSIDE
            return self.check_text(framer, bounds, True, result)
        self.phase = FIRST
        if framer.depth == 0:
            if framing == Framing.CLOSE:
                return self.refuse("bad-format")
            framer_free(framer)
            framer_start(framer)
        event = scan(framer, bounds, <const uint8_t*> <const char*> text, len(text), True, result)
        if event == ERROR:
            self.error = result.error
            return REFUSED
        return OPENED if framing == Framing.OPEN else CLOSED

    cdef int check_text(self, Framer* framer, const Bounds* bounds, bint final, Scan* result):
        cdef bytes text = self.text
        cdef int taken = self.check(framer, bounds, <const uint8_t*> <const char*> text, len(text), final, result)
        return TEXT if taken == PASS else taken

    cdef int check(self, Framer* framer, const Bounds* bounds, const uint8_t* data, size_t length, bint final, Scan* result):
        """A slice of what is neither <open/> nor <close/>: one whole stanza, with white space behind it at most."""
        cdef int event
        cdef size_t offset = 0
        if framer.depth == 0:
            return self.refuse("bad-format")        # a stream begins with <open/>
        if self.phase == INSIDE and length:
            event = scan(framer, bounds, data, length, True, result)
            if event == ERROR:
                self.error = result.error
                return REFUSED
            if event == HEADER or event == STREAM_END:
                return self.refuse("bad-format")    # section 3.3: there is no <stream:stream> here
            offset = result.offset
            if event == STANZA:
                self.phase = AFTER
        if self.phase == AFTER and skip_space(data + offset, data + length) < data + length:
            return self.refuse("bad-format")        # more than one
        if final:
            if self.phase != AFTER:
                self.error = NOT_WELL_FORMED_XML
                return REFUSED
            self.phase = FIRST
        return PASS

    cdef int refuse(self, str condition):
        self.error = NO_ERROR
        self.condition = condition
        return REFUSED


cdef class StreamFromMessages:
    """The whole for Python: messages in slices, the stream's bytes out."""

    cdef Framer framer
    cdef Bounds bounds
    cdef FromMessages messages

    def __cinit__(self, uint32_t stanza_bytes=262144):
        framer_start(&self.framer)
        self.bounds.stanza_bytes, self.bounds.depth, self.bounds.attributes = stanza_bytes, 64, 64
        self.messages = FromMessages()

    def __dealloc__(self):
        framer_free(&self.framer)

    def take(self, const uint8_t[::1] data, bint final):
        """(Taken, what goes on now). Raises ValueError(condition) for what is refused."""
        cdef Scan result
        cdef int taken
        self.framer.restart_allowed = 1
        taken = self.messages.take(&self.framer, &self.bounds, &data[0] if data.shape[0] else <const uint8_t*> b"", data.shape[0], final, &result)
        if taken == REFUSED:
            raise ValueError(condition_of(self.messages.error) if self.messages.error else self.messages.condition)
        if taken == PASS:
            return Taken.PASS, bytes(data)
        return Taken(taken), self.messages.text or b""
