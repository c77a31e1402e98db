"""TLS session tickets (RFC 5077, RFC 8446 section 4.6.1): encrypted with the node's keys, so that any worker resumes them."""

from libc.stdint cimport uint8_t
from libc.string cimport memcmp, memcpy

from megaphone.sockets.openssl cimport *

cdef enum:
    TICKET_KEY_BYTES = 80      # 16 name, 32 AES-256, 32 HMAC-SHA-256
    TICKET_KEYS_LIMIT = 3

# fetched once: EVP_aes_256_cbc() looks it up again for each ticket
cdef const EVP_CIPHER* cbc = EVP_CIPHER_fetch(NULL, "AES-256-CBC", NULL)
cdef uint8_t ticket_keys[3][80]
cdef int ticket_key_count = 0


def set_ticket_keys(keys):
    """The ticket keys of the node, newest first: 1 to 3 of 80 bytes each. The newest encrypts; all decrypt (RFC 5077)."""
    global ticket_key_count
    if not 1 <= len(keys) <= TICKET_KEYS_LIMIT or any(len(key) != TICKET_KEY_BYTES for key in keys):
        raise ValueError("1 to 3 ticket keys of 80 bytes")
    cdef int index
    cdef const unsigned char[::1] view
    for index, key in enumerate(keys):
        view = key
        memcpy(ticket_keys[index], &view[0], TICKET_KEY_BYTES)
    ticket_key_count = len(keys)


cdef int on_ticket_key(SSL* ssl, unsigned char* name, unsigned char* iv, EVP_CIPHER_CTX* cipher, EVP_MAC_CTX* mac, int encrypt) noexcept:
    """1: go on; 2: go on and give the client a new ticket; 0: unknown ticket, do a full handshake; -1: failure."""
    cdef int index = 0
    cdef OSSL_PARAM parameters[3]
    if encrypt:
        if ticket_key_count == 0 or RAND_bytes(iv, 16) != 1:
            return -1
        memcpy(name, ticket_keys[0], 16)
    else:
        while index < ticket_key_count and memcmp(name, ticket_keys[index], 16) != 0:
            index += 1
        if index == ticket_key_count:
            return 0
    parameters[0] = OSSL_PARAM_construct_octet_string("key", ticket_keys[index] + 48, 32)
    parameters[1] = OSSL_PARAM_construct_utf8_string("digest", "sha256", 0)
    parameters[2] = OSSL_PARAM_construct_end()
    if EVP_MAC_CTX_set_params(mac, parameters) != 1:
        return -1
    if encrypt:
        return 1 if EVP_EncryptInit_ex(cipher, cbc, NULL, ticket_keys[0] + 16, iv) == 1 else -1
    if EVP_DecryptInit_ex(cipher, cbc, NULL, ticket_keys[index] + 16, iv) != 1:
        return -1
    # a TLS 1.3 client uses a ticket once (RFC 8446 appendix C.4) and needs the next one
    return 2 if index > 0 or SSL_version(ssl) >= TLS1_3_VERSION else 1
