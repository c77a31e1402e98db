"""Scans the syntax of one XML start tag: where its names and values lie, and that it is well-formed.

    <stream:stream xmlns='jabber:client' to='example.org' >
     |name  :     ||name=|value        |                   |end

One pass over the bytes makes no Python object; `value_of` makes a string of the values that somebody asks for.
An error is `ValueError(condition, reason)`, where condition is the stream error of RFC 6120 section 4.9.3 that
answers it. Rules: XML 1.0 sections 2.2, 2.11, 3.1, 3.3.3, 4.1; the restrictions of RFC 6120 section 11.1.
"""

import re

from cpython.mem cimport PyMem_Free, PyMem_Malloc
from cpython.unicode cimport PyUnicode_DecodeUTF8
from libc.string cimport memcmp

cdef enum:
    NAME_START = 1
    NAME = 2
    SPACE = 4
    ILLEGAL = 8      # control characters that XML 1.0 cannot carry (section 2.2)

cdef unsigned char[256] CLASS


cdef void fill_classes() noexcept:
    cdef int byte
    for byte in range(256):
        CLASS[byte] = 0
        if c'a' <= byte <= c'z' or c'A' <= byte <= c'Z' or byte == c'_' or byte >= 0x80:
            CLASS[byte] = NAME_START | NAME
        elif c'0' <= byte <= c'9' or byte == c'-' or byte == c'.':
            CLASS[byte] = NAME
        elif byte == c' ' or byte == c'\t' or byte == c'\n' or byte == c'\r':
            CLASS[byte] = SPACE
        elif byte < 0x20:
            CLASS[byte] = ILLEGAL


fill_classes()

# XML 1.0 fifth edition, productions 4 and 4a, without the colon; only names outside ASCII come here.
_START = "A-Z_a-z\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u02ff\u0370-\u037d\u037f-\u1fff\u200c\u200d\u2070-\u218f" \
    "\u2c00-\u2fef\u3001-\ud7ff\uf900-\ufdcf\ufdf0-\ufffd\U00010000-\U000effff"
cdef object ncname = re.compile(f"[{_START}][{_START}0-9.\u00b7\u0300-\u036f\u203f\u2040-]*").fullmatch
cdef object not_a_character = re.compile("[\ufffe\uffff]").search


cdef int refuse(str condition, str reason) except -1:
    raise ValueError(condition, reason)


cdef Py_ssize_t skip_space(const unsigned char* data, Py_ssize_t at, Py_ssize_t length) noexcept:
    while at < length and CLASS[data[at]] & SPACE:
        at += 1
    return at


cdef str decode(const unsigned char* data, Py_ssize_t start, Py_ssize_t end):
    return PyUnicode_DecodeUTF8(<const char*> data + start, end - start, NULL)


cdef Py_ssize_t scan_name(Tag* tag, Py_ssize_t at, Py_ssize_t* colon) except -1:
    """Reads a QName at `at` and returns where it ends; `colon` becomes the prefix's end or -1."""
    cdef Py_ssize_t start = at
    cdef bint ascii = True
    colon[0] = -1
    while at < tag.length:
        if tag.data[at] == c':':
            if colon[0] >= 0 or at == start:
                refuse("not-well-formed", "a name has a misplaced colon")
            colon[0] = at
        elif not CLASS[tag.data[at]] & (NAME_START if at == start or colon[0] == at - 1 else NAME):
            break
        elif tag.data[at] >= 0x80:
            ascii = False
        at += 1
    if at == start or colon[0] == at - 1:
        refuse("not-well-formed", "a name is missing")
    if not ascii:
        tag.ascii = False
        try:
            for part in decode(tag.data, start, at).split(":"):
                if not ncname(part):
                    refuse("not-well-formed", "a name holds a character that XML does not allow in names")
        except UnicodeDecodeError:
            refuse("not-well-formed", "a name is not UTF-8")
    return at


cdef Py_ssize_t scan_reference(Tag* tag, Py_ssize_t at, Py_ssize_t end, unsigned int* character) except -1:
    """Reads the reference whose "&" is at `at` and returns where it ends."""
    cdef unsigned int value = 0
    cdef unsigned int digit = 0, base = 10
    cdef Py_ssize_t start
    cdef const unsigned char* data = tag.data
    if at + 1 < end and data[at + 1] == c'#':
        at += 2
        if at < end and data[at] == c'x':
            base = 16
            at += 1
        start = at
        while at < end and data[at] != c';':
            if c'0' <= data[at] <= c'9':
                digit = data[at] - c'0'
            elif base == 16 and c'a' <= data[at] <= c'f':
                digit = data[at] - c'a' + 10
            elif base == 16 and c'A' <= data[at] <= c'F':
                digit = data[at] - c'A' + 10
            else:
                refuse("not-well-formed", "a character reference is not a number")
            value = value * base + digit
            if value > 0x10FFFF:
                refuse("not-well-formed", "a character reference is beyond U+10FFFF")
            at += 1
        if at == start or at == end:
            refuse("not-well-formed", "a character reference is not complete")
        if (value < 0x20 and value != 9 and value != 10 and value != 13) or 0xD800 <= value <= 0xDFFF \
                or value == 0xFFFE or value == 0xFFFF:
            refuse("not-well-formed", "a character reference names no XML character")
        character[0] = value
        return at + 1
    start = at + 1
    at = start
    while at < end and CLASS[data[at]] & (NAME_START if at == start else NAME):
        at += 1
    if at == start or at == end or data[at] != c';':
        refuse("not-well-formed", "an ampersand does not begin a reference")
    if is_word(data, start, at, b"lt"):
        character[0] = c'<'
    elif is_word(data, start, at, b"gt"):
        character[0] = c'>'
    elif is_word(data, start, at, b"amp"):
        character[0] = c'&'
    elif is_word(data, start, at, b"apos"):
        character[0] = c"'"
    elif is_word(data, start, at, b"quot"):
        character[0] = c'"'
    else:
        refuse("restricted-xml", "only the five predefined entities may be referenced")  # RFC 6120 section 11.1
    return at + 1


cdef int scan_value(Tag* tag, Py_ssize_t at, Attribute* attribute) except -1:
    """Reads a quoted value whose quote is at `at`."""
    cdef unsigned char quote, byte
    cdef unsigned int character = 0
    if at >= tag.length or (tag.data[at] != c"'" and tag.data[at] != c'"'):
        refuse("not-well-formed", "an attribute's value is not quoted")
    quote = tag.data[at]
    at += 1
    attribute.value = at
    attribute.plain = True
    while at < tag.length:
        byte = tag.data[at]
        if byte == quote:
            attribute.value_end = at
            return 0
        if byte == c'<' or CLASS[byte] & ILLEGAL:
            refuse("not-well-formed", "an attribute's value holds a character that is not allowed there")
        if byte == c'&':
            attribute.plain = False
            at = scan_reference(tag, at, tag.length, &character)
            continue
        if byte >= 0x80:
            tag.ascii = False
        elif CLASS[byte] & SPACE and byte != c' ':
            attribute.plain = False
        at += 1
    return refuse("not-well-formed", "an attribute's value is not ended")


cdef int check_unique(Tag* tag) except -1:
    cdef int i, j
    cdef Py_ssize_t length
    for i in range(1, tag.count):
        length = tag.attributes[i].name_end - tag.attributes[i].name
        for j in range(i):
            if tag.attributes[j].name_end - tag.attributes[j].name == length and \
                    memcmp(tag.data + tag.attributes[i].name, tag.data + tag.attributes[j].name, length) == 0:
                refuse("not-well-formed", "an attribute occurs twice")
    return 0


cdef int scan_tag(Tag* tag, Py_ssize_t at) except -1:
    """Reads the start tag at `at`: everything but namespaces."""
    cdef Attribute* attribute
    cdef Py_ssize_t next_at
    cdef const unsigned char* data = tag.data
    cdef Py_ssize_t length = tag.length
    tag.count = 0
    tag.ascii = True
    if at >= length or data[at] != c'<':
        refuse("not-well-formed", "there is no start tag")
    if is_at(data, at, length, b"<?"):
        refuse("restricted-xml", "processing instructions are not allowed")  # RFC 6120 section 11.1
    if is_at(data, at, length, b"<!--") or is_at(data, at, length, b"<!DOCTYPE"):
        refuse("restricted-xml", "comments and document types are not allowed")
    tag.name = at + 1
    at = scan_name(tag, at + 1, &tag.colon)
    tag.name_end = at
    while True:
        next_at = skip_space(data, at, length)
        if next_at >= length:
            refuse("not-well-formed", "the start tag is not ended")
        if data[next_at] == c'>' or (data[next_at] == c'/' and next_at + 1 < length and data[next_at + 1] == c'>'):
            tag.empty = data[next_at] == c'/'
            tag.end = next_at + 1 + tag.empty
            break
        if next_at == at:
            refuse("not-well-formed", "the start tag holds something that is no attribute")
        if tag.count == ATTRIBUTES_LIMIT:
            refuse("policy-violation", "too many attributes")
        attribute = &tag.attributes[tag.count]
        attribute.name = next_at
        at = scan_name(tag, next_at, &attribute.colon)
        attribute.name_end = at
        at = skip_space(data, at, length)
        if at >= length or data[at] != c'=':
            refuse("not-well-formed", "an attribute has no value")
        scan_value(tag, skip_space(data, at + 1, length), attribute)
        at = attribute.value_end + 1
        tag.count += 1
    if not tag.ascii:
        try:
            if not_a_character(decode(data, tag.name, tag.end)):
                refuse("not-well-formed", "U+FFFE and U+FFFF are not characters")
        except UnicodeDecodeError:
            refuse("not-well-formed", "the start tag is not UTF-8")
    check_unique(tag)
    return 0


cdef str value_of(Tag* tag, Attribute* attribute):
    """The attribute's value with references decoded and white space normalised (XML 1.0 sections 2.11, 3.3.3)."""
    cdef Py_ssize_t at = attribute.value
    cdef Py_ssize_t end = attribute.value_end
    cdef Py_ssize_t size = 0
    cdef unsigned int character = 0
    cdef unsigned char* out
    if attribute.plain:
        return decode(tag.data, at, end)
    out = <unsigned char*> PyMem_Malloc(end - at)  # a reference is always longer than its character in UTF-8
    if out == NULL:
        raise MemoryError()
    try:
        while at < end:
            if tag.data[at] == c'&':
                at = scan_reference(tag, at, end, &character)
                if character < 0x80:
                    out[size] = character
                    size += 1
                elif character < 0x800:
                    out[size] = 0xC0 | (character >> 6)
                    out[size + 1] = 0x80 | (character & 0x3F)
                    size += 2
                elif character < 0x10000:
                    out[size] = 0xE0 | (character >> 12)
                    out[size + 1] = 0x80 | ((character >> 6) & 0x3F)
                    out[size + 2] = 0x80 | (character & 0x3F)
                    size += 3
                else:
                    out[size] = 0xF0 | (character >> 18)
                    out[size + 1] = 0x80 | ((character >> 12) & 0x3F)
                    out[size + 2] = 0x80 | ((character >> 6) & 0x3F)
                    out[size + 3] = 0x80 | (character & 0x3F)
                    size += 4
                continue
            if CLASS[tag.data[at]] & SPACE:
                if tag.data[at] == c'\r' and at + 1 < end and tag.data[at + 1] == c'\n':
                    at += 1
                out[size] = c' '
            else:
                out[size] = tag.data[at]
            size += 1
            at += 1
        return decode(out, 0, size)
    finally:
        PyMem_Free(out)
