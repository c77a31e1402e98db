"""Reads one XML start tag: its name, and its attributes one after the other.

    <message to='juliet@example.org'   type = "chat" >
     |name  |name   |value             |    |value    |at, when all attributes have been read

The framer is the authority on what a tag may be. It has accepted what is read here, so the scanner never refuses what
the framer accepts: names are ASCII with one colon at most, values are UTF-8 and refer to the five predefined entities
or to characters (XML 1.0 sections 2.2, 3.1, 4.1; RFC 6120 section 11.1). Whatever the bytes, it reads none beyond
their end. What takes a view of the whole tag is left to the framer: attributes that stand twice, unbound prefixes,
namespace names. Nothing is stored but the place where reading goes on; who needs a declaration again reads again.
"""

from cpython.mem cimport PyMem_Free, PyMem_Malloc
from cpython.unicode cimport PyUnicode_DecodeUTF8
from libc.string cimport memcmp

from megaphone.wire.framer cimport NAME_TOO_LONG, NO_ERROR, NOT_WELL_FORMED_XML, RESTRICTED

cdef extern from "skip.h":
    size_t skip_plain(const uint8_t* data, size_t i, size_t end, char stop) noexcept nogil
    size_t skip_characters(const uint8_t* data, size_t i, size_t end) noexcept nogil

cdef enum:
    NAME_LIMIT = 255    # bytes, as in the framer
    REFERENCE_LIMIT = 8 # bytes of a reference's name, leading zeros of a number included; the framer's too
    NAME_START = 1
    NAME_BYTE = 2       # no colon
    SPACE = 4
    PLAIN = 8           # in a value: an ASCII character that stands for itself; quotes too

cdef uint8_t CLASS[256]


cdef void fill_classes() noexcept:
    cdef int byte
    for byte in range(256):
        CLASS[byte] = 0
        if c'a' <= byte <= c'z' or c'A' <= byte <= c'Z' or byte == c'_':
            CLASS[byte] = NAME_START | NAME_BYTE
        elif c'0' <= byte <= c'9' or byte == c'-' or byte == c'.':
            CLASS[byte] = NAME_BYTE
        elif byte == c' ' or byte == c'\t' or byte == c'\n' or byte == c'\r':
            CLASS[byte] = SPACE
        if 0x20 <= byte < 0x80 and byte != c'<' and byte != c'&':
            CLASS[byte] |= PLAIN


fill_classes()


cdef inline bint fail(Tag* tag, int error) noexcept nogil:
    tag.error = error
    return False


cdef inline bint read_name(Tag* tag, Name* name) noexcept nogil:
    """Reads the name at `tag.at`; a second colon ends it, and nobody expects one there."""
    cdef const uint8_t* at = tag.at
    name.data = at
    name.prefix = 0
    if at == tag.end or not CLASS[at[0]] & NAME_START:
        return fail(tag, NOT_WELL_FORMED_XML)
    while at < tag.end and CLASS[at[0]] & NAME_BYTE:
        at += 1
    if at < tag.end and at[0] == c':':
        if at - name.data > NAME_LIMIT:
            return fail(tag, NAME_TOO_LONG)
        name.prefix = <uint32_t> (at - name.data)
        at += 1
        if at == tag.end or not CLASS[at[0]] & NAME_START:
            return fail(tag, NOT_WELL_FORMED_XML)
        while at < tag.end and CLASS[at[0]] & NAME_BYTE:
            at += 1
    if at - name.data > NAME_LIMIT:
        return fail(tag, NAME_TOO_LONG)
    name.length = <uint32_t> (at - name.data)
    tag.at = at
    return True


cdef const uint8_t* read_number(const uint8_t* at, const uint8_t* end, uint32_t* character) noexcept nogil:
    """Reads a character reference from behind its "#"; returns where it ends, NULL if it names no XML character."""
    cdef uint32_t value = 0, digit, base = 10
    cdef const uint8_t* begin
    if at < end and at[0] == c'x':
        base = 16
        at += 1
    begin = at
    while at < end and at[0] != c';':
        if c'0' <= at[0] <= c'9':
            digit = at[0] - c'0'
        elif base == 16 and (c'a' <= at[0] <= c'f' or c'A' <= at[0] <= c'F'):
            digit = (at[0] | 0x20) - c'a' + 10
        else:
            return NULL
        value = value * base + digit
        if value > 0x10FFFF:
            return NULL
        at += 1
    if at == begin or at == end:
        return NULL
    if value < 0x20 and value != 9 and value != 10 and value != 13 or 0xD800 <= value <= 0xDFFF or value == 0xFFFE or value == 0xFFFF:
        return NULL
    character[0] = value
    return at + 1


cdef const uint8_t* read_reference(const uint8_t* at, const uint8_t* end, uint32_t* character, int* error) noexcept nogil:
    """Reads the reference whose "&" is at `at`; returns where it ends, NULL if there is none that is allowed."""
    cdef const uint8_t* begin = at + 1
    cdef size_t length
    error[0] = NOT_WELL_FORMED_XML
    at = begin
    if at < end and at[0] == c'#':
        at = read_number(at + 1, end, character)
        if at != NULL and at - 1 - begin > REFERENCE_LIMIT:
            error[0] = NAME_TOO_LONG
            return NULL
        return at
    while at < end and CLASS[at[0]] & NAME_BYTE:
        at += 1
    length = at - begin
    if at == end or at[0] != c';' or length == 0:
        return NULL
    if length == 2 and begin[0] == c'l' and begin[1] == c't':
        character[0] = c'<'
    elif length == 2 and begin[0] == c'g' and begin[1] == c't':
        character[0] = c'>'
    elif length == 3 and memcmp(begin, "amp", 3) == 0:
        character[0] = c'&'
    elif length == 4 and memcmp(begin, "apos", 4) == 0:
        character[0] = c"'"
    elif length == 4 and memcmp(begin, "quot", 4) == 0:
        character[0] = c'"'
    else:
        error[0] = RESTRICTED
        return NULL
    return at + 1


cdef inline bint is_long_character(const uint8_t* at, const uint8_t* end) noexcept nogil:
    """Whether a UTF-8 character of four bytes stands here (RFC 3629 section 4)."""
    if end - at < 4 or (at[1] & 0xC0) != 0x80 or (at[2] & 0xC0) != 0x80 or (at[3] & 0xC0) != 0x80:
        return False
    return 0xF1 <= at[0] <= 0xF3 or at[0] == 0xF0 and at[1] >= 0x90 or at[0] == 0xF4 and at[1] <= 0x8F


cdef inline bint read_value(Tag* tag, Slice* value) noexcept nogil:
    """Reads the quoted value at `tag.at`."""
    cdef uint8_t quote
    cdef size_t at = 1, last
    cdef size_t end = tag.end - tag.at
    cdef const uint8_t* data = tag.at
    cdef const uint8_t* behind
    cdef uint32_t character
    cdef int error
    if end == 0 or data[0] != c"'" and data[0] != c'"':
        return fail(tag, NOT_WELL_FORMED_XML)
    quote = data[0]
    value.raw = False
    while True:
        at = skip_plain(data, at, end, quote)
        while at < end and CLASS[data[at]] & PLAIN and data[at] != quote:
            at += 1
        if at == end:
            return fail(tag, NOT_WELL_FORMED_XML)
        if data[at] == quote:
            value.data = data + 1
            value.length = <uint32_t> (at - 1)
            tag.at = data + at + 1
            return True
        if data[at] == c'&':
            behind = read_reference(data + at, tag.end, &character, &error)
            if behind == NULL:
                return fail(tag, error)
            value.raw = True
            at = behind - data
        elif CLASS[data[at]] & SPACE:
            value.raw = True
            at += 1
        else:
            last = at
            at = skip_characters(data, at, end)
            if at == last:
                if not is_long_character(data + at, tag.end):
                    return fail(tag, NOT_WELL_FORMED_XML)
                at += 4


cdef bint open_tag(Tag* tag, const uint8_t* data, const uint8_t* end) noexcept nogil:
    """Reads the name of the start tag that begins at `data`; False if there is none, for `tag.error`.

    The input has less than 2**32 bytes.
    """
    tag.at = data
    tag.end = end
    tag.empty = False
    tag.error = NO_ERROR
    if data == end or data[0] != c'<':
        return fail(tag, NOT_WELL_FORMED_XML)
    tag.at += 1
    if tag.at < end and (tag.at[0] == c'!' or tag.at[0] == c'?'):
        return fail(tag, RESTRICTED)
    if not read_name(tag, &tag.name):
        return False
    tag.attributes = tag.at
    return True


cdef bint next_attribute(Tag* tag, Attribute* attribute) noexcept nogil:
    """Reads one more attribute; False at the tag's end, where `tag.at` is then, or if `tag.error` is set."""
    cdef const uint8_t* end = tag.end
    cdef const uint8_t* at = skip_space(tag.at, end)
    if at == end:
        return fail(tag, NOT_WELL_FORMED_XML)
    if at[0] == c'>':
        tag.at = at + 1
        return False
    if at[0] == c'/':
        if end - at < 2 or at[1] != c'>':
            return fail(tag, NOT_WELL_FORMED_XML)
        tag.empty = True
        tag.at = at + 2
        return False
    if at == tag.at:
        return fail(tag, NOT_WELL_FORMED_XML)   # no white space before it
    attribute.begin = tag.at
    tag.at = at
    if not read_name(tag, &attribute.name):
        return False
    at = skip_space(tag.at, end)
    if at == end or at[0] != c'=':
        return fail(tag, NOT_WELL_FORMED_XML)
    tag.at = skip_space(at + 1, end)
    return read_value(tag, &attribute.value)


cdef bint find_declaration(const Tag* tag, const uint8_t* prefix, uint32_t length, Slice* name) noexcept nogil:
    """Finds what `tag`, all of whose attributes have been read, declares `prefix` to stand for."""
    cdef Tag again = tag[0]
    cdef Attribute attribute
    again.at = tag.attributes
    while next_attribute(&again, &attribute):
        if declares_prefix(&attribute.name) and attribute.name.length == 6 + length and memcmp(attribute.name.data + 6, prefix, length) == 0:
            name[0] = attribute.value
            return True
    return False


cdef uint32_t decode_value(const Slice* value, uint8_t* out) noexcept nogil:
    """Writes what a value means, references decoded and white space normalised (XML 1.0 sections 2.11, 3.3.3), as UTF-8.

    Returns the number of bytes: `value.length` at most, and `out` must have room for that many.
    """
    cdef const uint8_t* at = value.data
    cdef const uint8_t* end = value.data + value.length
    cdef const uint8_t* behind
    cdef uint8_t* to = out
    cdef uint32_t character
    cdef int error
    while at < end:
        if at[0] == c'&':
            behind = read_reference(at, end, &character, &error)
            if behind != NULL:      # always, if the scanner has read the value
                to = write_character(to, character)
                at = behind
                continue
        if CLASS[at[0]] & SPACE:
            if at[0] == c'\r' and at + 1 < end and at[1] == c'\n':
                at += 1
            to[0] = c' '
        else:
            to[0] = at[0]
        to += 1
        at += 1
    return <uint32_t> (to - out)


cdef uint8_t* write_character(uint8_t* to, uint32_t character) noexcept nogil:
    """Writes one character as UTF-8; its reference was longer."""
    if character < 0x80:
        to[0] = character
        return to + 1
    if character < 0x800:
        to[0] = 0xC0 | character >> 6
        to[1] = 0x80 | character & 0x3F
        return to + 2
    if character < 0x10000:
        to[0] = 0xE0 | character >> 12
        to[1] = 0x80 | character >> 6 & 0x3F
        to[2] = 0x80 | character & 0x3F
        return to + 3
    to[0] = 0xF0 | character >> 18
    to[1] = 0x80 | character >> 12 & 0x3F
    to[2] = 0x80 | character >> 6 & 0x3F
    to[3] = 0x80 | character & 0x3F
    return to + 4


cdef str text_of(const Slice* value):
    """What a name or value means; None for an absent one."""
    cdef uint8_t* decoded
    if value.data == NULL:
        return None
    if not value.raw:
        return PyUnicode_DecodeUTF8(<const char*> value.data, value.length, NULL)
    decoded = <uint8_t*> PyMem_Malloc(value.length)
    if decoded == NULL:
        raise MemoryError()
    try:
        return PyUnicode_DecodeUTF8(<const char*> decoded, decode_value(value, decoded), NULL)
    finally:
        PyMem_Free(decoded)


cpdef tuple read_start_tag(bytes data):
    """Returns (name with its prefix, bytes up to and with its ">", whether it is that of an empty element).

    Raises ValueError unless `data` begins with a start tag.
    """
    cdef Tag tag
    cdef Attribute attribute
    cdef const uint8_t* begin = <const uint8_t*> <const char*> data
    if len(data) <= 0xFFFFFFFF and open_tag(&tag, begin, begin + len(data)):
        while next_attribute(&tag, &attribute):
            pass
        if tag.error == NO_ERROR:
            return (<const char*> tag.name.data)[:tag.name.length], tag.at - begin, tag.empty
    raise ValueError("there is no start tag")


cpdef list read_attributes(bytes data):
    """Returns the attributes of the start tag that begins `data`, in order: (name with its prefix, value, references decoded).

    Raises ValueError unless `data` begins with a start tag.
    """
    cdef Tag tag
    cdef Attribute attribute
    cdef const uint8_t* begin = <const uint8_t*> <const char*> data
    cdef list attributes = []
    if len(data) <= 0xFFFFFFFF and open_tag(&tag, begin, begin + len(data)):
        while next_attribute(&tag, &attribute):
            attributes.append(((<const char*> attribute.name.data)[:attribute.name.length].decode("ascii"), text_of(&attribute.value)))
        if tag.error == NO_ERROR:
            return attributes
    raise ValueError("there is no start tag")
