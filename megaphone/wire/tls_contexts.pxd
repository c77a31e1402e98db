# Outline of the cache of AEAD contexts, which connections share: protecting and unprotecting one record.
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

from megaphone.wire.tls_keys cimport Direction

cdef enum:
    CONTEXTS = 1024         # kept per cipher suite: both directions of 512 busy connections, about 1 MiB
    HEADER_BYTES = 5        # of a record, all of which is additional data (RFC 8446 section 5.2)

cdef enum Verdict:
    FORGED = 0              # the tag is wrong
    GENUINE = 1
    FAILED = -1             # libcrypto has failed

# Encrypts `length` bytes behind the header in place and puts the tag behind them; False if libcrypto fails.
cdef bint protect(uint16_t suite, Direction* direction, uint8_t* record, size_t length) noexcept

# Decrypts the `length` bytes behind the header, which the tag follows. What is in `into` is to be believed only when GENUINE.
cdef Verdict unprotect(uint16_t suite, Direction* direction, const uint8_t* record, size_t length, uint8_t* into) noexcept

# How often a key had to be expanded, since the process began.
cdef uint64_t keys_expanded() noexcept

# Wipes the contexts that nobody has used for ten seconds; `now_ticks` in 1/16 s. The sweep calls this.
cdef void forget_idle_contexts(uint32_t now_ticks) noexcept

# Wipes the context of a direction, if there is one; before its keys change and before it is freed.
cdef void forget_context(uint16_t suite, Direction* direction) noexcept
