"""Reads what one stream header says, and the name of a first-level element.

    <?xml version='1.0' encoding='UTF-8'?> <stream:stream xmlns='jabber:client' ... to='example.org' version='1.0'>
    |------ declaration, optional --------|S|---------------------- start tag ----------------------------------|

Whether a header is well-formed is the framer's to say, and it is asked: there is one set of rules. An error is
`ValueError(condition, reason)`, where condition is the stream error of RFC 6120 section 4.9.3 that answers it.
Namespaces follow XML-NAMES; the header's fields are those of RFC 6120 section 4.7.
"""

import re

from libc.string cimport memchr

from megaphone.wire.framer cimport (
    ENCODING_NOT_UTF8, ERROR, HEADER, Bounds, Framer, Scan, condition_of, framer_free, framer_start, scan,
)
from megaphone.wire.start_tag cimport (
    Attribute, Name, Slice, Tag, declares_prefix, is_name, is_text, local_part, next_attribute, open_tag, skip_space, text_of,
)

cdef str STREAMS = "http://etherx.jabber.org/streams"
cdef str CLIENT = "jabber:client"
cdef str XML = "http://www.w3.org/XML/1998/namespace"

cdef object major_version = re.compile("0*([0-9]{1,9})\\.[0-9]{1,9}", re.ASCII).fullmatch

cdef Bounds WIDEST
WIDEST.stanza_bytes = 0xFFFFFFFF    # whoever collected the header has bounded it
WIDEST.depth = 2
WIDEST.attributes = 255


cdef int refuse(str condition, str reason) except -1:
    raise ValueError(condition, reason)


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


cdef str namespace_text(const Slice* name):
    """A namespace name; the two usual ones are not made anew."""
    if is_text(name, "jabber:client", 13):
        return CLIENT
    if is_text(name, "http://etherx.jabber.org/streams", 32):
        return STREAMS
    return text_of(name)


cdef str prefix_text(const Name* name):
    return (<const char*> name.data)[:name.prefix].decode("ascii") if name.prefix else None


cdef str local_text(const Name* name):
    cdef Slice local = local_part(name)
    return text_of(&local)


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


cdef Py_ssize_t ask_framer(const uint8_t* data, Py_ssize_t length) except -1:
    """Returns where the header in `data` ends; raises what the framer finds wrong with it."""
    cdef Framer framer
    cdef Scan result
    cdef int event
    if length >= 2 and (data[0] >= 0xFE or (data[0] == 0) != (data[1] == 0)):  # a byte order mark, or half a "<"
        refuse("unsupported-encoding", "streams are UTF-8")
    framer_start(&framer)
    event = scan(&framer, &WIDEST, data, length, True, &result)
    framer_free(&framer)
    if event == ERROR:
        if result.error == ENCODING_NOT_UTF8:
            refuse("unsupported-encoding", "streams are UTF-8")  # RFC 6120 section 11.6
        refuse(condition_of(result.error), f"the stream header is not valid at byte {result.offset}")
    if event != HEADER:
        refuse("not-well-formed", "the stream header is not complete")
    return result.offset


cdef StreamHeader read_stream_header_from(const uint8_t* data, Py_ssize_t length):
    cdef Tag tag
    cdef Attribute attribute
    cdef StreamHeader header = StreamHeader.__new__(StreamHeader)
    cdef dict declared = {}
    cdef const uint8_t* end = data + length
    cdef const uint8_t* begin = skip_space(data, end)
    if skip_space(data + ask_framer(data, length), end) != end:
        refuse("bad-format", "there is more than one start tag")
    if begin[1] == c'?':
        begin = skip_space(<const uint8_t*> memchr(begin, c'>', end - begin) + 1, end)
    open_tag(&tag, begin, end)
    while next_attribute(&tag, &attribute):
        if declares_prefix(&attribute.name):
            declared[local_text(&attribute.name)] = namespace_text(&attribute.value)
        elif is_name(&attribute.name, "xmlns", 5):
            header.default_namespace = namespace_text(&attribute.value)
        elif is_name(&attribute.name, "to", 2):
            header.to = text_of(&attribute.value)
        elif is_name(&attribute.name, "from", 4):
            header.from_ = text_of(&attribute.value)
        elif is_name(&attribute.name, "version", 7):
            header.version = text_of(&attribute.value)
        elif is_name(&attribute.name, "id", 2):
            header.id = text_of(&attribute.value)
        elif is_name(&attribute.name, "xml:lang", 8):
            header.lang = text_of(&attribute.value)
    if tag.error:
        refuse(condition_of(tag.error), "the stream header is not valid")
    header.local_name = local_text(&tag.name)
    header.prefix = prefix_text(&tag.name)
    header.namespace = resolve(header.prefix, declared, None) if tag.name.prefix else header.default_namespace
    header.prefixes = tuple(declared.items())
    return header


cdef tuple read_element_from(const uint8_t* data, Py_ssize_t length, StreamHeader inherited):
    cdef Tag tag
    cdef Attribute attribute
    cdef dict declared = {}
    cdef str default_namespace
    if inherited is None:
        inherited = CANONICAL
    default_namespace = inherited.default_namespace
    if length > 0xFFFFFFFF:
        refuse("policy-violation", "the element is too big")
    if open_tag(&tag, skip_space(data, data + length), data + length):
        while next_attribute(&tag, &attribute):
            if declares_prefix(&attribute.name):
                declared[local_text(&attribute.name)] = namespace_text(&attribute.value)
            elif is_name(&attribute.name, "xmlns", 5):
                default_namespace = namespace_text(&attribute.value)
    if tag.error:
        refuse(condition_of(tag.error), "an element does not begin with a valid start tag")
    if tag.name.prefix:
        return local_text(&tag.name), resolve(prefix_text(&tag.name), declared, inherited)
    return local_text(&tag.name), default_namespace or ""


cpdef StreamHeader read_stream_header(bytes data):
    """Reads a whole stream header: optional XML declaration, white space, one start tag and nothing after it.

    Raises ValueError(condition, reason) for what is not one: not-well-formed, restricted-xml, bad-format,
    unsupported-encoding, policy-violation (above 255 attributes). Its meaning is for `StreamHeader.check`.
    """
    return read_stream_header_from(<const uint8_t*> <const char*> data, len(data))


cpdef tuple read_element(bytes data, StreamHeader inherited=None):
    """Returns (local name, namespace) of the element that begins `data`; what follows its start tag is not read.

    `inherited` is the header of the stream it stands in, by default one with RFC 6120's usual declarations. An element
    in no namespace has "". Raises ValueError(condition, reason) for what is no start tag, and for an element whose own
    prefix is not declared; everything else about its names is the framer's to judge.
    """
    return read_element_from(<const uint8_t*> <const char*> data, len(data), inherited)
