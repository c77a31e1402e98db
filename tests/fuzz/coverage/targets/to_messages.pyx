"""Fuzz target: a server's stream as messages, however both are cut, beside expat; tests/unit/wire/messages_fuzz.py says how.

    | flags | cuts, 2 bytes each, as many as bits 5-7 of the flags say | stream ... |
"""

from cpython.pycapsule cimport PyCapsule_New
from libc.stdint cimport uint8_t, uint32_t

from tests.unit.wire.messages_fuzz import fuzz_to_messages

include "piece.pxi"


cdef int check(const uint8_t* data, size_t size, bint thorough) except -1:
    """Reads one input in every way; AssertionError if any two disagree."""
    fuzz_to_messages((<const char*> data)[:size], Piece)
    return 0


include "entry.pxi"
