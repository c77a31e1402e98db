# Outline of the start-tag scanner.
from libc.string cimport memcmp, strlen

cdef enum:
    ATTRIBUTES_LIMIT = 255

cdef struct Attribute:
    Py_ssize_t name
    Py_ssize_t colon      # where the prefix ends; -1 without a prefix
    Py_ssize_t name_end
    Py_ssize_t value
    Py_ssize_t value_end
    bint plain            # the value holds no reference and no white space that must be normalised

cdef struct Tag:
    const unsigned char* data
    Py_ssize_t length
    Py_ssize_t name
    Py_ssize_t colon
    Py_ssize_t name_end
    Py_ssize_t end        # behind the ">"
    bint empty            # ended by "/>"
    bint ascii
    int count
    Attribute[ATTRIBUTES_LIMIT] attributes

cdef int refuse(str condition, str reason) except -1
cdef Py_ssize_t skip_space(const unsigned char* data, Py_ssize_t at, Py_ssize_t length) noexcept
cdef str decode(const unsigned char* data, Py_ssize_t start, Py_ssize_t end)
cdef int scan_tag(Tag* tag, Py_ssize_t at) except -1
cdef str value_of(Tag* tag, Attribute* attribute)


cdef inline bint is_at(const unsigned char* data, Py_ssize_t at, Py_ssize_t length, const char* word) noexcept:
    # Whether `word` stands at `at`.
    return length - at >= <Py_ssize_t> strlen(word) and memcmp(data + at, word, strlen(word)) == 0


cdef inline bint is_word(const unsigned char* data, Py_ssize_t start, Py_ssize_t end, const char* word) noexcept:
    # Whether data[start:end] is `word`.
    return end - start == <Py_ssize_t> strlen(word) and memcmp(data + start, word, strlen(word)) == 0
