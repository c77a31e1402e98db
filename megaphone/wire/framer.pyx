"""The framer: cuts one direction of an XMPP stream into header, stanzas and end, without holding any of it.

Theory of operation. The state machine below reads every byte once and may stop at any of them: all it keeps is
the `Framer` struct. Bytes are passed on by the caller as they came; the framer only says where a stanza ended,
what kind it was, and whether the stream may go on. Matching of end tags works on 32-bit hashes of the names:
open elements live in one scratch stack shared by all connections while a read is scanned, and are spilled to
the connection only if the read ends inside a stanza.

    PROLOG ─ "<?xml … ?>" ─ header ──► depth 1 ──► stanza (depth 2 …) ──► depth 1 ─ "</stream:stream>" ──► END
                                          ▲________________________________│

Refused, with the RFC 6120 section 4.9.3 condition: comments, processing instructions, DTDs and references to any but
the five predefined entities (section 11.1, `restricted-xml`); unbalanced tags, control characters, text between
stanzas (`not-well-formed`); elements beyond the `Bounds` (`policy-violation`).
"""

from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset

CONDITIONS = {
    NOT_WELL_FORMED_XML: "not-well-formed",
    RESTRICTED: "restricted-xml",
    STANZA_TOO_BIG: "policy-violation",
    TOO_DEEP: "policy-violation",
    TOO_MANY_ATTRIBUTES: "policy-violation",
    TEXT_BETWEEN_STANZAS: "not-well-formed",
    RESTART_NOT_ALLOWED: "not-well-formed",
    AFTER_STREAM_END: "not-well-formed",
}

cdef enum State:
    PROLOG            # nothing yet: white space or '<'
    PROLOG_TAG        # '<' of the XML declaration or of the header
    DECLARATION       # inside "<?xml"
    DECLARATION_END   # '?' that should be followed by '>'
    AFTER_DECLARATION # white space or '<' of the header
    HEADER_TAG        # '<' of the header
    TEXT
    TAG               # '<'
    NAME
    IN_TAG
    ATTRIBUTE
    AFTER_ATTRIBUTE   # white space before '='
    BEFORE_VALUE      # white space before the quote
    VALUE_DOUBLE
    VALUE_SINGLE
    AFTER_VALUE
    EMPTY_TAG         # '/' that should be followed by '>'
    END_NAME
    END_TAG           # white space after the name of an end tag
    REFERENCE         # after '&'
    BANG              # "<!" that should go on with "[CDATA["
    CDATA
    END               # after </stream:stream>

# Byte classes, one bit each.
cdef enum:
    SPACE = 1
    NAME_START = 2
    NAME_BYTE = 4
    TEXT_BYTE = 8         # may be skipped in text: not '<', '&', ']' or a forbidden control character
    VALUE_BYTE = 16       # may be skipped in an attribute value: not a quote either
    FORBIDDEN = 32

cdef uint8_t CLASS[256]
cdef uint32_t OPEN_TAGS[256]
cdef uint32_t HASH_MESSAGE, HASH_PRESENCE, HASH_IQ, HASH_SUCCESS, HASH_COMPRESSED, HASH_PROCEED, HASH_STARTTLS, HASH_FEATURES, HASH_ERROR, HASH_STREAM
cdef const char* XML_DECLARATION = "?xml"
cdef const char* CDATA_OPEN = "[CDATA["

cdef inline uint32_t hash_byte(uint32_t value, uint8_t byte) noexcept nogil:
    return (value ^ byte) * 16777619u   # FNV-1a

cdef uint32_t hash_of(bytes name):
    cdef uint32_t value = 2166136261u
    for byte in name:
        value = hash_byte(value, byte)
    return value

cdef void fill_tables():
    global HASH_MESSAGE, HASH_PRESENCE, HASH_IQ, HASH_SUCCESS, HASH_COMPRESSED, HASH_PROCEED, HASH_STARTTLS, HASH_FEATURES, HASH_ERROR, HASH_STREAM
    cdef int byte
    for byte in range(256):
        CLASS[byte] = 0
        if byte in b" \t\r\n":
            CLASS[byte] |= SPACE
        elif byte < 0x20 or byte == 0xFE or byte == 0xFF or byte == 0xC0 or byte == 0xC1:
            CLASS[byte] |= FORBIDDEN
        if chr(byte) in "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_:" or byte >= 0x80 and not CLASS[byte] & FORBIDDEN:
            CLASS[byte] |= NAME_START | NAME_BYTE
        if chr(byte) in "0123456789-.":
            CLASS[byte] |= NAME_BYTE
        if not CLASS[byte] & FORBIDDEN and byte not in b"<&]":
            CLASS[byte] |= TEXT_BYTE
        if not CLASS[byte] & FORBIDDEN and byte not in b"<&\"'":
            CLASS[byte] |= VALUE_BYTE
    HASH_MESSAGE = hash_of(b"message")
    HASH_PRESENCE = hash_of(b"presence")
    HASH_IQ = hash_of(b"iq")
    HASH_SUCCESS = hash_of(b"success")
    HASH_COMPRESSED = hash_of(b"compressed")
    HASH_PROCEED = hash_of(b"proceed")
    HASH_STARTTLS = hash_of(b"starttls")
    HASH_FEATURES = hash_of(b"features")
    HASH_ERROR = hash_of(b"error")
    HASH_STREAM = hash_of(b"stream")

fill_tables()

cdef str condition_of(int error):
    return CONDITIONS[error]


cdef void framer_start(Framer* framer) noexcept nogil:
    """A framer before the first byte; also what a restarted stream after STARTTLS begins with."""
    memset(framer, 0, sizeof(Framer))
    framer.state = PROLOG


cdef void framer_free(Framer* framer) noexcept nogil:
    free(framer.open_tags)
    framer.open_tags = NULL


cdef bint framer_rests(Framer* framer) noexcept nogil:
    """True between stanzas: here something of our own can be put into the stream."""
    return framer.depth == 1 and framer.state == TEXT or framer.state == END


cdef bint framer_ended(Framer* framer) noexcept nogil:
    """True after </stream:stream>."""
    return framer.state == END


cdef inline uint8_t element_of(uint32_t local_hash) noexcept nogil:
    if local_hash == HASH_MESSAGE:
        return MESSAGE_ELEMENT
    if local_hash == HASH_PRESENCE:
        return PRESENCE_ELEMENT
    if local_hash == HASH_IQ:
        return IQ_ELEMENT
    if local_hash == HASH_SUCCESS:
        return SUCCESS_ELEMENT
    if local_hash == HASH_COMPRESSED:
        return COMPRESSED_ELEMENT
    if local_hash == HASH_PROCEED:
        return PROCEED_ELEMENT
    if local_hash == HASH_STARTTLS:
        return STARTTLS_ELEMENT
    if local_hash == HASH_FEATURES:
        return FEATURES_ELEMENT
    if local_hash == HASH_ERROR:
        return STREAM_ERROR_ELEMENT
    return OTHER_ELEMENT


cdef inline bint reference_is_known(uint64_t packed, int length) noexcept nogil:
    """`packed` holds the name, at most eight bytes (without a number's leading zeros), its last byte lowest."""
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


cdef int scan(Framer* framer, const Bounds* bounds, const uint8_t* data, size_t length, bint stop_at_stanza, Scan* result) noexcept nogil:
    """Reads `data`; returns an `Event` and fills `result`. After ERROR or STREAM_END the rest of the input is not read."""
    cdef size_t i = 0
    cdef size_t begin = 0           # where the current header or stanza began, or its continuation in this call
    cdef size_t end = length        # where scanning must stop: `length`, or earlier at the stanza limit
    cdef uint8_t byte, state = framer.state
    cdef uint8_t error = NO_ERROR
    cdef int event = MORE
    cdef bint inside = framer.stanza_bytes != 0   # a header or stanza is under way
    cdef uint32_t* open_tags = OPEN_TAGS
    result.boundary = -1
    result.error = NO_ERROR
    result.counts[0] = result.counts[1] = result.counts[2] = result.counts[3] = 0

    if framer.open_tags != NULL:
        memcpy(open_tags, framer.open_tags, framer.depth * sizeof(uint32_t))
        free(framer.open_tags)
        framer.open_tags = NULL
    elif framer.depth:
        open_tags[0] = framer.root_hash
    if inside:
        if framer.stanza_bytes >= bounds.stanza_bytes:
            end = 0     # also when a reload has lowered the limit meanwhile
        elif bounds.stanza_bytes - framer.stanza_bytes < length:
            end = bounds.stanza_bytes - framer.stanza_bytes

    while i < end:
        byte = data[i]
        if state == TEXT:
            if framer.depth == 1:
                while i < end and CLASS[data[i]] & SPACE:
                    i += 1
                if i == end:
                    break
                if data[i] != c'<':
                    error = TEXT_BETWEEN_STANZAS
                    break
                inside, begin = True, i
                if bounds.stanza_bytes < length - i:
                    end = i + bounds.stanza_bytes
                state = TAG
            else:
                # "]]>" must not appear in text (XML 1.0 section 2.4): `matched` counts the brackets
                if framer.matched == 2 and byte == c'>':
                    error = NOT_WELL_FORMED_XML
                    break
                if byte == c']':
                    if framer.matched < 2:
                        framer.matched += 1
                    i += 1
                    continue
                framer.matched = 0
                while i < end and CLASS[data[i]] & TEXT_BYTE:
                    i += 1
                if i == end:
                    break
                byte = data[i]
                if byte == c'<':
                    state = TAG
                elif byte == c'&':
                    framer.after_reference = TEXT
                    framer.reference = framer.reference_length = 0
                    state = REFERENCE
                elif byte == c']':
                    continue
                else:
                    error = NOT_WELL_FORMED_XML
                    break
            i += 1
        elif state == NAME:
            while i < end and CLASS[data[i]] & NAME_BYTE:
                framer.name_hash = hash_byte(framer.name_hash, data[i])
                framer.local_hash = 2166136261u if data[i] == c':' else hash_byte(framer.local_hash, data[i])
                i += 1
            if i == end:
                break
            byte = data[i]
            if framer.depth == 1:
                if framer.local_hash == HASH_STREAM:
                    if not framer.restart_allowed:
                        error = RESTART_NOT_ALLOWED
                        break
                elif framer.matched:
                    error = NOT_WELL_FORMED_XML     # an XML declaration, and then no stream header
                    break
            framer.attributes = 0
            if byte == c'>':
                state = AFTER_VALUE     # the same as after a value: '>' opens the element
                continue
            if byte == c'/':
                state = EMPTY_TAG
            elif CLASS[byte] & SPACE:
                state = IN_TAG
            else:
                error = NOT_WELL_FORMED_XML
                break
            i += 1
        elif state == IN_TAG or state == AFTER_VALUE:
            if byte == c'>':
                i += 1
                if framer.depth == 0 or framer.depth == 1 and framer.local_hash == HASH_STREAM:
                    # the stream header, or the one of a restarted stream, which replaces it
                    framer.root_hash = framer.name_hash
                    framer.depth = 1
                    framer.matched = 0
                    open_tags[0] = framer.root_hash
                    framer.restart_allowed = 0
                    state = TEXT
                    inside = False
                    framer.stanza_bytes = 0
                    end = length
                    result.boundary = i
                    event = HEADER
                    break
                if framer.depth >= bounds.depth:
                    i -= 1
                    error = TOO_DEEP
                    break
                if framer.depth == 1:
                    framer.element = element_of(framer.local_hash)
                open_tags[framer.depth] = framer.name_hash
                framer.depth += 1
                framer.matched = 0
                state = TEXT
            elif byte == c'/':
                state = EMPTY_TAG
                i += 1
            elif CLASS[byte] & SPACE:
                state = IN_TAG
                i += 1
            elif state == IN_TAG and CLASS[byte] & NAME_START:
                if framer.attributes >= bounds.attributes:
                    error = TOO_MANY_ATTRIBUTES
                    break
                framer.attributes += 1
                state = ATTRIBUTE
                i += 1
            else:
                error = NOT_WELL_FORMED_XML
                break
        elif state == ATTRIBUTE:
            while i < end and CLASS[data[i]] & NAME_BYTE:
                i += 1
            if i == end:
                break
            if data[i] == c'=':
                state = BEFORE_VALUE
            elif CLASS[data[i]] & SPACE:
                state = AFTER_ATTRIBUTE
            else:
                error = NOT_WELL_FORMED_XML
                break
            i += 1
        elif state == AFTER_ATTRIBUTE:
            if byte == c'=':
                state = BEFORE_VALUE
            elif not CLASS[byte] & SPACE:
                error = NOT_WELL_FORMED_XML
                break
            i += 1
        elif state == BEFORE_VALUE:
            if byte == c'"':
                state = VALUE_DOUBLE
            elif byte == c"'":
                state = VALUE_SINGLE
            elif not CLASS[byte] & SPACE:
                error = NOT_WELL_FORMED_XML
                break
            i += 1
        elif state == VALUE_DOUBLE or state == VALUE_SINGLE:
            while i < end and CLASS[data[i]] & VALUE_BYTE:
                i += 1
            if i == end:
                break
            byte = data[i]
            if byte == c'"':
                if state == VALUE_DOUBLE:
                    state = AFTER_VALUE
            elif byte == c"'":
                if state == VALUE_SINGLE:
                    state = AFTER_VALUE
            elif byte == c'&':
                framer.after_reference = state
                framer.reference = framer.reference_length = 0
                state = REFERENCE
            else:
                error = NOT_WELL_FORMED_XML
                break
            i += 1
        elif state == TAG:
            if byte == c'/':
                framer.name_hash = 2166136261u
                state = END_NAME
            elif byte == c'!':
                framer.matched = 0
                if framer.depth == 1:
                    # between stanzas CDATA would be text, anything else is restricted
                    error = RESTRICTED
                    break
                state = BANG
            elif byte == c'?':
                if framer.depth != 1 or not framer.restart_allowed:
                    error = RESTRICTED
                    break
                framer.matched = 1
                state = DECLARATION
            elif CLASS[byte] & NAME_START:
                framer.name_hash = hash_byte(2166136261u, byte)
                framer.local_hash = framer.name_hash
                state = NAME
            else:
                error = NOT_WELL_FORMED_XML
                break
            i += 1
        elif state == END_NAME or state == END_TAG:
            if state == END_NAME:
                while i < end and CLASS[data[i]] & NAME_BYTE:
                    framer.name_hash = hash_byte(framer.name_hash, data[i])
                    i += 1
                if i == end:
                    break
                byte = data[i]
            if byte == c'>':
                if framer.name_hash != open_tags[framer.depth - 1]:
                    error = NOT_WELL_FORMED_XML
                    break
                i += 1
                framer.depth -= 1
                framer.matched = 0
                state = TEXT
                if framer.depth == 0:
                    state = END
                    event = STREAM_END
                    framer.stanza_bytes = 0
                    inside = False
                    result.boundary = i
                    break
                if framer.depth == 1:
                    result.boundary = i
                    result.counts[framer.element if framer.element < 4 else 3] += 1
                    framer.stanza_bytes = 0
                    inside = False
                    end = length
                    if stop_at_stanza or SUCCESS_ELEMENT <= framer.element <= PROCEED_ELEMENT:
                        event = STANZA
                        result.element = framer.element
                        break
            elif CLASS[byte] & SPACE:
                state = END_TAG
                i += 1
            else:
                error = NOT_WELL_FORMED_XML
                break
        elif state == EMPTY_TAG:
            if byte != c'>' or framer.depth == 0 or framer.depth == 1 and framer.local_hash == HASH_STREAM:
                error = NOT_WELL_FORMED_XML   # also an empty stream element: a stream without a stream
                break
            if framer.depth >= bounds.depth:
                error = TOO_DEEP
                break
            i += 1
            framer.matched = 0
            state = TEXT
            if framer.depth == 1:
                framer.element = element_of(framer.local_hash)
                result.boundary = i
                result.counts[framer.element if framer.element < 4 else 3] += 1
                framer.stanza_bytes = 0
                inside = False
                end = length
                if stop_at_stanza or SUCCESS_ELEMENT <= framer.element <= PROCEED_ELEMENT:
                    event = STANZA
                    result.element = framer.element
                    break
        elif state == REFERENCE:
            if byte == c';':
                if not reference_is_known(framer.reference, framer.reference_length):
                    error = NOT_WELL_FORMED_XML if framer.reference_length == 0 or reference_is_numeric(framer) else RESTRICTED
                    break
                state = framer.after_reference
            elif not (CLASS[byte] & NAME_BYTE or byte == c'#' and framer.reference_length == 0):
                error = NOT_WELL_FORMED_XML
                break
            elif framer.reference == 0x2330 and byte != c'x' or framer.reference == 0x237830:
                framer.reference += byte - c'0'     # "#0" or "#x0": leading zeros are legal and say nothing
            elif framer.reference_length == 8:
                error = NOT_WELL_FORMED_XML if reference_is_numeric(framer) else RESTRICTED
                break
            else:
                framer.reference = framer.reference << 8 | byte
                framer.reference_length += 1
            i += 1
        elif state == BANG:
            if byte != CDATA_OPEN[framer.matched]:
                error = RESTRICTED
                break
            framer.matched += 1
            if framer.matched == 7:
                framer.matched = 0
                state = CDATA
            i += 1
        elif state == CDATA:
            if byte == c']':
                if framer.matched < 2:
                    framer.matched += 1
            elif byte == c'>' and framer.matched == 2:
                framer.matched = 0
                state = TEXT
            elif CLASS[byte] & FORBIDDEN:
                error = NOT_WELL_FORMED_XML
                break
            else:
                framer.matched = 0
            i += 1
        elif state == PROLOG or state == AFTER_DECLARATION:
            if byte == c'<':
                inside, begin = True, i
                if bounds.stanza_bytes < length - i:
                    end = i + bounds.stanza_bytes
                state = PROLOG_TAG if state == PROLOG else HEADER_TAG
            elif not CLASS[byte] & SPACE:
                error = NOT_WELL_FORMED_XML
                break
            i += 1
        elif state == PROLOG_TAG or state == HEADER_TAG:
            if byte == c'?' and state == PROLOG_TAG:
                framer.matched = 1
                state = DECLARATION
            elif CLASS[byte] & NAME_START:
                framer.name_hash = hash_byte(2166136261u, byte)
                framer.local_hash = framer.name_hash
                state = NAME
            else:
                error = RESTRICTED if byte == c'!' or byte == c'?' else NOT_WELL_FORMED_XML
                break
            i += 1
        elif state == DECLARATION:
            if framer.matched < 4:
                if byte != XML_DECLARATION[framer.matched]:
                    error = RESTRICTED
                    break
                framer.matched += 1
            elif framer.matched == 4:
                if not CLASS[byte] & SPACE:
                    error = RESTRICTED
                    break
                framer.matched = 5
            elif byte == c'?':
                state = DECLARATION_END
            elif byte == c'<' or byte == c'&' or CLASS[byte] & FORBIDDEN:
                error = NOT_WELL_FORMED_XML
                break
            i += 1
        elif state == DECLARATION_END:
            if byte != c'>':
                error = NOT_WELL_FORMED_XML
                break
            i += 1
            state = AFTER_DECLARATION
            framer.stanza_bytes = 0
            inside = False
            end = length
        else:  # END
            if not CLASS[byte] & SPACE:
                error = AFTER_STREAM_END
                break
            i += 1

    if error == NO_ERROR and event == MORE and i == end and end < length:
        error = STANZA_TOO_BIG
    if error != NO_ERROR:
        event = ERROR
        result.error = error
    elif inside:
        framer.stanza_bytes += <uint32_t> (i - begin)
        if framer.depth > 1:
            framer.open_tags = <uint32_t*> malloc(framer.depth * sizeof(uint32_t))
            if framer.open_tags == NULL:
                event = ERROR
                result.error = NOT_WELL_FORMED_XML
            else:
                memcpy(framer.open_tags, open_tags, framer.depth * sizeof(uint32_t))
    framer.state = state
    result.offset = i
    return event


cdef class StreamFramer:
    """The framer for Python: one direction of one stream.

    `stanza_bytes` (1..2**32-1), `depth` (2..255, the stream element counts) and `attributes` (1..255) bound every element.
    """

    cdef Framer framer
    cdef Bounds bounds

    def __cinit__(self, uint32_t stanza_bytes=262144, uint16_t depth=64, uint16_t attributes=64):
        framer_start(&self.framer)
        self.bounds.stanza_bytes = stanza_bytes
        self.bounds.depth = depth
        self.bounds.attributes = attributes

    def __dealloc__(self):
        framer_free(&self.framer)

    def allow_restart(self):
        """Accept one more stream header at depth 1 (after SASL success, RFC 6120 section 6.4.6)."""
        self.framer.restart_allowed = 1

    @property
    def rests(self):
        """True between stanzas."""
        return framer_rests(&self.framer)

    def scan(self, const uint8_t[::1] data, bint stop_at_stanza=True):
        """Reads until the next event: (Event, bytes consumed, Error or Element, last boundary or -1, stanza counts)."""
        cdef Scan result
        cdef int event = scan(&self.framer, &self.bounds, &data[0] if data.shape[0] else NULL, data.shape[0], stop_at_stanza, &result)
        detail = Error(result.error) if event == ERROR else (Element(result.element) if event == STANZA else None)
        return Event(event), result.offset, detail, result.boundary, tuple(result.counts[i] for i in range(4))

STATE_BYTES = sizeof(Framer)
