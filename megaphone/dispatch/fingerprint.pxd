# Whether something has changed since it was last said: numbers mixed into one, of which an equal one means "the same".
from libc.stdint cimport uint64_t

cdef inline uint64_t mixed(uint64_t print, uint64_t number) noexcept nogil:
    """`print` with one more number in it; not for numbers that strangers choose."""
    print = (print ^ number) * <uint64_t> 0x9E3779B97F4A7C15u
    return print ^ print >> 29
