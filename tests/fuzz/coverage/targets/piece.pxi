# Bytes in memory of their own, of exactly their size, for models in Python: bytes objects have one more.

from cpython.buffer cimport PyBuffer_FillInfo
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy


cdef class Piece:
    """A copy of `data` that may be read as a buffer."""

    cdef uint8_t* data
    cdef Py_ssize_t size

    def __cinit__(self, bytes data not None):
        self.size = len(data)
        self.data = <uint8_t*> malloc(self.size)
        if self.data == NULL and self.size:
            raise MemoryError
        memcpy(self.data, <const char*> data, self.size)

    def __dealloc__(self):
        free(self.data)

    def __getbuffer__(self, Py_buffer* buffer, int flags):
        PyBuffer_FillInfo(buffer, self, self.data, self.size, True, flags)
