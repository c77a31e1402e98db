"""Fuzz target: messages of replicas, symbols, liars and dialogues; tests/unit/history/messages_fuzz.py says how.

    | what: 0 a message, 1 a liar, 2 symbols, 3 a script | bytes ... |
"""

from cpython.pycapsule cimport PyCapsule_New
from libc.stdint cimport uint8_t, uint32_t

from tests.unit.history.messages_fuzz import check_input


cdef int check(const uint8_t* data, size_t size, bint thorough) except -1:
    """Reads one input; AssertionError if an answer is wrong."""
    check_input((<const char*> data)[:size])
    return 0


include "entry.pxi"
