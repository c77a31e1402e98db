"""The TLS 1.3 key schedule behind the handshake: from a traffic secret to key and IV, and to the next secret.

    application_traffic_secret_N ──┬─ "key" ─────────► write key
                                   ├─ "iv" ──────────► write IV
                                   └─ "traffic upd" ─► application_traffic_secret_N+1 ─ …

Each arrow is HKDF-Expand-Label with an empty context (RFC 8446 sections 7.1 to 7.3), which is libcrypto's HKDF with

    | length, 2 | label length, 1 | "tls13 ", label | 0 |

as its info. No context of libcrypto outlives a call, so that no copy of a secret does.
"""

from libc.string cimport memcpy, strlen

from megaphone.wire.libcrypto cimport *

cdef enum:
    INFO_LIMIT = 32         # bytes of the info of the longest label

cdef char* LABEL_PREFIX = "tls13 "
cdef EVP_KDF* hkdf = NULL


cdef bint is_suite(uint16_t suite) noexcept:
    return AES_128_GCM_SHA256 <= suite <= CHACHA20_POLY1305_SHA256


cdef const char* suite_name(uint16_t suite) noexcept:
    if suite == AES_128_GCM_SHA256:
        return "TLS_AES_128_GCM_SHA256"
    if suite == AES_256_GCM_SHA384:
        return "TLS_AES_256_GCM_SHA384"
    if suite == CHACHA20_POLY1305_SHA256:
        return "TLS_CHACHA20_POLY1305_SHA256"
    return NULL


cdef size_t secret_bytes(uint16_t suite) noexcept:
    return 48 if suite == AES_256_GCM_SHA384 else 32


cdef size_t key_bytes(uint16_t suite) noexcept:
    return 16 if suite == AES_128_GCM_SHA256 else 32


cdef EVP_KDF_CTX* expander(uint16_t suite, uint8_t* secret) noexcept:
    """HKDF-Expand keyed with a secret, or NULL."""
    global hkdf
    cdef EVP_KDF_CTX* context
    cdef OSSL_PARAM parameters[4]
    cdef int mode = EVP_KDF_HKDF_MODE_EXPAND_ONLY
    if hkdf == NULL:
        hkdf = EVP_KDF_fetch(NULL, "HKDF", NULL)
        if hkdf == NULL:
            return NULL
    context = EVP_KDF_CTX_new(hkdf)
    if context == NULL:
        return NULL
    parameters[0] = OSSL_PARAM_construct_int(OSSL_KDF_PARAM_MODE, &mode)
    parameters[1] = OSSL_PARAM_construct_utf8_string(
        OSSL_KDF_PARAM_DIGEST, <char*> "SHA384" if suite == AES_256_GCM_SHA384 else <char*> "SHA256", 0)
    parameters[2] = OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, secret, secret_bytes(suite))
    parameters[3] = OSSL_PARAM_construct_end()
    if EVP_KDF_CTX_set_params(context, parameters) != 1:
        EVP_KDF_CTX_free(context)
        return NULL
    return context


cdef bint expand(EVP_KDF_CTX* context, const char* label, uint8_t* into, size_t length) noexcept:
    """HKDF-Expand-Label(secret, label, "", length)."""
    cdef uint8_t info[INFO_LIMIT]
    cdef OSSL_PARAM parameters[2]
    cdef size_t prefix = strlen(LABEL_PREFIX), own = strlen(label)
    info[0] = <uint8_t> (length >> 8)
    info[1] = <uint8_t> length
    info[2] = <uint8_t> (prefix + own)
    memcpy(info + 3, LABEL_PREFIX, prefix)
    memcpy(info + 3 + prefix, label, own)
    info[3 + prefix + own] = 0
    parameters[0] = OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_INFO, info, 4 + prefix + own)
    parameters[1] = OSSL_PARAM_construct_end()
    return EVP_KDF_derive(context, into, length, parameters) == 1


cdef bint derive_keys(uint16_t suite, Direction* direction) noexcept:
    cdef EVP_KDF_CTX* context = expander(suite, direction.secret)
    cdef bint done
    if context == NULL:
        return False
    direction.sequence = 0
    done = expand(context, "key", direction.key, key_bytes(suite)) and expand(context, "iv", direction.iv, IV_BYTES)
    EVP_KDF_CTX_free(context)
    return done


cdef bint update_keys(uint16_t suite, Direction* direction) noexcept:
    cdef EVP_KDF_CTX* context = expander(suite, direction.secret)
    cdef uint8_t next_secret[SECRET_BYTES]
    cdef bint done
    if context == NULL:
        return False
    done = expand(context, "traffic upd", next_secret, secret_bytes(suite))
    EVP_KDF_CTX_free(context)
    if done:
        memcpy(direction.secret, next_secret, secret_bytes(suite))      # the old one is overwritten, as its keys will be
        done = derive_keys(suite, direction)
    OPENSSL_cleanse(next_secret, SECRET_BYTES)
    return done
