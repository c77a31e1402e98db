# Two parsers of servers asked alike: do they take this stream, with just these first-level elements?

from expat cimport (
    XML_STATUS_OK, XML_Char, XML_GetCurrentByteCount, XML_GetCurrentByteIndex, XML_GetErrorCode, XML_Parse, XML_Parser,
    XML_ParserCreateNS, XML_ParserReset, XML_SetElementHandler, XML_SetUserData,
)
from libxml2 cimport (
    XML_ERR_ERROR, XML_PARSE_NONET, XML_SAX2_MAGIC, xmlChar, xmlCreatePushParserCtxt, xmlCtxtUseOptions, xmlError,
    xmlFreeParserCtxt, xmlParseChunk, xmlParserCtxt, xmlSAXHandler,
)

cdef enum:
    LIBXML2_WAITS_FOR = 6       # bytes before it looks at any

# What a parser has to see, and how much of it it has seen.
cdef struct Sight:
    Happening* expected   # offsets counted from `begin`
    size_t begin
    int count
    int seen
    int depth
    int error
    bint differs                # it sees something else than `expected[seen]`

cdef XML_Parser EXPAT = XML_ParserCreateNS(NULL, c' ')
cdef xmlSAXHandler LIBXML2
memset(&LIBXML2, 0, sizeof(LIBXML2))
LIBXML2.initialized = XML_SAX2_MAGIC
LIBXML2.startElementNs = libxml2_starts
LIBXML2.endElementNs = libxml2_ends
LIBXML2.serror = libxml2_complains

# By Element; the framer knows them by their local names.
cdef const char* NAMES[10]
NAMES = [
    "message", "presence", "iq", NULL, "success", "compressed", "proceed", "starttls", "features", "error",
]


cdef int element_of(const char* local) noexcept:
    cdef int element
    for element in range(10):
        if NAMES[element] != NULL and strcmp(NAMES[element], local) == 0:
            return element
    return OTHER_ELEMENT


cdef void see(Sight* sight, int event, int element, Py_ssize_t end) noexcept:
    """The parser is behind a header, a stanza or a stream; `end` is -1 if it does not say where."""
    cdef Happening* expected = &sight.expected[sight.seen]
    if sight.differs:
        return
    if (sight.seen == sight.count or expected.event != event or expected.element != element
            or end >= 0 and expected.offset != sight.begin + end):
        sight.differs = True
        return
    sight.seen += 1


cdef void starts(Sight* sight, Py_ssize_t end) noexcept:
    sight.depth += 1
    if sight.depth == 1:
        see(sight, HEADER, 0, end)


cdef void ends(Sight* sight, const char* local, Py_ssize_t end) noexcept:
    sight.depth -= 1
    if sight.depth == 1:
        see(sight, STANZA, element_of(local), end)
    elif sight.depth == 0:
        see(sight, STREAM_END, 0, end)


cdef Py_ssize_t expat_tag_end() noexcept:
    return XML_GetCurrentByteIndex(EXPAT) + XML_GetCurrentByteCount(EXPAT)


cdef void expat_starts(void* user, const XML_Char* name, const XML_Char** attributes) noexcept:
    starts(<Sight*> user, expat_tag_end())


cdef void expat_ends(void* user, const XML_Char* name) noexcept:
    cdef const char* space = strrchr(name, c' ')
    ends(<Sight*> user, space + 1 if space != NULL else name, expat_tag_end())


cdef void libxml2_starts(
    void* user, const xmlChar* name, const xmlChar* prefix, const xmlChar* uri, int namespaces_count,
    const xmlChar** namespaces, int attributes_count, int defaulted_count, const xmlChar** attributes,
) noexcept:
    starts(<Sight*> user, -1)


cdef void libxml2_ends(void* user, const xmlChar* name, const xmlChar* prefix, const xmlChar* uri) noexcept:
    ends(<Sight*> user, <const char*> name, -1)


cdef void libxml2_complains(void* user, xmlError* error) noexcept:
    if error.level >= XML_ERR_ERROR:
        (<Sight*> user).error = error.code


cdef int ask_expat(const uint8_t* data, size_t length, Sight sight) except -1:
    """AssertionError if expat finds an error in this stream or sees anything else than expected."""
    XML_ParserReset(EXPAT, NULL)
    XML_SetElementHandler(EXPAT, expat_starts, expat_ends)
    XML_SetUserData(EXPAT, &sight)
    if XML_Parse(EXPAT, <const char*> data, <int> length, False) != XML_STATUS_OK:
        sight.error = XML_GetErrorCode(EXPAT)
    return satisfied("expat", data, length, &sight)


cdef bint expat_goes_beyond(const uint8_t* data, size_t length, size_t offset) noexcept:
    """Whether expat finds no error in this stream, though it has understood something behind `offset`."""
    cdef Sight sight
    memset(&sight, 0, sizeof(sight))
    XML_ParserReset(EXPAT, NULL)
    XML_SetElementHandler(EXPAT, expat_starts, expat_ends)
    XML_SetUserData(EXPAT, &sight)
    return (
        XML_Parse(EXPAT, <const char*> data, <int> length, False) == XML_STATUS_OK
        and XML_GetCurrentByteIndex(EXPAT) > <Py_ssize_t> offset
    )


cdef int ask_libxml2(const uint8_t* data, size_t length, Sight sight) except -1:
    """The same of libxml2."""
    cdef xmlParserCtxt* context
    if length < LIBXML2_WAITS_FOR:
        return 0
    context = xmlCreatePushParserCtxt(&LIBXML2, &sight, NULL, 0, NULL)
    if context == NULL:
        raise MemoryError
    xmlCtxtUseOptions(context, XML_PARSE_NONET)
    xmlParseChunk(context, <const char*> data, <int> length, False)
    xmlFreeParserCtxt(context)
    return satisfied("libxml2", data, length, &sight)


cdef int satisfied(str parser, const uint8_t* data, size_t length, const Sight* sight) except -1:
    if sight.error or sight.differs or sight.seen != sight.count:
        raise AssertionError(
            f"{parser} sees {sight.seen} of {sight.count}, error {sight.error}, in {data[:length]!r} from {sight.begin}"
        )
    return 0
