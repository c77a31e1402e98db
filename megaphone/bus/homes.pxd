from libc.stdint cimport uint8_t

cdef int home_of_bytes(const uint8_t* name, Py_ssize_t length, int workers) noexcept nogil
