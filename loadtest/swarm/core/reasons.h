/* How often what has failed: a small table of reasons `where:what`. */
#pragma once

#include <stdint.h>

enum { REASON_BYTES = 80, REASONS = 256 };

struct reason {
    char text[REASON_BYTES];
    uint64_t count;
};

/* Beyond REASONS - 1 different ones, all others are counted as "other". */
struct reasons {
    int known;
    struct reason table[REASONS];
};

void reasons_note(struct reasons *reasons, const char *where, const char *what);
