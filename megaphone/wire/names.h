/* A keyed hash of names: whoever does not know the key cannot choose names that collide. */
#ifndef MEGAPHONE_NAMES_H
#define MEGAPHONE_NAMES_H
#include <stddef.h>
#include <stdint.h>
#include <string.h>

static inline uint64_t mix(uint64_t one, uint64_t other) {
    const unsigned __int128 product = (unsigned __int128)one * other;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

/* `length` bytes, at least one, as numbers of eight; the last one may overlap the one before it. */
static inline uint64_t hash_bytes(const uint8_t *data, size_t length, const uint64_t key[2]) {
    uint64_t hash = key[0] ^ length, last = 0;
    if (length >= 8) {
        for (size_t at = 0; at + 8 < length; at += 8) {
            memcpy(&last, data + at, 8);
            hash = mix(hash ^ last, key[1]);
        }
        memcpy(&last, data + length - 8, 8);
    } else if (length >= 4) {
        uint32_t first, end;
        memcpy(&first, data, 4);
        memcpy(&end, data + length - 4, 4);
        last = (uint64_t)first << 32 | end;
    } else {
        last = (uint64_t)data[0] << 16 | (uint64_t)data[length / 2] << 8 | data[length - 1];
    }
    return mix(hash ^ last, key[1]);
}
#endif
