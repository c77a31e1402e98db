"""Fuzz target: the bodies of BOSH, beside expat; tests/unit/stream/bosh_fuzz.py says how.

    | flags | body ... |
"""

from cpython.pycapsule cimport PyCapsule_New
from libc.stdint cimport uint8_t, uint32_t

from tests.unit.stream.bosh_fuzz import fuzz_bosh_body


cdef int check(const uint8_t* data, size_t size, bint thorough) except -1:
    """Reads one input; AssertionError if expat disagrees."""
    fuzz_bosh_body((<const char*> data)[:size])
    return 0


include "entry.pxi"
