# The framer's C interface: one small struct per direction of a connection, one function.
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

# What `scan` returns.
cpdef enum Event:
    MORE = 0         # all bytes consumed, nothing to stop for
    HEADER = 1       # a stream header ended at `offset`
    STANZA = 2       # a first-level element ended at `offset` (only if asked to stop there, or if it changes the stream: SUCCESS .. PROCEED)
    STREAM_END = 3   # </stream:stream> ended at `offset`
    ERROR = 4        # refused at `offset`, for `error`

# Why it refuses; CONDITIONS in framer.pyx gives the RFC 6120 condition of each.
cpdef enum Error:
    NO_ERROR = 0
    NOT_WELL_FORMED_XML = 1
    RESTRICTED = 2
    STANZA_TOO_BIG = 3
    TOO_DEEP = 4
    TOO_MANY_ATTRIBUTES = 5
    TEXT_BETWEEN_STANZAS = 6
    RESTART_NOT_ALLOWED = 7
    AFTER_STREAM_END = 8
    NAME_TOO_LONG = 9
    TOO_MANY_NAMESPACES = 10
    OUT_OF_MEMORY = 11
    ENCODING_NOT_UTF8 = 12

# First-level elements the edge has to know; the first three and "any other" are what stanzas are counted by.
cpdef enum Element:
    MESSAGE_ELEMENT = 0
    PRESENCE_ELEMENT = 1
    IQ_ELEMENT = 2
    OTHER_ELEMENT = 3
    SUCCESS_ELEMENT = 4
    COMPRESSED_ELEMENT = 5
    PROCEED_ELEMENT = 6
    STARTTLS_ELEMENT = 7
    FEATURES_ELEMENT = 8
    STREAM_ERROR_ELEMENT = 9

cdef struct Bounds:
    uint32_t stanza_bytes
    uint16_t depth          # 2..255: levels including the stream element
    uint16_t attributes     # 1..255 per element

# What must be remembered between two reads that split a stanza or a tag: names of open elements, bindings, the tag under way.
cdef struct Memory:
    Memory* next            # in the list of spare ones
    uint32_t scope          # bytes of all that follows but the token
    uint8_t size            # which of the sizes it has
    uint8_t names           # open elements below the root
    uint8_t bindings        # prefixes bound below a usual root, or from an unusual one on
    uint8_t in_tag          # whether the name of the start tag under way and those of its attributes are there
    uint8_t token           # bytes of the name or namespace name that the read split
    # then, packed: names, bindings, tag, its attributes, token

# State of one direction: 56 bytes. `memory` is NULL when the stream rests between stanzas (below an ordinary header).
cdef struct Framer:
    Memory* memory
    uint64_t reference      # the entity reference being read, packed
    uint32_t stanza_bytes
    uint8_t state
    uint8_t after_reference # state to return to at ';'
    uint8_t depth
    uint8_t attributes
    uint8_t element         # Element of the current first-level element
    uint8_t matched         # progress inside "<?xml", "[CDATA[" or "]]>"; the Error once there was one
    uint8_t restart_allowed # a new stream header may follow at depth 1
    uint8_t reference_length
    uint8_t declaring       # the attribute under way declares a namespace
    uint8_t usual_root      # the root declares its own prefix and nothing else
    uint8_t utf8_left       # continuation bytes still to come
    uint8_t utf8_low        # the next one is at least this ...
    uint8_t utf8_high       # ... and at most that
    uint8_t root_length
    uint8_t root[16]        # name of the stream element

cdef struct Scan:
    size_t offset           # bytes consumed when `scan` returned
    Py_ssize_t boundary     # offset just after the last complete stanza or header seen in this call, or -1
    uint32_t counts[4]      # stanzas that ended in this call, by Element 0..3
    uint8_t error           # Error
    uint8_t element         # Element that ended, for STANZA

cdef void framer_start(Framer* framer) noexcept nogil
cdef void framer_free(Framer* framer) noexcept nogil
cdef bint framer_rests(Framer* framer) noexcept nogil
cdef bint framer_ended(Framer* framer) noexcept nogil
cdef int scan(Framer* framer, const Bounds* bounds, const uint8_t* data, size_t length, bint stop_at_stanza, Scan* result) noexcept nogil
cdef str condition_of(int error)
cdef bytes framer_export(Framer* framer)
cdef bint framer_import(Framer* framer, const uint8_t* data, size_t length) noexcept nogil
