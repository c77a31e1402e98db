# How a target is called: `run` from Python, ENTRY from the fuzzer's driver, for which models read a sample only.

cdef enum:
    SAMPLE = 64         # one input of so many


cdef bint sampled(const uint8_t* data, size_t size) noexcept:
    """Whether slow models read this input: always the same ones, so that what is found is found again."""
    cdef uint32_t sum = 2166136261
    cdef size_t i
    for i in range(size):
        sum = (sum ^ data[i]) * 16777619
    return (sum >> 8) % SAMPLE == 0


def run(bytes data):
    """Checks one input in every way; AssertionError if any two disagree."""
    check(<const uint8_t*> <const char*> data, len(data), True)


cdef int enter(const uint8_t* data, size_t size) except -1:
    return check(data, size, sampled(data, size))


ENTRY = PyCapsule_New(<void*> &enter, "run", NULL)
