# The XML declaration (XML 1.0 sections 2.8 and 2.9): version 1.0, then perhaps UTF-8 and standalone.


cdef uint8_t check_declaration(Slice* text) noexcept nogil:
    """An Error for what stands between "<?xml" and "?>"."""
    cdef size_t at = 0, name, value
    cdef uint8_t quote, error = NO_ERROR
    cdef int seen = 0           # 1 version, 2 encoding, 3 standalone: each at most once, in this order
    cdef const uint8_t* data = text.data
    while True:
        name = at
        while at < text.length and CLASS[data[at]] & SPACE:
            at += 1
        if at == text.length:
            return error if seen else <uint8_t> NOT_WELL_FORMED_XML
        if at == name:
            return NOT_WELL_FORMED_XML      # no space before it
        name = at
        while at < text.length and CLASS[data[at]] & NAME_BYTE:
            at += 1
        value = at - name
        if value == 7 and memcmp(data + name, "version", 7) == 0 and seen == 0:
            seen = 1
        elif value == 8 and memcmp(data + name, "encoding", 8) == 0 and seen == 1:
            seen = 2
        elif value == 10 and memcmp(data + name, "standalone", 10) == 0 and (seen == 1 or seen == 2):
            seen = 3
        else:
            return NOT_WELL_FORMED_XML
        while at < text.length and CLASS[data[at]] & SPACE:
            at += 1
        if at == text.length or data[at] != c'=':
            return NOT_WELL_FORMED_XML
        at += 1
        while at < text.length and CLASS[data[at]] & SPACE:
            at += 1
        if at == text.length or data[at] != c'"' and data[at] != c"'":
            return NOT_WELL_FORMED_XML
        quote = data[at]
        at += 1
        value = at
        while at < text.length and data[at] != quote:
            at += 1
        if at == text.length or not declared_value_is_good(seen, data + value, at - value):
            return NOT_WELL_FORMED_XML
        if seen == 2 and not is_utf8(data + value, at - value):
            error = ENCODING_NOT_UTF8
        at += 1


cdef bint declared_value_is_good(int which, const uint8_t* value, size_t length) noexcept nogil:
    cdef size_t i
    if which == 1:
        return length == 3 and memcmp(value, "1.0", 3) == 0
    if which == 3:
        return length == 3 and memcmp(value, "yes", 3) == 0 or length == 2 and memcmp(value, "no", 2) == 0
    if length == 0 or not CLASS[value[0]] & NAME_START or value[0] == c'_':
        return False
    for i in range(length):
        if not CLASS[value[i]] & NAME_BYTE or value[i] == c':':
            return False
    return True


cdef bint is_utf8(const uint8_t* name, size_t length) noexcept nogil:
    """Whether an encoding's name, whose case does not matter, is that of UTF-8."""
    return length == 5 and (name[0] | 0x20) == c'u' and (name[1] | 0x20) == c't' and (name[2] | 0x20) == c'f' and memcmp(name + 3, "-8", 2) == 0
