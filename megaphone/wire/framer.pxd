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

# State of one direction: 48 bytes. `open_tags` is NULL whenever the stream rests between stanzas.
cdef struct Framer:
    uint32_t* open_tags     # spilled hashes of open elements, only between reads that split a stanza
    uint64_t reference      # the entity reference being read, packed
    uint32_t stanza_bytes
    uint32_t name_hash
    uint32_t local_hash
    uint32_t root_hash
    uint8_t state
    uint8_t after_reference # state to return to at ';'
    uint8_t depth
    uint8_t attributes
    uint8_t element         # Element of the current first-level element
    uint8_t matched         # progress inside "<?xml" (kept until the header), "[CDATA[" or "]]>"
    uint8_t restart_allowed # a new stream header may follow at depth 1
    uint8_t reference_length

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
