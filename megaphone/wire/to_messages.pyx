"""Writes a server's XML stream as the messages of a WebSocket (RFC 7395 section 3.3): one element, one message.

    stream    <stream:stream …>  <message>...            </message>      <stream:features>...    </stream:stream>
    messages  <open .../>        <message xmlns='jabber:client'>...     <stream:features         <close .../>
                                                                          xmlns='jabber:client' xmlns:stream='…'>...

A message is a document of its own, so what the stream's header has declared is declared again: jabber:client always, the
prefix stream where it occurs, and whatever else an unusual header declares. An element's own declarations stay.

    whole stanza in a read ──► one frame            start tag split ──► held until it is complete
    stanza split ──► first fragment ──► continuation ... ──► final one (RFC 6455 section 5.4)

So no stanza is held, however large it is: what a read has brought of it leaves at once. The framer that watches the
stream says where stanzas end; a module of its own kind (from_messages.pyx) reads the other direction.
"""

cimport cython
from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport uint8_t

from megaphone.wire.framer cimport ERROR, HEADER, MORE, STANZA, STREAM_END, Bounds, Framer, Scan, framer_free, framer_start, scan
from megaphone.wire.start_tag cimport Attribute, Tag, declares_prefix, is_name, local_part, is_text, next_attribute, open_tag, skip_space, Slice
from megaphone.wire.websocket cimport CONTINUATION_FRAME, TEXT_FRAME
from megaphone.wire.websocket_writer cimport write_header

from megaphone.wire.framing_element import CLOSE, open_element
from megaphone.wire.header import read_stream_header
from megaphone.wire.start_tag import read_attributes
from megaphone.wire.writer import CLIENT_NAMESPACE, STREAMS_NAMESPACE, escape

cdef extern from "string.h":
    void* memmem(const void*, size_t, const void*, size_t) noexcept nogil

cdef enum:
    FIN = 0x80
    HELD_LIMIT = 65536      # bytes of a header or start tag

cdef bytes CLIENT = f" xmlns='{CLIENT_NAMESPACE}'".encode()
cdef bytes STREAMS = f" xmlns:stream='{STREAMS_NAMESPACE}'".encode()
cdef bytes BOTH = CLIENT + STREAMS
cdef bytes CLOSE_MESSAGE = CLOSE
cdef tuple USUAL = (("stream", STREAMS_NAMESPACE),)


cdef void frame(Pieces* pieces, int opcode, bint final) noexcept:
    """The header of a frame with all the other pieces."""
    pieces.lead_length = write_header(pieces.lead, opcode, pieces.name_length + pieces.declared_length + pieces.rest_length)
    if not final:
        pieces.lead[0] &= ~FIN


cdef size_t tag_length(const uint8_t* data, size_t length) noexcept:
    """The length of the start tag that begins `data`, 0 if it is not all there."""
    cdef size_t i
    cdef uint8_t quote = 0
    for i in range(length):
        if quote:
            if data[i] == quote:
                quote = 0
        elif data[i] == c'"' or data[i] == c"'":
            quote = data[i]
        elif data[i] == c'>':
            return i + 1
    return 0


@cython.no_gc
cdef class ToMessages:
    """One server's stream. What it is given is what a framer has read up to its next event."""

    cdef bint put(self, int event, const uint8_t* data, size_t length, Pieces* pieces) except -1:
        """The frame for `data`, with which the framer has come to `event`, not ERROR; False if there is none yet.

        The framer stops at every stanza. ValueError(condition, reason) for what cannot be put into messages: a header
        without an answer, a start tag of more than 64 KiB.
        """
        cdef const uint8_t* begin
        cdef bytes text
        pieces.name_length = pieces.declared_length = pieces.rest_length = 0
        if self.under_way:
            return self.go_on(data, length, event != MORE, pieces)
        if self.held is None:
            begin = skip_space(data, data + length)     # no white space between messages (section 3.3.3)
            length -= begin - data
            data = begin
            if event == STANZA:
                return self.put_stanza(data, length, True, pieces)
            if length == 0:
                return False
            text = None
        else:
            text = self.held + PyBytes_FromStringAndSize(<const char*> data, length)
            self.held = None
            data, length = <const uint8_t*> <const char*> text, len(text)
        if event == STREAM_END:
            return self.put_text(CLOSE_MESSAGE, pieces)
        if event == HEADER:
            return self.put_header(text or PyBytes_FromStringAndSize(<const char*> data, length), pieces)
        self.text = text
        if event == STANZA:
            return self.put_stanza(data, length, True, pieces)
        # a stanza that has not ended, whose start tag may be complete; of a header only the declaration can be
        if length < 2 or data[1] == c'?' or tag_length(data, length) == 0:
            if length > HELD_LIMIT:
                raise ValueError("policy-violation", "a start tag is too long")
            self.held = text or PyBytes_FromStringAndSize(<const char*> data, length)
            return False
        self.under_way = True
        return self.put_stanza(data, length, False, pieces)

    cdef bint put_text(self, bytes text, Pieces* pieces):
        """A message as it stands."""
        self.text = text
        pieces.name_length = pieces.declared_length = 0
        pieces.rest = <const uint8_t*> <const char*> text
        pieces.rest_length = len(text)
        frame(pieces, TEXT_FRAME, True)
        return True

    cdef bint put_header(self, bytes text, Pieces* pieces) except -1:
        """The stream's header: its <open/>, and what stanzas inherit from it."""
        header = read_stream_header(text.lstrip())
        header.check()
        if header.prefixes == USUAL:
            self.declarations = None
        else:
            self.declarations = [("xmlns", CLIENT)]
            self.declarations += [(f"xmlns:{prefix}", b" xmlns:%b='%b'" % (prefix.encode(), escape(name))) for prefix, name in header.prefixes]
        return self.put_text(open_element(header), pieces)

    cdef bint go_on(self, const uint8_t* data, size_t length, bint final, Pieces* pieces):
        """One more fragment."""
        if length == 0:
            return False
        pieces.rest, pieces.rest_length = data, length
        frame(pieces, CONTINUATION_FRAME, final)
        self.under_way = not final
        return True

    cdef bint put_stanza(self, const uint8_t* data, size_t length, bint whole, Pieces* pieces) except -1:
        """A stanza, from its "<" on, with its start tag at least."""
        self.declare(data, length, whole, pieces)
        pieces.rest = data + pieces.name_length
        pieces.rest_length = length - pieces.name_length
        frame(pieces, TEXT_FRAME, whole)
        return True

    cdef bint declare(self, const uint8_t* data, size_t length, bint whole, Pieces* pieces) except -1:
        """Which declarations the element needs that it does not have, and where they go."""
        cdef Tag tag
        cdef Attribute attribute
        cdef Slice local
        cdef bint client = True, streams
        cdef bytes inserted
        if not open_tag(&tag, data, data + length):
            raise ValueError("not-well-formed", "an element does not begin with a start tag")
        pieces.name = data
        pieces.name_length = tag.attributes - data
        if self.declarations is not None:
            inserted = self.unusual(PyBytes_FromStringAndSize(<const char*> data, length))
        else:
            # a text that looks like it only costs a declaration
            streams = not whole or memmem(data, length, <const char*> "stream:", 7) != NULL
            while next_attribute(&tag, &attribute):
                if is_name(&attribute.name, "xmlns", 5):
                    client = False
                elif streams and declares_prefix(&attribute.name):
                    local = local_part(&attribute.name)
                    if is_text(&local, "stream", 6):
                        streams = False
            if client:
                inserted = BOTH if streams else CLIENT
            elif streams:
                inserted = STREAMS
            else:
                return True
        self.inserted = inserted
        pieces.declared = <const uint8_t*> <const char*> inserted
        pieces.declared_length = len(inserted)
        return True

    def unusual(self, bytes text):
        """The declarations of an unusual header that the element which begins `text` does not have."""
        own = {name for name, _ in read_attributes(text)}
        return b"".join([declaration for name, declaration in self.declarations if name not in own])


def message(bytes stanza not None):
    """The frame of one whole stanza of a stream with RFC 6120's own header; ValueError if it does not begin with a start tag."""
    cdef Pieces pieces
    cdef ToMessages messages = ToMessages.__new__(ToMessages)
    messages.put(STANZA, <const uint8_t*> <const char*> stanza, len(stanza), &pieces)
    return joined(&pieces)


cdef bytes joined(Pieces* pieces):
    return (
        PyBytes_FromStringAndSize(<const char*> pieces.lead, pieces.lead_length)
        + PyBytes_FromStringAndSize(<const char*> pieces.name, pieces.name_length)
        + PyBytes_FromStringAndSize(<const char*> pieces.declared, pieces.declared_length)
        + PyBytes_FromStringAndSize(<const char*> pieces.rest, pieces.rest_length)
    )


cdef class StreamToMessages:
    """The whole for Python: the stream's bytes in any pieces, WebSocket frames out."""

    cdef Framer framer
    cdef ToMessages messages
    cdef bytearray begun        # a message that `whole` has not seen the end of

    def __cinit__(self):
        framer_start(&self.framer)
        self.messages = ToMessages()
        self.begun = bytearray()

    def __dealloc__(self):
        framer_free(&self.framer)

    @property
    def holds(self):
        """Bytes that are held."""
        return len(self.messages.held or b"") + len(self.begun)

    def put(self, const uint8_t[::1] data):
        """The frames that `data` makes; ValueError for what is no XML stream, or cannot be put into messages."""
        return b"".join(self.each(data, False))

    def whole(self, const uint8_t[::1] data):
        """The messages that `data` completes, without frames, for BOSH (XEP-0206); ValueError as from `put`."""
        return self.each(data, True)

    cdef list each(self, const uint8_t[::1] data, bint whole):
        """The frames, or the whole messages, that `data` makes."""
        cdef Scan result
        cdef Bounds bounds = Bounds(0xFFFFFFFF, 255, 255)
        cdef Pieces pieces
        cdef size_t offset = 0
        cdef int event
        cdef list found = []
        while offset < <size_t> data.shape[0]:
            self.framer.restart_allowed = 1
            event = scan(&self.framer, &bounds, &data[offset], data.shape[0] - offset, True, &result)
            if event == ERROR:
                raise ValueError("not-well-formed", "no XML stream")
            if self.messages.put(event, &data[offset], result.offset, &pieces):
                if not whole:
                    found.append(joined(&pieces))
                else:
                    self.begun += joined(&pieces)[pieces.lead_length:]
                    if pieces.lead[0] & FIN:
                        found.append(bytes(self.begun))
                        self.begun.clear()
            offset += result.offset
        return found
