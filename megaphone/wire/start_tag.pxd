# Outline of the start-tag scanner: one tag, its attributes one after the other, nothing allocated.
from libc.stdint cimport uint8_t, uint32_t
from libc.string cimport memcmp

# Bytes of the input, which has to outlive it.
cdef struct Slice:
    const uint8_t* data     # NULL: absent
    uint32_t length
    bint raw                # of a value: it holds references or white space that `decode_value` turns into characters

cdef struct Name:
    const uint8_t* data
    uint32_t length
    uint32_t prefix         # bytes before the colon, 0 without one

cdef struct Attribute:
    const uint8_t* begin    # of the white space before it
    Name name
    Slice value

cdef struct Tag:
    Name name
    const uint8_t* attributes   # behind the name
    const uint8_t* at           # where reading goes on; behind the ">" at last
    const uint8_t* end          # of the input
    bint empty                  # ended by "/>"
    int error                   # Error of framer.pxd

cdef bint open_tag(Tag* tag, const uint8_t* data, const uint8_t* end) noexcept nogil
cdef bint next_attribute(Tag* tag, Attribute* attribute) noexcept nogil
cdef bint find_declaration(const Tag* tag, const uint8_t* prefix, uint32_t length, Slice* name) noexcept nogil
cdef uint32_t decode_value(const Slice* value, uint8_t* out) noexcept nogil
cdef str text_of(const Slice* value)
cpdef tuple read_start_tag(bytes data)
cpdef list read_attributes(bytes data)


cdef inline bint is_text(const Slice* slice, const char* text, uint32_t length) noexcept nogil:
    # Whether the slice's bytes, not decoded, are `text`.
    return slice.length == length and memcmp(slice.data, text, length) == 0


cdef inline Slice local_part(const Name* name) noexcept nogil:
    # What stands behind the colon.
    cdef Slice local
    cdef uint32_t before = name.prefix + 1 if name.prefix else 0
    local.data = name.data + before
    local.length = name.length - before
    local.raw = False
    return local


cdef inline bint is_name(const Name* name, const char* text, uint32_t length) noexcept nogil:
    return name.length == length and memcmp(name.data, text, length) == 0


cdef inline bint declares_prefix(const Name* name) noexcept nogil:
    # Whether it is xmlns:something.
    return name.prefix == 5 and memcmp(name.data, "xmlns", 5) == 0


cdef inline const uint8_t* skip_space(const uint8_t* at, const uint8_t* end) noexcept nogil:
    while at < end and (at[0] == c' ' or at[0] == c'\n' or at[0] == c'\r' or at[0] == c'\t'):
        at += 1
    return at
