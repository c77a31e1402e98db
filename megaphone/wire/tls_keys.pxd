# Outline of the TLS 1.3 key schedule behind the handshake: traffic secrets, keys and IVs (RFC 8446 section 7).
from libc.stdint cimport uint8_t, uint16_t, uint64_t

cdef enum Suite:                    # RFC 8446 appendix B.4
    AES_128_GCM_SHA256 = 0x1301
    AES_256_GCM_SHA384 = 0x1302
    CHACHA20_POLY1305_SHA256 = 0x1303

cdef enum:
    SECRET_BYTES = 48               # the longest secret; with SHA-256 the last 16 are not used
    KEY_BYTES = 32                  # the longest key; AES-128 does not use the last 16
    IV_BYTES = 12
    TAG_BYTES = 16

# One direction of a connection: all that protects its next record.
cdef struct Direction:
    uint8_t secret[SECRET_BYTES]    # application_traffic_secret_N
    uint8_t key[KEY_BYTES]
    uint8_t iv[IV_BYTES]
    uint16_t slot                   # where in the cache of contexts it was last (tls_contexts)
    uint64_t sequence               # of its next record, from 0 with each key

cdef bint is_suite(uint16_t suite) noexcept
cdef const char* suite_name(uint16_t suite) noexcept        # as RFC 8446 and OpenSSL call it; NULL if not one of the three
cdef size_t secret_bytes(uint16_t suite) noexcept           # 32 or 48
cdef size_t key_bytes(uint16_t suite) noexcept              # 16 or 32

# Key and IV from the secret, sequence 0. False if libcrypto fails.
cdef bint derive_keys(uint16_t suite, Direction* direction) noexcept

# The next generation of secret, key and IV, sequence 0 (section 7.2). False if libcrypto fails.
cdef bint update_keys(uint16_t suite, Direction* direction) noexcept
