"""Fuzz target: the readers of stanzas, of their headers and of stream headers, and the renderer, beside expat.

    | bits 5-7: cuts; bit 0: the usual header comes first, bit 1: restarts | cuts, 2 bytes each | stream ... |

The stanza reader gets the stream whole, in pieces and byte by byte; each time it gives the headers and stanzas that the
framer bounds. Of each, the header readers say what expat says. Stanzas and what is not one are read where nothing lies
behind them. A rendered stanza says the same as the one it was made of, but for its new addresses.
"""

from cpython.pycapsule cimport PyCapsule_New
from libc.stdint cimport uint8_t, uint32_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcmp, memcpy, memset, strlen

from expat cimport (
    XML_STATUS_OK, XML_Char, XML_GetCurrentByteCount, XML_GetCurrentByteIndex, XML_Parse, XML_Parser, XML_ParserCreateNS,
    XML_ParserReset, XML_SetElementHandler, XML_SetNamespaceDeclHandler, XML_SetUserData,
)
from megaphone.wire.framer cimport (
    ERROR, HEADER, MORE, STANZA, STREAM_END, Bounds, Framer, Scan, framer_free, framer_start, scan,
)
from megaphone.wire.header cimport StreamHeader, read_stream_header, read_element
from megaphone.wire.stanza_header cimport (
    HeaderSlices, StanzaHeader, StreamScope, read_header, read_stanza_header,
)
from megaphone.wire.stanza_reader cimport Cut, StanzaReader, next_stanza, stanza_reader_free, stanza_reader_start
from megaphone.wire.start_tag cimport Slice, decode_value

from megaphone.wire.framer import Element
from megaphone.wire.rendered import Rendered

cdef enum:
    STREAM_LIMIT = 8192
    HAPPENINGS_LIMIT = STREAM_LIMIT
    CUTS_LIMIT = 7
    # flags
    HEADED = 1
    RESTARTS = 2

cdef const char* USUAL_HEADER = (
    b"<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' to='example.org' version='1.0'>"
)

cdef struct Happening:
    int event
    int detail          # Element or Error
    size_t offset

cdef struct Reading:
    Happening happenings[HAPPENINGS_LIMIT]
    int count

cdef uint8_t STREAM[STREAM_LIMIT]
cdef size_t SINGLE[STREAM_LIMIT]
cdef Reading FRAMED
for index in range(STREAM_LIMIT):
    SINGLE[index] = index

# --- the framer ---


cdef void frame(const uint8_t* data, size_t length, bint restarts, const Bounds* bounds, Reading* reading) noexcept:
    """What the framer says about the whole stream."""
    cdef Framer framer
    cdef Scan result
    cdef size_t at = 0
    cdef int event = STANZA
    cdef Happening* happening
    reading.count = 0
    framer_start(&framer)
    while event == STANZA or event == HEADER:
        if restarts:
            framer.restart_allowed = 1
        event = scan(&framer, bounds, data + at, length - at, True, &result)
        at += result.offset
        if event == MORE:
            break
        happening = &reading.happenings[reading.count]
        happening.event = event
        happening.detail = result.element if event == STANZA else result.error
        happening.offset = at
        reading.count += 1
    framer_free(&framer)

# --- the stanza reader ---


cdef int read(
    const uint8_t* data, size_t length, const size_t* cuts, size_t count, bint restarts, const Bounds* bounds,
    Reading* framed,
) except -1:
    """Reads what lies between the cuts, which ascend, each piece in memory of its own; it has to say what was framed."""
    cdef StanzaReader reader
    cdef size_t at = 0, end, index = 0
    cdef int outcome = MORE, seen = 0
    cdef uint8_t* piece
    stanza_reader_start(&reader)
    try:
        while outcome == MORE and index <= count:
            end = cuts[index] if index < count else length
            index += 1
            piece = NULL
            if end > at:
                piece = <uint8_t*> malloc(end - at)
                if piece == NULL:
                    raise MemoryError
                memcpy(piece, data + at, end - at)
            try:
                outcome = read_piece(&reader, piece, end - at, at, data, restarts, bounds, framed, &seen)
            finally:
                free(piece)
            at = end
        if seen != framed.count:
            raise AssertionError(f"{seen} events instead of {framed.count}")
    finally:
        stanza_reader_free(&reader)
    return 0


cdef int read_piece(
    StanzaReader* reader, const uint8_t* piece, size_t size, size_t at, const uint8_t* data, bint restarts,
    const Bounds* bounds, Reading* framed, int* seen,
) except -1:
    """Reads one piece, which begins at `at`; returns the last Event."""
    cdef Cut cut
    cdef int event
    cdef Happening* expected
    memset(&cut, 0, sizeof(cut))
    cut.data = piece
    cut.length = size
    while True:
        if restarts:
            reader.framer.restart_allowed = 1
        event = next_stanza(reader, bounds, &cut)
        if cut.offset > size:
            raise AssertionError(f"beyond the piece: {cut.offset} of {size}")
        if event == MORE:
            if cut.offset != size:
                raise AssertionError(f"stopped for nothing at {at + cut.offset}")
            return event
        expected = &framed.happenings[seen[0]]
        if seen[0] == framed.count or expected.event != event or expected.offset != at + cut.offset:
            raise AssertionError(f"event {event} to {at + cut.offset}, where the framer has none")
        seen[0] += 1
        if event == ERROR and cut.error != expected.detail or event == STANZA and cut.element != expected.detail:
            raise AssertionError(f"event {event} with {cut.error} or {cut.element} instead of {expected.detail}")
        if event == ERROR or event == STREAM_END:
            if reader.held != NULL:
                raise AssertionError("holds something at the end")
            return event
        if (cut.stanza_bytes > expected.offset or cut.stanza_bytes < 3 or cut.stanza[0] != c'<' or cut.stanza[1] == c'?'
                or memcmp(cut.stanza, data + expected.offset - cut.stanza_bytes, cut.stanza_bytes) != 0
                or framed_begin(data, framed, seen[0] - 1) != expected.offset - cut.stanza_bytes):
            raise AssertionError(f"gives {cut.stanza[:cut.stanza_bytes]!r} of the stream to {expected.offset}")


cdef size_t framed_begin(const uint8_t* data, Reading* framed, int index) noexcept:
    """Where the header or stanza of an event begins: behind the event before it, white space and an XML declaration."""
    cdef size_t at = framed.happenings[index - 1].offset if index else 0
    while is_space(data[at]):
        at += 1
    if data[at + 1] == c'?':
        while data[at] != c'>':
            at += 1
        at += 1
        while is_space(data[at]):
            at += 1
    return at


cdef bint is_space(uint8_t byte) noexcept:
    return byte == c' ' or byte == c'\t' or byte == c'\r' or byte == c'\n'

# --- expat ---

cdef XML_Parser EXPAT = XML_ParserCreateNS(NULL, c'\x01')     # which no namespace can contain
cdef int depth = 0
cdef dict declared = {}         # by the tag that comes next
# (name, attributes, declarations, offset behind the start tag) of the first element at each depth
cdef list tags = []


cdef void starts(void* user, const XML_Char* name, const XML_Char** attributes) noexcept:
    global depth
    cdef int i = 0
    depth += 1
    if len(tags) >= depth:
        return
    found = {}
    while attributes[i] != NULL:
        found[attributes[i].decode()] = attributes[i + 1].decode()
        i += 2
    behind = XML_GetCurrentByteIndex(EXPAT) + XML_GetCurrentByteCount(EXPAT)
    tags.append((name.decode(), found, declared.copy(), behind))
    declared.clear()


cdef void ends(void* user, const XML_Char* name) noexcept:
    global depth
    depth -= 1


cdef void declares(void* user, const XML_Char* prefix, const XML_Char* uri) noexcept:
    declared[None if prefix == NULL else prefix.decode()] = "" if uri == NULL else uri.decode()


cdef int ask_expat(bytes header, bytes stanza) except -1:
    """Fills `tags` with those of the header, the stanza and its first child; AssertionError if expat finds an error."""
    global depth
    cdef const char* text = header
    depth = 0
    tags.clear()
    declared.clear()
    XML_ParserReset(EXPAT, NULL)
    XML_SetElementHandler(EXPAT, starts, ends)
    XML_SetNamespaceDeclHandler(EXPAT, declares, NULL)
    if XML_Parse(EXPAT, text, len(header), False) != XML_STATUS_OK or depth != 1:
        raise AssertionError(f"expat refuses {header!r}")
    declared.clear()
    text = stanza
    if XML_Parse(EXPAT, text, len(stanza), False) != XML_STATUS_OK or depth != 1:
        raise AssertionError(f"expat refuses {stanza!r} behind {header!r}")
    return 0


cdef tuple expanded(str name):
    """(local name, namespace) of what expat calls an element."""
    namespace, separator, local = name.rpartition("\x01")
    return local, namespace

# --- what is read ---


cdef int compare_stream_header(StreamHeader header) except -1:
    """With the first of `tags`."""
    name, attributes, namespaces, _ = tags[0]
    fields = {"to": header.to, "from": header.from_, "version": header.version, "id": header.id}
    if (expanded(name) != (header.local_name, header.namespace or "")
            or fields != {field: attributes.get(field) for field in fields}
            or header.lang != attributes.get("http://www.w3.org/XML/1998/namespace\x01lang")
            or (header.default_namespace or "") != namespaces.pop(None, "") or dict(header.prefixes) != namespaces):
        raise AssertionError(f"{header} is for expat {tags[0]}")
    return 0


cdef int compare_stanza(StanzaHeader header, StreamHeader stream, bytes text) except -1:
    """With the second and third of `tags`."""
    name, attributes, _, _ = tags[1]
    fields = {"to": header.to, "from": header.from_, "type": header.type, "id": header.id}
    child = expanded(tags[2][0]) if len(tags) > 2 else (None, None)
    if (expanded(name) != (header.name, header.namespace) or fields != {field: attributes.get(field) for field in fields}
            or child != (header.child_name, header.child_namespace)):
        raise AssertionError(f"{header} is for expat {tags[1:]}")
    kind = Element.OTHER_ELEMENT
    if header.namespace == (stream.default_namespace or "") and header.name in ("message", "presence", "iq"):
        kind = Element[f"{header.name.upper()}_ELEMENT"]
    if header.kind is not kind:
        raise AssertionError(f"{header} should be {kind!r}")
    if read_element(text, stream) != (header.name, header.namespace):
        raise AssertionError(f"{header} is another element")
    return 0


cdef int compare_slices(bytes text, StreamScope scope, size_t behind) except -1:
    """Reads the stanza where nothing lies behind it; expat says what lies behind its start tag."""
    cdef HeaderSlices slices
    cdef int error = read_alone(<const uint8_t*> <const char*> text, len(text), scope, &slices)
    if error or slices.content != behind:
        raise AssertionError(f"{text!r} has the error {error} or its content at {slices.content}, not {behind}")
    return 0


cdef int read_alone(const uint8_t* data, size_t length, StreamScope scope, HeaderSlices* slices) except -1:
    """Reads anything in memory of its own, and decodes the values found; returns the Error."""
    cdef uint8_t* copy = <uint8_t*> malloc(length)
    cdef int error
    if copy == NULL:
        raise MemoryError
    memcpy(copy, data, length)
    error = read_header(copy, length, NULL if scope is None else &scope.scope, slices)
    if error == 0:
        decode_alone(&slices.to)
        decode_alone(&slices.from_)
        decode_alone(&slices.type)
        decode_alone(&slices.id)
    free(copy)
    return error


cdef void decode_alone(const Slice* value) noexcept:
    cdef uint8_t* out
    if value.data != NULL and value.length:
        out = <uint8_t*> malloc(value.length)
        if out != NULL:
            decode_value(value, out)
            free(out)


cdef int compare_rendered(bytes text, StanzaHeader header) except -1:
    """Renders the stanza for somebody else; both have the usual stream header."""
    cdef StanzaHeader again
    again = read_stanza_header(Rendered(text).stanza(header.to, header.from_))
    if repr(again) != repr(header):
        raise AssertionError(f"{header} is rendered as {again}")
    again = read_stanza_header(Rendered(text, replace_id=True).stanza("a@b/'\"<>&\t\n", None, "\u00e9"))
    if (again.to, again.from_, again.id) != ("a@b/'\"<>&\t\n", None, "\u00e9"):
        raise AssertionError(f"{again} should have other addresses")
    if ((again.kind, again.name, again.namespace, again.type, again.child_name, again.child_namespace) !=
            (header.kind, header.name, header.namespace, header.type, header.child_name, header.child_namespace)):
        raise AssertionError(f"{header} is rendered as {again}")
    return 0


cdef int compare_all(const uint8_t* data, Reading* framed, bint usual) except -1:
    """Compares every header and stanza of the stream; `usual`: it begins with RFC 6120's declarations."""
    cdef int i
    cdef size_t begin
    cdef bytes header = None, text
    cdef StreamHeader stream = None
    cdef StreamScope scope = None
    cdef StanzaHeader stanza
    cdef int headers = 0
    for i in range(framed.count):
        if framed.happenings[i].event != HEADER and framed.happenings[i].event != STANZA:
            return 0
        begin = framed_begin(data, framed, i)
        text = data[begin:framed.happenings[i].offset]
        if framed.happenings[i].event == HEADER:
            header = text
            stream = read_stream_header(header)
            ask_expat(header, b"")
            compare_stream_header(stream)
            headers += 1
            scope = None if usual and headers == 1 else StreamScope(stream)
            continue
        ask_expat(header, text)
        stanza = read_stanza_header(text, scope)
        compare_stanza(stanza, stream, text)
        compare_slices(text, scope, tags[1][3] - len(header))
        if scope is None:
            compare_rendered(text, stanza)
    return 0


cdef int check(const uint8_t* data, size_t size, bint thorough) except -1:
    """Reads one input in every way; AssertionError if two of them differ."""
    cdef Bounds bounds
    cdef HeaderSlices slices
    cdef size_t cuts[CUTS_LIMIT]
    cdef size_t count, length = 0, rest, i, j, cut
    cdef bint usual, restarts
    if size == 0:
        return 0
    bounds.stanza_bytes, bounds.depth, bounds.attributes = 4096, 16, 40
    usual, restarts = data[0] & HEADED, data[0] & RESTARTS
    count = data[0] >> 5
    if size < 1 + 2 * count:
        return 0
    if usual:
        length = strlen(USUAL_HEADER)
        memcpy(STREAM, USUAL_HEADER, length)
    rest = size - 1 - 2 * count
    if rest > STREAM_LIMIT - length:
        rest = STREAM_LIMIT - length
    memcpy(STREAM + length, data + 1 + 2 * count, rest)
    read_alone(STREAM + length, rest, None, &slices)
    length += rest
    for i in range(count):
        # in ascending order
        cut = (data[1 + 2 * i] << 8 | data[2 + 2 * i]) % (length + 1)
        j = i
        while j > 0 and cuts[j - 1] > cut:
            cuts[j] = cuts[j - 1]
            j -= 1
        cuts[j] = cut
    frame(STREAM, length, restarts, &bounds, &FRAMED)
    read(STREAM, length, cuts, 0, restarts, &bounds, &FRAMED)
    read(STREAM, length, cuts, count, restarts, &bounds, &FRAMED)
    read(STREAM, length, SINGLE, length, restarts, &bounds, &FRAMED)
    compare_all(STREAM, &FRAMED, usual)
    return 0


include "entry.pxi"
