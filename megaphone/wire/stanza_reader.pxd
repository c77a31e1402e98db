# Outline of the stanza reader: one framer, and what is held of a stanza that reads have split.
from libc.stdint cimport uint8_t, uint32_t

from megaphone.wire.framer cimport Bounds, Framer

# State of one connection: the framer's and 16 bytes. Nothing is held while it rests between stanzas.
cdef struct StanzaReader:
    Framer framer
    uint8_t* held           # the beginning of the header or stanza under way; NULL if there is none
    uint32_t held_bytes
    uint32_t room           # bytes at `held`

# One read being cut: the caller sets `data` and `length`, and `offset` to 0.
cdef struct Cut:
    const uint8_t* data
    size_t length
    size_t offset           # bytes consumed; in `data` at the offending byte after ERROR
    const uint8_t* stanza   # the header or stanza that ended, in `data` or in the reader's memory; valid until the next call
    uint32_t stanza_bytes
    uint8_t element         # Element that ended, for STANZA
    uint8_t error           # Error, for ERROR

cdef void stanza_reader_start(StanzaReader* reader) noexcept nogil
cdef void stanza_reader_free(StanzaReader* reader) noexcept nogil

# What another process needs to go on behind the last byte; import False, and nothing has changed, if that is no such record.
cdef bytes stanza_reader_export(StanzaReader* reader)
cdef bint stanza_reader_import(StanzaReader* reader, bytes record) noexcept

# Returns the next Event of framer.pxd in a read; to be called until it is MORE, STREAM_END or ERROR.
cdef int next_stanza(StanzaReader* reader, const Bounds* bounds, Cut* cut) noexcept nogil


cdef class StreamStanzaReader:
    cdef StanzaReader reader
    cdef Bounds bounds
