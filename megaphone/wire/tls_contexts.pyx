"""AEAD contexts for the connections that are busy: libcrypto's expanded keys, cached by recency.

Theory of operation. A context of libcrypto is an AEAD with its key expanded, about a kilobyte that takes longer to make
than a short record takes to encrypt. The raw key has 32 bytes. So connections keep only the raw keys, and the process keeps
the contexts of those directions that were used last, in the last ten to twenty seconds, at most CONTEXTS for each
cipher suite:

    Direction                       slots of its suite
    | secret | key | iv | slot ──►  | context | owner ──► the Direction | newer, older |

`slot` says where the direction's context was; whose it is now is `owner`'s word. If it is another's, the slot that has not
been used for the longest time gets this key. A direction that changes its key or ends gives its context back.

The nonce of a record is its sequence number XORed into the IV (RFC 8446 section 5.3). It is set in the same call as the
tag that is to be checked, so that opening a record costs four calls and sealing one five.
"""

from libc.string cimport memcpy

from megaphone.wire.libcrypto cimport *
from megaphone.wire.tls_keys cimport AES_128_GCM_SHA256, IV_BYTES, TAG_BYTES

cdef extern from *:
    """
    static inline uint64_t network_order(uint64_t number) {
        #if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
        return __builtin_bswap64(number);
        #else
        return number;
        #endif
    }
    """
    uint64_t network_order(uint64_t number) noexcept

cdef enum:
    WINDOW_TICKS = 160          # 10 s: a tick is 1/16 s

cdef struct Slot:
    EVP_CIPHER_CTX* context
    const Direction* owner
    uint16_t newer              # neighbours in the ring of all slots, which are in the order of their last use;
    uint16_t older              # newer than the newest is the oldest
    uint32_t window             # in which it was used last

cdef struct Pool:
    EVP_CIPHER* cipher
    uint16_t newest
    Slot slots[CONTEXTS]

cdef Pool pools[3]
cdef uint64_t expanded = 0
cdef uint32_t window = 0            # counts those of WINDOW_TICKS
cdef uint32_t window_began_ticks = 0
cdef const char* CIPHERS[3]
CIPHERS[0] = "AES-128-GCM"
CIPHERS[1] = "AES-256-GCM"
CIPHERS[2] = "ChaCha20-Poly1305"

# One is used at a time: only where it points to changes.
cdef OSSL_PARAM TAG[2]
TAG[0] = OSSL_PARAM_construct_octet_string(OSSL_CIPHER_PARAM_AEAD_TAG, NULL, TAG_BYTES)
TAG[1] = OSSL_PARAM_construct_end()


cdef inline void make_nonce(const Direction* direction, uint8_t* nonce) noexcept:
    cdef uint64_t last
    memcpy(nonce, direction.iv, IV_BYTES)
    memcpy(&last, nonce + 4, 8)
    last ^= network_order(direction.sequence)
    memcpy(nonce + 4, &last, 8)


cdef inline void move_slot(Pool* pool, uint16_t slot, uint16_t older) noexcept:
    """Puts a slot before the one that was used longer ago (`older`), in the ring of all."""
    cdef Slot* slots = pool.slots
    if slot == older:
        return
    slots[slots[slot].newer].older = slots[slot].older
    slots[slots[slot].older].newer = slots[slot].newer
    slots[slot].older = older
    slots[slot].newer = slots[older].newer
    slots[slots[older].newer].older = slot
    slots[older].newer = slot


cdef bint open_pool(Pool* pool, int suite_index) noexcept:
    cdef int i
    pool.cipher = EVP_CIPHER_fetch(NULL, CIPHERS[suite_index], NULL)
    for i in range(CONTEXTS):
        pool.slots[i].older = <uint16_t> ((i + 1) % CONTEXTS)
        pool.slots[i].newer = <uint16_t> ((i + CONTEXTS - 1) % CONTEXTS)
    return pool.cipher != NULL


cdef EVP_CIPHER_CTX* expand_key(Pool* pool, int suite_index, Direction* direction, int encrypting) noexcept:
    """Makes the context that was used longest ago this direction's."""
    global expanded
    cdef Slot* slot
    if pool.cipher == NULL and not open_pool(pool, suite_index):
        return NULL
    direction.slot = pool.slots[pool.newest].newer      # the oldest: it is a ring
    slot = &pool.slots[direction.slot]
    slot.owner = NULL
    if slot.context == NULL:
        slot.context = EVP_CIPHER_CTX_new()
        # its cipher stays, so that a key costs no more than its expansion
        if slot.context == NULL or EVP_CipherInit_ex2(slot.context, pool.cipher, NULL, NULL, encrypting, NULL) != 1:
            EVP_CIPHER_CTX_free(slot.context)
            slot.context = NULL
            return NULL
    if EVP_CipherInit_ex2(slot.context, NULL, direction.key, NULL, encrypting, NULL) != 1:
        return NULL
    expanded += 1
    slot.owner = direction
    return slot.context


cdef inline EVP_CIPHER_CTX* context_of(uint16_t suite, Direction* direction, int encrypting) noexcept:
    """The context with this direction's key, or NULL."""
    cdef Pool* pool = &pools[suite - AES_128_GCM_SHA256]
    cdef EVP_CIPHER_CTX* context = pool.slots[direction.slot].context
    if pool.slots[direction.slot].owner != direction:
        context = expand_key(pool, suite - AES_128_GCM_SHA256, direction, encrypting)
        if context == NULL:
            return NULL
    if pool.newest != direction.slot:
        move_slot(pool, direction.slot, pool.newest)
        pool.newest = direction.slot
    pool.slots[direction.slot].window = window
    return context


cdef bint protect(uint16_t suite, Direction* direction, uint8_t* record, size_t length) noexcept:
    cdef EVP_CIPHER_CTX* context = context_of(suite, direction, 1)
    cdef uint8_t* content = record + HEADER_BYTES
    cdef uint8_t nonce[IV_BYTES]
    cdef int written
    if context == NULL:
        return False
    make_nonce(direction, nonce)
    TAG[0].data = content + length
    return (
        EVP_EncryptInit_ex2(context, NULL, NULL, nonce, NULL) == 1
        and EVP_EncryptUpdate(context, NULL, &written, record, HEADER_BYTES) == 1
        and EVP_EncryptUpdate(context, content, &written, content, <int> length) == 1
        and EVP_EncryptFinal_ex(context, content + length, &written) == 1
        and EVP_CIPHER_CTX_get_params(context, TAG) == 1
    )


cdef Verdict unprotect(uint16_t suite, Direction* direction, const uint8_t* record, size_t length, uint8_t* into) noexcept:
    cdef EVP_CIPHER_CTX* context = context_of(suite, direction, 0)
    cdef const uint8_t* content = record + HEADER_BYTES
    cdef uint8_t nonce[IV_BYTES]
    cdef int written
    if context == NULL:
        return FAILED
    make_nonce(direction, nonce)
    TAG[0].data = <uint8_t*> content + length
    if (EVP_DecryptInit_ex2(context, NULL, NULL, nonce, TAG) == 1
            and EVP_DecryptUpdate(context, NULL, &written, record, HEADER_BYTES) == 1
            and EVP_DecryptUpdate(context, into, &written, content, <int> length) == 1
            and EVP_DecryptFinal_ex(context, into + length, &written) == 1):
        return GENUINE
    ERR_clear_error()       # so that nobody takes it for an error of his own
    return FORGED


cdef uint64_t keys_expanded() noexcept:
    return expanded


cdef void forget_idle_contexts(uint32_t now_ticks) noexcept:
    global window, window_began_ticks
    cdef Pool* pool
    cdef Slot* slot
    cdef int i, j
    if now_ticks - window_began_ticks < <uint32_t> WINDOW_TICKS:
        return
    for i in range(3):
        pool = &pools[i]
        if pool.cipher == NULL:
            continue
        slot = &pool.slots[pool.slots[pool.newest].newer]       # the oldest: it is a ring
        for j in range(CONTEXTS):
            if slot.context != NULL:
                if slot.window == window:
                    break
                EVP_CIPHER_CTX_free(slot.context)
                slot.context = NULL
                slot.owner = NULL
            slot = &pool.slots[slot.newer]
    window += 1
    window_began_ticks = now_ticks


cdef void forget_context(uint16_t suite, Direction* direction) noexcept:
    cdef Pool* pool = &pools[suite - AES_128_GCM_SHA256]
    cdef Slot* slot = &pool.slots[direction.slot]
    if slot.owner == direction:
        EVP_CIPHER_CTX_free(slot.context)       # which wipes it
        slot.context = NULL
        slot.owner = NULL
        if pool.newest == direction.slot:
            pool.newest = slot.older        # which makes it the oldest, the first to be used again
        else:
            move_slot(pool, direction.slot, pool.newest)
