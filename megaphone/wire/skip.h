/* Skips over the bytes that need no decision, 16 at a time where the processor can (SSE2 is part of x86-64). */
#ifndef MEGAPHONE_SKIP_H
#define MEGAPHONE_SKIP_H
#include <stddef.h>
#include <stdint.h>

#if defined(__SSE2__)
#include <emmintrin.h>
static inline size_t skip_plain(const uint8_t *data, size_t i, size_t end, char stop) {
    const __m128i less = _mm_set1_epi8('<'), ampersand = _mm_set1_epi8('&'), other = _mm_set1_epi8(stop), space = _mm_set1_epi8(0x20);
    while (end - i >= 16) {
        const __m128i bytes = _mm_loadu_si128((const __m128i *)(data + i));
        /* signed: 0x80 and above are below space too */
        const __m128i stops = _mm_or_si128(
            _mm_or_si128(_mm_cmpeq_epi8(bytes, less), _mm_cmpeq_epi8(bytes, ampersand)),
            _mm_or_si128(_mm_cmpeq_epi8(bytes, other), _mm_cmplt_epi8(bytes, space)));
        const unsigned mask = (unsigned)_mm_movemask_epi8(stops);
        if (mask) return i + (size_t)__builtin_ctz(mask);
        i += 16;
    }
    return i;
}
#else
static inline size_t skip_plain(const uint8_t *data, size_t i, size_t end, char stop) { (void)data; (void)end; (void)stop; return i; }
#endif

/* Whole, valid characters of two and three bytes (RFC 3629 section 4, without those XML forbids); rarer ones, errors
   and characters cut off by the end are left to the framer's byte-wise reader. */
static inline size_t skip_characters(const uint8_t *data, size_t i, size_t end) {
    while (i < end && data[i] >= 0xC2 && data[i] <= 0xEF) {
        if (data[i] <= 0xDF) {
            if (end - i < 2 || (data[i + 1] & 0xC0) != 0x80) break;
            i += 2;
        } else {
            if (end - i < 3 || (data[i + 1] & 0xC0) != 0x80 || (data[i + 2] & 0xC0) != 0x80) break;
            const uint32_t point = (uint32_t)(data[i] & 0x0F) << 12 | (uint32_t)(data[i + 1] & 0x3F) << 6 | (data[i + 2] & 0x3F);
            if (point < 0x800 || (point >= 0xD800 && point <= 0xDFFF) || point >= 0xFFFE) break;
            i += 3;
        }
    }
    return i;
}

static inline size_t skip_until(const uint8_t *data, size_t i, size_t end, char stop) {
    for (;;) {
        size_t from = i;
        /* a short run first: words between multi-byte characters are short */
        while (i < end && i - from < 8 && data[i] >= 0x20 && data[i] < 0x80 && data[i] != '<' && data[i] != '&' && data[i] != (uint8_t)stop) i++;
        if (i - from == 8) i = skip_plain(data, i, end, stop);
        while (i < end && data[i] >= 0x20 && data[i] < 0x80 && data[i] != '<' && data[i] != '&' && data[i] != (uint8_t)stop) i++;
        if (i == end) return i;
        if (data[i] == '\n' || data[i] == '\t' || data[i] == '\r') {
            i++;
            continue;
        }
        if (data[i] < 0x80) return i;
        from = i;
        i = skip_characters(data, i, end);
        if (i == from) return i;
    }
}
static inline size_t skip_text(const uint8_t *data, size_t i, size_t end) { return skip_until(data, i, end, ']'); }
static inline size_t skip_value(const uint8_t *data, size_t i, size_t end, uint8_t quote) { return skip_until(data, i, end, (char)quote); }
#endif
