"""Reads what one stream header says, and the name of a first-level element, from the bytes of its start tag.

    <?xml version='1.0' encoding='UTF-8'?> <stream:stream xmlns='jabber:client' ... to='example.org' version='1.0'>
    |------ declaration, optional --------|S|---------------------- start tag ----------------------------------|

An error is `ValueError(condition, reason)`, where condition is the stream error of RFC 6120 section 4.9.3 that
answers it. Namespaces follow XML-NAMES; the header's fields are those of RFC 6120 section 4.7.
"""

import re

from megaphone.wire.start_tag cimport (
    Attribute, Tag, decode, is_at, is_word, refuse, scan_tag, skip_space, value_of,
)

cdef str STREAMS = "http://etherx.jabber.org/streams"
cdef str CLIENT = "jabber:client"
cdef str XML = "http://www.w3.org/XML/1998/namespace"
cdef str XMLNS = "http://www.w3.org/2000/xmlns/"

cdef object major_version = re.compile("0*([0-9]{1,9})\\.[0-9]{1,9}", re.ASCII).fullmatch
# XML 1.0 section 2.8, productions 23 to 26, 32, 80 and 81
cdef object xml_declaration = re.compile(
    rb"<\?xml[ \t\r\n]+version[ \t\r\n]*=[ \t\r\n]*(?:'1\.[0-9]{1,9}'|\"1\.[0-9]{1,9}\")"
    rb"(?:[ \t\r\n]+encoding[ \t\r\n]*=[ \t\r\n]*(?:'([A-Za-z][A-Za-z0-9._-]*)'|\"([A-Za-z][A-Za-z0-9._-]*)\"))?"
    rb"(?:[ \t\r\n]+standalone[ \t\r\n]*=[ \t\r\n]*(?:'(?:yes|no)'|\"(?:yes|no)\"))?[ \t\r\n]*\?>"
).match


cdef class StreamHeader:
    """What one stream header says; immutable. Absent attributes are None, references are decoded.

    `namespace` is that of the element itself, `default_namespace` the content namespace (RFC 6120 section 4.8),
    `prefixes` the (prefix, namespace) pairs declared on it.
    """

    def __repr__(self):
        return (
            f"StreamHeader(local_name={self.local_name!r}, prefix={self.prefix!r}, namespace={self.namespace!r}, "
            f"default_namespace={self.default_namespace!r}, to={self.to!r}, from_={self.from_!r}, "
            f"version={self.version!r}, lang={self.lang!r}, id={self.id!r}, prefixes={self.prefixes!r})"
        )

    def __eq__(self, other):
        return type(other) is StreamHeader and repr(self) == repr(other)

    def __hash__(self):
        return hash(repr(self))

    cpdef check(self):
        """Raises ValueError(condition, reason) unless this opens a client stream of XMPP 1.0 or later.

        invalid-namespace (RFC 6120 section 4.9.3.10), bad-format (4.9.3.1), unsupported-version (4.9.3.25).
        """
        if self.namespace != STREAMS:
            raise ValueError("invalid-namespace", f"the stream's namespace is not {STREAMS}")
        if self.local_name != "stream":
            raise ValueError("bad-format", "a stream begins with <stream:stream>")
        if self.default_namespace != CLIENT:
            raise ValueError("invalid-namespace", f"the content namespace is not {CLIENT}")
        # Before 1.0 there are no features, so nothing could be negotiated; a higher one is answered with 1.0 (4.7.5).
        found = None if self.version is None else major_version(self.version)
        if found is None or int(found[1]) < 1:
            raise ValueError("unsupported-version", "XMPP version 1.0 is required")


cdef StreamHeader canonical_header():
    """What `<stream:stream>` declares in RFC 6120's own prefixes."""
    cdef StreamHeader header = StreamHeader.__new__(StreamHeader)
    header.local_name = header.prefix = "stream"
    header.namespace = STREAMS
    header.default_namespace = CLIENT
    header.prefixes = (("stream", STREAMS),)
    return header


cdef StreamHeader CANONICAL = canonical_header()


cdef bint is_declaration(Tag* tag, Attribute* attribute):
    """Whether it is xmlns="..." or xmlns:prefix="..."."""
    return is_word(tag.data, attribute.name, attribute.name_end if attribute.colon < 0 else attribute.colon, b"xmlns")


cdef str namespace_of(Tag* tag, Attribute* attribute):
    """The value of a namespace declaration; the two usual ones are not made anew."""
    if is_word(tag.data, attribute.value, attribute.value_end, b"jabber:client"):
        return CLIENT
    if is_word(tag.data, attribute.value, attribute.value_end, b"http://etherx.jabber.org/streams"):
        return STREAMS
    return value_of(tag, attribute)


cdef dict declarations(Tag* tag):
    """The namespaces that the tag declares, by prefix; None is the default namespace."""
    cdef dict found = {}
    cdef Attribute* attribute
    cdef str prefix, uri
    cdef bint reserved_prefix, reserved_uri
    cdef int i
    for i in range(tag.count):
        attribute = &tag.attributes[i]
        if not is_declaration(tag, attribute):
            continue
        uri = namespace_of(tag, attribute)
        prefix = None
        if attribute.colon >= 0:
            prefix = decode(tag.data, attribute.colon + 1, attribute.name_end)
            if not uri:
                refuse("not-well-formed", "a namespace prefix is declared without a namespace")
        # XML-NAMES section 3: these two bindings are fixed
        reserved_prefix = prefix == "xml"
        reserved_uri = uri == XML
        if prefix == "xmlns" or uri == XMLNS or reserved_prefix != reserved_uri:
            refuse("not-well-formed", "a reserved namespace is declared")
        found[prefix] = uri
    return found


cdef str resolve(str prefix, dict declared, StreamHeader inherited):
    """The namespace that `prefix` stands for."""
    uri = declared.get(prefix)
    if uri is not None:
        return uri
    if prefix == "xml":
        return XML
    if inherited is not None:
        for name, uri in inherited.prefixes:
            if name == prefix:
                return uri
    refuse("not-well-formed", "a namespace prefix is not declared")


cdef int check_attribute_prefixes(Tag* tag, dict declared, StreamHeader inherited) except -1:
    """Prefixes must be declared, and no two attributes may have the same expanded name (XML-NAMES section 6.3)."""
    cdef set names = None
    cdef Attribute* attribute
    cdef int i
    for i in range(tag.count):
        attribute = &tag.attributes[i]
        # only the prefix xml can stand for its namespace, so xml:lang cannot come back under another name
        if attribute.colon < 0 or is_declaration(tag, attribute) or \
                is_word(tag.data, attribute.name, attribute.name_end, b"xml:lang"):
            continue
        name = (
            resolve(decode(tag.data, attribute.name, attribute.colon), declared, inherited),
            decode(tag.data, attribute.colon + 1, attribute.name_end),
        )
        if names is None:
            names = set()
        if name in names:
            refuse("not-well-formed", "an attribute occurs twice")
        names.add(name)
    return 0


cdef Py_ssize_t read_declaration(const unsigned char* data, Py_ssize_t length) except -1:
    """Returns where the XML declaration ends; 0 when there is none."""
    if length >= 2 and (data[0] >= 0xFE or (data[0] == 0) != (data[1] == 0)):  # a byte order mark, or half a "<"
        refuse("unsupported-encoding", "streams are UTF-8")
    if not is_at(data, 0, length, b"<?xml") or skip_space(data, 5, length) == 5:
        return 0
    found = xml_declaration(data[:length])
    if found is None:
        refuse("not-well-formed", "the XML declaration is not valid")
    encoding = found[1] or found[2]
    if encoding is not None and encoding.upper() != b"UTF-8":
        refuse("unsupported-encoding", "streams are UTF-8")  # RFC 6120 section 11.6
    return found.end()


cdef StreamHeader read_stream_header_from(const unsigned char* data, Py_ssize_t length):
    cdef Tag tag
    cdef Attribute* attribute
    cdef StreamHeader header
    cdef dict declared
    cdef int i
    tag.data = data
    tag.length = length
    scan_tag(&tag, skip_space(data, read_declaration(data, length), length))
    if tag.empty:
        refuse("bad-format", "a stream cannot be an empty element")
    if skip_space(data, tag.end, length) != length:
        refuse("bad-format", "there is more than one start tag")
    declared = declarations(&tag)
    check_attribute_prefixes(&tag, declared, None)
    header = StreamHeader.__new__(StreamHeader)
    header.default_namespace = declared.pop(None, None)
    header.prefixes = tuple(declared.items())
    if tag.colon < 0:
        header.local_name = decode(data, tag.name, tag.name_end)
        header.namespace = header.default_namespace
    else:
        header.local_name = decode(data, tag.colon + 1, tag.name_end)
        header.prefix = decode(data, tag.name, tag.colon)
        header.namespace = resolve(header.prefix, declared, None)
    for i in range(tag.count):
        attribute = &tag.attributes[i]
        if is_word(data, attribute.name, attribute.name_end, b"to"):
            header.to = value_of(&tag, attribute)
        elif is_word(data, attribute.name, attribute.name_end, b"from"):
            header.from_ = value_of(&tag, attribute)
        elif is_word(data, attribute.name, attribute.name_end, b"version"):
            header.version = value_of(&tag, attribute)
        elif is_word(data, attribute.name, attribute.name_end, b"id"):
            header.id = value_of(&tag, attribute)
        elif is_word(data, attribute.name, attribute.name_end, b"xml:lang"):
            header.lang = value_of(&tag, attribute)
    return header


cdef tuple read_element_from(const unsigned char* data, Py_ssize_t length, StreamHeader inherited):
    cdef Tag tag
    cdef dict declared
    tag.data = data
    tag.length = length
    if inherited is None:
        inherited = CANONICAL
    scan_tag(&tag, skip_space(data, 0, length))
    declared = declarations(&tag)
    check_attribute_prefixes(&tag, declared, inherited)
    if tag.colon >= 0:
        namespace = resolve(decode(data, tag.name, tag.colon), declared, inherited)
        return decode(data, tag.colon + 1, tag.name_end), namespace
    return decode(data, tag.name, tag.name_end), declared.get(None, inherited.default_namespace) or ""


cpdef StreamHeader read_stream_header(bytes data):
    """Reads a whole stream header: optional XML declaration, white space, one start tag and nothing after it.

    Raises ValueError(condition, reason) for what is not one: not-well-formed, restricted-xml, bad-format,
    unsupported-encoding, policy-violation (above 255 attributes). Its meaning is for `StreamHeader.check`.
    """
    return read_stream_header_from(<const unsigned char*> <const char*> data, len(data))


cpdef tuple read_element(bytes data, StreamHeader inherited=None):
    """Returns (local name, namespace) of the element that begins `data`; what follows its start tag is not read.

    `inherited` is the header of the stream it stands in, by default one with RFC 6120's usual declarations. An element
    in no namespace has "". Raises ValueError(condition, reason) as `read_stream_header` does.
    """
    return read_element_from(<const unsigned char*> <const char*> data, len(data), inherited)
