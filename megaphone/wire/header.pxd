# Outline of the stream header reader; C callers use the `_from` versions and need no bytes object.
from libc.stdint cimport uint8_t

cdef class StreamHeader:
    cdef readonly str local_name
    cdef readonly str prefix
    cdef readonly str namespace
    cdef readonly str default_namespace
    cdef readonly str to
    cdef readonly str from_
    cdef readonly str version
    cdef readonly str lang
    cdef readonly str id
    cdef readonly tuple prefixes
    cpdef check(self)

cdef StreamHeader read_stream_header_from(const uint8_t* data, Py_ssize_t length)
cdef tuple read_element_from(const uint8_t* data, Py_ssize_t length, StreamHeader inherited)
cpdef StreamHeader read_stream_header(bytes data)
cpdef tuple read_element(bytes data, StreamHeader inherited=*)
