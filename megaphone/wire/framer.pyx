"""The framer: cuts one direction of an XMPP stream into header, stanzas and end, without holding any of it.

Theory of operation. The state machine below reads every byte once and may stop at any of them. Bytes are passed on by
the caller as they came; the framer only says where a stanza ended, what kind it was, and whether the stream may go on.

    PROLOG ─ "<?xml … ?>" ─ header ──► depth 1 ──► stanza (depth 2 …) ──► depth 1 ─ "</stream:stream>" ──► END
                                          ▲________________________________│

Names are slices of the read buffer while a read is scanned, in one scratch area shared by all connections (framing is for
one thread). Only if a read ends inside a stanza are the names of its open elements, and those of the tag under way,
copied into a `Memory` of the connection, which the next read begins with. Comparing is exact: no hashes.

Refused, with the RFC 6120 section 4.9.3 condition: comments, processing instructions, DTDs and references to any but
the five predefined entities (section 11.1, `restricted-xml`); whatever violates XML 1.0 or its namespaces
(`not-well-formed`); elements beyond the `Bounds` (`policy-violation`). Stricter than XML: names are ASCII and have one
colon at most; namespace names are plain URI references and as short as other names; there is no `xml:id`; a reference has eight bytes, leading zeros included.
"""

from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdlib cimport free, malloc
from libc.string cimport memchr, memcmp, memcpy, memset

cdef extern from "names.h":
    uint64_t mix(uint64_t one, uint64_t other) noexcept nogil
    uint64_t hash_bytes(const uint8_t* data, size_t length, const uint64_t* key) noexcept nogil

cdef extern from "skip.h":
    size_t skip_text(const uint8_t* data, size_t i, size_t end) noexcept nogil
    size_t skip_value(const uint8_t* data, size_t i, size_t end, uint8_t quote) noexcept nogil

CONDITIONS = {
    NOT_WELL_FORMED_XML: "not-well-formed",
    RESTRICTED: "restricted-xml",
    STANZA_TOO_BIG: "policy-violation",
    TOO_DEEP: "policy-violation",
    TOO_MANY_ATTRIBUTES: "policy-violation",
    TEXT_BETWEEN_STANZAS: "not-well-formed",
    RESTART_NOT_ALLOWED: "not-well-formed",
    AFTER_STREAM_END: "not-well-formed",
    NAME_TOO_LONG: "policy-violation",
    TOO_MANY_NAMESPACES: "policy-violation",
    OUT_OF_MEMORY: "resource-constraint",
    ENCODING_NOT_UTF8: "unsupported-encoding",
}

cdef enum State:      # the order is part of the record (framer_record.pxi): append only
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
    REFUSED           # after an error

# Byte classes, one bit each.
cdef enum:
    SPACE = 1
    NAME_START = 2
    NAME_BYTE = 4
    COLON = 8
    URI_BYTE = 16               # in a namespace name; RFC 3986 has some more: %, &, ', [ and ]
    SCHEME_BYTE = 32            # before a URI's first colon

cdef uint8_t CLASS[256]
cdef const char* XML_DECLARATION = "?xml"
cdef const char* CDATA_OPEN = "[CDATA["


cdef void fill_tables():
    cdef int byte
    for byte in range(256):
        CLASS[byte] = 0
        if byte in b" \t\r\n":
            CLASS[byte] |= SPACE
        if chr(byte) in "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_":
            CLASS[byte] |= NAME_START | NAME_BYTE
        if chr(byte) in "0123456789-.:":
            CLASS[byte] |= NAME_BYTE
        if chr(byte) == ":":
            CLASS[byte] |= COLON
        if chr(byte).isascii() and (chr(byte).isalnum() or chr(byte) in "-._~!$()*+,;=:@/?#"):
            CLASS[byte] |= URI_BYTE
        if chr(byte).isascii() and (chr(byte).isalnum() or chr(byte) in "-.+"):
            CLASS[byte] |= SCHEME_BYTE

fill_tables()


cdef str condition_of(int error):
    return CONDITIONS[error]


cdef void framer_start(Framer* framer) noexcept nogil:
    """A framer before the first byte; also what a restarted stream after STARTTLS begins with."""
    memset(framer, 0, sizeof(Framer))
    framer.state = PROLOG


cdef void framer_free(Framer* framer) noexcept nogil:
    give_back(framer.memory)
    framer.memory = NULL


cdef bint framer_rests(Framer* framer) noexcept nogil:
    """True between stanzas: here something of our own can be put into the stream."""
    return framer.depth == 1 and framer.state == TEXT or framer.state == END


cdef bint framer_ended(Framer* framer) noexcept nogil:
    """True after </stream:stream>."""
    return framer.state == END


include "scope.pxi"
include "memory.pxi"
include "characters.pxi"
include "declaration.pxi"

include "framer_record.pxi"

# --- first-level elements ---


cdef bint settle_root(Framer* framer) noexcept nogil:
    """The header is complete: keeps the stream element's name, and what it declares if that is unusual."""
    cdef int i
    if tag.length > ROOT_LIMIT:
        return False
    framer.usual_root = tag.prefix > 0 and is_local_stream(&tag)
    for i in range(binding_count):
        BINDINGS[i].depth = 1
        if not (is_text(&BINDINGS[i].prefix, <const char*> tag.data, tag.prefix) and same(&BINDINGS[i].name, &STREAMS)):
            framer.usual_root = False
    if framer.usual_root:
        leave_scope(0)
    memcpy(framer.root, tag.data, tag.length)
    framer.root_length = tag.length
    return True


cdef inline bint is_local_stream(Slice* name) noexcept nogil:
    cdef uint32_t local = name.prefix + 1 if name.prefix else 0
    return name.length - local == 6 and memcmp(name.data + local, "stream", 6) == 0


cdef uint8_t element_of(Slice* name) noexcept nogil:
    """Which of the first-level elements that the edge has to know this is, by its local name."""
    cdef const uint8_t* local = name.data + (name.prefix + 1 if name.prefix else 0)
    cdef uint32_t length = name.length - (name.prefix + 1 if name.prefix else 0)
    if length == 2:
        return IQ_ELEMENT if memcmp(local, "iq", 2) == 0 else OTHER_ELEMENT
    if length == 5:
        return STREAM_ERROR_ELEMENT if memcmp(local, "error", 5) == 0 else OTHER_ELEMENT
    if length == 7:
        if memcmp(local, "message", 7) == 0:
            return MESSAGE_ELEMENT
        if memcmp(local, "success", 7) == 0:
            return SUCCESS_ELEMENT
        return PROCEED_ELEMENT if memcmp(local, "proceed", 7) == 0 else OTHER_ELEMENT
    if length == 8:
        if memcmp(local, "presence", 8) == 0:
            return PRESENCE_ELEMENT
        if memcmp(local, "starttls", 8) == 0:
            return STARTTLS_ELEMENT
        return FEATURES_ELEMENT if memcmp(local, "features", 8) == 0 else OTHER_ELEMENT
    if length == 10:
        return COMPRESSED_ELEMENT if memcmp(local, "compressed", 10) == 0 else OTHER_ELEMENT
    return OTHER_ELEMENT

# --- the state machine ---


cdef int scan(Framer* framer, const Bounds* bounds, const uint8_t* data, size_t length, bint stop_at_stanza, Scan* result) noexcept nogil:
    """Reads `data`; returns an `Event` and fills `result`. After ERROR or STREAM_END the rest of the input is not read.

    Having refused something it refuses everything that comes after it, for the same reason.
    """
    global changed, resumed, slotted, tag
    cdef size_t i = 0
    cdef size_t begin = 0           # where the current header or stanza began, or its continuation in this call
    cdef size_t end = length        # where scanning must stop: `length`, or earlier at the stanza limit
    cdef size_t shortcut
    cdef size_t token = 0           # where the current name or namespace name began, or its continuation
    cdef uint8_t byte, quote, seen, state = framer.state
    cdef uint8_t error = NO_ERROR
    cdef int event = MORE
    cdef bint recent
    cdef bint inside = framer.stanza_bytes != 0   # a header or stanza is under way
    cdef Slice name
    result.boundary = -1
    result.error = NO_ERROR
    result.counts[0] = result.counts[1] = result.counts[2] = result.counts[3] = 0
    if state == REFUSED:
        result.offset = 0
        result.error = framer.matched
        return ERROR
    recall(framer)
    if inside:
        if framer.stanza_bytes >= bounds.stanza_bytes:
            end = 0     # also when a reload has lowered the limit meanwhile
        elif bounds.stanza_bytes - framer.stanza_bytes < length:
            end = bounds.stanza_bytes - framer.stanza_bytes

    while i < end:
        byte = data[i]
        if framer.utf8_left:
            # the rest of a character, in text, CDATA or a value
            if not utf8_goes_on(framer, byte):
                error = NOT_WELL_FORMED_XML
                break
            i += 1
        elif state == TEXT:
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
                if framer.matched:
                    if byte == c']':
                        framer.matched = 2
                        i += 1
                        continue
                    if framer.matched == 2 and byte == c'>':
                        error = NOT_WELL_FORMED_XML
                        break
                    framer.matched = 0
                i = skip_text(data, i, end)
                if i == end:
                    break
                byte = data[i]
                if byte == c'<':
                    state = TAG
                    if i + 1 < end and CLASS[data[i + 1]] & NAME_START:
                        i += 1          # nearly always one of these two
                        token = i
                        state = NAME
                    elif i + 1 < end and data[i + 1] == c'/':
                        i += 1
                        token = i + 1
                        state = END_NAME
                elif byte == c'&':
                    shortcut = entity_length(data + i + 1, end - i - 1)
                    if shortcut:
                        i += shortcut
                    else:
                        framer.after_reference = TEXT
                        framer.reference = framer.reference_length = 0
                        state = REFERENCE
                elif byte == c']':
                    framer.matched = 1
                elif not (CLASS[byte] & SPACE or byte >= 0x80 and utf8_begins(framer, byte)):
                    error = NOT_WELL_FORMED_XML
                    break
            i += 1
        elif state == NAME:
            seen = 0
            while i < end and CLASS[data[i]] & NAME_BYTE:
                seen |= CLASS[data[i]]
                i += 1
            if carried + (i - token) > NAME_LIMIT:
                i -= carried + (i - token) - NAME_LIMIT
                error = NAME_TOO_LONG
                break
            if i == end:
                break
            if not join_name(&tag, data + token, i - token, seen):
                error = NOT_WELL_FORMED_XML
                break
            byte = data[i]
            if framer.depth == 1:
                if is_local_stream(&tag):
                    if not framer.restart_allowed:
                        error = RESTART_NOT_ALLOWED
                        break
                    # a new stream inherits nothing
                    framer.usual_root = 0
                    leave_scope(0)
                elif framer.matched:
                    error = NOT_WELL_FORMED_XML     # an XML declaration, and then no stream header
                    break
            framer.attributes = 0
            slotted = 0
            changed = True
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
            if state == IN_TAG and i < end and CLASS[data[i]] & NAME_START:
                token = i               # nearly always: bounds leave room for one attribute
                state = ATTRIBUTE
                i += 1
        elif state == IN_TAG or state == AFTER_VALUE:
            if state == IN_TAG and CLASS[byte] & NAME_START:
                if framer.attributes >= bounds.attributes:
                    error = TOO_MANY_ATTRIBUTES
                    break
                token = i
                state = ATTRIBUTE
                i += 1
            elif byte == c'>':
                if not names_resolve(framer):
                    error = NOT_WELL_FORMED_XML
                    break
                if framer.depth == 0 or framer.depth == 1 and is_local_stream(&tag):
                    # the stream header, or the one of a restarted stream, which replaces it
                    if not settle_root(framer):
                        error = NAME_TOO_LONG
                        break
                    i += 1
                    changed = True
                    framer.depth = 1
                    framer.matched = 0
                    framer.restart_allowed = 0
                    state = TEXT
                    inside = False
                    framer.stanza_bytes = 0
                    end = length
                    result.boundary = i
                    event = HEADER
                    break
                if framer.depth >= bounds.depth:
                    error = TOO_DEEP
                    break
                i += 1
                if framer.depth == 1:
                    framer.element = element_of(&tag)
                NAMES[framer.depth] = tag
                framer.depth += 1
                changed = True
                state = TEXT
            elif byte == c'/':
                state = EMPTY_TAG
                i += 1
            elif CLASS[byte] & SPACE:
                state = IN_TAG
                i += 1
                if i < end and CLASS[data[i]] & NAME_START and framer.attributes < bounds.attributes:
                    token = i           # nearly always
                    state = ATTRIBUTE
                    i += 1
            else:
                error = NOT_WELL_FORMED_XML
                break
        elif state == ATTRIBUTE:
            seen = 0
            while i < end and CLASS[data[i]] & NAME_BYTE:
                seen |= CLASS[data[i]]
                i += 1
            if carried + (i - token) > NAME_LIMIT:
                i -= carried + (i - token) - NAME_LIMIT
                error = NAME_TOO_LONG
                break
            if i == end:
                break
            byte = data[i]
            if byte != c'=' and not CLASS[byte] & SPACE:
                error = NOT_WELL_FORMED_XML
                break
            if not join_name(&name, data + token, i - token, seen) or not add_attribute(framer, &name):
                error = NOT_WELL_FORMED_XML
                break
            if is_text(&name, "xml:id", 6):
                error = RESTRICTED      # libxml2 remembers every one and rejects the second of a kind
                break
            framer.declaring = declares(&name)
            i += 1
            if byte != c'=':
                state = AFTER_ATTRIBUTE
            elif i < end and (data[i] == c'"' or data[i] == c"'"):
                state = VALUE_DOUBLE if data[i] == c'"' else VALUE_SINGLE
                i += 1
                token = i
            else:
                state = BEFORE_VALUE
        elif state == BEFORE_VALUE:
            if byte == c'"':
                state = VALUE_DOUBLE
            elif byte == c"'":
                state = VALUE_SINGLE
            elif not CLASS[byte] & SPACE:
                error = NOT_WELL_FORMED_XML
                break
            i += 1
            token = i
        elif state == VALUE_DOUBLE or state == VALUE_SINGLE:
            quote = c'"' if state == VALUE_DOUBLE else c"'"
            if framer.declaring:
                i = skip_value(data, i, end, quote)
                recent = not carried and i < end and data[i] == quote and is_recent(data + token, i - token)
                if not recent:
                    i = token           # byte by byte, to know which one is wrong
                    while i < end and CLASS[data[i]] & URI_BYTE:
                        i += 1
                if carried + (i - token) > NAME_LIMIT:
                    i -= carried + (i - token) - NAME_LIMIT
                    error = NAME_TOO_LONG
                    break
                if i == end:
                    break
                if data[i] != quote:
                    error = NOT_WELL_FORMED_XML
                    break
                join(&name, data + token, i - token)
                error = declare(framer, &name, recent)
                if error:
                    break
                framer.declaring = 0
                state = AFTER_VALUE
            else:
                i = skip_value(data, i, end, quote)
                if i == end:
                    break
                byte = data[i]
                if byte == quote:
                    state = AFTER_VALUE
                elif byte == c'&':
                    shortcut = entity_length(data + i + 1, end - i - 1)
                    if shortcut:
                        i += shortcut
                    else:
                        framer.after_reference = state
                        framer.reference = framer.reference_length = 0
                        state = REFERENCE
                elif not (CLASS[byte] & SPACE or byte >= 0x80 and utf8_begins(framer, byte)):
                    error = NOT_WELL_FORMED_XML
                    break
            i += 1
        elif state == TAG:
            if byte == c'/':
                token = i + 1
                state = END_NAME
            elif byte == c'!':
                if framer.depth == 1:
                    # between stanzas CDATA would be text, anything else is restricted
                    error = RESTRICTED
                    break
                framer.matched = 0
                state = BANG
            elif byte == c'?':
                if framer.depth != 1 or not framer.restart_allowed or framer.matched:
                    error = RESTRICTED
                    break
                framer.matched = 1
                state = DECLARATION
            elif CLASS[byte] & NAME_START:
                token = i
                state = NAME
            else:
                error = NOT_WELL_FORMED_XML
                break
            i += 1
        elif state == END_NAME or state == END_TAG:
            if state == END_NAME:
                name = NAMES[framer.depth - 1]
                if carried == 0 and end - token > name.length and memcmp(data + token, name.data, name.length) == 0 and data[token + name.length] == c'>':
                    i = token + name.length     # nearly always: the name that must stand here, all of it, and '>'
                else:
                    while i < end and CLASS[data[i]] & NAME_BYTE:
                        i += 1
                    if carried + (i - token) > NAME_LIMIT:
                        i -= carried + (i - token) - NAME_LIMIT
                        error = NAME_TOO_LONG
                        break
                    if i == end:
                        break
                    join(&tag, data + token, i - token)
                    if not same(&tag, &name):
                        error = NOT_WELL_FORMED_XML
                        break
                byte = data[i]
            if byte == c'>':
                i += 1
                framer.depth -= 1
                leave_scope(framer.depth)
                changed = True
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
            if byte != c'>' or framer.depth == 0 or framer.depth == 1 and is_local_stream(&tag):
                error = NOT_WELL_FORMED_XML   # also an empty stream element: a stream without a stream
                break
            if not names_resolve(framer):
                error = NOT_WELL_FORMED_XML
                break
            if framer.depth >= bounds.depth:
                error = TOO_DEEP
                break
            i += 1
            leave_scope(framer.depth)
            changed = True
            state = TEXT
            if framer.depth == 1:
                framer.element = element_of(&tag)
                result.boundary = i
                result.counts[framer.element if framer.element < 4 else 3] += 1
                framer.stanza_bytes = 0
                inside = False
                end = length
                if stop_at_stanza or SUCCESS_ELEMENT <= framer.element <= PROCEED_ELEMENT:
                    event = STANZA
                    result.element = framer.element
                    break
        elif state == AFTER_ATTRIBUTE:
            if byte == c'=':
                state = BEFORE_VALUE
            elif not CLASS[byte] & SPACE:
                error = NOT_WELL_FORMED_XML
                break
            i += 1
        elif state == REFERENCE:
            if byte == c';':
                if not reference_is_known(framer.reference, framer.reference_length):
                    error = NOT_WELL_FORMED_XML if framer.reference_length == 0 or reference_is_numeric(framer) else RESTRICTED
                    break
                state = framer.after_reference
            elif not (CLASS[byte] & NAME_BYTE and byte != c':' or byte == c'#' and framer.reference_length == 0):
                error = NOT_WELL_FORMED_XML
                break
            elif framer.reference_length == 8:
                error = RESTRICTED
                if reference_is_numeric(framer):
                    # XML allows any number of leading zeros; libxml2 refuses letters behind ten of them
                    error = NAME_TOO_LONG if reference_is_padded(framer) else NOT_WELL_FORMED_XML
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
            if framer.matched:
                if byte == c']':
                    framer.matched = 2
                    i += 1
                    continue
                if framer.matched == 2 and byte == c'>':
                    framer.matched = 0
                    state = TEXT
                    i += 1
                    continue
                framer.matched = 0
            i = skip_text(data, i, end)
            if i == end:
                break
            byte = data[i]
            if byte == c']':
                framer.matched = 1
            elif not (CLASS[byte] & SPACE or byte == c'<' or byte == c'&' or byte >= 0x80 and utf8_begins(framer, byte)):
                error = NOT_WELL_FORMED_XML
                break
            i += 1
        elif state == PROLOG or state == AFTER_DECLARATION:
            if byte == c'<':
                inside, begin = True, i
                if bounds.stanza_bytes < length - i:
                    end = i + bounds.stanza_bytes
                state = PROLOG_TAG if state == PROLOG else HEADER_TAG
            elif CLASS[byte] & SPACE:
                # an XML declaration may only stand at the very beginning; what comes before it on a connection that was
                # authenticated elsewhere belongs to the stream that ends with its header
                if state == AFTER_DECLARATION or not framer.restart_allowed:
                    state = AFTER_DECLARATION
            else:
                error = NOT_WELL_FORMED_XML
                break
            i += 1
        elif state == PROLOG_TAG or state == HEADER_TAG:
            if byte == c'?' and state == PROLOG_TAG:
                framer.matched = 1
                state = DECLARATION
            elif CLASS[byte] & NAME_START:
                token = i
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
                token = i
            elif byte == c'?':
                join(&name, data + token, i - token)
                error = check_declaration(&name)
                if error:
                    break
                state = DECLARATION_END
            elif carried + (i - token) >= NAME_LIMIT or byte == c'<' or byte >= 0x7F or byte < 0x20 and not CLASS[byte] & SPACE:
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
    framer.state = state
    result.offset = i
    if error == NO_ERROR:
        if inside:
            framer.stanza_bytes += <uint32_t> (i - begin)
        if not splits_token(framer):
            token = i
        if framer.depth > 1 or binding_count or carried or token < i or in_start_tag(framer):
            if not remember(framer, data + token, i - token):
                error = OUT_OF_MEMORY
    if error != NO_ERROR:
        event = ERROR
        framer.state = REFUSED
        framer.matched = result.error = error
    give_back(resumed)
    resumed = NULL
    return event


cdef class StreamFramer:
    """The framer for Python: one direction of one stream.

    `stanza_bytes` (1..2**32-1), `depth` (2..255, the stream element counts) and `attributes` (1..255) bound every element;
    ValueError for others.
    """

    cdef Framer framer
    cdef Bounds bounds

    def __cinit__(self, uint32_t stanza_bytes=262144, uint16_t depth=64, uint16_t attributes=64):
        framer_start(&self.framer)
        if not (stanza_bytes >= 1 and 2 <= depth <= 255 and 1 <= attributes <= 255):
            raise ValueError("stanza_bytes from 1 to 2**32-1, depth from 2 to 255, attributes from 1 to 255")
        self.bounds.stanza_bytes = stanza_bytes
        self.bounds.depth = depth
        self.bounds.attributes = attributes

    def __dealloc__(self):
        framer_free(&self.framer)

    def allow_restart(self):
        """Accept one more stream header at depth 1 (after SASL success, RFC 6120 section 6.4.6)."""
        self.framer.restart_allowed = 1

    def export(self):
        """The state as bytes (framer_record.pxi), for `restore` in another process."""
        return framer_export(&self.framer)

    def restore(self, bytes record not None):
        """Goes on where the framer was that exported this; ValueError, and nothing has changed, for bytes that no framer says."""
        cdef Framer restored
        if not framer_import(&restored, <const uint8_t*> (<const char*> record), len(record)):
            raise ValueError("not the record of a framer")
        framer_free(&self.framer)
        self.framer = restored

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

    def scan_times(self, const uint8_t[::1] data, int times):
        """Scans the same whole stanzas `times` times, as a receiver would, without a Python call between; True if all were accepted."""
        cdef Scan result
        cdef int i
        if data.shape[0] == 0:
            return True
        for i in range(times):
            if scan(&self.framer, &self.bounds, &data[0], data.shape[0], False, &result) != MORE:
                return False
        return True

STATE_BYTES = sizeof(Framer)
