/* Takes the mask off a client's payload (RFC 6455 section 5.3), in place, eight bytes at a time or what the compiler makes of it. */
#ifndef MEGAPHONE_UNMASK_H
#define MEGAPHONE_UNMASK_H
#include <stddef.h>
#include <stdint.h>
#include <string.h>

static inline void unmask(uint8_t *data, size_t length, const uint8_t *key) {
    const uint8_t four[4] = {key[0], key[1], key[2], key[3]};
    uint32_t narrow;
    memcpy(&narrow, four, 4);
    const uint64_t wide = (uint64_t)narrow << 32 | narrow;
    size_t i = 0;
    for (; length - i >= 8; i += 8) {
        uint64_t word;
        memcpy(&word, data + i, 8);
        word ^= wide;
        memcpy(data + i, &word, 8);
    }
    for (; i < length; i++) data[i] ^= four[i & 3];
}

/* The key as the next byte needs it when `taken` bytes have been unmasked: no phase has to be kept beside it. */
static inline void turn_key(uint8_t *key, size_t taken) {
    const uint8_t four[4] = {key[0], key[1], key[2], key[3]};
    for (size_t i = 0; i < 4; i++) key[i] = four[(i + taken) & 3];
}
#endif
