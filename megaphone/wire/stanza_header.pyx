"""Reads what the beginning of one stanza says: kind, addresses, type, id, and what its first child is.

    <message to='juliet@example.org' type='chat' id='m1'>text<body xmlns='…'>…</message>
     |name                                              |content  |child

It reads the stanza's start tag, skips text and CDATA, reads the first child's start tag and stops. It is meant for
stanzas that the framer has accepted, of which it refuses none. Any other bytes are safe to give: they get an error, or
the facts of a beginning that looks like a stanza's; no byte beyond them is read.

An unprefixed name belongs to the nearest default namespace, a prefix to its nearest declaration (Namespaces in XML 1.0
section 6): on the child, on the stanza, in the stream header.
"""

from cpython.mem cimport PyMem_Calloc, PyMem_Free
from libc.string cimport memchr, memcmp, memset

from megaphone.wire.framer cimport IQ_ELEMENT, MESSAGE_ELEMENT, NO_ERROR, NOT_WELL_FORMED_XML, OTHER_ELEMENT, \
    PRESENCE_ELEMENT, STANZA_TOO_BIG, condition_of
from megaphone.wire.start_tag cimport (
    Attribute, Name, Tag, declares_prefix, find_declaration, is_text, local_part, next_attribute, open_tag, skip_space, text_of,
)

from megaphone.wire.framer import Element

cdef extern from "string.h" nogil:
    const void* memmem(const void* haystack, size_t haystack_length, const void* needle, size_t needle_length)

cdef const char* CLIENT_NAMESPACE = "jabber:client"
cdef const char* STREAMS_NAMESPACE = "http://etherx.jabber.org/streams"
cdef const char* XML_NAMESPACE = "http://www.w3.org/XML/1998/namespace"


cdef inline Slice constant(const char* text, uint32_t length) noexcept nogil:
    cdef Slice slice
    slice.data = <const uint8_t*> text
    slice.length = length
    slice.raw = False
    return slice


cdef Binding USUAL_BINDING
USUAL_BINDING.prefix = constant("stream", 6)
USUAL_BINDING.name = constant(STREAMS_NAMESPACE, 32)
cdef Scope USUAL
USUAL.default_namespace = constant(CLIENT_NAMESPACE, 13)
USUAL.bindings = &USUAL_BINDING
USUAL.count = 1

# --- one start tag ---

# What a start tag says about namespaces.
cdef struct Declared:
    Slice default_namespace     # `data` is NULL if the tag declares none
    bint prefixes               # whether it declares any


cdef inline void take_field(const Attribute* attribute, HeaderSlices* header) noexcept nogil:
    """Keeps an attribute of the stanza without prefix, if it is one of the four."""
    cdef const uint8_t* name = attribute.name.data
    if attribute.name.length == 2:
        if name[0] == c't' and name[1] == c'o':
            header.to = attribute.value
        elif name[0] == c'i' and name[1] == c'd':
            header.id = attribute.value
    elif attribute.name.length == 4:
        if memcmp(name, "from", 4) == 0:
            header.from_ = attribute.value
        elif memcmp(name, "type", 4) == 0:
            header.type = attribute.value


cdef inline void take_declaration(const Attribute* attribute, Declared* declared) noexcept nogil:
    """Takes note of a declaration; only the default namespace is kept, prefixes are looked up when one is used."""
    if attribute.name.length == 5 and memcmp(attribute.name.data, "xmlns", 5) == 0:
        declared.default_namespace = attribute.value
    elif declares_prefix(&attribute.name):
        declared.prefixes = True


cdef bint resolve(const Name* name, const Tag* tag, bint declares, const Tag* parent, bint parent_declares,
                  const Scope* scope, Slice* namespace) noexcept nogil:
    """Finds what the prefix of a name in `tag` stands for; `parent` may be NULL. False if it is unbound."""
    cdef const uint8_t* prefix = name.data
    cdef uint32_t length = name.prefix
    cdef int i
    if declares and find_declaration(tag, prefix, length, namespace):
        return namespace.length > 0
    if parent != NULL and parent_declares and find_declaration(parent, prefix, length, namespace):
        return namespace.length > 0
    if length == 3 and memcmp(prefix, "xml", 3) == 0:
        namespace[0] = constant(XML_NAMESPACE, 36)
        return True
    for i in range(scope.count):
        if is_text(&scope.bindings[i].prefix, <const char*> prefix, length):
            namespace[0] = scope.bindings[i].name
            return True
    return False


cdef inline int kind_of(const HeaderSlices* header, const Scope* scope) noexcept nogil:
    """The Element that a name of the stream's content namespace stands for (RFC 6120 section 8.1)."""
    cdef const char* name = <const char*> header.name.data
    cdef uint32_t length = header.name.length
    if not is_text(&header.namespace, <const char*> scope.default_namespace.data, scope.default_namespace.length):
        return OTHER_ELEMENT
    if length == 7 and memcmp(name, "message", 7) == 0:
        return MESSAGE_ELEMENT
    if length == 8 and memcmp(name, "presence", 8) == 0:
        return PRESENCE_ELEMENT
    if length == 2 and memcmp(name, "iq", 2) == 0:
        return IQ_ELEMENT
    return OTHER_ELEMENT

# --- a stanza ---


cdef const uint8_t* first_child(const uint8_t* at, const uint8_t* end) noexcept nogil:
    """Returns the "<" of the first child, or that of the end tag; NULL if there is neither."""
    while True:
        at = <const uint8_t*> memchr(at, c'<', end - at)
        if at == NULL or end - at < 2:
            return NULL
        if at[1] != c'!':
            return at
        if end - at < 12 or memcmp(at, "<![CDATA[", 9) != 0:
            return NULL
        at = <const uint8_t*> memmem(at + 9, end - at - 9, "]]>", 3)
        if at == NULL:
            return NULL
        at += 3


cdef int read_header(const uint8_t* data, size_t length, const Scope* scope, HeaderSlices* header) noexcept nogil:
    cdef Tag tag, child
    cdef Attribute attribute
    cdef Declared declared, declared_by_child
    cdef const uint8_t* end = data + length
    cdef const uint8_t* at
    memset(header, 0, sizeof(HeaderSlices))
    memset(&declared, 0, sizeof(Declared))
    header.kind = OTHER_ELEMENT
    if scope == NULL:
        scope = &USUAL
    if length >> 32:
        return STANZA_TOO_BIG
    if length == 0 or data[length - 1] != c'>':
        return NOT_WELL_FORMED_XML
    if not open_tag(&tag, skip_space(data, end), end):
        return tag.error
    while next_attribute(&tag, &attribute):
        if attribute.name.data[0] == c'x':
            take_declaration(&attribute, &declared)
        else:
            take_field(&attribute, header)
    if tag.error:
        return tag.error
    header.name = local_part(&tag.name)
    if tag.name.prefix:
        if not resolve(&tag.name, &tag, declared.prefixes, NULL, False, scope, &header.namespace):
            return NOT_WELL_FORMED_XML
    elif declared.default_namespace.data != NULL:
        header.namespace = declared.default_namespace
    else:
        header.namespace = scope.default_namespace
    header.kind = kind_of(header, scope)
    header.content = <uint32_t> (tag.at - data)
    if tag.empty:
        return NO_ERROR if tag.at == end else NOT_WELL_FORMED_XML

    at = first_child(tag.at, end)
    if at == NULL:
        return NOT_WELL_FORMED_XML
    if at[1] == c'/':
        return NO_ERROR
    memset(&declared_by_child, 0, sizeof(Declared))
    if not open_tag(&child, at, end):
        return child.error
    while next_attribute(&child, &attribute):
        if attribute.name.data[0] == c'x':
            take_declaration(&attribute, &declared_by_child)
    if child.error:
        return child.error
    header.child = local_part(&child.name)
    if child.name.prefix:
        if not resolve(&child.name, &child, declared_by_child.prefixes, &tag, declared.prefixes, scope, &header.child_namespace):
            return NOT_WELL_FORMED_XML
    elif declared_by_child.default_namespace.data != NULL:
        header.child_namespace = declared_by_child.default_namespace
    elif declared.default_namespace.data != NULL:
        header.child_namespace = declared.default_namespace
    else:
        header.child_namespace = scope.default_namespace
    return NO_ERROR

# --- for Python ---


cdef class StreamScope:
    """What one stream header declares, for the stanzas of its stream; `scope` is for C callers.

    Needed only where a header declares anything but jabber:client and the prefix stream.
    """

    def __cinit__(self, StreamHeader header not None):
        cdef int i
        self._kept = []
        self._bindings = <Binding*> PyMem_Calloc(max(len(header.prefixes), 1), sizeof(Binding))
        if self._bindings == NULL:
            raise MemoryError()
        for i, (prefix, name) in enumerate(header.prefixes):
            self._bindings[i].prefix = self._keep(prefix)
            self._bindings[i].name = self._keep(name)
        self.scope.bindings = self._bindings
        self.scope.count = len(header.prefixes)
        self.scope.default_namespace = self._keep(header.default_namespace or "")

    def __dealloc__(self):
        PyMem_Free(self._bindings)

    cdef Slice _keep(self, str text):
        cdef bytes encoded = text.encode()
        self._kept.append(encoded)
        return constant(<const char*> encoded, <uint32_t> len(encoded))


cdef class StanzaHeader:
    """What the beginning of one stanza says; immutable. Absent attributes are None, references are decoded.

    `kind` is one of `Element`'s first four: a message, presence or iq is one of the stream's content namespace. Names are
    local names; a namespace is "" for an element in none. `child_name` and `child_namespace` are None without a child.
    """

    def __repr__(self):
        return (
            f"StanzaHeader(kind={self.kind!r}, name={self.name!r}, namespace={self.namespace!r}, to={self.to!r}, "
            f"from_={self.from_!r}, type={self.type!r}, id={self.id!r}, child_name={self.child_name!r}, "
            f"child_namespace={self.child_namespace!r})"
        )


cpdef StanzaHeader read_stanza_header(bytes data, StreamScope scope=None):
    """Reads the header of one whole stanza; without a `scope` that of a stream with RFC 6120's usual declarations.

    Raises ValueError(condition, reason) for bytes that the framer would have refused: not-well-formed, restricted-xml,
    policy-violation.
    """
    cdef HeaderSlices slices
    cdef StanzaHeader header
    cdef int error = read_header(<const uint8_t*> <const char*> data, len(data), NULL if scope is None else &scope.scope, &slices)
    if error:
        raise ValueError(condition_of(error), "this does not begin like a stanza")
    header = StanzaHeader.__new__(StanzaHeader)
    header.kind = Element(slices.kind)
    header.name = text_of(&slices.name)
    header.namespace = text_of(&slices.namespace)
    header.to = text_of(&slices.to)
    header.from_ = text_of(&slices.from_)
    header.type = text_of(&slices.type)
    header.id = text_of(&slices.id)
    header.child_name = text_of(&slices.child)
    header.child_namespace = text_of(&slices.child_namespace)
    return header


def read_times(bytes data, int times):
    """Reads the header of one stanza `times` times without a Python call between; True if it was one."""
    cdef HeaderSlices slices
    cdef const uint8_t* begin = <const uint8_t*> <const char*> data
    cdef size_t length = len(data)
    cdef int i, errors = 0
    for i in range(times):
        errors |= read_header(begin, length, NULL, &slices)
    return errors == 0
