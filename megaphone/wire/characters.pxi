# Characters of a stream that come in several bytes: UTF-8 sequences and references.


cdef inline bint utf8_begins(Framer* framer, uint8_t byte) noexcept nogil:
    """The first byte of a multi-byte character (RFC 3629 section 4); False for one that begins none."""
    framer.utf8_low = 0x80
    framer.utf8_high = 0xBF
    if 0xC2 <= byte <= 0xDF:
        framer.utf8_left = 1
    elif 0xE0 <= byte <= 0xEF:
        framer.utf8_left = 2
        if byte == 0xE0:
            framer.utf8_low = 0xA0      # shorter forms exist
        elif byte == 0xED:
            framer.utf8_high = 0x9F     # surrogates
        elif byte == 0xEF:
            framer.utf8_left = 0x42     # U+FFFE and U+FFFF may follow (the high bits mark it)
    elif 0xF0 <= byte <= 0xF4:
        framer.utf8_left = 3
        if byte == 0xF0:
            framer.utf8_low = 0x90
        elif byte == 0xF4:
            framer.utf8_high = 0x8F     # above U+10FFFF
    else:
        return False
    return True


cdef inline bint utf8_goes_on(Framer* framer, uint8_t byte) noexcept nogil:
    """One continuation byte; False if it may not stand here."""
    if byte < framer.utf8_low or byte > framer.utf8_high:
        return False
    framer.utf8_low = 0x80
    framer.utf8_high = 0xBF
    if framer.utf8_left == 0x42:
        framer.utf8_left = 1
        if byte == 0xBF:
            framer.utf8_high = 0xBD     # XML 1.0 section 2.2 forbids U+FFFE and U+FFFF
    else:
        framer.utf8_left -= 1
    return True


cdef inline size_t entity_length(const uint8_t* at, size_t left) noexcept nogil:
    """Bytes up to and with the ";" of the predefined entity's name that stands here whole; 0 if none does."""
    if left >= 3 and at[1] == c't' and at[2] == c';' and (at[0] == c'l' or at[0] == c'g'):
        return 3
    if left >= 4 and memcmp(at, "amp;", 4) == 0:
        return 4
    if left >= 5 and (memcmp(at, "quot;", 5) == 0 or memcmp(at, "apos;", 5) == 0):
        return 5
    return 0


cdef inline bint reference_is_known(uint64_t packed, int length) noexcept nogil:
    """`packed` holds the name, at most eight bytes, its last byte lowest."""
    if length == 2 and (packed == 0x6C74 or packed == 0x6774):            # lt gt
        return True
    if length == 3 and packed == 0x616D70:                                # amp
        return True
    if length == 4 and (packed == 0x71756F74 or packed == 0x61706F73):    # quot apos
        return True
    if length < 2 or length > 8:
        return False
    return character_is_allowed(packed, length)


cdef inline bint reference_is_numeric(Framer* framer) noexcept nogil:
    return framer.reference >> (8 * (framer.reference_length - 1)) == c'#'


cdef inline bint reference_is_padded(Framer* framer) noexcept nogil:
    """Whether a numeric reference of eight bytes begins with a zero."""
    return framer.reference >> 48 == 0x2330 or framer.reference >> 40 == 0x237830


cdef bint character_is_allowed(uint64_t packed, int length) noexcept nogil:
    """A numeric reference: "#" digits or "#x" hex digits naming a character that XML 1.0 section 2.2 allows."""
    cdef uint8_t digits[8]
    cdef int i, first = 1, base = 10, digit
    cdef uint32_t value = 0
    for i in range(length):
        digits[length - 1 - i] = <uint8_t> (packed >> (8 * i))
    if digits[0] != c'#':
        return False
    if digits[1] == c'x':
        base, first = 16, 2
    if first >= length:
        return False
    for i in range(first, length):
        if c'0' <= digits[i] <= c'9':
            digit = digits[i] - c'0'
        elif base == 16 and c'a' <= digits[i] <= c'f':
            digit = digits[i] - c'a' + 10
        elif base == 16 and c'A' <= digits[i] <= c'F':
            digit = digits[i] - c'A' + 10
        else:
            return False
        value = value * base + digit
        if value > 0x10FFFF:
            return False
    if value < 0x20:
        return value == 9 or value == 10 or value == 13
    return not (0xD800 <= value <= 0xDFFF or value == 0xFFFE or value == 0xFFFF)
