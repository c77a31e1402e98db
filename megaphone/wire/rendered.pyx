"""One stanza for many recipients: everything but its addresses is written once.

    <message id='m1' from='romeo@example.net' type='groupchat' to='verona@rooms.example.net'><body>…</body></message>
    |head   |tail   |cut                     |tail            |cut                          |tail
    <message| to='nurse@example.net'| from='verona@rooms.example.net/romeo'| id='m1' type='groupchat'><body>…</body></message>

The parts are copied into the caller's buffer, for a fan-out the recipient's mailbox: one memcpy each, nothing allocated.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdint cimport uint8_t, uint32_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy

from megaphone.wire.framer cimport ERROR, STANZA, Bounds, Framer, Scan, condition_of, framer_free, framer_start, scan
from megaphone.wire.start_tag cimport Attribute, Tag, is_name, next_attribute, open_tag

from megaphone.wire.writer import escape

cdef bytes USUAL_HEADER = b"<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>"
cdef Bounds WIDEST
WIDEST.stanza_bytes = 0xFFFFFFFF    # whoever made the stanza has bounded it
WIDEST.depth = 255
WIDEST.attributes = 252             # room for the three

cdef const char* TO = " to='"
cdef const char* FROM = " from='"
cdef const char* ID = " id='"


cdef int check(const uint8_t* data, size_t length) except -1:
    """Raises ValueError(condition, reason) unless `data` is exactly one stanza of a stream with RFC 6120's declarations."""
    cdef Framer framer
    cdef Scan result
    cdef int event
    framer_start(&framer)
    scan(&framer, &WIDEST, USUAL_HEADER, len(USUAL_HEADER), True, &result)
    event = scan(&framer, &WIDEST, data, length, True, &result)
    framer_free(&framer)
    if event == ERROR:
        raise ValueError(condition_of(result.error), f"not a valid stanza at byte {result.offset}")
    if event != STANZA or result.offset != length or data[0] != c'<':
        raise ValueError("not-well-formed", "not exactly one stanza")
    return 0


cdef inline bint is_present(const Slice* value) noexcept nogil:
    return value != NULL and value.data != NULL


cdef inline uint8_t* put(uint8_t* at, const void* data, size_t length) noexcept nogil:
    memcpy(at, data, length)
    return at + length


cdef inline uint8_t* put_attribute(uint8_t* at, const char* begin, size_t length, const Slice* value) noexcept nogil:
    at = put(put(at, begin, length), value.data, value.length)
    at[0] = c"'"
    return at + 1


cdef inline const Slice* slice_of(Slice* slice, bytes escaped) noexcept:
    """The slice of an escaped value; NULL for None."""
    if escaped is None:
        return NULL
    slice.data = <const uint8_t*> <const char*> escaped
    slice.length = <uint32_t> len(escaped)
    slice.raw = False
    return slice


cdef class Rendered:
    """A stanza whose `to` and `from`, and with `replace_id` its `id`, are written anew for each recipient.

    `stanza` is exactly one whole stanza, as the writer writes it or as the framer found it in a client's stream; addresses
    that it has are taken out. Raises ValueError(condition, reason) if the framer does not accept it below a stream header
    with RFC 6120's declarations only, which is what a recipient's stream has.
    """

    def __cinit__(self, bytes stanza not None, *, bint replace_id=False):
        cdef const uint8_t* data = <const uint8_t*> <const char*> stanza
        cdef const uint8_t* kept
        cdef uint8_t* at
        cdef Tag tag
        cdef Attribute attribute
        check(data, len(stanza))
        self.replaces_id = replace_id
        self._text = PyBytes_FromStringAndSize(NULL, len(stanza))
        at = <uint8_t*> PyBytes_AS_STRING(self._text)
        self._bytes = at
        open_tag(&tag, data, data + len(stanza))
        self._head = tag.at - data
        at = put(at, data, self._head)
        kept = tag.at
        while next_attribute(&tag, &attribute):
            if is_name(&attribute.name, "to", 2) or is_name(&attribute.name, "from", 4) or replace_id and is_name(&attribute.name, "id", 2):
                at = put(at, kept, attribute.begin - kept)
                kept = tag.at
        at = put(at, kept, data + len(stanza) - kept)
        self._tail = at - self._bytes - self._head

    cdef size_t length(self, const Slice* to, const Slice* from_, const Slice* id) noexcept nogil:
        cdef size_t length = self._head + self._tail
        if is_present(to):
            length += 6 + to.length
        if is_present(from_):
            length += 8 + from_.length
        if is_present(id):
            length += 6 + id.length
        return length

    cdef size_t write_into(self, uint8_t* buffer, const Slice* to, const Slice* from_, const Slice* id) noexcept nogil:
        cdef uint8_t* at = put(buffer, self._bytes, self._head)
        if is_present(to):
            at = put_attribute(at, TO, 5, to)
        if is_present(from_):
            at = put_attribute(at, FROM, 7, from_)
        if is_present(id):
            at = put_attribute(at, ID, 5, id)
        return put(at, self._bytes + self._head, self._tail) - buffer

    def stanza(self, str to=None, str from_=None, str id_=None):
        """Returns the stanza as bytes; None leaves an attribute out. Values are plain text and become escaped.

        ValueError for an `id_` where the stanza keeps its own.
        """
        cdef Slice to_slice, from_slice, id_slice
        cdef bytes to_value = None if to is None else escape(to)
        cdef bytes from_value = None if from_ is None else escape(from_)
        cdef bytes id_value = None if id_ is None else escape(id_)
        cdef const Slice* to_part = slice_of(&to_slice, to_value)
        cdef const Slice* from_part = slice_of(&from_slice, from_value)
        cdef const Slice* id_part = slice_of(&id_slice, id_value)
        if id_ is not None and not self.replaces_id:
            raise ValueError("this stanza keeps its own id")
        text = PyBytes_FromStringAndSize(NULL, self.length(to_part, from_part, id_part))
        self.write_into(<uint8_t*> PyBytes_AS_STRING(text), to_part, from_part, id_part)
        return text

    def write_times(self, str to not None, str from_ not None, int times):
        """Writes the stanza `times` times into a buffer, as a fan-out would, without a Python call between; returns the bytes written."""
        cdef Slice to_slice, from_slice
        cdef bytes to_value = escape(to), from_value = escape(from_)
        cdef const Slice* to_part = slice_of(&to_slice, to_value)
        cdef const Slice* from_part = slice_of(&from_slice, from_value)
        cdef uint8_t* buffer = <uint8_t*> malloc(self.length(to_part, from_part, NULL))
        cdef size_t written = 0
        cdef int i
        if buffer == NULL:
            raise MemoryError()
        for i in range(times):
            written += self.write_into(buffer, to_part, from_part, NULL)
        free(buffer)
        return written
