/* Checks UTF-8 (RFC 3629 section 4) that comes in pieces, and stops at the first byte that cannot stand where it stands. */
#ifndef MEGAPHONE_UTF8_H
#define MEGAPHONE_UTF8_H
#include <stddef.h>
#include <stdint.h>

#if defined(__SSE2__)
#include <emmintrin.h>
static inline size_t skip_ascii(const uint8_t *data, size_t i, size_t end) {
    while (end - i >= 16) {
        const unsigned high = (unsigned)_mm_movemask_epi8(_mm_loadu_si128((const __m128i *)(data + i)));
        if (high) return i + (size_t)__builtin_ctz(high);
        i += 16;
    }
    while (i < end && data[i] < 0x80) i++;
    return i;
}
#else
static inline size_t skip_ascii(const uint8_t *data, size_t i, size_t end) {
    while (i < end && data[i] < 0x80) i++;
    return i;
}
#endif

/* The state between two bytes: 0 between characters, else which bytes may come next and the state after them. */
enum { UTF8_ONE_LEFT = 1, UTF8_TWO_LEFT, UTF8_THREE_LEFT, UTF8_AFTER_E0, UTF8_AFTER_ED, UTF8_AFTER_F0, UTF8_AFTER_F4, UTF8_NONE };
static const uint8_t UTF8_LOW[UTF8_NONE] = {0, 0x80, 0x80, 0x80, 0xA0 /* shorter forms exist */, 0x80, 0x90, 0x80};
static const uint8_t UTF8_HIGH[UTF8_NONE] = {0, 0xBF, 0xBF, 0xBF, 0xBF, 0x9F /* surrogates */, 0xBF, 0x8F /* above U+10FFFF */};
static const uint8_t UTF8_NEXT[UTF8_NONE] = {0, 0, UTF8_ONE_LEFT, UTF8_TWO_LEFT, UTF8_ONE_LEFT, UTF8_ONE_LEFT, UTF8_TWO_LEFT, UTF8_TWO_LEFT};

static inline uint8_t utf8_after(uint8_t first) {
    if (first < 0xC2 || first > 0xF4) return UTF8_NONE;
    if (first < 0xE0) return UTF8_ONE_LEFT;
    if (first < 0xF0) return first == 0xE0 ? UTF8_AFTER_E0 : first == 0xED ? UTF8_AFTER_ED : UTF8_TWO_LEFT;
    return first == 0xF0 ? UTF8_AFTER_F0 : first == 0xF4 ? UTF8_AFTER_F4 : UTF8_THREE_LEFT;
}

/* Whole, right characters of two and three bytes, without a state between; others are left to the byte-wise reader. */
static inline size_t skip_whole(const uint8_t *data, size_t i, size_t end) {
    while (end - i >= 3) {
        const uint8_t first = data[i], second = data[i + 1];
        if ((second & 0xC0) != 0x80) break;
        if (first >= 0xC2 && first <= 0xDF) {
            i += 2;
            if (data[i] < 0x80) i++; /* between two words */
            continue;
        }
        if (first <= 0xE0 || first > 0xEF || first == 0xED || (data[i + 2] & 0xC0) != 0x80) break;
        i += 3;
    }
    return i;
}

/* How many bytes are right: `length`, or the index of the first wrong one. `state` goes on from piece to piece. */
static inline size_t utf8_length(const uint8_t *data, size_t length, uint8_t *state) {
    uint8_t now = *state;
    size_t i = 0;
    while (i < length) {
        if (now == 0) {
            if (data[i] < 0x80) {
                i = skip_ascii(data, i, length);
                continue;
            }
            i = skip_whole(data, i, length);
            if (i == length || data[i] < 0x80) continue;
            const uint8_t next = utf8_after(data[i]);
            if (next == UTF8_NONE) break;
            now = next;
        } else {
            if (data[i] < UTF8_LOW[now] || data[i] > UTF8_HIGH[now]) break;
            now = UTF8_NEXT[now];
        }
        i++;
    }
    *state = now;
    return i;
}
#endif
