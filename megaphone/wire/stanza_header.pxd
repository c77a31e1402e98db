# Outline of the stanza header reader: slices of one stanza, nothing allocated.
from libc.stdint cimport uint8_t, uint32_t

from megaphone.wire.header cimport StreamHeader
from megaphone.wire.start_tag cimport Slice

# What a stream header declared: a prefix, and the namespace that it stands for.
cdef struct Binding:
    Slice prefix
    Slice name

cdef struct Scope:
    Slice default_namespace
    const Binding* bindings
    int count

# Slices point into the stanza, into the scope, or at constants. `data` is NULL for what the stanza does not have; a
# namespace of length 0 is none.
cdef struct HeaderSlices:
    int kind                # Element of framer.pxd, 0..3: a stanza of the stream's content namespace, or OTHER_ELEMENT
    Slice name              # without prefix
    Slice namespace
    Slice to
    Slice from_
    Slice type
    Slice id
    Slice child             # first child element, without prefix
    Slice child_namespace
    uint32_t content        # offset behind the start tag

# Reads a stanza's header; 0, or the Error of framer.pxd for what the framer would not have accepted. `scope` may be NULL
# for a stream that declares what RFC 6120 does: jabber:client, and the prefix stream.
cdef int read_header(const uint8_t* data, size_t length, const Scope* scope, HeaderSlices* header) noexcept nogil


cdef class StreamScope:
    cdef Scope scope
    cdef Binding* _bindings
    cdef list _kept
    cdef Slice _keep(self, str text)


cdef class StanzaHeader:
    cdef readonly object kind
    cdef readonly str name
    cdef readonly str namespace
    cdef readonly str to
    cdef readonly str from_
    cdef readonly str type
    cdef readonly str id
    cdef readonly str child_name
    cdef readonly str child_namespace

cpdef StanzaHeader read_stanza_header(bytes data, StreamScope scope=*)
