/* Durations in log-linear buckets; histogram.py has the same arithmetic and explains it. */
#pragma once

#include <stdint.h>

enum { PRECISION_BITS = 7, MAGNITUDE_BITS = 30, BUCKETS = (MAGNITUDE_BITS - PRECISION_BITS + 1) << PRECISION_BITS };

struct histogram {
    uint64_t counts[BUCKETS];
};

static inline uint32_t histogram_bucket(uint64_t us) {
    if (us < 1 << PRECISION_BITS) return us;
    if (us >> MAGNITUDE_BITS) return BUCKETS - 1;
    int shift = 63 - __builtin_clzll(us) - PRECISION_BITS;
    return (shift << PRECISION_BITS) + (us >> shift);
}

static inline void histogram_note(struct histogram *histogram, uint64_t ns) {
    histogram->counts[histogram_bucket(ns / 1000)]++;
}
