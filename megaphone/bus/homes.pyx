"""Which worker is whose home: rendezvous hashing (Thaler and Ravishankar, 1996).

Every worker gives every name a weight, and the greatest weight wins. When one worker more takes part, only the names
that it wins move. Nothing is remembered: asking costs less than looking it up among a million names, and a table of
them in each of many workers would be the greatest part of their memory.
"""

from libc.stdint cimport uint64_t

cdef uint64_t FNV_OFFSET = 0xcbf29ce484222325      # FNV-1a, 64 bits (RFC 9923 section 2)
cdef uint64_t FNV_PRIME = 0x100000001b3
cdef const char* HEX = b"0123456789abcdef"
cdef uint64_t GOLDEN = 0x9e3779b97f4a7c15          # splitmix64 (Steele, Lea and Flood, 2014)


cdef inline uint64_t mixed(uint64_t value) noexcept nogil:
    """splitmix64's finaliser: every bit of the value changes half of the bits."""
    value = (value ^ (value >> 30)) * <uint64_t> 0xbf58476d1ce4e5b9
    value = (value ^ (value >> 27)) * <uint64_t> 0x94d049bb133111eb
    return value ^ (value >> 31)


cdef int home_of_bytes(const uint8_t* name, Py_ssize_t length, int workers) noexcept nogil:
    """As `home_of`, of a name in UTF-8."""
    cdef uint64_t digest = FNV_OFFSET, weight, greatest = 0
    cdef int index, home = 0
    cdef Py_ssize_t at
    for at in range(length):
        digest = (digest ^ name[at]) * FNV_PRIME
    digest = mixed(digest)
    for index in range(workers):
        weight = mixed(digest ^ (<uint64_t> (index + 1) * GOLDEN))
        if weight >= greatest:
            greatest = weight
            home = index
    return home


def home_of(name: str, workers: int) -> int:
    """Return the index, 0 to workers - 1, of the home of a bare JID; the same in every process and on every machine."""
    cdef bytes encoded = name.encode()
    return home_of_bytes(encoded, len(encoded), workers)


def name_at_home(begin: str, domain: str, int home, int workers) -> str:
    """Return a local part that begins so and whose home is the worker `home`; if none is soon found, just `begin`."""
    cdef bytearray name = bytearray(begin.encode() + b"000@" + domain.encode())
    cdef uint8_t* text = name
    cdef Py_ssize_t digits = len(name) - len(domain.encode()) - 4
    cdef int number
    for number in range(16 * 16 * 16):
        text[digits] = HEX[number >> 8]
        text[digits + 1] = HEX[(number >> 4) & 15]
        text[digits + 2] = HEX[number & 15]
        if home_of_bytes(text, len(name), workers) == home:
            return name[:digits + 3].decode()
    return begin
